import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { freePort } from '../../dev/free-port.ts'
import { createRun, ROOT, type SystemStack, systemStack, untilStatus } from './kit.ts'

/** The door as a process of its own, under its own role: tool jobs know no other address. */
let system: SystemStack
let door: ChildProcess
let base: string
let output = ''

beforeAll(async () => {
  const port = await freePort()
  base = `http://127.0.0.1:${port}`
  system = await systemStack({
    settings: { STEP_LEASE_SECONDS: '3', DOOR_URL: `${base}/agent/step/job` },
  })
  door = spawn(process.execPath, [join(ROOT, 'dist/index.mjs')], {
    env: { ...system.stack().environments.door, FUNCTION_TARGET: 'door', PORT: `${port}`, HOST: '127.0.0.1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  door.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  await vi.waitFor(async () => expect((await fetch(`${base}/ready`)).status).toBe(200), { timeout: 20_000 })
}, 120_000)
afterAll(async () => {
  if (door?.exitCode === null && door.kill()) await once(door, 'exit')
  await system?.close()
})

it('serves a run its jobs, while step has no job routes', async () => {
  const user = await system.user('door')
  const runId = await createRun(user, { prompt: 'Measure this text: the quick brown fox' })
  const { steps } = await untilStatus(user, runId, 'completed')
  expect(steps.some(({ tool_name, status }) => tool_name === 'code' && status === 'completed')).toBe(true)
  for (const verb of ['start', 'result']) expect(output).toContain(`/${verb}`)
  expect(output).toContain('"service":"door"')
  expect(await system.violations()).toEqual([])

  const asked = await fetch(`${system.stack().origin}/agent/step/job/${runId}/1/start`, {
    method: 'POST',
    headers: { authorization: 'Bearer x', 'content-type': 'application/json' },
    body: '{}',
  })
  expect(asked.status).toBe(404)
})

it('has no route but the job routes, and no right in the database but theirs', async () => {
  for (const path of ['/agent/step', '/agent/step/sweep', '/agent/execute', '/agent/status', '/agent/logs'])
    expect((await fetch(`${base}${path}`, { method: 'POST', body: '{}' })).status).toBe(404)
  const forged = await fetch(`${base}/agent/step/job/00000000-0000-4000-8000-000000000001/1/start`, {
    method: 'POST',
    headers: { authorization: 'Bearer forged' },
    body: '{}',
  })
  expect(forged.status).toBe(401)

  const { SUPABASE_URL, SUPABASE_ANON_KEY, SUPABASE_ROLE_TOKEN } = system.stack().environments.door
  const answers = await Promise.all(
    ['agent_claim_step', 'agent_sweep_due', 'agent_create_run', 'agent_check_job'].map((name) =>
      fetch(`${SUPABASE_URL}/rest/v1/rpc/${name}`, {
        method: 'POST',
        headers: {
          apikey: `${SUPABASE_ANON_KEY}`,
          authorization: `Bearer ${SUPABASE_ROLE_TOKEN}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify({ p: { run_id: crypto.randomUUID(), step_number: 0, token_sha256: '' } }),
      }).then(({ status }) => status),
    ),
  )
  expect(answers).toEqual([403, 403, 403, 401])
})
