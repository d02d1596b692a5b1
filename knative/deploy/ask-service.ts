/** Long enough for a service far away, short enough to wait for. */
const TIMEOUT_MS = 10_000
/** Of an answer that says whether a key is right: 1 MiB is far above any. */
const MAX_ANSWER_CHARACTERS = 1024 * 1024

export interface Answer {
  status: number
  json: unknown
}

/**
 * One request with a credential. Follows no redirect: the credential goes to the address that was configured. Faults are told by their
 * kind alone, as messages of `fetch` may repeat a header.
 */
export async function askService(
  url: string,
  init: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer | { unreachable: string }> {
  try {
    const response = await fetch(url, {
      ...init,
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    const text = (await response.text()).slice(0, MAX_ANSWER_CHARACTERS)
    return { status: response.status, json: parse(text) }
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : ''
    return { unreachable: /^[A-Z_0-9]+$/.test(code) ? code : `no answer in ${TIMEOUT_MS / 1000} s` }
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** A property of something that came from outside. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && name in value
    ? (value as Record<string, unknown>)[name]
    : undefined
}
