import { cancelFlag } from '../contract/live.ts'
import { toolCostUnits } from '../core/costs.ts'
import { type Decision, decide, type ImmediateResult, type ToolCall } from '../core/decide.ts'
import { TOOL_MEMORY_BYTES, TOOL_OUTPUT_BYTES } from '../core/limits.ts'
import type { Plan } from '../core/plan.ts'
import { backoffSeconds } from '../core/retry.ts'
import { type NewStep, modelStep as newModelStep } from '../core/steps.ts'
import { ModelError, type ModelRequest, type ModelTurn } from '../ports/model.ts'
import type { BurstClaim, Claim, CommitAnswer, NewMessage, StepCommit } from '../ports/store.ts'
import { CODE_LANGUAGES } from '../tools/code.ts'
import { TOOL_NAMES, TOOLS, toolDefinitions, toolInputFault } from '../tools/registry.ts'
import { buildConversation } from './conversation.ts'
import { deltaSender } from './delta-sender.ts'
import { holdLease } from './lease.ts'
import { planStep } from './plan-step.ts'
import { phaseNote } from './prompts/phase-note.ts'
import { supervisorPrompt } from './prompts/supervisor.ts'
import { failedRun, stepCommit } from './step-commit.ts'
import type { StepDeps } from './step-deps.ts'
import { storableTurn } from './storable-turn.ts'

const CONTINUE = 'Continue exactly where you stopped.'

/** Asks the model once and commits what follows from its turn. */
export async function modelStep(
  deps: StepDeps,
  claim: Claim,
  burst: BurstClaim | null,
): Promise<CommitAnswer> {
  const { step, run } = claim
  const messageId = deps.newId()
  const planning = step.tool_name !== 'decide'
  const request = planning ? planStep.request(deps, claim) : decideRequest(deps, claim)
  const lease = holdLease(deps, claim)
  const deltas = deltaSender(deps.cache, run.id, messageId)
  let turn: ModelTurn
  try {
    // the last look before money is spent
    if (await deps.cache.hasFlag(cancelFlag(run.id))) {
      await deps.store.settleAttempt({ ...step, tokens_used: 0, used: false })
      return { committed: false, run_status: 'cancelled', publications: [], log_seq: claim.log_seq }
    }
    turn = await deps.model.turn(request, {
      signal: lease.signal,
      onText: planning ? () => undefined : deltas.onText,
    })
  } catch (error) {
    return await afterModelError(deps, claim, error, lease.cause())
  } finally {
    deltas.stop()
    lease.release()
  }
  // Nothing of ours is awaited between the last byte of the answer and its commit: a kill here pays the model twice.
  const commit = planning
    ? planStep.commit(claim, turn, messageId)
    : decideCommit(deps, claim, turn, messageId)
  if (commit === undefined) {
    return deps.store.releaseStep({
      ...step,
      delay_seconds: backoffSeconds(step.attempt),
      error: 'The model answered nothing.',
      free: false,
    })
  }
  const written = await deps.store.commitStep({ ...step, commit, burst })
  if (!written.committed) {
    if (written.run_status === 'cancelled') stoppedTooLate(deps, claim, commit.tokens_used)
    await deps.store.settleAttempt({ ...step, tokens_used: commit.tokens_used, used: true })
  }
  return written
}

function decideRequest(deps: StepDeps, claim: Claim): ModelRequest {
  const plan = planOf(claim)
  const conversation = buildConversation(claim.conversation, claim.messages, claim.run.memory_context)
  if (conversation.omitted > 0) {
    deps.log.warn(
      { run_id: claim.run.id, step_number: claim.step.step_number, count: conversation.omitted },
      'conversation was cut',
    )
  }
  return {
    system: supervisorPrompt({
      plan,
      // of the run, not of the step: the prompt stays the same for the whole run
      today: claim.run.created_at.slice(0, 10),
      languages: CODE_LANGUAGES,
      limits: {
        timeoutSeconds: deps.settings.jobDeadlineSeconds,
        memoryMegabytes: TOOL_MEMORY_BYTES / 1024 / 1024,
        outputKilobytes: TOOL_OUTPUT_BYTES / 1024,
      },
    }),
    messages: conversation.messages,
    tools: toolDefinitions(),
    toolChoice: 'auto',
    maxTokens: deps.settings.maxTokens,
  }
}

