import assert from 'node:assert/strict'
import { setTimeout as wait } from 'node:timers/promises'
import type { Member, World } from './installation.ts'

/** Answers are read as old callers read them: by name, without a schema. */
// biome-ignore lint/suspicious/noExplicitAny: the wire's JSON, read as the untyped callers do
export type Loose = any

export interface Answer {
  status: number
  headers: Headers
  text: string
  body: Loose
}

export interface Call {
  method?: string
  /** Undefined: alice. null: nobody. A string: this token. */
  as?: Member | string | null
  headers?: Record<string, string>
  /** Sent as JSON; a string or bytes as they are. */
  body?: unknown
}

/** Cases work side by side and share the limit of one user: each may lose its turn to the others. */
const MAX_LIMITED = 60

/** One request. An installation that limits its callers is given the time it asks for. */
export async function call(
  world: World,
  path: string,
  { method, as, headers, body }: Call = {},
): Promise<Answer> {
  const token = as === undefined ? world.alice.token : as === null || typeof as === 'string' ? as : as.token
  const raw = typeof body === 'string' || body instanceof Uint8Array
  const init: RequestInit = {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined || raw ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    redirect: 'manual',
    ...(body === undefined ? {} : { body: (raw ? body : JSON.stringify(body)) as BodyInit }),
  }
  for (let attempt = 1; ; attempt += 1) {
    const answer = await world.fetch(urlOf(world, path), init)
    const text = await answer.text()
    if (answer.status === 429 && attempt < MAX_LIMITED) {
      await wait(Number(answer.headers.get('retry-after') ?? 1) * 1000)
      continue
    }
    return { status: answer.status, headers: answer.headers, text, body: parsed(text) }
  }
}

/** A short path stands with its origin, as each service has its own. */
export function urlOf(world: World, path: string): string {
  return path.startsWith('http') ? path : world.baseOf(path.split('?', 1)[0] ?? '') + path
}

function parsed(text: string): Loose {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export async function execute(world: World, body: Record<string, unknown>, more: Call = {}): Promise<Answer> {
  const answer = await call(world, world.paths.execute[0] ?? '', { ...more, body })
  note(world, answer, more)
  return answer
}

/** Keeps a run that an answer names, so that it is removed at the end. */
export function note(world: World, { status, body }: Answer, { as }: Call = {}): void {
  const owner = as === undefined ? world.alice : as
  if (status === 201 && owner !== null && typeof owner !== 'string') world.made.set(body.run_id, owner)
}

export function status(world: World, body: Record<string, unknown>, more: Call = {}): Promise<Answer> {
  return call(world, world.paths.status[0] ?? '', { ...more, body })
}

export function logs(world: World, query: Record<string, string>, more: Call = {}): Promise<Answer> {
  return call(world, `${world.paths.logs[0] ?? ''}?${new URLSearchParams(query)}`, more)
}

/** A run that was created and not started: it costs nothing and waits. */
export async function idleRun(
  world: World,
  more: Record<string, unknown> = {},
  how: Call = {},
): Promise<string> {
  const answer = await execute(
    world,
    { action: 'create', prompt: 'What is 6 times 7?', auto_start: false, ...more },
    how,
  )
  assert.equal(answer.status, 201, answer.text)
  return answer.body.run_id
}

export async function cancelledRun(world: World, more: Record<string, unknown> = {}): Promise<string> {
  const run_id = await idleRun(world, more)
  const answer = await execute(world, { action: 'stop', run_id })
  assert.equal(answer.status, 200, answer.text)
  return run_id
}

/** What every error body must hold, whoever reads it. */
export function assertError(answer: Answer, expected: number, code: string, text?: string | RegExp): void {
  assert.equal(answer.status, expected, answer.text)
  const { error, detail, message, request_id } = answer.body
  assert.ok(typeof error === 'string' && error.length > 0, answer.text)
  assert.deepEqual([detail, message, answer.body.code], [error, error, code], answer.text)
  assert.equal(answer.headers.get('x-request-id'), request_id)
  assert.match(answer.headers.get('content-type') ?? '', /^application\/json/)
  if (typeof text === 'string') assert.equal(error, text)
  else if (text !== undefined) assert.match(error, text)
}
