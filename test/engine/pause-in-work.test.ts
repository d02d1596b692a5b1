import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { advanceDatabase } from './advance-database.ts'
import { type Engine, engine, principal, say, script } from './harness.ts'

let e: Engine

beforeAll(async () => {
  e = await engine(script([[say('End.')]]))
})
afterEach(async () => {
  expect(await e.violations()).toEqual([])
})
afterAll(() => e.close())

it('a doubled message during a pause does not take the attempt in work off the schedule', async () => {
  const who = principal()
  const { run } = await e.create(who)
  const ids = { principal: who, run_id: run.id }
  const worker = await e.store.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 60 })
  expect('claim' in worker).toBe(true)
  await e.front.pauseRun(ids)
  expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'paused' })
  await e.front.resumeRun({ ...ids, user_input: null })
  expect(await e.violations()).toEqual([])
  // the worker is killed: after its lease the sweeper must find the step
  await advanceDatabase(e.project.sql, 63)
  expect((await e.store.sweepDue({ limit: 10 })).publications).toMatchObject([
    { run_id: run.id, step_number: 0 },
  ])
  await e.deliver({ run_id: run.id, step_number: 0 })
  await e.drain()
  expect((await e.run(run.id)).status).toBe('completed')
})