function planOf({ run }: Claim): Plan {
  if (run.plan === null) throw new Error('a decide step needs a plan')
  return run.plan
}

/** The commit after a turn; undefined when the turn was empty and is to be tried again. */
function decideCommit(
  { settings }: StepDeps,
  claim: Claim,
  received: ModelTurn,
  messageId: string,
): StepCommit | undefined {
  const plan = planOf(claim)
  const turn = storableTurn(received)
  const text = turn.blocks.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('')
  const position = {
    currentPhase: Math.max(1, claim.run.current_phase),
    totalPhases: plan.phases.length,
    status: claim.run.status,
  }
  const decision = decide(
    {
      stopReason: turn.stopReason,
      text,
      toolCalls: turn.blocks.flatMap((block) =>
        block.type === 'tool_use' ? [{ id: block.id, name: block.name, input: block.input }] : [],
      ),
    },
    position,
    { known: TOOL_NAMES, validate: toolInputFault },
  )
  if (decision.kind === 'empty') return undefined
  const tokens =
    turn.usage.inputTokens +
    turn.usage.outputTokens +
    turn.usage.cacheReadTokens +
    turn.usage.cacheWriteTokens
  const assistant: NewMessage = {
    id: messageId,
    role: 'assistant',
    content: text,
    tool_call_id: null,
    tool_name: null,
    is_error: false,
    blocks: turn.blocks,
  }
  const shared = {
    output: { stop_reason: turn.stopReason, model: turn.model, usage: { ...turn.usage } },
    output_text: text,
    tokens_used: tokens,
  }
  if (decision.kind === 'fail')
    return failedRun(decision.code, decision.message, { ...shared, messages: text === '' ? [] : [assistant] })
  return stepCommit({
    ...shared,
    status: 'completed',
    ...followUp(claim, decision, assistant, {
      answers: (results, phase) => immediate(claim, results, plan, phase),
      needApproval: settings.approvalTools,
    }),
  })
}

function followUp(
  claim: Claim,
  decision: Exclude<Decision, { kind: 'empty' | 'fail' }>,
  assistant: NewMessage,
  {
    answers,
    needApproval,
  }: {
    answers: (results: readonly ImmediateResult[], currentPhase: number) => NewMessage[]
    needApproval: ReadonlySet<string>
  },
): Pick<StepCommit, 'messages' | 'next' | 'current_phase'> {
  const phase = Math.max(1, claim.run.current_phase)
  switch (decision.kind) {
    case 'answer':
      return {
        messages: [assistant],
        current_phase: null,
        next: { kind: 'complete', result: decision.result },
      }
    case 'continue':
      return {
        // stored, so that later requests begin with the same words as the next one
        messages: [
          assistant,
          {
            id: null,
            role: 'user',
            content: CONTINUE,
            tool_call_id: null,
            tool_name: null,
            is_error: false,
            blocks: null,
          },
        ],
        current_phase: null,
        next: { kind: 'steps', steps: [newModelStep('decide', phase)] },
      }
    case 'ask_user':
      return {
        messages: [assistant, ...answers(decision.results, decision.currentPhase)],
        current_phase: decision.currentPhase,
        next: {
          kind: 'wait_user',
          question: decision.question,
          steps: [newModelStep('decide', decision.currentPhase)],
        },
      }
    case 'tools':
      return {
        messages: [assistant, ...answers(decision.results, decision.currentPhase)],
        current_phase: decision.currentPhase,
        next: afterTools(decision, needApproval),
      }
  }
}

function afterTools(
  { calls, currentPhase }: Extract<Decision, { kind: 'tools' }>,
  needApproval: ReadonlySet<string>,
): StepCommit['next'] {
  if (calls.length === 0) return { kind: 'steps', steps: [newModelStep('decide', currentPhase)] }
  const steps = calls.map((call) => toolStep(call, currentPhase, needApproval))
  const asked = steps.flatMap(({ needs_approval, tool_name }) => (needs_approval ? [tool_name] : []))
  if (asked.length === 0) return { kind: 'steps', steps }
  return { kind: 'wait_approval', question: `May I use ${[...new Set(asked)].join(' and ')}?`, steps }
}

