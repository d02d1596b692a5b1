import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { modelStep, type NewStep } from '../core/steps.ts'
import type { Principal } from './identity.ts'
import type { Claim, CommitAnswer, CreateRun, NewArtifact, RunSnapshot, StepCommit } from './store.ts'
import type { StoreFixture } from './store-fixture.suite.ts'

/** Title and check. */
export type StoreCase = readonly [string, (fixture: StoreFixture) => Promise<void>]

export function someone(fields: Partial<Principal> = {}): Principal {
  return {
    issuer: 'https://users.example/auth/v1',
    sub: randomUUID(),
    tenant_id: null,
    user_id_from: 'sub',
    ...fields,
  }
}

export function newRun(principal: Principal, fields: Partial<CreateRun> = {}): CreateRun {
  return {
    principal,
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
    opening_credits: 1000,
    idempotency: null,
    warnings: [],
    ...fields,
  }
}

export function commitOf(fields: Pick<StepCommit, 'next'> & Partial<StepCommit>): StepCommit {
  return {
    status: 'completed',
    output: null,
    output_text: null,
    error_code: null,
    error_message: null,
    tokens_used: 0,
    messages: [],
    artifacts: [],
    logs: [],
    files: { put: [], removed: [] },
    verified: [],
    plan: null,
    current_phase: null,
    ...fields,
  }
}

export function toolStep(id: string, fields: Partial<NewStep> = {}): NewStep {
  return {
    kind: 'tool',
    tool_type: 'shell',
    tool_name: 'shell',
    tool_input: { command: 'ls' },
    tool_call_id: id,
    phase_number: 1,
    cost_units: 10_000,
    ...fields,
  }
}

/** A file of two bytes that a step made. */
export const artifactOf = (filename: string, storage_key = filename): NewArtifact => ({
  filename,
  file_path: `outputs/${filename}`,
  file_type: 'text/plain',
  file_size: 2,
  content_hash: sha('a'),
  storage_bucket: 'agent-outputs',
  storage_key,
  signed_url: 'https://x.example/a',
  signed_url_expires_at: '2099-01-01T00:00:00.000Z',
})

export const PLAN = {
  goal: 'Do it',
  phases: ['One', 'Two'].map((name, n) => ({
    phase_number: n + 1,
    name,
    description: name,
    required_capabilities: [],
    estimated_credits: 3,
    dependencies: [],
    expected_outputs: [],
  })),
  total_estimated_credits: 6,
  total_estimated_duration_minutes: 1,
  required_capabilities: [],
  risks: [],
}

export const planCommit = (): StepCommit =>
  commitOf({
    output: { plan: PLAN },
    plan: PLAN,
    current_phase: 1,
    next: { kind: 'steps', steps: [modelStep('decide', 1)] },
  })

export const toolCommit = (fields: Partial<StepCommit> = {}): StepCommit =>
  commitOf({
    messages: [
      {
        id: null,
        role: 'tool',
        content: 'result',
        tool_call_id: null,
        tool_name: null,
        is_error: false,
        blocks: null,
      },
    ],
    next: { kind: 'group', model_step: modelStep('decide', 0) },
    ...fields,
  })

export const answerCommit = (): StepCommit => commitOf({ next: { kind: 'complete', result: 'The answer.' } })

/** Takes the step; the case fails when it is refused. */
export async function claim(
  { step }: StoreFixture,
  run_id: string,
  step_number: number,
  lease_seconds = 60,
): Promise<Claim> {
  const answer = await step.claimStep({ run_id, step_number, lease_seconds })
  if (!('claim' in answer)) throw new Error(`step ${step_number} was refused: ${answer.refused}`)
  return answer.claim
}

/** Takes the step and commits it; the case fails when either is refused. */
export async function carryOut(
  fixture: StoreFixture,
  run_id: string,
  step_number: number,
  commit: StepCommit,
): Promise<CommitAnswer> {
  const held = await claim(fixture, run_id, step_number)
  const answer = await fixture.step.commitStep({ ...held.step, commit })
  expect(answer.committed).toBe(true)
  return answer
}

/** A run with its plan made: step 1 is a decide step that is due. */
export async function plannedRun(
  fixture: StoreFixture,
  who: Principal,
  fields: Partial<CreateRun> = {},
): Promise<string> {
  const { run } = await fixture.front.createRun(newRun(who, fields))
  await carryOut(fixture, run.id, 0, planCommit())
  return run.id
}

/** A planned run whose step 1 asked for these tools: steps 2, 3, … are due. */
export async function runWithTools(
  fixture: StoreFixture,
  who: Principal,
  steps: NewStep[],
  fields: Partial<CreateRun> = {},
): Promise<string> {
  const id = await plannedRun(fixture, who, fields)
  await carryOut(fixture, id, 1, commitOf({ next: { kind: 'steps', steps } }))
  return id
}

export function read({ front }: StoreFixture, principal: Principal, run_id: string): Promise<RunSnapshot> {
  return front.readRun({
    principal,
    run_id,
    steps: { limit: 100, before: null },
    messages: { limit: 100 },
    artifacts: { limit: 100 },
    logs: { limit: 500 },
  })
}

export const sha = (letter: string): string => letter.repeat(64)

export function refusal(code: string): Record<string, unknown> {
  return { name: 'AppError', code }
}
