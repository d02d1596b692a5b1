import { describe, expect, it } from 'vitest'
import { decide, MAX_CALLS_A_TURN } from './decide.ts'
import { makeInvalidToolInput } from './tool-input.ts'

const position = { currentPhase: 1, totalPhases: 2, status: 'executing' as const }
const tools = {
  known: new Set(['shell']),
  validate: (_name: string, input: unknown) => (input === 'bad' ? 'it is bad' : undefined),
}
const turn = (fields: Partial<Parameters<typeof decide>[0]>) =>
  decide({ stopReason: 'end_turn', text: '', toolCalls: [], ...fields }, position, tools)
const call = (name: string, input: unknown = {}, id = name) => ({ id, name, input })

describe('decide', () => {
  it('a turn with text and no call is the answer', () => {
    expect(turn({ text: 'Hello' })).toEqual({ kind: 'answer', result: 'Hello' })
  })

  it('a stop reason nobody has heard of is judged by what the turn holds', () => {
    expect(turn({ stopReason: 'new_word', text: 'Hello' }).kind).toBe('answer')
    expect(turn({ stopReason: 'new_word', toolCalls: [call('shell')] }).kind).toBe('tools')
  })

  it.each([
    ['refusal', 'no', 'fail'],
    ['model_context_window_exceeded', '', 'fail'],
    ['max_tokens', 'half an ans', 'continue'],
    ['pause_turn', 'wait', 'continue'],
    ['max_tokens', '', 'empty'],
    ['end_turn', '  \n', 'empty'],
  ])('%s with text %j is %s', (stopReason, text, kind) => {
    expect(turn({ stopReason, text }).kind).toBe(kind)
  })

  it('every call of a turn is carried out or answered, once', () => {
    const calls = [
      call('shell', {}, 'a'),
      call('shell', 'bad', 'b'),
      call('nope', {}, 'c'),
      call('advance_phase', { phase_number: 1 }, 'd'),
      call('ask_user', { question: 'q' }, 'e'),
      call('shell', makeInvalidToolInput('{"x', 'cut off'), 'f'),
    ]
    const decision = turn({ toolCalls: calls })
    if (decision.kind !== 'tools') throw new Error(decision.kind)
    expect(
      [
        ...decision.calls.map(({ id }) => id),
        ...decision.results.map(({ toolCallId }) => toolCallId),
      ].toSorted((a, b) => a.localeCompare(b)),
    ).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
    expect(decision.calls.map(({ id }) => id)).toEqual(['a'])
    expect(decision.currentPhase).toBe(2)
    expect(decision.results.find(({ toolCallId }) => toolCallId === 'd')).toMatchObject({
      isError: false,
      text: null,
    })
    expect(decision.results.filter(({ isError }) => isError)).toHaveLength(4)
  })

  it('phases advance one at a time and never past the last', () => {
    const wrong = turn({ toolCalls: [call('advance_phase', { phase_number: 2 })] })
    expect(wrong).toMatchObject({ kind: 'tools', currentPhase: 1, results: [{ isError: true }] })
    const last = decide(
      { stopReason: 'tool_use', text: '', toolCalls: [call('advance_phase', { phase_number: 2 })] },
      { ...position, currentPhase: 2 },
      tools,
    )
    expect(last).toMatchObject({ currentPhase: 2, results: [{ isError: true }] })
  })

  it('a question alone stops the run; a second question is answered at once', () => {
    const decision = turn({
      toolCalls: [call('ask_user', { question: 'A?' }, 'a'), call('ask_user', { question: 'B?' }, 'b')],
    })
    expect(decision).toMatchObject({
      kind: 'ask_user',
      question: 'A?',
      results: [
        { toolCallId: 'a', isError: false },
        { toolCallId: 'b', isError: true },
      ],
    })
    expect(turn({ toolCalls: [call('ask_user', {})] })).toMatchObject({
      kind: 'tools',
      results: [{ isError: true }],
    })
  })

  it('more calls than may run side by side are sent back', () => {
    const decision = turn({
      toolCalls: Array.from({ length: MAX_CALLS_A_TURN + 3 }, (_, n) => call('shell', {}, `c${n}`)),
    })
    if (decision.kind !== 'tools') throw new Error(decision.kind)
    expect([decision.calls.length, decision.results.length]).toEqual([MAX_CALLS_A_TURN, 3])
  })
})

it('a refusal is told in the words of the model, and in ours when it gave none', () => {
  expect(turn({ stopReason: 'refusal', text: ' No. ' })).toMatchObject({ message: 'No.' })
  expect(turn({ stopReason: 'refusal', text: ' ' })).toMatchObject({
    message: 'The model declined to work on this request.',
  })
})

it('a blank question is not asked', () => {
  expect(turn({ toolCalls: [call('ask_user', { question: '  ' })] })).toMatchObject({
    kind: 'tools',
    results: [{ isError: true }],
  })
})
