import { seededRandom } from '../../dev/qstash/random.ts'
import type { Bench } from './bench.ts'
import { differences } from './digest.ts'
import { FAULT_KINDS, type Fault } from './invocation.ts'
import { type Played, play } from './play.ts'
import type { Scenario } from './scenarios.ts'

export interface Case {
  scenario: Scenario
  faults: Fault[]
  /** False: what failed is never delivered again, so that only the sweeper is left. */
  repeats: boolean
}

export interface Tally {
  name: string
  points: number
  cases: number
  ended: number
  paidTwice: number
  mostPaid: number
  longestSeconds: number
}

export interface Findings {
  tallies: Map<string, Tally>
  /** Faults that struck, by `kind port.method`. */
  struck: Map<string, number>
  /** Cases whose fault was never reached because the run took another way. */
  missed: number
  violations: string[]
}

export interface Exploration {
  scenarios: readonly Scenario[]
  /** For each fault one way of recovery, in turn, instead of both. */
  alternate?: boolean
  /** Cases with two faults, drawn with the seed; 0 for none. */
  pairs: number
  seed: number
}

/** A single fault may cost one more answer of the model; each of two faults may. */
const paidAtMost = (faults: readonly Fault[]) => 1 + faults.length

/** Plays every scenario once cleanly, then once more for every port call × fault × way of recovery, then pairs. Benches work side by side. */
export async function explore(benches: readonly Bench[], exploration: Exploration): Promise<Findings> {
  const findings: Findings = { tallies: new Map(), struck: new Map(), missed: 0, violations: [] }
  const clean = new Map<string, Played>()
  await eachOn(benches, exploration.scenarios, async (bench, scenario) => {
    const played = await play(bench, scenario)
    clean.set(scenario.name, played)
    for (const problem of played.problems)
      findings.violations.push(`${scenario.name}, no fault at all: ${problem}`)
    findings.tallies.set(scenario.name, {
      name: scenario.name,
      points: played.calls.length,
      cases: 0,
      ended: 0,
      paidTwice: 0,
      mostPaid: played.mostPaid,
      longestSeconds: 0,
    })
  })
  const lengths = new Map([...clean].map(([name, { calls }]) => [name, calls.length]))
  const cases = [...singles(exploration, lengths), ...pairs(exploration, lengths)]
  await eachOn(benches, cases, async (bench, one) => {
    const first = clean.get(one.scenario.name)
    if (first !== undefined) judge(findings, one, await play(bench, one.scenario, one), first)
  })
  return findings
}

function singles(
  { scenarios, alternate = false }: Exploration,
  lengths: ReadonlyMap<string, number>,
): Case[] {
  return scenarios.flatMap((scenario) =>
    Array.from({ length: lengths.get(scenario.name) ?? 0 }, (_, at) =>
      FAULT_KINDS.flatMap((kind, n) => {
        const ways = alternate ? [(at + n) % 2 === 0] : [true, false]
        return ways.map((repeats) => ({ scenario, faults: [{ kind, at }], repeats }))
      }),
    ).flat(),
  )
}

function pairs({ scenarios, pairs, seed }: Exploration, lengths: ReadonlyMap<string, number>): Case[] {
  const random = seededRandom(seed)
  const below = (n: number) => Math.floor(random() * n)
  const kind = () => FAULT_KINDS[below(FAULT_KINDS.length)] ?? 'before'
  return Array.from({ length: pairs }, () => {
    const scenario = scenarios[below(scenarios.length)]
    if (scenario === undefined) return []
    // the second strikes the recovery from the first as often as what follows it
    const at = below(lengths.get(scenario.name) ?? 1)
    const second = at + 1 + below(25)
    return [
      {
        scenario,
        faults: [
          { kind: kind(), at },
          { kind: kind(), at: second },
        ],
        repeats: random() < 0.5,
      },
    ]
  }).flat()
}

function judge(findings: Findings, one: Case, played: Played, clean: Played): void {
  const { scenario, faults } = one
  const tally = findings.tallies.get(scenario.name)
  if (tally === undefined) return
  tally.cases += 1
  tally.paidTwice += played.paidTwice
  tally.mostPaid = Math.max(tally.mostPaid, played.mostPaid)
  tally.longestSeconds = Math.max(tally.longestSeconds, played.seconds)
  findings.missed += faults.length - played.struck.length
  for (const { kind, at } of played.struck) {
    const key = `${kind} ${played.calls[at]}`
    findings.struck.set(key, (findings.struck.get(key) ?? 0) + 1)
  }
  const problems = [...played.problems]
  if (problems.length === 0) {
    const { facts = [], onlyPairs = false } = scenario.mayDiffer ?? {}
    const allowed = onlyPairs && faults.length < 2 ? [] : facts
    const different = differences(clean.digest, played.digest).filter((fact) => !allowed.includes(fact))
    for (const fact of different)
      problems.push(
        `${fact} is ${JSON.stringify(played.digest[fact])}, without the fault ${JSON.stringify(clean.digest[fact])}`,
      )
    if (played.mostPaid > paidAtMost(faults)) problems.push(`a step paid the model ${played.mostPaid} times`)
  }
  if (problems.length === 0) tally.ended += 1
  const where = faults
    .map(({ kind, at }) => `${kind} call ${at} (${played.calls[at] ?? 'not reached'})`)
    .join(' and ')
  for (const problem of problems)
    findings.violations.push(
      `${scenario.name}, ${where}, ${one.repeats ? 'repeated' : 'only the sweeper'}: ${problem}`,
    )
}

/** Works through the list, one item at a time on each bench. */
async function eachOn<T>(
  benches: readonly Bench[],
  items: readonly T[],
  work: (bench: Bench, item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values()
  await Promise.all(
    benches.map(async (bench) => {
      for (const item of rest) await work(bench, item)
    }),
  )
}
