import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { createRun, type SystemStack, systemStack, type User, untilStatus, upload } from './kit.ts'

let system: SystemStack
let user: User

beforeAll(async () => {
  // slow enough that there is a middle to cancel in
  system = await systemStack({ tokensPerSecond: 15 })
  user = await system.user('demo')
})
afterEach(async () => {
  expect(await system.violations()).toEqual([])
})
afterAll(() => system.close())

const step = async (runId: string, where: string) =>
  (
    await system.query<{ n: number }>(
      `select count(*)::int as n from public.agent_steps where run_id = $1 and status = 'running' and ${where}`,
      [runId],
    )
  )[0]?.n ?? 0

async function stop(runId: string): Promise<void> {
  const { data, error } = await user.supabase.functions.invoke<{ status: string }>('agent-execute', {
    body: { action: 'stop', run_id: runId },
  })
  expect([error, data?.status]).toEqual([null, 'cancelled'])
}

it('in the middle of a model stream: final at once, nothing is claimed afterwards, the attempt is settled', async () => {
  const runId = await createRun(user, { prompt: 'Say something long, please.' })
  await expect.poll(() => step(runId, `tool_type = 'plan'`), { timeout: 20_000, interval: 10 }).toBe(1)
  await stop(runId)
  const { steps } = await untilStatus(user, runId, 'cancelled')
  await new Promise((resolve) => setTimeout(resolve, 2500))
  const later = await untilStatus(user, runId, 'cancelled')
  expect(later.steps.map(({ id, status }) => [id, status])).toEqual(
    steps.map(({ id, status }) => [id, status]),
  )
  const [settling] = await system.query<{ n: number }>(
    `select count(*)::int as n from private.steps where run_id = $1 and state = 'settling'`,
    [runId],
  )
  expect(settling?.n).toBe(0)
}, 60_000)

it('in the middle of a tool: the job is removed and its late result changes nothing', async () => {
  const rows = JSON.stringify(Array.from({ length: 60_000 }, (_, n) => ({ id: n, kind: `k${n % 7}` })))
  const attachment = await upload(user, 'big.json', new TextEncoder().encode(rows))
  const runId = await createRun(user, { prompt: 'Analyse this file', attachments: [attachment] })
  await expect.poll(() => step(runId, `tool_type = 'code'`), { timeout: 40_000, interval: 5 }).toBe(1)
  await stop(runId)
  await untilStatus(user, runId, 'cancelled')
  await expect
    .poll(async () => (await system.query(`select 1 from private.jobs_to_remove`)).length, {
      timeout: 15_000,
    })
    .toBe(0)
  const again = await user.supabase.functions.invoke('agent-execute', {
    body: { action: 'stop', run_id: runId },
  })
  expect(await (again.error as { context: Response }).context.json()).toMatchObject({
    error: 'Cannot cancel run in status: cancelled',
    code: 'invalid_state',
    success: false,
  })
}, 80_000)