function toolStep({ id, name, input }: ToolCall, phase: number, needApproval: ReadonlySet<string>): NewStep {
  const tool = TOOLS.get(name)
  if (tool === undefined) throw new Error(`decide() let an unknown tool through: ${name}`)
  return {
    kind: 'tool',
    tool_type: tool.toolType,
    tool_name: name,
    tool_input: input,
    tool_call_id: id,
    phase_number: phase,
    cost_units: toolCostUnits(name),
    ...(needApproval.has(name) ? { needs_approval: true as const } : {}),
  }
}

function immediate(
  claim: Claim,
  results: readonly ImmediateResult[],
  plan: Plan,
  currentPhase: number,
): NewMessage[] {
  const files = claim.workspace.entries.map(({ path, size }) => ({ path, sizeBytes: size }))
  return results.map(({ toolCallId, toolName, text, isError }) => ({
    id: null,
    role: 'tool',
    content: text ?? phaseNote({ plan, currentPhase, files }).trim(),
    tool_call_id: toolCallId,
    tool_name: toolName,
    is_error: isError,
    blocks: null,
  }))
}

/** A request that was sent although its run had been stopped, or was under way then: aborted or thrown away, paid for, and counted here. */
function stoppedTooLate({ log }: StepDeps, { step }: Claim, tokens: number): void {
  const { run_id, step_number, attempt } = step
  const fields = { run_id, step_number, attempt, code: 'stopped_in_flight', count: tokens }
  log.warn(fields, 'a model request of a stopped run')
}

/** A fault of the provider is a later attempt, not a held process; what cannot get better ends the run with words a user understands. */
async function afterModelError(
  deps: StepDeps,
  claim: Claim,
  error: unknown,
  cause: 'cancelled' | 'lost' | 'deadline' | undefined,
): Promise<CommitAnswer> {
  const { step } = claim
  if (!(error instanceof ModelError)) throw error
  deps.log.warn(
    {
      run_id: step.run_id,
      step_number: step.step_number,
      attempt: step.attempt,
      outcome: cause ?? error.kind,
      err: error,
    },
    'model turn failed',
  )
  if (cause === 'cancelled') {
    stoppedTooLate(deps, claim, 0)
    await deps.store.settleAttempt({ ...step, tokens_used: 0, used: true })
    return { committed: false, run_status: 'cancelled', publications: [], log_seq: claim.log_seq }
  }
  if (cause === 'lost')
    return { committed: false, run_status: claim.run.status, publications: [], log_seq: claim.log_seq }
  const said = error.message.replace(/^model API: /, 'It said: ')
  switch (error.kind) {
    case 'spend_cap':
      return deps.store.commitStep({
        ...step,
        commit: failedRun(
          'MODEL_SPEND_CAP',
          'The model provider has reached its spending limit. Please try again later.',
        ),
      })
    case 'unauthorized':
      return deps.store.commitStep({
        ...step,
        commit: failedRun('MODEL_UNAUTHORIZED', 'The service may not use the model: its key was refused.'),
      })
    case 'invalid_request':
      return deps.store.commitStep({
        ...step,
        commit: failedRun('MODEL_INVALID_REQUEST', 'The model refused the request as invalid.'),
      })
    case 'rate_limited':
    case 'overloaded':
      // the provider's own load is no fault of this step: it waits without using up its attempts, until the run's time is over
      return deps.store.releaseStep({
        ...step,
        free: true,
        delay_seconds: Math.ceil(error.retryAfterSeconds ?? 15),
        error: `The model provider asks to wait. ${said}`,
      })
    case 'aborted':
    case 'unavailable':
      return deps.store.releaseStep({
        ...step,
        free: false,
        delay_seconds: Math.ceil(error.retryAfterSeconds ?? backoffSeconds(step.attempt)),
        error:
          cause === 'deadline' ? 'The step reached its time limit.' : `The model provider failed. ${said}`,
      })
  }
}
