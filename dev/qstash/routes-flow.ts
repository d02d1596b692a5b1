import { Hono } from 'hono'
import type { Dispatcher } from './dispatcher.ts'
import { parseDurationMs } from './duration.ts'
import { BadRequest } from './options.ts'
import type { Persistence } from './persist.ts'
import { type Flow, type Limits, type State, touchFlow } from './state.ts'
import type { AppContext, Bindings } from './target.ts'

/** Flow control keys and the global parallelism. */
export function flowRoutes(
  state: State,
  dispatcher: Dispatcher,
  persistence: Persistence,
  limits: Limits,
  now: () => number,
): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>()
  const searchParams = (c: AppContext) => new URL(c.req.raw.url).searchParams
  const isActive = (name: string) => name === 'ACTIVE' || name === 'CANCEL_REQUESTED'

  app.get('/v2/flowControl', (c) => {
    const search = searchParams(c).get('search') ?? ''
    return c.json([...state.flows.values()].filter((flow) => flow.key.includes(search)).map(describe))
  })
  app.get('/v2/flowControl/:key', (c) => {
    const flow = state.flows.get(c.req.param('key'))
    if (!flow) throw new BadRequest('flow control key not found', 404)
    return c.json(describe(flow))
  })
  app.get('/v2/globalParallelism', (c) => {
    const active = [...state.messages.values()].filter((message) => isActive(message.state)).length
    return c.json({ parallelismMax: limits.parallelism, parallelismCount: active })
  })

  const actions: Record<string, (flow: Flow, query: URLSearchParams) => void> = {
    pause(flow) {
      flow.paused = true
    },
    resume(flow) {
      flow.paused = false
    },
    pin(flow, query) {
      const parallelism = positive(query, 'parallelism')
      const rate = positive(query, 'rate')
      const period = query.get('period')
      const periodMs = period === null ? flow.limits.periodMs : parseDurationMs(period)
      if (periodMs === null || periodMs <= 0) throw new BadRequest('invalid period')
      if (parallelism !== null) {
        flow.pinnedParallelism = true
        flow.limits.parallelism = parallelism
      }
      if (rate !== null) {
        flow.pinnedRate = true
        flow.limits.rate = rate
        flow.limits.periodMs = periodMs
      }
    },
    unpin(flow, query) {
      if (query.get('parallelism') === 'true') flow.pinnedParallelism = false
      if (query.get('rate') === 'true') flow.pinnedRate = false
    },
    resetRate: reset,
    reset,
  }
  for (const [name, act] of Object.entries(actions)) {
    app.post(`/v2/flowControl/:key/${name}`, async (c) => {
      const key = c.req.param('key')
      if (!state.flows.has(key) && state.flows.size >= limits.maxNames)
        throw new BadRequest('quota of keys exceeded', 412)
      act(touchFlow(state, key, null, now()), searchParams(c))
      persistence.changed()
      dispatcher.wake()
      await persistence.saved()
      return c.body(null, 200)
    })
  }

  function reset(flow: Flow): void {
    flow.windowStartMs = now()
    flow.windowCount = 0
  }

  function describe(flow: Flow): Record<string, unknown> {
    const own = [...state.messages.values()].filter((message) => message.options.flowControlKey === flow.key)
    const active = own.filter((message) => isActive(message.state)).length
    return {
      flowControlKey: flow.key,
      waitListSize: own.length - active,
      parallelismMax: flow.limits.parallelism ?? 0,
      parallelismCount: active,
      rateMax: flow.limits.rate ?? 0,
      rateCount: flow.windowCount,
      ratePeriod: flow.limits.periodMs / 1000,
      ratePeriodStart: Math.floor(flow.windowStartMs / 1000),
      isPaused: flow.paused,
      isPinnedParallelism: flow.pinnedParallelism,
      isPinnedRate: flow.pinnedRate,
    }
  }
  return app
}

function positive(query: URLSearchParams, name: string): number | null {
  const text = query.get(name)
  if (text === null) return null
  if (!/^\d{1,9}$/.test(text) || Number(text) < 1) throw new BadRequest(`${name} must be a positive integer`)
  return Number(text)
}
