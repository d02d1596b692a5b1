import { randomUUID } from 'node:crypto'
import { Hono } from 'hono'
import { readBody } from './body.ts'
import { CronError, parseCron } from './cron.ts'
import type { Dispatcher } from './dispatcher.ts'
import { BadRequest, checkUrl, parseOptions } from './options.ts'
import type { Persistence } from './persist.ts'
import { callerIp } from './routes-publish.ts'
import { requireName } from './routes-queues.ts'
import { describeSchedule } from './schedules.ts'
import type { Limits, Schedule, State } from './state.ts'
import { type Bindings, readTarget } from './target.ts'

/** Schedules: published by cron. */
export function scheduleRoutes(
  state: State,
  dispatcher: Dispatcher,
  persistence: Persistence,
  limits: Limits,
  now: () => number,
): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>()
  const done = async () => {
    persistence.changed()
    dispatcher.wake()
    await persistence.saved()
  }
  const find = (id: string): Schedule => {
    const schedule = state.schedules.get(id)
    if (!schedule) throw new BadRequest(`schedule ${id.slice(0, 128)} not found`, 404)
    return schedule
  }

  // Before the route that takes everything below /v2/schedules as a destination. The API's description says POST, the SDK sends PATCH.
  for (const action of ['pause', 'resume'] as const) {
    app.on(['POST', 'PATCH'], `/v2/schedules/:id/${action}`, async (c) => {
      const schedule = find(c.req.param('id'))
      schedule.isPaused = action === 'pause'
      if (!schedule.isPaused) schedule.nextAtMs = parseCron(schedule.cron).next(now())
      await done()
      return c.body(null, 200)
    })
  }

  app.post('/v2/schedules/*', async (c) => {
    const { rest, query } = readTarget(c, '/v2/schedules/')
    const body = await readBody(c, limits.maxMessageBytes)
    const options = parseOptions(c.req.raw.headers, query)
    const cron = c.req.header('upstash-cron') ?? query.get('upstash-cron')
    if (!cron) throw new BadRequest('Upstash-Cron is needed')
    if (/^https?:/i.test(rest)) checkUrl(rest, 'destination')
    else if (!state.topics.has(rest))
      throw new BadRequest('invalid destination: a URL or a known URL group is needed')
    const asked = c.req.header('upstash-schedule-id') ?? query.get('upstash-schedule-id')
    const scheduleId = asked
      ? requireName(asked, 'Upstash-Schedule-Id')
      : `scd_${randomUUID().replaceAll('-', '')}`
    if (!state.schedules.has(scheduleId) && state.schedules.size >= limits.maxNames) {
      throw new BadRequest('quota of schedules exceeded', 412)
    }
    state.schedules.set(scheduleId, {
      scheduleId,
      cron,
      destination: rest,
      options: { ...options, deduplicationId: null, contentBasedDeduplication: false },
      body: body.toString('base64'),
      callerIp: callerIp(c),
      createdAtMs: now(),
      isPaused: false,
      lastAtMs: null,
      nextAtMs: nextOf(cron, now()),
    })
    await done()
    return c.json({ scheduleId })
  })

  app.get('/v2/schedules', (c) => c.json([...state.schedules.values()].map(describeSchedule)))
  app.get('/v2/schedules/:id', (c) => c.json(describeSchedule(find(c.req.param('id')))))
  app.delete('/v2/schedules/:id', async (c) => {
    state.schedules.delete(find(c.req.param('id')).scheduleId)
    await done()
    return c.body(null, 200)
  })
  return app
}

function nextOf(cron: string, nowMs: number): number {
  let next: number | null
  try {
    next = parseCron(cron).next(nowMs)
  } catch (error) {
    throw error instanceof CronError ? new BadRequest(error.message) : error
  }
  if (next === null) throw new BadRequest('the cron expression never comes due')
  return next
}
