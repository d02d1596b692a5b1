import { expect } from 'vitest'

/** What somebody at a door can see of its answer, without what differs from request to request. */
export async function visible(answer: Response): Promise<string> {
  const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream') ?? false
  if (isStream) await answer.body?.cancel()
  const body = isStream ? 'a stream' : (await answer.text()).replace(/"request_id":"[^"]*"/, '')
  const headers = [...answer.headers]
    .filter(([name]) => name !== 'x-request-id')
    .map(([name, value]) => `${name}: ${value}`)
  return `${answer.status}\n${headers.join('\n')}\n${body}`
}

/**
 * Sends every forgery: all must get one and the same refusal. Then the controls: each must get in, so that a door which refuses
 * everything is found as well. Answers how many were tried.
 */
export async function batch<T>(
  door: string,
  {
    send,
    forged,
    accepted,
    state,
  }: {
    send: (shown: T) => Promise<Response>
    forged: Iterable<readonly [string, T]>
    accepted: Iterable<readonly [string, T]>
    /** What no forgery may change. */
    state?: () => Promise<string>
  },
): Promise<number> {
  let tried = 0
  const before = await state?.()
  const answers = new Map<string, string>()
  for (const [name, shown] of forged) {
    const answer = await visible(await send(shown))
    if (!answers.has(answer)) answers.set(answer, name)
    tried += 1
  }
  expect([door, [...answers].map(([seen, name]) => `${name}: ${seen.slice(0, 3)}`)]).toEqual([
    door,
    [expect.stringMatching(/: 401$/)],
  ])
  expect(await state?.()).toBe(before)
  for (const [name, shown] of accepted) {
    const { status } = await send(shown)
    expect([door, name, status, status < 300]).toEqual([door, name, status, true])
    tried += 1
  }
  return tried
}
