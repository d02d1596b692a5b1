import { readFileSync } from 'node:fs'
import { isFinal, type RunStatus } from '../../shared/core/run.ts'
import { advanceRun } from '../../shared/engine/advance-run.ts'
import { sweep } from '../../shared/engine/sweep.ts'
import type { Bench } from './bench.ts'
import { type Digest, digestOf, forget } from './digest.ts'
import type { Fault } from './invocation.ts'
import { act, create } from './owner.ts'
import { runJob } from './runner.ts'
import type { Action, Scenario } from './scenarios.ts'
import { World } from './world.ts'

const INVARIANTS = readFileSync(new URL('../../supabase/invariants.sql', import.meta.url), 'utf8')
const MAX_ROUNDS = 150
/** World time within which a run must have ended, whatever struck it once or twice. */
const MAX_SECONDS = 1800
const SWEEP_EVERY_SECONDS = 30

export interface Played {
  /** Port calls in order. */
  calls: readonly string[]
  struck: readonly Fault[]
  digest: Digest
  /** Answers of the model beyond the first one of a step. */
  paidTwice: number
  mostPaid: number
  seconds: number
  problems: string[]
}

/** One run of a scenario from create to rest, with faults, then everything that brings a run on: repeats, sweeps, callbacks. */
export async function play(
  bench: Bench,
  scenario: Scenario,
  { faults = [], repeats = true }: { faults?: readonly Fault[]; repeats?: boolean } = {},
): Promise<Played> {
  const world = new World(bench, scenario, { faults, repeats })
  const problems: string[] = []
  const look = async (when: string) => {
    for (const row of await world.sql(INVARIANTS)) problems.push(`${when}: ${JSON.stringify(row)}`)
  }
  world.meter.onStrike = () => look('when it struck')
  try {
    await create(world, scenario)
    await bringToEnd(world, scenario)
    await look('at the end')
    const digest = await digestOf(world)
    if (world.jobs.size > 0 && scenario.jobs !== 'gone')
      problems.push(`jobs left behind: ${[...world.jobs.keys()].join()}`)
    // what was frozen wakes up in a world that has gone on without it: nothing may change any more
    world.meter.open()
    await Promise.all(world.resting)
    // a job that it made now is told that nobody waits for it
    for (const job of scenario.jobs === 'gone' ? [] : [...world.jobs.values()])
      await runJob(world, scenario, job)
    if (faults.some(({ kind }) => kind === 'frozen')) {
      await look('after the frozen one woke')
      if (JSON.stringify(await digestOf(world)) !== JSON.stringify(digest))
        problems.push('a frozen process changed what had ended')
    }
    problems.push(...checkOnce(world, scenario, digest))
    return report(world, digest, problems)
  } catch (error) {
    world.meter.open()
    problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
    return report(world, {}, problems)
  } finally {
    await forget(world)
  }
}

function report(world: World, digest: Digest, problems: string[]): Played {
  const paid = [...world.paid.values()]
  return {
    calls: world.meter.calls,
    struck: world.meter.struck,
    digest,
    paidTwice: paid.reduce((sum, times) => sum + times - 1, 0),
    mostPaid: Math.max(0, ...paid),
    seconds: world.now,
    problems,
  }
}

async function bringToEnd(world: World, scenario: Scenario): Promise<void> {
  const pending = [...(scenario.actions ?? [])]
  const owner = async () => {
    const [action] = pending
    if (action === undefined || !action.when(await seen(world, action))) return false
    if (await act(world, scenario, action)) pending.shift()
    return true
  }
  world.whileAsking = async () => {
    await owner()
  }
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const ended = hasEnded(await world.status()) && !(await owner())
    if (ended && (await isAtRest(world))) return
    if (world.now > MAX_SECONDS)
      throw new Error(`stuck in ${await world.status()} after ${world.now} s: ${await known(world)}`)
    if (!ended && (await owner())) continue
    if (await deliver(world)) continue
    if (!ended && (await work(world, scenario))) continue
    await world.pass(Math.min(SWEEP_EVERY_SECONDS, Math.max(1, world.queue.nextIn() ?? SWEEP_EVERY_SECONDS)))
    await callSweeper(world)
  }
  throw new Error(`not at rest after ${MAX_ROUNDS} rounds: ${await known(world)}`)
}

function hasEnded(status: RunStatus | 'deleted'): boolean {
  return status === 'deleted' || isFinal(status)
}

async function seen(world: World, action: Action) {
  const asking = world.asking
  // while the model answers only what waits for that may happen: the rest has its turn between deliveries
  if (asking !== undefined && action.verb !== 'cancel')
    return { status: 'executing' as const, jobsOut: 0, jobsEnded: 0, asking }
  return {
    status: await world.status(),
    jobsOut: asking === undefined ? world.jobs.size : 0,
    jobsEnded: world.endedJobs.size,
    asking,
  }
}

async function deliver(world: World): Promise<boolean> {
  const message = world.queue.take()
  if (message === undefined) return false
  try {
    const advance = await world.asStep((deps) => advanceRun(deps, message), message.step_number)
    if (advance.outcome === 'leased') world.queue.failed(message, advance.retryAfterSeconds)
  } catch {
    world.queue.failed(message)
  }
  return true
}

async function work(world: World, scenario: Scenario): Promise<boolean> {
  const [job] = world.jobs.values()
  if (job === undefined || scenario.jobs === 'gone') return false
  await runJob(world, scenario, job)
  return true
}

/** The database's own timer, and what it calls when there is something to publish. */
async function callSweeper(world: World): Promise<void> {
  const [row] = await world.sql(`select public.agent_sweep('{}') ->> 'due' as due`)
  if (Number(row?.['due']) === 0) return
  await world.asStep(sweep).catch(() => undefined)
}

/** A run that has ended owes nothing any more: no attempt to settle, no job to remove, no message on its way. */
async function isAtRest(world: World): Promise<boolean> {
  const [row] = await world.sql(
    `select (select count(*) from private.steps where state = 'settling') + (select count(*) from private.jobs_to_remove) as owed`,
  )
  return Number(row?.['owed']) === 0 && world.queue.nextIn() === undefined
}

function checkOnce(world: World, scenario: Scenario, digest: Digest): string[] {
  const problems: string[] = []
  if (digest.status !== scenario.status || digest.errorCode !== (scenario.errorCode ?? null))
    problems.push(
      `ended as ${digest.status} ${digest.errorCode}, not ${scenario.status} ${scenario.errorCode ?? ''}`,
    )
  for (const [name, times] of world.executed)
    if (times !== 1) problems.push(`job ${name} was executed ${times} times`)
  const again = scenario.actions?.some(({ verb }) => ['retry', 'fork', 'retry_step'].includes(verb))
  const runs = scenario.status === 'deleted' ? 0 : again ? 2 : 1
  if (digest.runs !== runs) problems.push(`${digest.runs} runs of one create`)
  return problems
}

async function known(world: World): Promise<string> {
  const [queue, steps, waits] = await Promise.all([
    world.sql('select * from public.agent_task_queue where run_id = $1', [world.runId]),
    world.sql('select * from private.steps where run_id = $1 order by step_number', [world.runId]),
    world.sql('select * from private.waits where run_id = $1', [world.runId]),
  ])
  return JSON.stringify({ queue, steps, waits, calls: world.meter.calls.slice(-20) })
}
