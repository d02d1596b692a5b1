import { Ansis } from 'ansis'
import { createLogUpdate } from 'log-update'
import { cleanText } from './clean-text.ts'
import type { RunEvent } from './follow-run.ts'
import { RunView } from './run-view.ts'

export interface Screen {
  /** Colours that suit the stream; level 0 in a pipe. */
  style: Ansis
  /** Text that stays. */
  print(...lines: string[]): void
  /** A line from the stack or a function; foreign text, so it is cleaned. */
  log(line: string): void
  /** One machine-readable event; shown as JSON with --json, else dropped. */
  emit(type: string, data: Record<string, unknown>): void
  /** Begins the picture of a run. */
  begin(): void
  show(event: RunEvent): void
  /** Takes the redrawn part away and shows the cursor again. Safe to call at any time, twice. */
  end(): void
}

/** Redraws a second; more costs a core on a slow terminal and reads no better. */
const FRAMES = 10

/** Live on a terminal, append-only lines in a pipe, JSON lines with `json` (text then goes to stderr). */
export function createScreen({
  json,
  stdout = process.stdout,
  stderr = process.stderr,
}: {
  json: boolean
  stdout?: NodeJS.WriteStream
  stderr?: NodeJS.WriteStream
}): Screen {
  const out = json ? stderr : stdout
  const isLive = !json && out.isTTY === true && process.env.TERM !== 'dumb'
  const hasColour = out.isTTY === true && !process.env.NO_COLOR
  const style = hasColour ? new Ansis() : new Ansis(0)
  const update = isLive ? createLogUpdate(out) : undefined
  let view: RunView | undefined
  let timer: NodeJS.Timeout | undefined
  let frame = 0
  let since = 0

  const redraw = () => {
    if (view && timer) update?.(view.live(frame++, Date.now() - since))
  }
  const print = (...lines: string[]) => {
    if (lines.length === 0) return
    if (update && timer) {
      update.clear()
      out.write(`${lines.join('\n')}\n`)
      redraw()
    } else {
      out.write(`${lines.join('\n')}\n`)
    }
  }
  return {
    style,
    print,
    log: (line) => print(style.dim(cleanText(line))),
    emit(type, data) {
      if (json) stdout.write(`${JSON.stringify({ type, ...data })}\n`)
    },
    begin() {
      view = new RunView(style)
      since = Date.now()
      if (update) timer = setInterval(redraw, 1000 / FRAMES)
    },
    show({ event, id, data }) {
      if (json)
        stdout.write(`${JSON.stringify({ type: event, ...(id === undefined ? {} : { id }), ...data })}\n`)
      else if (view) print(...view.apply({ event, id, data }))
    },
    end() {
      clearInterval(timer)
      timer = undefined
      update?.clear()
      update?.done()
    },
  }
}
