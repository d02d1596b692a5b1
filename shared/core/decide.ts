import type { RunStatus } from './run.ts'
import { invalidToolInput } from './tool-input.ts'

/** What a model's turn says, without its wire format. */
export interface Turn {
  stopReason: string
  text: string
  toolCalls: readonly { id: string; name: string; input: unknown }[]
}

export interface RunPosition {
  currentPhase: number
  totalPhases: number
  status: RunStatus
}

/** A tool call answered without a step of its own: a control call, or one that cannot be carried out. */
export interface ImmediateResult {
  toolCallId: string
  toolName: string
  /** null: the note about the phase that begins, written by the engine. */
  text: string | null
  isError: boolean
}

export interface ToolCall {
  id: string
  name: string
  input: Record<string, unknown>
}

/** What follows a turn of the model. Every tool call of the turn is in `calls` or in `results`, once. */
export type Decision =
  | { kind: 'answer'; result: string }
  | { kind: 'tools'; calls: ToolCall[]; results: ImmediateResult[]; currentPhase: number }
  | { kind: 'ask_user'; question: string; results: ImmediateResult[]; currentPhase: number }
  | { kind: 'continue' }
  | { kind: 'empty' }
  | { kind: 'fail'; code: 'MODEL_REFUSED' | 'MODEL_CONTEXT_FULL'; message: string }

/** Calls of one turn that run side by side at most; the rest is sent back to the model. */
export const MAX_CALLS_A_TURN = 16

export const ADVANCE_PHASE = 'advance_phase'
export const ASK_USER = 'ask_user'

/**
 * The pure decision after a turn. `validate` says what is wrong with a tool call's input (a sentence for the model), or undefined;
 * `known` are the tools this run was granted.
 */
export function decide(
  turn: Turn,
  position: RunPosition,
  tools: { known: ReadonlySet<string>; validate: (name: string, input: unknown) => string | undefined },
): Decision {
  if (turn.stopReason === 'refusal') {
    return {
      kind: 'fail',
      code: 'MODEL_REFUSED',
      message: turn.text.trim() || 'The model declined to work on this request.',
    }
  }
  if (turn.stopReason === 'model_context_window_exceeded') {
    return {
      kind: 'fail',
      code: 'MODEL_CONTEXT_FULL',
      message: 'The conversation has become too long for the model.',
    }
  }
  if (turn.toolCalls.length === 0) {
    // cut off by its token limit or paused by the provider: the next step goes on from what is there
    if (turn.stopReason === 'max_tokens' || turn.stopReason === 'pause_turn') {
      return turn.text.trim() === '' ? { kind: 'empty' } : { kind: 'continue' }
    }
    return turn.text.trim() === '' ? { kind: 'empty' } : { kind: 'answer', result: turn.text }
  }

  const calls: ToolCall[] = []
  const results: ImmediateResult[] = []
  const questions: { id: string; question: string }[] = []
  let currentPhase = position.currentPhase
  for (const { id, name, input } of turn.toolCalls) {
    const refuse = (text: string) => results.push({ toolCallId: id, toolName: name, text, isError: true })
    const invalid = invalidToolInput(input)
    if (invalid !== undefined) {
      refuse(`The call was not carried out. ${invalid.reason}`)
    } else if (name === ADVANCE_PHASE) {
      const fault = advanceFault(input, currentPhase, position.totalPhases)
      if (fault === undefined) {
        currentPhase += 1
        results.push({ toolCallId: id, toolName: name, text: null, isError: false })
      } else refuse(fault)
    } else if (name === ASK_USER) {
      const question = (input as { question?: unknown } | null)?.question
      if (typeof question !== 'string' || question.trim() === '') refuse('ask_user needs a question.')
      else questions.push({ id, question: question.slice(0, 4000) })
    } else if (!tools.known.has(name)) {
      refuse(
        `There is no tool ${JSON.stringify(name.slice(0, 100))}. The tools are: ${[...tools.known].join(', ')}.`,
      )
    } else if (calls.length === MAX_CALLS_A_TURN) {
      refuse(
        `Not carried out: at most ${MAX_CALLS_A_TURN} calls a turn. Make this call again in your next turn.`,
      )
    } else {
      const fault = tools.validate(name, input)
      if (fault === undefined) calls.push({ id, name, input: input as Record<string, unknown> })
      else refuse(`The call was not carried out: ${fault}`)
    }
  }

  const [first, ...rest] = questions
  if (first !== undefined && calls.length === 0) {
    results.push({
      toolCallId: first.id,
      toolName: ASK_USER,
      text: 'The user was asked; the answer follows.',
      isError: false,
    })
    for (const { id } of rest) {
      results.push({
        toolCallId: id,
        toolName: ASK_USER,
        text: 'Only one question at a time was asked.',
        isError: true,
      })
    }
    return { kind: 'ask_user', question: first.question, results, currentPhase }
  }
  for (const { id } of questions) {
    results.push({
      toolCallId: id,
      toolName: ASK_USER,
      text: 'Not asked: ask when no other call is open.',
      isError: true,
    })
  }
  return { kind: 'tools', calls, results, currentPhase }
}

function advanceFault(input: unknown, currentPhase: number, totalPhases: number): string | undefined {
  const phase = (input as { phase_number?: unknown } | null)?.phase_number
  if (phase !== currentPhase)
    return `Phase ${currentPhase} is the current one: call advance_phase with its number when it is done.`
  if (currentPhase >= totalPhases)
    return 'This is the last phase: it ends with your answer, not with advance_phase.'
  return undefined
}
