import type { Findings } from './explore.ts'
import { FAULT_KINDS } from './invocation.ts'

const MAX_SHOWN = 40

/** One page: what was played, what struck, what was paid twice, what was violated. */
export function crashReport(
  { tallies, struck, missed, violations }: Findings,
  { seed, pairs, seconds }: { seed: number; pairs: number; seconds: number },
): string {
  const all = [...tallies.values()]
  const sum = (of: (tally: (typeof all)[number]) => number) =>
    all.reduce((total, tally) => total + of(tally), 0)
  const lines = [
    `crash: every port call of ${all.length} scenarios × ${FAULT_KINDS.length} faults × 2 ways of recovery, and ${pairs} pairs (seed ${seed})`,
    '',
    `${'scenario'.padEnd(58)}${'points'.padStart(7)}${'cases'.padStart(7)}${'ended'.padStart(7)}${'paid twice'.padStart(12)}${'longest s'.padStart(11)}`,
    ...all.map(
      ({ name, points, cases, ended, paidTwice, longestSeconds }) =>
        `${name.padEnd(58)}${String(points).padStart(7)}${String(cases).padStart(7)}${String(ended).padStart(7)}${String(paidTwice).padStart(12)}${String(Math.round(longestSeconds)).padStart(11)}`,
    ),
    '',
    'faults that struck, by port call:',
    ...calls(struck),
    '',
    `points ${sum(({ points }) => points)} (100 %), cases ${sum(({ cases }) => cases)}, ended as they should ${sum(({ ended }) => ended)}`,
    `the model was paid twice in ${sum(({ paidTwice }) => paidTwice)} cases; at most ${Math.max(...all.map(({ mostPaid }) => mostPaid))} times for one step`,
    `second faults of pairs that the run did not come to: ${missed}`,
    `${seconds.toFixed(0)} s`,
    `violations: ${violations.length}`,
    ...violations.slice(0, MAX_SHOWN).map((violation) => `  ${violation.slice(0, 1500)}`),
  ]
  return lines.join('\n')
}

/** A fault kind that never struck proves nothing. */
export function kindsWithoutStrike({ struck }: Findings): string[] {
  return FAULT_KINDS.filter((kind) => ![...struck.keys()].some((key) => key.startsWith(`${kind} `)))
}

function calls(struck: ReadonlyMap<string, number>): string[] {
  const names = [...new Set([...struck.keys()].map((key) => key.split(' ')[1] ?? ''))].toSorted((a, b) =>
    a.localeCompare(b),
  )
  const cell = (kind: string, name: string) => String(struck.get(`${kind} ${name}`) ?? 0).padStart(9)
  return [
    `  ${''.padEnd(26)}${FAULT_KINDS.map((kind) => kind.padStart(9)).join('')}`,
    ...names.map((name) => `  ${name.padEnd(26)}${FAULT_KINDS.map((kind) => cell(kind, name)).join('')}`),
  ]
}
