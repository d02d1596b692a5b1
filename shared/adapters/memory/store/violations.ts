import { isFinal } from '../../../core/run.ts'
import { isInUse } from './objects.ts'
import type { RunTables, Tables } from './tables.ts'

/** What breaks a promise of the engine, under the names of supabase/invariants.sql. */
export interface BrokenInvariant {
  invariant: string
  run_id: string | null
  detail: string
}

/** How long a due step may stay unpublished before a run counts as silent. */
const SILENCE_US = 15 * 60 * 1_000_000
const ENDED = new Set(['completed', 'failed', 'skipped', 'cancelled'])

/** Everything at once. */
export function violations(tables: Tables, now: number): BrokenInvariant[] {
  return [
    ...[...tables.runs.values()].flatMap((run) => runViolations(run, now)),
    ...balanceViolations(tables),
    ...removalViolations(tables),
  ]
}

export function removalViolations(tables: Tables): BrokenInvariant[] {
  return [...tables.objectsToRemove.values()].flatMap((object) =>
    object.handed_at !== null && isInUse(tables, object)
      ? [{ invariant: 'bytes in use are not being removed', run_id: null, detail: object.name }]
      : [],
  )
}

export function balanceViolations({ runs, balances, ledgersOfDeleted }: Tables): BrokenInvariant[] {
  const sums = new Map<string, { available: number; used: number }>()
  const ledgers = [...runs.values()].map(({ run, ledger }) => [run.user_id, ledger] as const)
  for (const [user, ledger] of [...ledgers, ...ledgersOfDeleted]) {
    const sum = sums.get(user) ?? { available: 0, used: 0 }
    for (const line of ledger) {
      sum.available += line.available
      sum.used += line.used
    }
    sums.set(user, sum)
  }
  return [...balances].flatMap(([user, { available, used, opening }]) => {
    const sum = sums.get(user) ?? { available: 0, used: 0 }
    const right = available === opening + sum.available && used === sum.used && available >= 0
    return right ? [] : [{ invariant: 'balance is the sum of the ledger', run_id: null, detail: user }]
  })
}

/** The invariants of one run. */
export function runViolations(tables: RunTables, now: number): BrokenInvariant[] {
  const found: BrokenInvariant[] = []
  const broken = (invariant: string, detail: string) =>
    found.push({ invariant, run_id: tables.run.id, detail })
  checkSteps(tables, broken)
  checkLife(tables, broken, now)
  checkMoney(tables, broken)
  checkRecords(tables, broken)
  return found
}

type Broken = (invariant: string, detail: string) => void

function checkSteps({ run, steps, ledger, queue }: RunTables, broken: Broken): void {
  const settled = new Map<number, number>()
  for (const { step_number, kind } of ledger)
    if (kind !== 'reserve') settled.set(step_number, (settled.get(step_number) ?? 0) + 1)
  for (const [number, count] of settled)
    if (count > 1) broken('one settlement a step', `step ${number}: ${count}`)
  let latestEnd = 0
  let open = 0
  for (const [n, step] of steps.entries()) {
    if (step.step_number !== n) broken('step numbers without gaps', `place ${n} holds ${step.step_number}`)
    if ((step.state === 'done') !== ENDED.has(step.status) && step.state !== 'settling')
      broken('one result a step', `step ${n} is ${step.status} but ${step.state}`)
    if (step.kind === 'model' && step.started_at !== null && latestEnd > step.started_at)
      broken('groups in order', `step ${n} started before a step before it ended`)
    latestEnd = Math.max(latestEnd, step.completed_at ?? Number.POSITIVE_INFINITY)
    if ((step.state === 'open') !== queue.has(n)) broken('an open step is on the queue', `step ${n}`)
    open += Number(step.kind === 'tool' && step.state === 'open')
  }
  if (run.next_step !== steps.length)
    broken('step numbers without gaps', `next ${run.next_step}, steps ${steps.length}`)
  if (run.group_open !== open) broken('the group counter is its open members', `${run.group_open} counted`)
}

function checkLife({ run, steps, queue, waits }: RunTables, broken: Broken, now: number): void {
  const queued = [...queue.values()]
  if (isFinal(run.status)) {
    const holds =
      run.deadline_at !== null ||
      queued.length > 0 ||
      [...waits.values()].some(({ finished_at }) => finished_at === null) ||
      steps.some(({ state }) => state === 'open')
    if (holds) broken('an ended run holds nothing', run.status)
  } else {
    const active = ['queued', 'planning', 'executing'].includes(run.status)
    if (run.deadline_at === null || (active && queued.every(({ publish_at }) => publish_at === null)))
      broken('a reason to wake', run.status)
  }
  const admitted = queued.some(({ slot, waits }) => slot !== null || waits === 'tenant')
  for (const { step_number, waits } of queued)
    if (waits === 'run' && !admitted) broken('a call waits for another of its run', `step ${step_number}`)
  for (const { step_number, publish_at } of queued)
    if (publish_at !== null && publish_at < now - SILENCE_US)
      broken('no run is silent', `step ${step_number} due since ${publish_at}`)
}

function checkMoney({ run, steps, ledger }: RunTables, broken: Broken): void {
  let open = 0
  let used = 0
  for (const line of ledger) {
    open -= line.available + line.used
    used += line.used
  }
  if (isFinal(run.status) && open !== 0 && steps.every(({ state }) => state !== 'settling'))
    broken('a settled run owes nothing', `open ${open}`)
  if (run.credits_used_units !== used)
    broken('credits of the run are its charges', `${run.credits_used_units} but ${used}`)
}

function checkRecords({ run, steps, logs, files }: RunTables, broken: Broken): void {
  let last = Number.NEGATIVE_INFINITY
  for (const [n, { seq, created_at }] of logs.entries()) {
    if (seq !== n + 1) broken('log numbers are dense', `place ${n + 1} holds ${seq}`)
    if (created_at <= last) broken('log times rise', `seq ${seq}`)
    last = created_at
  }
  if (run.log_seq !== logs.length)
    broken('log numbers are dense', `counter ${run.log_seq}, rows ${logs.length}`)
  const current = new Set<string>()
  for (const { path, to_step } of files) {
    if (to_step !== null) continue
    if (current.has(path)) broken('one current version a file', path)
    current.add(path)
  }
  const completed = steps.filter(({ status }) => status === 'completed').length
  const failed = steps.filter(({ status }) => status === 'failed').length
  if (run.total_steps !== steps.length || run.completed_steps !== completed || run.failed_steps !== failed)
    broken('counters are what they count', `${run.total_steps}/${run.completed_steps}/${run.failed_steps}`)
}
