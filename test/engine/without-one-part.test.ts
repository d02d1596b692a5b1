import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { call, type Engine, engine, principal, say, script } from './harness.ts'

let e: Engine

beforeAll(async () => {
  e = await engine(script([[say('I look.'), call('shell', { command: 'x' })], [say('End.')]]))
})
afterEach(async () => {
  expect(await e.violations()).toEqual([])
})
afterAll(() => e.close())

const events = async (runId: string) =>
  (
    await e.project.sql<{ event: string }>(
      `select concat_ws(' ', metadata ->> 'event', metadata -> 'data' ->> 'status') as event
    from public.agent_task_logs where run_id = $1 order by seq`,
      [runId],
    )
  ).map(({ event }) => event)

async function complete(): Promise<string> {
  const { run, publications } = await e.create(principal())
  await e.scheduler.publish(publications)
  await e.drain()
  await e.finish(`run-${run.id}-2`)
  await e.drain()
  expect((await e.run(run.id)).status).toBe('completed')
  return run.id
}

it('with the cache down a run completes and stores the same events', async () => {
  const usual = await events(await complete())
  e.cache.setAvailable(false)
  const without = await events(await complete())
  e.cache.setAvailable(true)
  expect(without).toEqual(usual)
})

it('with QStash refusing everything the sweeper carries the run, and every refusal asks for a repeat', async () => {
  const { run } = await e.create(principal())
  for (let n = 0; n < 20 && !['completed', 'failed'].includes((await e.run(run.id)).status); n++) {
    await e.project.sql(
      'update public.agent_task_queue set publish_at = now() where run_id = $1 and publish_at is not null',
      [run.id],
    )
    const { publications } = await e.store.sweepDue({ limit: 10 })
    for (const { step_number } of publications) {
      e.scheduler.failNext(1)
      const step = e.deliver({ run_id: run.id, step_number })
      const followed = (await step.catch((error: unknown) => error)) as { code?: string; outcome?: string }
      expect(followed.code === 'unavailable' || followed.outcome !== undefined).toBe(true)
    }
    if (e.jobs.has(`run-${run.id}-2`) && n === 4) {
      e.scheduler.failNext(1)
      // the runner's callback is answered with an error as well, and repeated by it
      await expect(e.finish(`run-${run.id}-2`)).rejects.toMatchObject({ code: 'unavailable' })
      await e.finish(`run-${run.id}-2`)
    }
  }
  e.scheduler.failNext(0)
  expect(await e.run(run.id)).toMatchObject({ status: 'completed', total_steps: 4 })
})
