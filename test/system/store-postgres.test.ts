import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createRun, ROOT, type SystemStack, systemStack, untilStatus, upload } from './kit.ts'

let system: SystemStack

beforeAll(async () => {
  system = await systemStack({
    settings: { STEP_LEASE_SECONDS: '3', STORE: 'postgres', STEP_BURST: '10' },
  })
})
afterAll(async () => {
  expect(await system.violations()).toEqual([])
  await system.close()
})

it('completes over a connection of its own and in bursts, with its own narrow roles', async () => {
  const user = await system.user('direct')
  const lock = readFileSync(join(ROOT, 'package-lock.json'))
  const attachment = await upload(user, 'package-lock.json', new Uint8Array(lock))
  const prompt = 'What is in this file? A table, a chart and the numbers.'
  const { run, steps } = await untilStatus(
    user,
    await createRun(user, { prompt, attachments: [attachment] }),
    'completed',
  )
  expect(run.total_steps).toBe(steps.length)
  const connected = await system.query<{ usename: string; application_name: string }>(
    `select distinct usename, application_name from pg_stat_activity where application_name like 'agent-%'`,
  )
  for (const { usename, application_name } of connected)
    expect(usename).toBe(application_name === 'agent-step' ? 'agent_step_login' : 'agent_api_login')
  expect(connected.map(({ application_name }) => application_name)).toContain('agent-step')
  // a plan and the first decision came in one invocation: the message for step 1 was never sent
  const log = readFileSync(join(system.dir, 'logs', 'step.log'), 'utf8')
  expect(log).toMatch(/"outcome":"committed","count":[2-9]/)
})
