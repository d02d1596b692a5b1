import type { Ansis } from 'ansis'
import { cleanText } from './clean-text.ts'
import { FINAL, type Json, type RunEvent } from './follow-run.ts'
import { formatBytes, formatMs, formatNumber } from './format.ts'

interface Phase {
  number: number
  name: string
}
interface Call {
  name: string
  /** The terminal output shown so far, in lines. */
  shown: number
  hasOutput: boolean
  /** Of stdout and stderr: the text so far, and the beginning of a line whose end has not come yet. */
  seen: Record<string, string>
  rest: Record<string, string>
}

const newCall = (name: string): Call => ({ name, shown: 0, hasOutput: false, seen: {}, rest: {} })

/** Enough to follow; the whole is in the run's log and artifacts. */
const MAX_CODE_LINES = 14
const MAX_OUTPUT_LINES = 60
const MAX_LINE_CHARS = 400
const DRAFT_LINES = 6
/** Remembered of a command's output, to tell what of the stored text was shown while it ran. */
const MAX_SEEN_CHARS = 300_000

/**
 * What a terminal shows of a run. `apply` turns an event into lines that stay; `live` gives the part that is redrawn below them. Pure:
 * the same events give the same text; colours come from the Ansis instance (level 0: none).
 */
export class RunView {
  #style: Ansis
  #phases: Phase[] = []
  #phase = 0
  #status = 'created'
  #calls = new Map<string, Call>()
  #lastCall = ''
  #drafts = new Map<string, string>()
  #said = new Set<string>()
  #lastMessage = ''
  #lastThought = ''
  #credits = new Map<string, number>()
  #steps = new Map<string, string>()
  #artifacts = new Set<string>()

  constructor(style: Ansis) {
    this.#style = style
  }

  apply(event: RunEvent): string[] {
    const { data } = event
    switch (event.event) {
      case 'status':
        return this.#onStatus(text(data.status), number(data.current_phase))
      case 'plan':
        return this.#onPlan(object(data.plan))
      case 'phase':
        return this.#toPhase(number(data.to_phase))
      case 'step':
        return this.#onStep(object(data.step))
      case 'thinking':
        return this.#onThinking(text(data.content))
      case 'tool_call':
        return this.#onToolCall(data)
      case 'terminal':
        return this.#onTerminal(event)
      case 'tool_result':
        return this.#onToolResult(data)
      case 'message_delta':
        return this.#onDelta(text(data.message_id), text(data.content))
      case 'message':
        return this.#onMessage(text(data.message_id), text(data.role), text(data.content))
      case 'artifact':
        return this.#onArtifact(object(data.artifact))
      case 'run':
        return this.#onRun(object(data.run))
      default:
        return []
    }
  }

