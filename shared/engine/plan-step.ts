import { modelCostUnits } from '../core/costs.ts'
import { modelStep } from '../core/steps.ts'
import type { ModelMessage, ModelRequest, ModelTurn } from '../ports/model.ts'
import type { Claim, NewMessage, StepCommit } from '../ports/store.ts'
import { toolPrices } from '../tools/registry.ts'
import { planRepair } from './prompts/plan-repair.ts'
import { plannerPrompt, SUBMIT_PLAN, submitPlanTool } from './prompts/planner.ts'
import { userRequest } from './prompts/user-request.ts'
import { readPlan } from './read-plan.ts'
import { failedRun, stepCommit } from './step-commit.ts'
import type { StepDeps } from './step-deps.ts'
import { storableTurn } from './storable-turn.ts'

/** Asks for the plan; `replan` once more, with what was wrong with the first. */
function request(deps: StepDeps, claim: Claim): ModelRequest {
  const [first, ...attempts] = claim.conversation
  if (first === undefined) throw new Error('a run begins with its user message')
  const texts = userRequest({
    prompt: first.content,
    files: first.attachments.map(({ path, size }) => ({ path: String(path), sizeBytes: Number(size) })),
    memoryContext: claim.run.memory_context,
  })
  const messages: ModelMessage[] = [{ role: 'user', content: texts.map((text) => ({ type: 'text', text })) }]
  const turn = attempts.findLast(({ role, blocks }) => role === 'assistant' && blocks !== null)
  const answer = attempts.findLast(({ tool_name, role }) => tool_name === SUBMIT_PLAN && role !== 'assistant')
  if (turn !== undefined && answer !== undefined) {
    messages.push({
      role: 'assistant',
      content: turn.blocks as Extract<ModelMessage, { role: 'assistant' }>['content'],
    })
    messages.push({
      role: 'user',
      content: [
        answer.tool_call_id === null
          ? { type: 'text', text: answer.content }
          : {
              type: 'tool_result',
              tool_use_id: answer.tool_call_id,
              content: answer.content,
              is_error: true,
            },
      ],
    })
  }
  return {
    system: plannerPrompt({
      today: deps.today(),
      tools: toolPrices(),
      modelCallCredits: modelCostUnits() / 10_000,
    }),
    messages,
    tools: [submitPlanTool],
    toolChoice: { name: SUBMIT_PLAN },
    maxTokens: deps.settings.maxTokens,
  }
}

function commit(claim: Claim, received: ModelTurn, messageId: string): StepCommit | undefined {
  const turn = storableTurn(received)
  const text = turn.blocks.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('')
  const { usage } = turn
  const shared = {
    output: { stop_reason: turn.stopReason, model: turn.model, usage: { ...usage } },
    tokens_used: usage.inputTokens + usage.outputTokens + usage.cacheReadTokens + usage.cacheWriteTokens,
  }
  if (turn.stopReason === 'refusal') {
    return failedRun('MODEL_REFUSED', text.trim() || 'The model declined to work on this request.', shared)
  }
  if (turn.blocks.length === 0) return undefined
  const calls = turn.blocks.filter((block) => block.type === 'tool_use')
  const call = calls.find(({ name }) => name === SUBMIT_PLAN)
  const read = call === undefined ? { errors: [`${SUBMIT_PLAN} was not called.`] } : readPlan(call.input)
  if ('plan' in read) {
    return stepCommit({
      ...shared,
      status: 'completed',
      output: { ...shared.output, plan: read.plan },
      output_text: read.plan.goal,
      plan: read.plan,
      current_phase: 1,
      next: { kind: 'steps', steps: [modelStep('decide', 1)] },
    })
  }
  if (claim.step.tool_name === 'replan') {
    return failedRun(
      'PLAN_INVALID',
      `No valid plan could be made: ${read.errors.slice(0, 3).join('; ')}`,
      shared,
    )
  }
  // the repair sees its own first plan with what was wrong with it; a call beside it would need a result of its own
  const kept =
    call === undefined
      ? turn.blocks.filter(({ type }) => type !== 'tool_use')
      : turn.blocks.filter((block) => block.type !== 'tool_use' || block === call)
  const messages: NewMessage[] = [
    {
      id: messageId,
      role: 'assistant',
      content: text,
      tool_call_id: null,
      tool_name: SUBMIT_PLAN,
      is_error: false,
      blocks: kept,
    },
    {
      id: null,
      role: call === undefined ? 'user' : 'tool',
      content: planRepair(read.errors),
      tool_call_id: call?.id ?? null,
      tool_name: SUBMIT_PLAN,
      is_error: true,
      blocks: null,
    },
  ]
  return stepCommit({
    ...shared,
    status: 'failed',
    error_code: 'PLAN_INVALID',
    error_message: read.errors.slice(0, 3).join('; '),
    messages,
    next: { kind: 'steps', steps: [modelStep('replan', 0)] },
  })
}

export const planStep = { request, commit }
