import type { MemoryReply } from '../../shared/adapters/memory/model.ts'
import type { RunStatus } from '../../shared/core/run.ts'
import { type AssistantBlock, ModelError, type ModelRequest } from '../../shared/ports/model.ts'
import { PLAN } from '../engine/harness.ts'

/** What the run's owner does, once, as soon as `when` holds; repeated until it was answered. */
export interface Action {
  verb:
    | 'start'
    | 'cancel'
    | 'pause'
    | 'resume'
    | 'retry'
    | 'approve'
    | 'deny'
    | 'fork'
    | 'retry_step'
    | 'delete'
    | 'stop_tag'
  /** Of fork and retry_step. */
  step?: number
  input?: string
  when: (seen: Seen) => boolean
}

export interface Seen {
  status: RunStatus | 'deleted'
  /** Jobs that are out, and jobs whose end was reported. */
  jobsOut: number
  jobsEnded: number
  /** The step whose model request is open just now. */
  asking: number | undefined
}

export interface Asked {
  /** How often this step's model was asked, this time included. */
  times: number
  /** 0; 1 for the run that a retry made. */
  run: number
}

export interface Scenario {
  name: string
  /** The model's turns after the plan, by the number of its earlier turns. */
  turns: AssistantBlock[][]
  /** Goes before `turns`. */
  reply?: (request: ModelRequest, asked: Asked) => MemoryReply | undefined
  actions?: Action[]
  autoStart?: boolean
  /** Tools whose calls wait for their user's yes. */
  approvalTools?: readonly string[]
  maxSteps?: number
  /** Steps that one invocation may take. */
  burst?: number
  openingCredits?: number
  /** How a job ends: as usual, with a file under outputs/, or its pod is gone before its runner ever called. */
  jobs?: 'plain' | 'file' | 'gone'
  status: RunStatus | 'deleted'
  errorCode?: string
  /** Facts of the digest that may differ when a fault struck, and why. */
  mayDiffer?: { facts: readonly string[]; reason: string; onlyPairs?: boolean }
}

const call = (id: string, name: string, input: unknown): AssistantBlock => ({
  type: 'tool_use',
  id: `toolu_${id}`,
  name,
  input,
})
const say = (text: string): AssistantBlock => ({ type: 'text', text })
const isPlan = ({ tools }: ModelRequest) => tools.some(({ name }) => name === 'submit_plan')
const shell = (id: string) => call(id, 'shell', { command: `run ${id}` })
const END = [say('The end.')]

