import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { createRun, type SystemStack, systemStack, type User, untilStatus, upload } from './kit.ts'

let system: SystemStack
let user: User

beforeAll(async () => {
  system = await systemStack({ tokensPerSecond: 2000 })
  user = await system.user('demo')
})
afterEach(async () => {
  expect(await system.violations()).toEqual([])
})
afterAll(() => system.close())

async function analyse(): Promise<string> {
  const rows = Array.from({ length: 200 }, (_, n) => ({ id: n, color: ['red', 'green', 'blue'][n % 3] }))
  const attachment = await upload(
    user,
    `rows-${Date.now()}.json`,
    new TextEncoder().encode(JSON.stringify(rows)),
  )
  return createRun(user, { prompt: 'Analyse this file', attachments: [attachment] })
}

it('the step service is SIGKILLed again and again in the middle of a run, and the run completes', async () => {
  const runId = await analyse()
  let kills = 0
  const killer = setInterval(() => {
    for (const pid of system.stack().gateway.pids()['step'] ?? []) {
      try {
        process.kill(pid, 'SIGKILL')
        kills += 1
      } catch {
        // it was ending by itself
      }
    }
    if (kills >= 4) clearInterval(killer)
  }, 700)
  const { run, steps } = await untilStatus(user, runId, 'completed', 110_000)
  clearInterval(killer)
  expect(kills).toBeGreaterThanOrEqual(3)
  expect(steps.map(({ step_number }) => step_number)).toEqual(
    Array.from({ length: run.total_steps }, (_, n) => n),
  )
}, 120_000)

it('execute, status and logs are SIGKILLed while a run goes on, and it completes', async () => {
  const runId = await analyse()
  const killer = setInterval(() => {
    for (const name of ['execute', 'status', 'logs'])
      for (const pid of system.stack().gateway.pids()[name] ?? []) process.kill(pid, 'SIGKILL')
  }, 500)
  setTimeout(() => clearInterval(killer), 3000)
  await untilStatus(user, runId, 'completed', 60_000)
}, 70_000)

/** Processes of this machine whose command line holds this. */
function processesWith(word: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      const line = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ')
      return line.includes(word) ? [Number(name)] : []
    } catch {
      return []
    }
  })
}

/** Runners of this stack that are at work: other test files have some of their own meanwhile. */
function runners(): number[] {
  const records = join(system.dir, 'jobs/records')
  return readdirSync(records).flatMap((name) => {
    try {
      const { state, runner } = JSON.parse(readFileSync(join(records, name), 'utf8')) as {
        state: string
        runner?: { pid: number }
      }
      return state === 'running' && runner !== undefined ? [runner.pid] : []
    } catch {
      return [] // just being replaced
    }
  })
}

it('a tool and its runner that are SIGKILLed are told to the model, which goes on', async () => {
  const runId = await analyse()
  const killed = new Set<number>()
  const killer = setInterval(() => {
    for (const pid of runners()) {
      if (killed.size >= 2) return
      if (killed.has(pid)) continue
      killed.add(pid)
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // it had just ended
      }
    }
  }, 20)
  const { steps } = await untilStatus(user, runId, 'completed', 60_000)
  clearInterval(killer)
  expect(killed.size).toBe(2)
  expect(steps.some(({ error_code }) => error_code === 'TOOL_LOST' || error_code === 'TOOL_KILLED')).toBe(
    true,
  )
}, 70_000)

it('the stack is stopped in the middle of a tool and started again, and the run completes', async () => {
  const runId = await analyse()
  await expect.poll(() => runners().length, { timeout: 20_000, interval: 10 }).toBeGreaterThan(0)
  await system.restart()
  await untilStatus(user, runId, 'completed')
}, 90_000)

it('leaves no tool process behind', () => {
  expect(processesWith(`${system.dir}/jobs/`)).toEqual([])
})
