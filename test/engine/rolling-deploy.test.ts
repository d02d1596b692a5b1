import { readFileSync } from 'node:fs'
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, expect, it } from 'vitest'
import { migrate } from '../../dev/postgres/migrate.ts'
import { makeServiceLogin } from '../../dev/postgres/service-login.ts'
import { testDatabase } from '../../dev/postgres/test-database.ts'
import { connect } from '../../shared/adapters/postgres/connection.ts'
import { AppError } from '../../shared/core/errors.ts'
import { type Advance, advanceRun } from '../../shared/engine/advance-run.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import type { SqlCall } from '../../shared/ports/sql-call.ts'
import type { StepCommit, StepStore } from '../../shared/ports/store.ts'
import { frontStoreOver, stepStoreOver } from '../../shared/ports/store-functions.ts'
import {
  answerCommit,
  commitOf,
  newRun,
  planCommit,
  someone,
  toolCommit,
  toolStep,
} from '../../shared/ports/store-kit.suite.ts'
import { call, type Engine, engine, principal, say, script } from './harness.ts'

const MIGRATIONS = fileURLToPath(new URL('../../supabase/migrations', import.meta.url))
const INVARIANTS = readFileSync(new URL('../../supabase/invariants.sql', import.meta.url), 'utf8')
/** The newest migration of the first release. */
const FIRST_RELEASE = '20261123000009'
const engines: Engine[] = []
afterAll(() => Promise.all(engines.map((e) => e.close())))

/** As the first release called the database: without what came later. */
function firstRelease(calling: SqlCall): SqlCall {
  return (name, argument) => {
    const { protocol: _, parallel: __, ...known } = argument
    if (known['burst'] === null) delete known['burst']
    return calling(name, known)
  }
}

/** What follows each step of a run: a plan, three calls side by side, four more in turn, an answer. */
function follow(kind: 'model' | 'tool', number: number): StepCommit {
  if (kind === 'tool') return toolCommit()
  if (number === 0) return planCommit()
  if (number > 10) return answerCommit()
  const steps = Array.from({ length: number === 1 ? 3 : 1 }, (_, n) => toolStep(`call ${number} ${n}`))
  return commitOf({ next: { kind: 'steps', steps } })
}

