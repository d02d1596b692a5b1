import { Ansis } from 'ansis'
import { describe, expect, test } from 'vitest'
import type { RunEvent } from './follow-run.ts'
import { RunView } from './run-view.ts'

const e = (event: string, data: Record<string, unknown>): RunEvent => ({ event, data })
const plain = (events: RunEvent[]) => {
  const view = new RunView(new Ansis(0))
  return { lines: events.flatMap((event) => view.apply(event)).join('\n'), view }
}

const plan = {
  goal: 'Analyse package-lock.json',
  total_estimated_credits: 31,
  phases: [
    { phase_number: 1, name: 'Read', description: 'Count the packages' },
    { phase_number: 2, name: 'Write', description: 'A table and a chart' },
  ],
}
const recorded: RunEvent[] = [
  e('status', { status: 'queued', current_phase: 0 }),
  e('status', { status: 'planning', current_phase: 0 }),
  e('step', { step: { id: 's0', tool_name: 'plan', status: 'running', credits_used: 0 } }),
  e('step', { step: { id: 's0', tool_name: 'plan', status: 'completed', credits_used: 5 } }),
  e('plan', { plan }),
  e('status', { status: 'executing', current_phase: 1 }),
  e('tool_call', {
    step_id: 's1',
    tool_name: 'code',
    tool_input: { language: 'javascript', code: `${'line()\n'.repeat(16)}end()` },
    status: 'running',
  }),
  e('terminal', { step_id: 's1', content: '160 pack', stream: 'stdout' }),
  e('terminal', { step_id: 's1', content: 'ages\nno licence: 2\n', stream: 'stdout' }),
  e('tool_result', {
    step_id: 's1',
    tool_name: 'code',
    success: false,
    output: {},
    error: 'TypeError: no field "license"\n    at main.js:3',
    duration_ms: 812,
  }),
  e('tool_call', {
    step_id: 's2',
    tool_name: 'shell',
    tool_input: { command: 'wc -l outputs/table.csv' },
    status: 'running',
  }),
  e('tool_result', {
    step_id: 's2',
    tool_name: 'shell',
    success: true,
    output: { stdout: '161 outputs/table.csv\n' },
    duration_ms: 94,
  }),
  e('phase', { from_phase: 1, to_phase: 2 }),
  e('status', { status: 'executing', current_phase: 2 }),
  e('artifact', {
    artifact: {
      id: 'a1',
      filename: 'chart.svg',
      file_size: 3212,
      file_type: 'image/svg+xml',
      download_url: 'http://localhost:8000/storage/v1/x',
    },
  }),
  e('output', { id: 'a1', file_name: 'chart.svg' }),
  e('message_delta', { message_id: 'm1', content: 'There are ' }),
  e('message_delta', { message_id: 'm1', content: '160 packages.' }),
  e('message', {
    message_id: 'm1',
    role: 'assistant',
    content: 'There are 160 packages.\nTwo have no licence.',
  }),
  e('complete', { status: 'completed' }),
  e('run', {
    run: {
      status: 'completed',
      created_at: '2026-11-23T10:00:00.000Z',
      completed_at: '2026-11-23T10:00:12.340Z',
      total_steps: 6,
      failed_steps: 1,
      total_credits_used: 28.5,
      total_tokens_used: 12_345,
    },
  }),
]

test('a run as plain lines', () => {
  const { lines, view } = plain(recorded)
  expect(lines).toMatchInlineSnapshot(`
    "· queued
    · planning
    Plan Analyse package-lock.json (about 31 credits)
      1 Read Count the packages
      2 Write A table and a chart
    · executing
    Phase 1/2 Read
    ▸ code javascript
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ line()
      ┊ … 3 more lines
      │ 160 packages
      │ no licence: 2
    ✗ code TypeError: no field "license" 812 ms
          at main.js:3
    ▸ shell
      ┊ wc -l outputs/table.csv
      │ 161 outputs/table.csv
    ✓ shell 94 ms
    Phase 2/2 Write
    ◆ chart.svg 3.2 kB image/svg+xml
      http://localhost:8000/storage/v1/x

      There are 160 packages.
      Two have no licence.

    ✓ completed in 12.3 s · 6 steps (1 failed) · 28.5 credits · 12,345 tokens · 1 file"
  `)
  expect(view.answer).toBe('There are 160 packages.\nTwo have no licence.')
})