export const SCENARIOS: readonly Scenario[] = [
  { name: 'plan, decide, answer', turns: [END], status: 'completed' },
  {
    name: 'created, then started',
    turns: [END],
    autoStart: false,
    actions: [{ verb: 'start', when: ({ status }) => status === 'created' }],
    status: 'completed',
  },
  {
    name: 'a job with a file',
    turns: [[say('I look.'), shell('a')], END],
    jobs: 'file',
    status: 'completed',
  },
  {
    name: 'an inline tool with an artifact',
    turns: [[call('w', 'file_write', { filepath: 'outputs/a.txt', content: 'hi' })], END],
    status: 'completed',
  },
  {
    name: 'a parallel group of jobs and inline tools',
    turns: [[shell('a'), call('m', 'message', { message: 'm' }), shell('b')], END],
    status: 'completed',
  },
  {
    name: 'a plan that is repaired',
    turns: [END],
    reply: (request) =>
      isPlan(request) && request.messages.length === 1
        ? { blocks: [call('bad', 'submit_plan', { goal: '', phases: [] })] }
        : undefined,
    status: 'completed',
  },
  {
    name: 'a question to the user',
    turns: [[call('q', 'ask_user', { question: 'Which?' })], END],
    actions: [{ verb: 'resume', input: 'the red one', when: ({ status }) => status === 'waiting_user' }],
    status: 'completed',
  },
  {
    name: 'a call that is allowed',
    turns: [[shell('a'), call('m', 'message', { message: 'm' })], END],
    approvalTools: ['shell'],
    actions: [{ verb: 'approve', when: ({ status }) => status === 'waiting_user' }],
    status: 'completed',
  },
  {
    name: 'a call that is denied',
    turns: [[shell('a'), call('m', 'message', { message: 'm' })], END],
    approvalTools: ['shell'],
    actions: [{ verb: 'deny', when: ({ status }) => status === 'waiting_user' }],
    status: 'completed',
  },
  {
    name: 'paused with a job out, resumed when it has ended',
    turns: [[shell('a')], END],
    actions: [
      { verb: 'pause', when: ({ status, jobsOut }) => status === 'executing' && jobsOut > 0 },
      { verb: 'resume', when: ({ status, jobsEnded }) => status === 'paused' && jobsEnded > 0 },
    ],
    status: 'completed',
  },
  {
    name: 'cancelled while the model answers, which still arrives',
    turns: [[shell('a')], END],
    actions: [{ verb: 'cancel', when: ({ asking }) => asking === 1 }],
    status: 'cancelled',
    mayDiffer: {
      facts: ['credits', 'tokens'],
      reason:
        'the answer in flight is settled by its own report, or in full when its process never came back',
    },
  },
  {
    name: 'cancelled in the middle of a model stream',
    turns: [],
    reply: (request) => (isPlan(request) ? undefined : 'silence'),
    actions: [{ verb: 'cancel', when: ({ asking }) => asking === 1 }],
    status: 'cancelled',
    mayDiffer: {
      facts: ['credits', 'tokens'],
      reason: 'the attempt in flight is settled by its own report, or in full when its process is gone',
    },
  },
  {
    name: 'cancelled with a job out',
    turns: [[shell('a')], END],
    actions: [{ verb: 'cancel', when: ({ jobsOut }) => jobsOut > 0 }],
    status: 'cancelled',
  },
  {
    name: 'the budget runs out',
    turns: [[shell('a')], END],
    openingCredits: 11,
    status: 'failed',
    errorCode: 'INSUFFICIENT_CREDITS',
  },
  {
    name: 'the step limit is reached',
    turns: [[shell('a')], [shell('b')], END],
    maxSteps: 3,
    status: 'failed',
    errorCode: 'STEP_LIMIT',
  },
  {
    name: 'the provider is overloaded, then answers',
    turns: [END],
    reply: (request, { times }) =>
      !isPlan(request) && times === 1
        ? new ModelError('overloaded', 'busy', { retryAfterSeconds: 7 })
        : undefined,
    status: 'completed',
  },
  {
    name: 'a job is lost',
    turns: [[shell('a')], END],
    jobs: 'gone',
    status: 'completed',
    mayDiffer: {
      facts: ['steps', 'messages', 'logs'],
      reason:
        'when two checks on the job are lost, the next one is past its deadline: timed out instead of lost',
      onlyPairs: true,
    },
  },
  {
    name: 'several steps an invocation',
    turns: [
      [call('w', 'file_write', { filepath: 'a.txt', content: 'hi' })],
      [call('r', 'file_read', { filepath: 'a.txt' })],
      END,
    ],
    burst: 3,
    status: 'completed',
  },
  {
    name: 'forked in its middle with another message',
    turns: [[call('w', 'file_write', { filepath: 'a.txt', content: 'hi' })], END],
    actions: [{ verb: 'fork', step: 3, input: 'shorter', when: ({ status }) => status === 'completed' }],
    status: 'completed',
  },
  {
    name: 'a failed step is tried again in a fork',
    turns: [[call('r', 'file_read', { filepath: 'missing.txt' })], END],
    actions: [{ verb: 'retry_step', step: 2, when: ({ status }) => status === 'completed' }],
    status: 'completed',
  },
  {
    name: 'deleted when it has ended',
    turns: [[call('w', 'file_write', { filepath: 'outputs/a.txt', content: 'hi' })], END],
    actions: [{ verb: 'delete', when: ({ status }) => status === 'completed' }],
    status: 'deleted',
  },
  {
    name: 'stopped by its tag with a job out',
    turns: [[shell('a')], END],
    actions: [{ verb: 'stop_tag', when: ({ jobsOut }) => jobsOut > 0 }],
    status: 'cancelled',
  },
  {
    name: 'a run that failed is retried',
    turns: [END],
    reply: (request, { run }) =>
      !isPlan(request) && run === 0 ? new ModelError('spend_cap', 'no money') : undefined,
    actions: [{ verb: 'retry', when: ({ status }) => status === 'failed' }],
    status: 'completed',
  },
]

/** The model of a scenario as a function of the request and of how often this step was asked. */
export function replyOf(scenario: Scenario, request: ModelRequest, asked: Asked): MemoryReply {
  const special = scenario.reply?.(request, asked)
  if (special !== undefined) return special
  if (isPlan(request)) return { blocks: [call('plan', 'submit_plan', PLAN)] }
  const turn = request.messages.filter(({ role }) => role === 'assistant').length
  return { blocks: scenario.turns[turn] ?? END, usage: { inputTokens: 10, outputTokens: 5 } }
}