  /** Plan, the message being written, and one line of progress; `frame` counts redraws. */
  live(frame: number, elapsedMs: number): string {
    const style = this.#style
    const lines = this.#phases.map(({ number: n, name }) => {
      if (n < this.#phase) return style.green(`  ✓ ${n} ${name}`)
      return n === this.#phase ? style.bold(`  ▸ ${n} ${name}`) : style.dim(`    ${n} ${name}`)
    })
    for (const draft of this.#drafts.values()) {
      lines.push(
        ...cleanText(draft)
          .split('\n')
          .slice(-DRAFT_LINES)
          .map((line) => style.cyan(`  │ ${line}`)),
      )
    }
    const spinner = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'[frame % 10] ?? ''
    lines.push(
      style.dim(`  ${spinner} ${[this.#status, ...this.#totals(), formatMs(elapsedMs)].join(' · ')}`),
    )
    return lines.join('\n')
  }

  #totals(): string[] {
    const credits = [...this.#credits.values()].reduce((sum, each) => sum + each, 0)
    const done = [...this.#steps.values()].filter(
      (status) => status !== 'running' && status !== 'pending',
    ).length
    return [`${done} ${done === 1 ? 'step' : 'steps'}`, `${formatNumber(credits)} credits`]
  }

  #onStatus(status: string, phase: number): string[] {
    const changed = status !== '' && status !== this.#status
    if (changed) this.#status = status
    const lines = changed && !FINAL.has(status) ? [this.#style.dim(`· ${status}`)] : []
    return [...lines, ...this.#toPhase(phase)]
  }

  #onPlan(plan: Json): string[] {
    const phases = Array.isArray(plan.phases) ? plan.phases.map(object) : []
    this.#phases = phases.map((phase) => ({
      number: number(phase.phase_number),
      name: oneLine(phase.name),
    }))
    const { bold, dim } = this.#style
    const credits = number(plan.total_estimated_credits)
    return [
      `${bold('Plan')} ${oneLine(plan.goal)}${credits > 0 ? dim(` (about ${formatNumber(credits)} credits)`) : ''}`,
      ...phases.map((phase) =>
        `  ${number(phase.phase_number)} ${bold(oneLine(phase.name))} ${dim(oneLine(phase.description))}`.trimEnd(),
      ),
    ]
  }

  #toPhase(phase: number): string[] {
    if (phase <= 0 || phase === this.#phase) return []
    this.#phase = phase
    const name = this.#phases.find((each) => each.number === phase)?.name
    return name === undefined ? [] : [this.#style.bold.blue(`Phase ${phase}/${this.#phases.length} ${name}`)]
  }

  #onStep(step: Json): string[] {
    const id = text(step.id)
    const before = this.#steps.get(id)
    const status = text(step.status)
    this.#steps.set(id, status)
    this.#credits.set(id, number(step.credits_used))
    // A model step that is tried again writes its message from the beginning.
    if (status === 'running' && before === 'running') this.#drafts.clear()
    if (status !== 'failed' || before === 'failed' || this.#calls.has(id)) return []
    return [this.#style.red(`✗ ${oneLine(step.tool_name)} ${oneLine(step.error_message)}`.trimEnd())]
  }

  #onToolCall(data: Json): string[] {
    const id = text(data.step_id)
    const name = oneLine(data.tool_name)
    this.#lastCall = id
    if (this.#calls.has(id)) return []
    this.#calls.set(id, newCall(name))
    // What `message` says comes as a message.
    const { title, body } = describeInput(name === 'message' ? {} : object(data.tool_input))
    const lines = body
      .split('\n')
      .filter((line, index, all) => line !== '' || (index > 0 && index < all.length - 1))
    const shown = lines.slice(0, MAX_CODE_LINES)
    const more = lines.length - shown.length
    return [
      `${this.#style.bold.magenta(`▸ ${name}`)} ${oneLine(title)}`.trimEnd(),
      ...shown.map((line) => this.#style.dim(`  ┊ ${clip(line)}`)),
      ...(more > 0 ? [this.#style.dim(`  ┊ … ${more} more ${more === 1 ? 'line' : 'lines'}`)] : []),
    ]
  }

  #onTerminal({ id, data }: RunEvent): string[] {
    const content = text(data.content)
    const stream = text(data.stream)
    const call = this.#calls.get(text(data.step_id) || this.#lastCall)
    if (!call) return this.#block(content, this.#style.reset, '  │ ')
    call.hasOutput = true
    const seen = call.seen[stream] ?? ''
    // With an id it is the stored whole: live pieces came before it, maybe on an earlier connection, maybe with gaps.
    const fresh = id === undefined ? content : restOf(content, seen)
    if (seen.length < MAX_SEEN_CHARS) call.seen[stream] = seen + fresh
    const lines = ((call.rest[stream] ?? '') + fresh).split('\n')
    call.rest[stream] = (lines.pop() ?? '').slice(0, MAX_LINE_CHARS)
    return this.#output(call, lines, stream)
  }

  #output(call: Call, lines: readonly string[], stream: string): string[] {
    const paint = stream === 'stderr' ? this.#style.yellow : this.#style.reset
    const room = Math.max(0, MAX_OUTPUT_LINES - call.shown)
    const shown = lines.slice(0, room).map((line) => paint(`  │ ${clip(cleanText(line))}`))
    const cut = call.shown <= MAX_OUTPUT_LINES && call.shown + lines.length > MAX_OUTPUT_LINES
    call.shown += lines.length
    return cut ? [...shown, this.#style.dim('  │ … more output is in the run’s log')] : shown
  }

  #onToolResult(data: Json): string[] {
    const id = text(data.step_id)
    const call = this.#calls.get(id) ?? newCall(oneLine(data.tool_name))
    this.#calls.set(id, call)
    const lines = Object.entries(call.rest).flatMap(([stream, rest]) =>
      rest === '' ? [] : this.#output(call, [rest], stream),
    )
    call.rest = {}
    // Live output may be lost; the result is not.
    if (!call.hasOutput) lines.push(...this.#output(call, outputLines(data.output), 'stdout'))
    const took = formatMs(number(data.duration_ms))
    if (data.success === true)
      return [...lines, this.#style.green(`✓ ${call.name}`) + this.#style.dim(` ${took}`)]
    const reason = cleanText(text(data.error))
      .trim()
      .split('\n')
      .slice(-4)
      .map((line) => clip(line))
    return [
      ...lines,
      this.#style.red(`✗ ${call.name} ${reason.shift() ?? 'failed'}`) + this.#style.dim(` ${took}`),
      ...reason.map((line) => this.#style.red(`  ${line}`)),
    ]
  }

  #onThinking(content: string): string[] {
    this.#lastThought = content
    return this.#block(content, this.#style.dim, '  ')
  }

  #onDelta(id: string, content: string): string[] {
    if (!this.#said.has(id)) this.#drafts.set(id, (this.#drafts.get(id) ?? '') + content)
    return []
  }

  #onMessage(id: string, role: string, content: string): string[] {
    this.#drafts.delete(id)
    if (role !== 'assistant' || this.#said.has(id) || content.trim() === '') return []
    if (id !== '') this.#said.add(id)
    this.#lastMessage = content
    if (content === this.#lastThought) return [] // it came as both, for readers who know one of them
    return ['', ...this.#block(content, this.#style.reset, '  '), '']
  }

  #onArtifact(artifact: Json): string[] {
    const id = text(artifact.id)
    if (this.#artifacts.has(id)) return []
    this.#artifacts.add(id)
    const name = oneLine(artifact.filename ?? artifact.file_name)
    const size = formatBytes(number(artifact.file_size ?? artifact.file_size_bytes))
    const url = cleanText(
      text(artifact.download_url ?? artifact.signed_url ?? artifact.public_url),
    ).replaceAll(/\s/g, '') // whole, or it would not work
    const { bold, cyan, dim } = this.#style
    return [
      `${cyan('◆')} ${bold(name)} ${dim(`${size} ${oneLine(artifact.file_type ?? artifact.mime_type)}`)}`,
      ...(url === '' ? [] : [dim(`  ${url}`)]),
    ]
  }

  #onRun(run: Json): string[] {
    this.#drafts.clear()
    this.#status = text(run.status)
    const took = Date.parse(text(run.completed_at)) - Date.parse(text(run.created_at))
    const facts = [
      ...(Number.isFinite(took) ? [formatMs(took)] : []),
      `${number(run.total_steps)} ${number(run.total_steps) === 1 ? 'step' : 'steps'}${number(run.failed_steps) > 0 ? ` (${number(run.failed_steps)} failed)` : ''}`,
      `${formatNumber(number(run.total_credits_used))} credits`,
      `${formatNumber(number(run.total_tokens_used))} tokens`,
      ...(this.#artifacts.size > 0
        ? [`${this.#artifacts.size} ${this.#artifacts.size === 1 ? 'file' : 'files'}`]
        : []),
    ].join(' · ')
    if (this.#status === 'completed')
      return [this.#style.bold.green('✓ completed') + this.#style.dim(` in ${facts}`)]
    const code = oneLine(run.error_code)
    const reason = oneLine(run.error_message)
    return [
      this.#style.bold.red(`✗ ${this.#status}${code ? ` ${code}` : ''}`) + this.#style.dim(` after ${facts}`),
      ...(reason ? [`  ${reason}`] : []),
    ]
  }

  /** The last thing the agent said. */
  get answer(): string {
    return this.#lastMessage
  }

  #block(content: string, paint: (line: string) => string, indent: string): string[] {
    const lines = cleanText(content).replace(/\s+$/, '').split('\n')
    return lines.map((line) => paint(`${indent}${line}`.trimEnd()))
  }
}

function describeInput(input: Json): { title: string; body: string } {
  const { code, command, content, ...rest } = input
  const named = Object.entries(rest).map(([key, value]) =>
    typeof value === 'string' ? value : `${key}=${JSON.stringify(value)}`,
  )
  const body = [code, command, content].find((value) => typeof value === 'string')
  return { title: named.join(' '), body: cleanText(typeof body === 'string' ? body : '') }
}

/** What of the stored text was not shown live. Shown from the beginning, but stored with a cut in the middle: nothing. */
function restOf(stored: string, seen: string): string {
  if (stored.startsWith(seen)) return stored.slice(seen.length)
  return seen.startsWith(stored.slice(0, 1000)) ? '' : stored
}

function outputLines(output: unknown): string[] {
  if (typeof output === 'string')
    return cleanText(output)
      .trimEnd()
      .split('\n')
      .filter((line, index, all) => line !== '' || (all.length > 1 && index > 0))
  const { stdout, stderr } = object(output)
  return [stdout, stderr].flatMap((part) =>
    typeof part === 'string' && part !== '' ? part.trimEnd().split('\n') : [],
  )
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}
}
function text(value: unknown): string {
  if (typeof value === 'string') return value
  return value === undefined || value === null ? '' : JSON.stringify(value)
}
function number(value: unknown): number {
  const parsed = Number(value)
  return Number.isFinite(parsed) ? parsed : 0
}
function oneLine(value: unknown): string {
  return clip(cleanText(text(value)).replaceAll(/\s+/g, ' ').trim())
}
function clip(line: string): string {
  return line.length > MAX_LINE_CHARS ? `${line.slice(0, MAX_LINE_CHARS - 1)}…` : line
}
