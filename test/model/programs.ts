import { ASK_USER, type Decision, decide, type Turn } from '../../shared/core/decide.ts'

/** What follows a step whose work succeeded, as numbers of steps. */
export type Follow =
  | { kind: 'steps'; steps: number[]; plan: boolean }
  | { kind: 'wait_user'; step: number }
  | { kind: 'complete' }
  | { kind: 'fail' }
  | { kind: 'group'; modelStep: number }

export interface ProgramStep {
  kind: 'model' | 'tool'
  /** What follows when the model does its work, and when it refuses (tools have no second way). */
  answer: Follow
  refuse: Follow | null
}

export interface Program {
  name: string
  /** A program that begins in the middle of a run begins in this status. */
  status: 'queued' | 'executing'
  steps: ProgramStep[]
}

const turn = (stopReason: string, text: string, tools: string[] = []): Turn => ({
  stopReason,
  text,
  toolCalls: tools.map((name, n) => ({ id: `call_${n}`, name, input: { question: 'Which?' } })),
})
const ANSWER = turn('end_turn', 'The answer.')
const CONTINUE = turn('max_tokens', 'The first half')
const REFUSAL = turn('refusal', 'No.')
const TOOL = turn('tool_use', '', ['shell'])
const TOOLS = turn('tool_use', '', ['shell', 'shell'])
const QUESTION = turn('tool_use', '', [ASK_USER])

/** Asks the product's decision, and numbers the steps that it schedules. */
function follow(said: Turn, next: number): { follow: Follow; calls: number } {
  const decision: Decision = decide(
    said,
    { currentPhase: 1, totalPhases: 2, status: 'executing' },
    { known: new Set(['shell']), validate: () => undefined },
  )
  switch (decision.kind) {
    case 'answer':
      return { follow: { kind: 'complete' }, calls: 0 }
    case 'continue':
      return { follow: { kind: 'steps', steps: [next], plan: false }, calls: 0 }
    case 'ask_user':
      return { follow: { kind: 'wait_user', step: next }, calls: 0 }
    case 'fail':
      return { follow: { kind: 'fail' }, calls: 0 }
    case 'tools': {
      const steps = decision.calls.map((_, n) => next + n)
      return { follow: { kind: 'steps', steps, plan: false }, calls: steps.length }
    }
    case 'empty':
      throw new Error('a scripted turn says something')
  }
}

function program(name: string, status: Program['status'], planned: boolean, turns: Turn[]): Program {
  const refuse = follow(REFUSAL, 0).follow
  const steps: ProgramStep[] = planned
    ? [{ kind: 'model', answer: { kind: 'steps', steps: [1], plan: true }, refuse }]
    : []
  for (const said of turns) {
    const { follow: answer, calls } = follow(said, steps.length + 1)
    steps.push({ kind: 'model', answer, refuse })
    const modelStep = steps.length + calls
    for (let n = 0; n < calls; n++)
      steps.push({ kind: 'tool', answer: { kind: 'group', modelStep }, refuse: null })
  }
  return { name, status, steps }
}

export const PROGRAMS = {
  /** A plan and its answer. */
  two: program('2 steps: plan, answer', 'queued', true, [ANSWER]),
  question: program('2 steps: question to the user, answer', 'executing', false, [QUESTION, ANSWER]),
  three: program('3 steps: plan, cut off, answer', 'queued', true, [CONTINUE, ANSWER]),
  job: program('3 steps: tool call, job, answer', 'executing', false, [TOOL, ANSWER]),
  group: program('4 steps: two calls side by side, answer', 'executing', false, [TOOLS, ANSWER]),
} as const
export type ProgramName = keyof typeof PROGRAMS
