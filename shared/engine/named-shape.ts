import { type NamedFrame, namedText } from '../contract/events.ts'
import type { LiveMessage } from '../contract/live.ts'
import { eventFrames } from './event-frames.ts'
import { impliedEnd } from './final-frames.ts'
import { LiveText } from './live-text.ts'
import { frameId, type StreamShape } from './stream-shape.ts'

/** The named stream: several frames a row, text and terminal output as it comes, `error` instead of `complete` after a failure. */
export function namedShape(): StreamShape {
  const liveText = new LiveText()
  /** Tool calls shown on this connection and not answered yet. */
  const open = new Map<string, string>()

  const closeOpenCalls = (status: string): string => {
    const texts = [...open].map(([step_id, tool_name]) =>
      namedText(
        {
          event: 'tool_result',
          data: {
            step_id,
            tool_name,
            success: false,
            output: null,
            error: `The run ended: ${status}`,
            duration_ms: null,
          },
        },
        null,
      ),
    )
    open.clear()
    return texts.join('')
  }

  return {
    opening: () => ': connected\n\n',
    event(event, run, skip) {
      const frames = eventFrames(event, run)
      const end = event.log.metadata.event === 'final'
      let text = end ? closeOpenCalls(run.status) : ''
      frames.forEach((frame, index) => {
        if (index < skip) return
        const shown = liveText.remainder(frame)
        if (shown !== null) text += namedText(shown, frameId(event.log.seq, index + 1, frames.length))
      })
      for (const frame of frames) note(frame)
      return { text, end }
    },
    live: (messages) => messages.map((message) => liveFrameText(message)).join(''),
    impliedEnd: (run) =>
      closeOpenCalls(run.status) +
      impliedEnd(run)
        .map((frame) => namedText(frame, null))
        .join(''),
    expired: () =>
      namedText(
        { event: 'expired', data: { message: 'The access token has expired', code: 'unauthorized' } },
        null,
      ),
    interrupted: (reason) => namedText({ event: 'interrupted', data: { reason } }, null),
    failed: (message) =>
      namedText({ event: 'error', data: { message, code: 'run_not_found', status: null } }, null),
    heartbeat: () => namedText({ event: 'heartbeat', data: { timestamp: new Date().toISOString() } }, null),
  }

  function note(frame: NamedFrame): void {
    if (frame.event === 'tool_call') open.set(frame.data.step_id, frame.data.tool_name)
    if (frame.event === 'tool_result') open.delete(frame.data.step_id)
    liveText.note(frame)
  }

  function liveFrameText(message: LiveMessage): string {
    const frame = liveText.take(message)
    return frame === null ? '' : namedText(frame, null)
  }
}
