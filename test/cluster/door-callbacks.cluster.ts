import { beforeAll, expect, test } from 'vitest'
import { createRun, type User, untilStatus } from '../system/kit.ts'
import { query, violations } from './database.ts'
import { figure } from './figure.ts'
import { gatewayAddress, install } from './installation.ts'
import { commandsPrompt } from './model.ts'
import { kubectlJson } from './run.ts'
import { ASK, quote, readAsked, runShell, type ToolJob, toolJobs } from './tool-shell.ts'
import { newUser } from './user.ts'

/** What reports a job's end to the door: nobody but its runner, once. Asked from where a job can ask, through the cluster's gateway. */
let user: User
let stranger: User
let gateway: string

beforeAll(async () => {
  await install()
  user = await newUser('callbacks')
  stranger = await newUser('stranger')
  gateway = await gatewayAddress()
}, 600_000)

test('callbacks that are forged, repeated, late or of another body change nothing; one is recorded', async () => {
  const victim = await createRun(stranger, { prompt: commandsPrompt(['sleep 40; echo too late']) })
  const job = await untilJob(victim)
  const body = (stdout: string, put: unknown[] = []) =>
    JSON.stringify({
      outcome: { kind: 'exited', exit_code: 0 },
      stdout,
      stderr: '',
      truncated: false,
      duration_ms: 1,
      files: { put, removed: [] },
    })
  const file = { path: 'outputs/x', sha256: '0'.repeat(64), size: 1, mode: 0o644, receipt: 'A'.repeat(43) }
  const door = (token: string, what: string, data: string, step = job.stepNumber) => [
    `-HAuthorization: Bearer ${token}`,
    '-HHost: agent-door.agents.svc.cluster.local',
    '-d',
    data,
    `http://${gateway}/agent/step/job/${victim}/${step}/${what}`,
  ]
  const first = body('from the one callback')
  const calls: [name: string, status: number, call: string[]][] = [
    ['a forged token', 401, door('A'.repeat(43), 'result', first)],
    ['the token at another step', 401, door(job.token, 'result', first, job.stepNumber + 1)],
    ['a file that was never brought', 400, door(job.token, 'result', body('x', [file]))],
    ['the first callback', 200, door(job.token, 'result', first)],
    ['the same again', 200, door(job.token, 'result', first)],
    ['another body', 409, door(job.token, 'result', body('changed'))],
    ['start after the end', 409, door(job.token, 'start', '{}')],
    [
      // a job that goes on writing is told that it is over; nothing is passed on
      'output after the end, which learns that it is over',
      200,
      door(job.token, 'output', '{"chunks":[{"stream":"stdout","content":"late"}]}'),
    ],
  ]
  const ask = async (wanted: typeof calls) => {
    const { output } = await runShell(
      user,
      ASK + wanted.map(([name, , call]) => `ask ${[name, ...call].map(quote).join(' ')}`).join('\n'),
    )
    const asked = readAsked(output)
    for (const { name, status, body: said } of asked)
      figure(`callback: ${name}`, { status, body: said.slice(0, 80) })
    expect(asked.map(({ name, status }) => [name, status])).toEqual(
      wanted.map(([name, status]) => [name, status]),
    )
  }
  await ask(calls)
  const { steps } = await untilStatus(stranger, victim, 'completed', 60_000)
  const recorded = steps.filter(({ tool_name }) => tool_name === 'shell')
  expect(recorded.map(({ tool_output }) => (tool_output as { stdout: string }).stdout)).toEqual([
    'from the one callback',
  ])
  // the runner's own report comes after it
  await expect
    .poll(async () => (await jobEnds(victim)).join(), { timeout: 90_000, interval: 1000 })
    .toBe('Complete')
  await ask([
    ['the same, when the run is over', 200, door(job.token, 'result', first)],
    ['another body, when the run is over', 409, door(job.token, 'result', body('changed'))],
  ])
  const [row] = await query<{ n: number; output: { stdout: string } }>(
    `select count(*)::int as n, (array_agg(tool_output))[1] as output from public.agent_steps where run_id = $1 and tool_name = 'shell'`,
    [victim],
  )
  expect([row?.n, row?.output.stdout]).toEqual([1, 'from the one callback'])
  expect(await violations()).toEqual([])
}, 400_000)

async function untilJob(runId: string): Promise<ToolJob> {
  const end = Date.now() + 60_000
  for (;;) {
    const [job] = await toolJobs(runId)
    if (job !== undefined) return job
    if (Date.now() > end) throw new Error('no job came')
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}

async function jobEnds(runId: string): Promise<string[]> {
  const { items } = await kubectlJson<{ items: { status: { conditions?: { type: string }[] } }[] }>([
    'get',
    'jobs',
    '-n',
    'agents-sandbox',
    '-l',
    `agent-functions/run=${runId}`,
  ])
  return items
    .flatMap(({ status }) => (status.conditions ?? []).map(({ type }) => type))
    .filter((type) => type === 'Complete' || type === 'Failed')
}
