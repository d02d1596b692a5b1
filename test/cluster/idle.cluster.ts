import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createRun, type User, untilStatus } from '../system/kit.ts'
import { query, violations } from './database.ts'
import { figure } from './figure.ts'
import { install } from './installation.ts'
import { commandsPrompt } from './model.ts'
import { type PodWatch, watchPods } from './pod-watch.ts'
import { follow } from './read-stream.ts'
import { SWEEP_INTERVAL_MS } from './setup.ts'
import { newUser } from './user.ts'

/** An hour is the figure (CLUSTER_IDLE_SECONDS=3600); a shorter time shows the same with the sweeper's minute shortened to 2 s. */
const SECONDS = Number(process.env['CLUSTER_IDLE_SECONDS'] ?? 90)

const RENEWAL_SECONDS = 1800

let pods: PodWatch
let user: User

beforeAll(async () => {
  await install()
  pods = await watchPods('agents')
  user = await newUser('idle')
}, 600_000)
afterAll(() => pods?.stop())

test(
  'a run that waits for its user, with a sweeper at work and an open stream, keeps no step awake',
  async () => {
    const runId = await createRun(user, { prompt: commandsPrompt(['ask: Which of the two?']) })
    await untilStatus(user, runId, 'waiting_user', 180_000)
    const page = new AbortController()
    const stream = follow(user, runId, page.signal)
    await vi.waitFor(() => expect(pods.running('agent-step')).toEqual([]), {
      timeout: 120_000,
      interval: 500,
    })
    const from = Date.now()
    // in pieces, as an access token lives for an hour and the stream's page renews it before
    for (let left = SECONDS; left > 0; left -= RENEWAL_SECONDS) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(left, RENEWAL_SECONDS) * 1000))
      const { data, error } = await user.supabase.auth.refreshSession()
      if (error !== null || data.session === null) throw error ?? new Error('no session')
      user.token = data.session.access_token
    }
    const to = Date.now()
    const stepSeconds = pods.podSeconds('agent-step', from, to)
    const [row] = await query<{ status: string }>('select status from public.agent_runs where id = $1', [
      runId,
    ])
    expect(row?.status).toBe('waiting_user')
    expect(pods.running('agent-logs').length).toBeGreaterThan(0)
    page.abort()
    const { ends } = await stream
    figure('idle with a waiting run, a sweeper and an open stream', {
      s: (to - from) / 1000,
      'looks of the sweeper': Math.floor((to - from) / SWEEP_INTERVAL_MS),
      'pod-seconds of step': stepSeconds,
      'of the door': pods.podSeconds('agent-door', from, to),
      'of logs (the stream)': pods.podSeconds('agent-logs', from, to),
      'connections of the stream': ends.length,
    })
    expect(stepSeconds).toBe(0)
    expect(await violations()).toEqual([])

    // and it wakes for its user's answer
    const { error } = await user.supabase.functions.invoke('agent-execute', {
      body: { action: 'resume', run_id: runId, user_input: 'The second.' },
    })
    expect(error).toBeNull()
    await untilStatus(user, runId, 'completed', 120_000)
  },
  (SECONDS + 600) * 1000,
)
