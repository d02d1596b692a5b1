/**
 * A model may stop in the middle of a tool call's JSON, or write JSON that is not an object. The call then still stands in the
 * conversation (the API wants a result for every tool_use, and an object as its input), so its input is this marker instead.
 * The engine answers such a call with an error result; no tool ever sees the marker.
 */
const MARKER = '__invalid_json'

/** Raw text kept of a bad input: enough for the model to see where it broke off, small enough to store and send again. */
export const MAX_INVALID_INPUT_CHARS = 2000

export interface InvalidToolInput {
  /** What the model wrote, cut in the middle to MAX_INVALID_INPUT_CHARS. */
  raw: string
  /** One sentence for the model: what is wrong with it. */
  reason: string
}

export function makeInvalidToolInput(raw: string, reason: string): Record<string, unknown> {
  const half = MAX_INVALID_INPUT_CHARS / 2
  const kept = raw.length <= MAX_INVALID_INPUT_CHARS ? raw : `${raw.slice(0, half)} … ${raw.slice(-half)}`
  return { [MARKER]: kept.toWellFormed(), reason }
}

/** What was wrong with a tool call's input, or undefined when it is an ordinary input. */
export function invalidToolInput(input: unknown): InvalidToolInput | undefined {
  if (typeof input !== 'object' || input === null || !Object.hasOwn(input, MARKER)) return undefined
  const { [MARKER]: raw, reason } = input as Record<string, unknown>
  return {
    raw: typeof raw === 'string' ? raw : '',
    reason: typeof reason === 'string' ? reason : 'The input was not a JSON object.',
  }
}
