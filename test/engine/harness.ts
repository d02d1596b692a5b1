import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type TestProject, testProject } from '../../dev/supabase/test-project.ts'
import { createMemoryCache } from '../../shared/adapters/memory/cache.ts'
import { createMemoryModel, type MemoryReply } from '../../shared/adapters/memory/model.ts'
import { createMemoryScheduler } from '../../shared/adapters/memory/scheduler.ts'
import { createFrontStore } from '../../shared/adapters/supabase/front-store.ts'
import { createStepStore } from '../../shared/adapters/supabase/step-store.ts'
import { createArtifacts, createBlobs } from '../../shared/adapters/supabase/storage.ts'
import type { JobResultRequest } from '../../shared/contract/job.ts'
import type { RunRow } from '../../shared/contract/rows.ts'
import { type Advance, advanceRun } from '../../shared/engine/advance-run.ts'
import { finishJob } from '../../shared/engine/finish-job.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import type { Principal } from '../../shared/ports/identity.ts'
import type { Log } from '../../shared/ports/log.ts'
import type { AssistantBlock, ModelRequest } from '../../shared/ports/model.ts'
import type { JobSpec } from '../../shared/ports/sandbox.ts'
import type { CreateRun } from '../../shared/ports/store.ts'

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLog }

export const SECRET = 'a secret of at least thirty-two characters'
const INVARIANTS = readFileSync(new URL('../../supabase/invariants.sql', import.meta.url), 'utf8')

export function principal(): Principal {
  return { issuer: 'https://users.example/auth/v1', sub: randomUUID(), tenant_id: null, user_id_from: 'sub' }
}

export const PLAN = {
  goal: 'Do it',
  phases: [
    {
      name: 'One',
      description: 'first',
      required_capabilities: [],
      estimated_credits: 1,
      dependencies: [],
      expected_outputs: [],
    },
    {
      name: 'Two',
      description: 'second',
      required_capabilities: [],
      estimated_credits: 1,
      dependencies: [1],
      expected_outputs: [],
    },
  ],
  total_estimated_duration_minutes: 1,
  risks: [],
}

export const call = (name: string, input: unknown, id = `toolu_${randomUUID()}`): AssistantBlock => ({
  type: 'tool_use',
  id,
  name,
  input,
})
export const say = (text: string): AssistantBlock => ({ type: 'text', text })

/** Answers plan requests with PLAN and decide requests by the number of assistant turns so far. */
export function script(turns: AssistantBlock[][]) {
  return (request: ModelRequest): MemoryReply => {
    if (request.tools.some(({ name }) => name === 'submit_plan'))
      return { blocks: [call('submit_plan', PLAN)] }
    const turn = request.messages.filter(({ role }) => role === 'assistant').length
    return { blocks: turns[turn] ?? [say('done')], usage: { inputTokens: 10, outputTokens: 5 } }
  }
}

/** The engine on a real database behind the real faces, with everything around it in memory and in the test's hands. */
export async function engine(
  respond: (request: ModelRequest, n: number) => MemoryReply | Promise<MemoryReply>,
  { approvalTools = [] }: { approvalTools?: readonly string[] } = {},
) {
  const project: TestProject = await testProject('', { template: 'migrated' })
  const options = async (role: string) => ({
    url: project.origin,
    anonKey: project.anonKey,
    roleToken: await project.mintRoleToken({ role }),
    timeoutMs: 10_000,
  })
  const front = createFrontStore(await options('agent_api'))
  const step = await options('agent_step')
  const store = createStepStore(step)
  const scheduler = createMemoryScheduler()
  const cache = createMemoryCache()
  const model = createMemoryModel(respond)
  const jobs = new Map<string, JobSpec>()
  const removed: string[] = []
  const deps: StepDeps = {
    store,
    scheduler,
    cache,
    model,
    sandbox: {
      async create(job) {
        if (jobs.has(job.name)) return 'exists'
        jobs.set(job.name, job)
        return 'created'
      },
      inspect: async (name) => (jobs.has(name) ? { state: 'running' } : { state: 'missing' }),
      async remove(name) {
        removed.push(name)
        jobs.delete(name)
      },
    },
    blobs: createBlobs(step),
    artifacts: createArtifacts(step),
    log: silentLog,
    newId: randomUUID,
    today: () => '2026-01-01',
    settings: {
      leaseSeconds: 5,
      stepDeadlineSeconds: 20,
      approvalTools: new Set(approvalTools),
      jobDeadlineSeconds: 60,
      jobStartSeconds: 30,
      maxTokens: 1000,
      maxFileBytes: 1_000_000,
      doorUrl: 'http://door.invalid',
      secret: SECRET,
    },
  }
  let delivered = 0

  const create = (who: Principal, fields: Partial<CreateRun> = {}) =>
    front.createRun({
      principal: who,
      prompt: 'please',
      mode: 'custom',
      project_id: null,
      connector_ids: [],
      metadata: {},
      memory_context: null,
      tags: [],
      attachments: [],
      files: [],
      auto_start: true,
      limits: { max_steps: 50, timeout_seconds: 600 },
      opening_credits: 100,
      idempotency: null,
      warnings: [],
      ...fields,
    })

  return {
    project,
    front,
    store,
    scheduler,
    cache,
    model,
    jobs,
    removed,
    deps,
    create,
    deliver: (message: { run_id: string; step_number: number }): Promise<Advance> =>
      advanceRun(deps, message),
    /** Delivers what was published, in order, until nothing more comes; every message `times` times. */
    async drain(times = 1): Promise<Advance[]> {
      const outcomes: Advance[] = []
      while (delivered < scheduler.published.length) {
        const message = scheduler.published[delivered++]
        for (let n = 0; message !== undefined && n < times; n++) {
          outcomes.push(await advanceRun(deps, { run_id: message.run_id, step_number: message.step_number }))
        }
      }
      return outcomes
    },
    /** The end of a job as its runner reports it. */
    async finish(name: string, fields: Partial<JobResultRequest> = {}) {
      const job = jobs.get(name)
      if (job === undefined) throw new Error(`no job ${name}`)
      const result: JobResultRequest = {
        outcome: { kind: 'exited', exit_code: 0 },
        stdout: 'out\n',
        stderr: '',
        truncated: false,
        duration_ms: 5,
        files: { put: [], removed: [] },
        ...fields,
      }
      await finishJob(deps, job, job.token, JSON.stringify(result), result)
    },
    async run(id: string): Promise<RunRow> {
      const [row] = await project.sql<RunRow & { [key: string]: unknown }>(
        'select * from public.agent_runs where id = $1',
        [id],
      )
      if (row === undefined) throw new Error('no such run')
      return row
    },
    violations: () => project.sql<{ invariant: string; run_id: string; detail: string }>(INVARIANTS),
    close: () => project.close(),
  }
}
export type Engine = Awaited<ReturnType<typeof engine>>
