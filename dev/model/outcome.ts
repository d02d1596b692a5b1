/** A tool result as the script understands it. */
export interface Outcome {
  /** The program ran and ended with exit code 0. */
  ok: boolean
  stdout: string
  stderr: string
  /** The whole text, for what is no program's result. */
  text: string
}

/**
 * Reads the result of `code` or `shell`: JSON with stdout, stderr and exit_code, perhaps after a line "Exit code 1", perhaps cut
 * in the middle, or a sentence (killed, lost, timed out). Errors are known by the text alone: aimock drops `is_error`.
 */
export function readOutcome(text: string): Outcome {
  const json = parseObject(text)
  const stdout = typeof json?.stdout === 'string' ? json.stdout : fragment(text, 'stdout')
  const stderr = typeof json?.stderr === 'string' ? json.stderr : fragment(text, 'stderr')
  const exitCode = json === undefined ? /"exit_code"\s*:\s*(-?\d+)/.exec(text)?.[1] : json.exit_code
  return { ok: String(exitCode) === '0' && !/^exit code/i.test(text.trim()), stdout, stderr, text }
}

/** The last line of JSON that a program printed. */
export function printedJson(outcome: Outcome): Record<string, unknown> | undefined {
  return outcome.stdout
    .split('\n')
    .reverse()
    .map(parseObject)
    .find((value) => value !== undefined)
}

function parseObject(text: string): Record<string, unknown> | undefined {
  const start = text.indexOf('{')
  if (start < 0) return undefined
  try {
    const value: unknown = JSON.parse(text.slice(start))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** What is left of a string value when the JSON around it was cut. */
function fragment(text: string, key: string): string {
  const found = new RegExp(`"${key}"\\s*:\\s*"((?:[^"\\\\\\n]|\\\\.)*)`).exec(text)?.[1] ?? ''
  try {
    return JSON.parse(`"${found}"`) as string
  } catch {
    return found
  }
}
