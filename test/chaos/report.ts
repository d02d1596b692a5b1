import { FAULT_IDS } from './nemesis.ts'
import type { Chaos } from './run-chaos.ts'

const MIN_CALM_SHARE = 0.95
const MAX_SHOWN = 30

/** What makes a chaos run a failure. */
export function failures({ verdict, history, counts }: Chaos): string[] {
  const calm = history.creates.filter((op) => op.calm)
  const share = history.share(calm)
  return [
    ...verdict.violations,
    ...FAULT_IDS.filter((id) => counts.of(id) === 0).map((id) => `the fault ${id} never struck`),
    ...(share < MIN_CALM_SHARE ? [`only ${percent(share)} of the creates in calm periods succeeded`] : []),
    ...(history.creates.length === 0 ? ['no run was created'] : []),
  ]
}

/** One page: what was broken, what callers saw, how the runs ended, what was violated. */
export function chaosReport(chaos: Chaos, seed: number): string {
  const { verdict, history, counts, stormSeconds, endSeconds, fsync } = chaos
  const { creates } = history
  const calm = creates.filter((op) => op.calm)
  const kills = counts.of('postgres.crash')
  const of = (outcome: string) => creates.filter((op) => op.outcome === outcome).length
  const first = creates.filter((op) => op.outcome === 'ok' && op.attempts === 1).length
  const completed = verdict.ends.find(([end]) => end === 'completed')?.[1] ?? 0
  const cancelled = verdict.ends.find(([end]) => end === 'cancelled')?.[1] ?? 0
  const ended = verdict.ends.reduce((sum, [, count]) => sum + count, 0)
  const problems = failures(chaos)
  return [
    `chaos: ${Math.round(stormSeconds)} s of faults, seed ${seed}, fsync ${fsync ? 'on' : 'off (no claim about durability)'}`,
    '',
    `Postgres kills              ${kills}`,
    `commits through the REST face  ${counts.of('commits')}, ${Math.round(counts.of('commits') / Math.max(1, kills))} between two kills`,
    `steps committed             ${verdict.stepsCommitted}, ${verdict.repeatedAttempts} attempts more than one`,
    `model answers               ${verdict.modelAnswers.sent} sent whole, ${verdict.modelAnswers.recorded} recorded: ${verdict.modelAnswers.sent - verdict.modelAnswers.recorded} paid in vain (killed or cut off before the commit, or stopped by the caller)`,
    '',
    'faults by id:',
    ...FAULT_IDS.map((id) => `  ${id.padEnd(26)}${String(counts.of(id)).padStart(6)}`),
    '',
    'what callers saw:',
    ...counts
      .entries()
      .filter(([id]) => /^(agent-|refused)/.test(id))
      .map(([id, count]) => `  ${id.padEnd(26)}${String(count).padStart(6)}`),
    `  creates: ${creates.length}; acknowledged ${of('ok')} (${first} at the first try), refused ${of('fail')}, unknown ${of('unknown')}`,
    `  acknowledged of all ${percent(history.share(creates))}, in calm periods ${percent(history.share(calm))} of ${calm.length}`,
    `  stops acknowledged: ${creates.filter(({ cancel }) => cancel === 'ok').length}`,
    '',
    'how runs ended:',
    ...verdict.ends.map(([end, count]) => `  ${end.padEnd(40)}${String(count).padStart(6)}`),
    `  completed ${percent(completed / Math.max(1, ended - cancelled))} of those that nobody stopped`,
    `  the last one ${endSeconds.toFixed(1)} s after the last fault; longest silence of a run ${verdict.longestSilenceSeconds.toFixed(1)} s`,
    '',
    `violations: ${problems.length}`,
    ...problems.slice(0, MAX_SHOWN).map((problem) => `  ${problem.slice(0, 3000)}`),
  ].join('\n')
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
