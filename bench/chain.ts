import { randomUUID } from 'node:crypto'
import { createMemoryCache } from '../shared/adapters/memory/cache.ts'
import type { StepDeps } from '../shared/engine/step-deps.ts'
import type { Log } from '../shared/ports/log.ts'
import type { AssistantBlock, Model, ModelRequest } from '../shared/ports/model.ts'
import type { Scheduler } from '../shared/ports/scheduler.ts'
import type { CreateRun, StepStore } from '../shared/ports/store.ts'

const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLog }

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
  ],
  total_estimated_duration_minutes: 1,
  risks: [],
}

export interface ChainOptions {
  store: StepStore
  scheduler: Scheduler
  /** Bytes of text that every model turn and every tool result bring along, together about one step's messages. */
  textBytes: number
  burst?: { steps: number; ms: number }
}

/**
 * The real use cases with a model that costs nothing: it plans, then asks for an inline tool (`message`) for ever, so that steps of
 * both kinds alternate. The limit of steps in the run ends it. Only our engine, its SQL and the way there are left to measure.
 */
export function chain({ store, scheduler, textBytes, burst }: ChainOptions): StepDeps {
  return {
    store,
    scheduler,
    cache: createMemoryCache(),
    model: toolLoop(textBytes),
    sandbox: {
      create: () => Promise.reject(new Error('no jobs here')),
      inspect: async () => ({ state: 'missing' }),
      remove: async () => {},
    },
    blobs: {
      put: () => Promise.reject(new Error('no files here')),
      get: () => Promise.reject(new Error('no files here')),
    },
    artifacts: {
      publish: () => Promise.reject(new Error('no files here')),
      sign: () => Promise.reject(new Error('no files here')),
    },
    log: silentLog,
    newId: randomUUID,
    today: () => '2026-01-01',
    settings: {
      leaseSeconds: 15,
      ...(burst === undefined ? {} : { burst }),
      stepDeadlineSeconds: 270,
      approvalTools: new Set(),
      jobDeadlineSeconds: 60,
      jobStartSeconds: 30,
      maxTokens: 1000,
      maxFileBytes: 1_000_000,
      doorUrl: 'http://door.invalid',
      secret: 'a secret of at least thirty-two characters',
    },
  }
}

/** Unlike the memory twin it keeps no copy of what it was asked: a chain of 10,000 steps would fill the memory with prompts. */
function toolLoop(textBytes: number): Model {
  const text = 'x'.repeat(textBytes)
  return {
    async turn(request: ModelRequest) {
      const blocks: AssistantBlock[] = request.tools.some(({ name }) => name === 'submit_plan')
        ? [{ type: 'tool_use', id: `toolu_${randomUUID()}`, name: 'submit_plan', input: PLAN }]
        : [{ type: 'tool_use', id: `toolu_${randomUUID()}`, name: 'message', input: { message: text } }]
      return {
        blocks,
        stopReason: 'tool_use',
        usage: { inputTokens: 1000, outputTokens: 100, cacheReadTokens: 0, cacheWriteTokens: 0 },
        model: 'bench',
      }
    },
  }
}

/** What a run of `steps` steps is created with. */
export function runOf(steps: number, user: string = randomUUID()): CreateRun {
  return {
    principal: {
      issuer: 'https://users.example/auth/v1',
      sub: user,
      tenant_id: null,
      user_id_from: 'sub',
    },
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
    limits: { max_steps: steps, timeout_seconds: 3600 },
    opening_credits: 900_000,
    idempotency: null,
    warnings: [],
  }
}