describe('the part that is redrawn', () => {
  test('ticks phases and shows the message as it is written', () => {
    const { view } = plain(recorded.slice(0, -3))
    expect(view.live(3, 8_310)).toMatchInlineSnapshot(`
      "  ✓ 1 Read
        ▸ 2 Write
        │ There are 160 packages.
        ⠸ executing · 1 step · 5 credits · 8.3 s"
    `)
  })

  test('a message that is complete, or begun again by another attempt, is not shown twice', () => {
    const { view } = plain([...recorded, e('message_delta', { message_id: 'm1', content: 'late' })])
    expect(view.live(0, 0)).not.toMatch(/late|There are/)
    const running = e('step', { step: { id: 's9', tool_name: 'decide', status: 'running' } })
    const again = plain([
      running,
      e('message_delta', { message_id: 'm2', content: 'Hel' }),
      running,
      e('message_delta', { message_id: 'm2', content: 'Hello' }),
    ])
    expect(again.view.live(0, 0)).toContain('│ Hello')
  })
})

test('events of a replay are shown once', () => {
  expect(
    plain([...recorded, ...recorded.slice(6, 7), ...recorded.slice(14, 15), ...recorded.slice(18, 19)]).lines,
  ).toBe(plain(recorded).lines)
})

test('stored terminal output shows only what was missed live, text that is thought and message is shown once', () => {
  const stored = (content: string): RunEvent => ({
    event: 'terminal',
    id: '7',
    data: { step_id: 's', content, stream: 'stdout' },
  })
  const live = (content: string) => e('terminal', { step_id: 's', content, stream: 'stdout' })
  const call = e('tool_call', { step_id: 's', tool_name: 'shell', tool_input: {} })
  const count = (events: RunEvent[]) =>
    plain([call, ...events, e('tool_result', { step_id: 's', success: true })]).lines.match(/│ .*/g)
  expect(count([stored('a\nb\n')])).toEqual(['│ a', '│ b'])
  expect(count([live('a\n'), live('b'), stored('a\nb\nc')])).toEqual(['│ a', '│ b', '│ c'])
  expect(count([live('a\nb\n'), stored('a\nb\n')])).toEqual(['│ a', '│ b'])
  expect(count([live('b\n'), stored('a\nb\n')])).toEqual(['│ b', '│ a', '│ b'])
  const said = plain([
    e('thinking', { content: 'I look.' }),
    e('message', { message_id: 'm', role: 'assistant', content: 'I look.' }),
  ])
  expect([said.lines, said.view.answer]).toEqual(['  I look.', 'I look.'])
})

test('a failed run says why', () => {
  const run = {
    status: 'failed',
    error_code: 'INSUFFICIENT_CREDITS',
    error_message: 'No credit left to go on',
    total_steps: 1,
  }
  expect(plain([e('run', { run })]).lines).toBe(
    '✗ failed INSUFFICIENT_CREDITS after 1 step · 0 credits · 0 tokens\n  No credit left to go on',
  )
})

test('foreign text cannot reach the terminal as control characters', () => {
  const evil = '\u001B[2Jx\u001B]0;t\u0007\r\u009B1m\u0008'
  const { lines, view } = plain([
    e('plan', { plan: { goal: evil, phases: [{ phase_number: 1, name: evil, description: evil }] } }),
    e('status', { status: 'executing', current_phase: 1 }),
    e('thinking', { content: evil }),
    e('tool_call', { step_id: 's', tool_name: evil, tool_input: { command: evil, [evil]: { deep: evil } } }),
    e('terminal', { step_id: 's', content: `${evil}\n`, stream: 'stderr' }),
    // Cut apart, so that neither half is a sequence of its own.
    e('terminal', { step_id: 's', content: 'a\u001B', stream: 'stdout' }),
    e('terminal', { step_id: 's', content: '[2Jb\n', stream: 'stdout' }),
    e('tool_result', { step_id: 's', success: false, error: evil, output: evil }),
    e('message_delta', { message_id: 'm', content: evil }),
    e('message', { message_id: 'n', role: 'assistant', content: evil }),
    e('artifact', { artifact: { id: 'a', filename: evil, download_url: evil, file_type: evil } }),
    e('run', { run: { status: 'failed', error_code: evil, error_message: evil } }),
  ])
  expect(lines).toContain('  │ ab')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(`${lines}${view.live(0, 0)}`).not.toMatch(/[\u0000-\u0009\u000B-\u001F\u007F-\u009F]/)
})

test('output without end is cut, and a line without end too', () => {
  const call = e('tool_call', { step_id: 's', tool_name: 'shell', tool_input: { command: 'yes' } })
  const flood = Array.from({ length: 50 }, () =>
    e('terminal', { step_id: 's', content: 'y\n'.repeat(50), stream: 'stdout' }),
  )
  const { lines } = plain([
    call,
    ...flood,
    e('terminal', { step_id: 's', content: 'z'.repeat(1e6), stream: 'stdout' }),
  ])
  expect(lines.split('\n').length).toBeLessThan(70)
  expect(lines.match(/more output/g)).toHaveLength(1)
  const long = plain([
    call,
    e('terminal', { step_id: 's', content: `${'z'.repeat(1e6)}\n`, stream: 'stdout' }),
  ])
  expect(long.lines.length).toBeLessThan(1_000)
})
