import { fork } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Mutant } from './mutant.ts'
import { SURVIVORS } from './survivors.ts'
import type { Report } from './worker.ts'

// npm run test:mutations: changes each condition of the SQL functions and of decide.ts, one at a time, and asks the tests.

const { values } = parseArgs({
  options: {
    /** Each waits much of its time: twice as many as there are cores. */
    workers: { type: 'string', default: '4' },
    seed: { type: 'string', default: '1' },
    /** At most so many; which, the seed decides. */
    sample: { type: 'string', default: '100000' },
    /** No mutant is begun after that. */
    minutes: { type: 'string', default: '40' },
    /** Only mutants whose name this expression finds. */
    only: { type: 'string', default: '' },
    /** A file of names, one a line, that are not tested: those that were noticed the last time, while one works on the others. */
    except: { type: 'string' },
    /** Without the suites that put the engine and HTTP around the database: says sooner what they alone would notice. */
    quick: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(`npm run test:mutations -- [--minutes 40] [--workers 4] [--seed 1] [--sample N] [--only REGEXP] [--except FILE] [--quick] [--verbose]
Changes each condition of the SQL functions and of decide.ts, and drops each constraint, policy and grant, one at a time, and asks the tests.
It fails for a survivor without a reason in test/mutations/survivors.ts. All of them take an hour and a half on two cores (--minutes 125).

  --minutes N     begins no mutant after that; the seed decides which came first
  --sample N      at most so many
  --only REGEXP   only mutants whose name it finds
  --except FILE   not those named there, one a line
  --quick         without the suites of the engine and HTTP
  --verbose       a line for each mutant`)
  process.exit(0)
}
const except = new Set(values.except === undefined ? [] : (await readFile(values.except, 'utf8')).split('\n'))
const print = (line: string) => process.stdout.write(`${line}\n`)
const began = performance.now()
const results = new Map<string, { noticed: string | null; milliseconds: number }>()
const leaning = new Set<string>()
let all: Mutant[] = []
let chosen: Mutant[] | undefined
let next = 0

/** Random order from a seed, so that a sample is spread over everything and can be had again. */
function choose(mutants: Mutant[]): Mutant[] {
  let state = Number(values.seed) >>> 0
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  const wanted = mutants.filter(({ id }) => new RegExp(values.only).test(id) && !except.has(id))
  return wanted
    .map((mutant) => ({ mutant, order: random() }))
    .toSorted((a, b) => a.order - b.order)
    .slice(0, Number(values.sample))
    .map(({ mutant }) => mutant)
}

async function work(): Promise<void> {
  const child = fork(fileURLToPath(new URL('./worker.ts', import.meta.url)), values.quick ? ['quick'] : [], {
    execArgv: ['--import', new URL('./hooks.mjs', import.meta.url).href],
  })
  await new Promise<void>((resolve, reject) => {
    let current: Mutant | undefined
    const give = () => {
      const late = performance.now() - began > Number(values.minutes) * 60_000
      current = late ? undefined : chosen?.[next++]
      child.send(current ?? 'end')
    }
    child.on('message', (report: Report) => {
      if (report.kind === 'broken') {
        reject(new Error(`the suites fail without any change: ${report.noticed}`))
        child.send('end')
        return
      }
      if (report.kind === 'leaning') {
        leaning.add(report.title)
        return
      }
      if (report.kind === 'ready') {
        all = report.mutants
        chosen ??= choose(all)
      } else {
        results.set(report.id, report)
        if (values.verbose)
          print(
            `${report.noticed === null ? 'SURVIVED' : 'noticed '} ${report.milliseconds.toFixed(0).padStart(6)} ms  ${report.id}   by ${report.noticed}`,
          )
      }
      give()
    })
    child.on('exit', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`a worker ended with ${code} at ${current?.id}`))
    })
  })
}

await Promise.all(Array.from({ length: Number(values.workers) }, work))

const wanted = chosen ?? []
// in the order of the seed: what there was time for is a fair sample of all
const tested = wanted.filter(({ id }) => results.has(id))
const by = new Map<string, number>()
for (const { noticed } of results.values()) {
  const who = noticed?.split(': ')[0] ?? 'nobody'
  by.set(who, (by.get(who) ?? 0) + 1)
}
const survivors = tested.filter(({ id }) => results.get(id)?.noticed === null)
const reviewed = new Map(SURVIVORS.map(({ id, reason }) => [id, reason]))
const unexplained = survivors.filter(({ id }) => !reviewed.has(id))
const stale = SURVIVORS.filter(({ id }) =>
  results.has(id) ? results.get(id)?.noticed !== null : !all.some((mutant) => mutant.id === id),
)

const seconds = ((performance.now() - began) / 1000).toFixed(0)
const part =
  tested.length === all.length
    ? 'all'
    : `chosen by seed ${values.seed}${values.only && `, of ${values.only}`}`
print(`\n${tested.length} mutants of ${all.length} (${part}) in ${seconds} s, ${values.workers} workers`)
if (tested.length < wanted.length)
  print(
    `${wanted.length - tested.length} were not reached in ${values.minutes} minutes: give more --minutes or another --seed`,
  )
print(
  `noticed ${tested.length - survivors.length}, survived ${survivors.length}, of which ${survivors.length - unexplained.length} with a reason\n`,
)
for (const [who, count] of [...by].toSorted((a, b) => b[1] - a[1]))
  print(`${String(count).padStart(6)}  ${who}`)
if (survivors.length > unexplained.length) print('\nequivalent, with the reason:')
for (const { id } of survivors) if (reviewed.has(id)) print(`  ${id}\n      ${reviewed.get(id)}`)
if (unexplained.length > 0) print('\nSURVIVED WITHOUT A REASON:')
for (const { id, line, by: change } of unexplained) print(`  ${id}\n      line ${line}, becomes: ${change}`)
if (leaning.size > 0)
  print('\nnot asked any more, as they fail on the original without the cases before them:')
for (const title of leaning) print(`  ${title}`)
if (stale.length > 0) print('\nSTALE in survivors.ts (noticed now, or no such mutant):')
for (const { id } of stale) print(`  ${id}`)
process.exitCode = unexplained.length + stale.length > 0 || tested.length === 0 ? 1 : 0
