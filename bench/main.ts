import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Bench } from './bench.ts'
import { burst } from './cases/burst.ts'
import { concurrent } from './cases/concurrent.ts'
import { delivery } from './cases/delivery.ts'
import { flat } from './cases/flat.ts'
import { kill } from './cases/kill.ts'
import { profile } from './cases/profile.ts'
import { spawn } from './cases/spawn.ts'
import { stream } from './cases/stream.ts'
import { type Database, openDatabase } from './database.ts'
import { type CaseReport, machine, revision, table } from './report.ts'

const CASES: Readonly<Record<string, (bench: Bench) => Promise<CaseReport>>> = {
  burst,
  delivery,
  concurrent,
  flat,
  kill,
  stream,
  spawn,
  profile,
}
const root = resolve(import.meta.dirname, '..')

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    console.log(`npm run bench -- [--quick] [CASE …]
Ratios to floors that run in turn with what is measured, with their 95 % interval. All cases take about half an hour on two cores.

  --quick   a few pairs each: shows that it works, and no more
  CASE      ${Object.keys(CASES).join(', ')}`)
    return 0
  }
  const quick = args.includes('--quick')
  const names = args.filter((arg) => arg !== '--quick')
  const unknown = names.filter((name) => !Object.hasOwn(CASES, name))
  if (unknown.length > 0) {
    console.error(`There is no case ${unknown.join(', ')}: ${Object.keys(CASES).join(', ')}, or --quick.`)
    return 1
  }
  let shared: Promise<Database> | undefined
  const bench: Bench = {
    root,
    quick,
    pairs: quick ? 4 : 24,
    database: () => {
      shared ??= openDatabase()
      return shared
    },
  }
  const reports: [string, CaseReport][] = []
  const started = Date.now()
  try {
    for (const [name, run] of Object.entries(CASES)) {
      if (names.length > 0 && !names.includes(name)) continue
      const begun = Date.now()
      const report = await run(bench)
      reports.push([name, report])
      console.log(`\n${name} (${Math.round((Date.now() - begun) / 1000)} s)`)
      for (const { what, target, result, reached } of report.rows)
        console.log(
          `  ${reached === null ? '·' : reached ? '✓' : '✗'} ${what}: ${result}${target === null ? '' : ` (${target})`}`,
        )
      for (const note of report.notes) console.log(`\n${note}`)
    }
    const violations = shared === undefined ? 0 : await (await shared).violations()
    if (violations > 0) {
      console.error(`\n${violations} rows break an invariant after the benchmark.`)
      return 1
    }
  } finally {
    await (await shared)?.close()
  }
  if (names.length === 0 && !quick) {
    writeFileSync(join(root, 'bench/README.md'), readme(reports, Date.now() - started))
    console.log('\nWritten to bench/README.md')
  }
  return 0
}

function readme(reports: readonly [string, CaseReport][], tookMs: number): string {
  const notes = reports.flatMap(([name, report]) =>
    report.notes.length === 0 ? [] : [`### ${name}\n\n${report.notes.join('\n\n')}`],
  )
  return `${readFileSync(join(root, 'bench/intro.md'), 'utf8').trim()}

## Results

${new Date().toISOString().slice(0, 16)}Z · revision ${revision(root)} · ${machine()} · \`npm run bench\` (${Math.round(tookMs / 1000)} s)

${table(reports.flatMap(([, report]) => report.rows))}

## How, and where the time goes

${notes.join('\n\n')}
`
}

process.exitCode = await main(process.argv.slice(2))