it('migrations run in the middle of runs: code of the first release goes on, then takes turns with this one', async () => {
  const database = await testDatabase('project')
  const dir = await mkdtemp(join(tmpdir(), 'agent-migrations-'))
  const files = (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort()
  const copy = (names: string[]) =>
    Promise.all(names.map((name) => cp(join(MIGRATIONS, name), join(dir, name))))
  const closing: (() => Promise<void>)[] = []
  const owner = new pg.Client({ connectionString: database.url('postgres') })
  try {
    await copy(files.filter((name) => name.slice(0, 14) <= FIRST_RELEASE))
    expect(await migrate(database.url('postgres'), dir)).toHaveLength(9)
    const open = async (role: 'agent_api' | 'agent_step') => {
      const url = await makeServiceLogin(database.url('postgres'), {
        name: `${role}_test`,
        role,
        password: 'test',
      })
      const connection = connect({
        url,
        timeoutMs: 20_000,
        applicationName: role,
        statementTimeoutMs: 20_000,
        lockTimeoutMs: 20_000,
      })
      closing.push(connection.close)
      return connection.call
    }
    const [front, step] = [await open('agent_api'), await open('agent_step')]
    const oldStep = stepStoreOver(firstRelease(step))
    const newStep = stepStoreOver(step)
    const oldFront = frontStoreOver(firstRelease(front))
    const parallel = { run: 2, tenant: 3, inline_tools: [] }
    const taken = { old: 0, new: 0 }
    let migrated = false
    let turn = 0

    /** A worker of either release, until the run has ended. What is refused for now is delivered again later, as QStash does. */
    const carryOut = async (run_id: string): Promise<void> => {
      const due = [0]
      for (let idle = 0; idle < 1200; idle++) {
        const step_number = due.shift()
        if (step_number === undefined) throw new Error('nothing is published any more')
        const isNew = migrated && turn++ % 2 === 0
        const store: StepStore = isNew ? newStep : oldStep
        try {
          // short: a commit that lost a deadlock to a migration is made again when its lease has lapsed
          const at = { run_id, step_number, lease_seconds: 3 }
          const answer = await store.claimStep(isNew ? { ...at, parallel } : at)
          if (!('claim' in answer)) {
            if (answer.refused === 'final') return
            due.push(...answer.publications.flatMap((p) => (p.run_id === run_id ? [p.step_number] : [])))
            if (answer.refused !== 'done') due.push(step_number)
            await new Promise((resolve) => setTimeout(resolve, 25))
            continue
          }
          const held = answer.claim.step
          const committed = await store.commitStep({ ...held, commit: follow(held.kind, step_number) })
          if (!committed.committed) {
            due.push(step_number)
            continue
          }
          taken[isNew ? 'new' : 'old'] += 1
          due.push(...committed.publications.flatMap((p) => (p.run_id === run_id ? [p.step_number] : [])))
          if (committed.run_status === 'completed') return
        } catch (error) {
          // not known whether it happened: it is delivered again
          if (!(error instanceof AppError && error.code === 'unavailable')) throw error
          due.push(step_number)
        }
      }
      throw new Error('the run goes round in circles')
    }

    const who = someone()
    const ids: string[] = []
    for (let n = 0; n < 6; n++) ids.push((await oldFront.createRun(newRun(who))).run.id)
    // three runs are half-way when the migrations begin, and one step is in work over all of them
    const across = await oldStep.claimStep({ run_id: ids[5] ?? '', step_number: 0, lease_seconds: 300 })
    if (!('claim' in across)) throw new Error(across.refused)
    const early = ids.slice(0, 3).map(carryOut)
    while (taken.old < 4) await new Promise((resolve) => setTimeout(resolve, 5))
    await copy(files)
    const applied = await migrate(database.url('postgres'), dir)
    expect(applied).toHaveLength(files.length - 9)
    migrated = true
    const begun = across.claim.step
    expect((await oldStep.commitStep({ ...begun, commit: planCommit() })).committed).toBe(true)
    await Promise.all([...early, ...ids.slice(3).map(carryOut)])
    expect(taken.old).toBeGreaterThan(4)
    expect(taken.new).toBeGreaterThan(4)

    await owner.connect()
    const { rows } = await owner.query('select status::text, count(*)::int from public.agent_runs group by 1')
    expect(rows).toEqual([{ status: 'completed', count: 6 }])
    expect((await owner.query(INVARIANTS)).rows).toEqual([])
    // the sweeper of the first release asks as it did
    expect(await firstRelease(step)('agent_sweep_due', { limit: 10 })).toMatchObject({ publications: [] })
  } finally {
    await owner.end().catch(() => undefined)
    await Promise.all(closing.map((close) => close()))
    await database.drop()
    await rm(dir, { recursive: true, force: true })
  }
}, 60_000)

/** Step functions of several releases over one database and one queue: who takes a delivery is whose turn it is. */
async function releases(change: ((deps: StepDeps) => StepDeps)[]) {
  const e = await engine(
    script([
      [call('message', { message: 'one' }), call('message', { message: 'two' })],
      [call('message', { message: 'three' })],
      [say('End.')],
    ]),
  )
  engines.push(e)
  const functions = change.map((make) => make(e.deps))
  return {
    e,
    deliver: (n: number, message: { run_id: string; step_number: number }): Promise<Advance> => {
      const deps = functions[n % functions.length]
      if (deps === undefined) throw new Error('no release')
      return advanceRun(deps, message)
    },
  }
}

const reading =
  (protocol: number, writes = 1) =>
  (deps: StepDeps): StepDeps => ({
    ...deps,
    store: {
      ...deps.store,
      claimStep: (input) => deps.store.claimStep({ ...input, protocol }),
      commitStep: (input) =>
        deps.store.commitStep({
          ...input,
          protocol: writes,
          burst: input.burst ? { ...input.burst, protocol } : null,
        }),
    },
  })

it('step functions of two releases take alternate steps of one run', async () => {
  const { e, deliver } = await releases([reading(1), reading(2)])
  const { run } = await e.create(principal())
  const outcomes: string[] = []
  for (let n = 0; n <= e.scheduler.published.length; n++) {
    const message = e.scheduler.published[n - 1] ?? { run_id: run.id, step_number: 0 }
    outcomes.push((await deliver(n, message)).outcome)
    if (n > 50) throw new Error('no end')
  }
  expect(outcomes.filter((outcome) => outcome === 'committed').length).toBeGreaterThan(5)
  expect((await e.run(run.id)).status).toBe('completed')
  expect(await e.violations()).toEqual([])
})

it('from the first row that only the newer release can read, the older one hands every delivery back', async () => {
  const { e, deliver } = await releases([reading(1), reading(2, 2)])
  const { run } = await e.create(principal())
  expect((await deliver(0, { run_id: run.id, step_number: 0 })).outcome).toBe('committed')
  expect((await deliver(1, { run_id: run.id, step_number: 1 })).outcome).toBe('committed')
  const before = await e.project.sql('select * from private.steps where run_id = $1 order by step_number', [
    run.id,
  ])
  for (let n = 2; n < before.length; n++) {
    expect((await deliver(0, { run_id: run.id, step_number: n })).outcome).toBe('newer')
  }
  expect(
    await e.project.sql('select * from private.steps where run_id = $1 order by step_number', [run.id]),
  ).toEqual(before)
  for (let n = 1; n < 50 && (await e.run(run.id)).status !== 'completed'; n++) {
    for (let step = 2; step < 12; step++) await deliver(1, { run_id: run.id, step_number: step })
  }
  expect((await e.run(run.id)).status).toBe('completed')
  expect(await e.violations()).toEqual([])
})

it('a burst of the newer release goes on with what it wrote itself', async () => {
  const { e, deliver } = await releases([
    (deps) => reading(2, 2)({ ...deps, settings: { ...deps.settings, burst: { steps: 20, ms: 60_000 } } }),
  ])
  const { run } = await e.create(principal())
  const first = await deliver(0, { run_id: run.id, step_number: 0 })
  expect(first).toMatchObject({ outcome: 'committed', steps: 2 })
})
