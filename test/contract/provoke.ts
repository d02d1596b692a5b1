import { randomUUID } from 'node:crypto'
import type { Operation } from '../../shared/contract/operations.ts'
import { AppError } from '../../shared/core/errors.ts'
import { qstashSignature, sweepHeaders } from '../tenancy/callers.ts'
import { type Asked, ask, askHalf } from './ask.ts'
import type { Exchange } from './exchange.ts'
import { FILE_SHA256, type MemoryDoors, memoryDoors } from './memory-doors.ts'

const GHOST = '0f0f0f0f-0000-4000-8000-00000000000f'
const ALICE = '00000000-0000-4000-8000-00000000000a'
/** Over the largest limit of any door, which is a workspace file's. */
const HUGE_BYTES = 200 * 1024 * 1024
/** Over all that a request's headers may have. */
const FILLER = 'x'.repeat(20_000)
/** A request that stops is given up soon. */
const HASTY = { headersMs: 400, requestMs: 400, checkMs: 50 }
const NOT_UTF8 = Uint8Array.of(0xff)

/** The same functions in the circumstances that make them refuse. */
export interface Doors {
  usual: MemoryDoors
  /** One request a minute of each kind, and no credit. */
  narrow: MemoryDoors
  /** Requests must come at once. */
  hasty: MemoryDoors
  /** The store fails in a way that nobody foresaw. */
  failing: MemoryDoors
  /** The store is away. */
  away: MemoryDoors
  close(): Promise<void>
}

export async function openDoors(): Promise<Doors> {
  const [usual, narrow, hasty, failing, away] = await Promise.all([
    memoryDoors(),
    memoryDoors({
      env: {
        OPENING_CREDITS: '0',
        RATE_CREATES_PER_MINUTE: '1',
        RATE_WRITES_PER_MINUTE: '1',
        RATE_READS_PER_MINUTE: '1',
        RATE_STREAMS_PER_MINUTE: '1',
      },
    }),
    memoryDoors({ limits: HASTY }),
    memoryDoors({ fault: new Error('unforeseen') }),
    memoryDoors({ fault: new AppError('unavailable', 'The database is away', { retryAfterSeconds: 2 }) }),
  ])
  const all = [usual, narrow, hasty, failing, away]
  return {
    usual,
    narrow,
    hasty,
    failing,
    away,
    async close() {
      await Promise.all(all.map((doors) => doors.close()))
    },
  }
}

/** What fills the places of a path and of a request. */
interface Fields {
  user?: string
  run_id?: string
  token?: string
  sha256?: string
  asset?: string
}
type Ready = Required<Fields> & { step_number: string }

const nameOf = ({ method, paths }: Operation) => `${method} ${paths[0]}`
const JOB = '/agent/step/job/{run_id}/{step_number}'
const RESULT = {
  outcome: { kind: 'exited', exit_code: 0 },
  stdout: '',
  stderr: '',
  truncated: false,
  duration_ms: 1,
  files: { put: [], removed: [] },
}

/** Bodies and queries that are taken. */
const TAKEN: Readonly<
  Record<string, { body?: (ready: Ready) => unknown; query?: (ready: Ready) => string }>
> = {
  'post /agent/execute': { body: () => ({ prompt: 'What is 6 times 7?' }) },
  'post /agent/cancel': { body: ({ run_id }) => ({ run_id }) },
  'post /agent/status': { body: ({ run_id }) => ({ run_id }) },
  'post /agent/stream-ticket': { body: ({ run_id }) => ({ run_id }) },
  'get /agent/logs': { query: ({ run_id }) => `?run_id=${run_id}` },
  'post /agent/step': { body: ({ run_id }) => ({ run_id, step_number: 1 }) },
  'post /agent/step/failure': { body: () => ({ status: 500 }) },
  'post /agent/step/sweep': { body: () => ({}) },
  [`post ${JOB}/start`]: { body: () => ({}) },
  [`put ${JOB}/blob/{sha256}`]: { body: () => 'bytes of a workspace file' },
  [`post ${JOB}/output`]: { body: () => ({ chunks: [{ stream: 'stdout', content: 'x' }] }) },
  [`post ${JOB}/result`]: { body: () => RESULT },
}

/** The request that an operation is for, with everything it needs to succeed at doors that work. */
async function taken(
  doors: MemoryDoors,
  operation: Operation,
  path: string,
  fields: Fields = {},
): Promise<Asked> {
  const [scheme = ''] = operation.security
  const parked = scheme === 'job' ? await doors.parked() : undefined
  const user = fields.user ?? ALICE
  const ready: Ready = {
    user,
    run_id: fields.run_id ?? parked?.run_id ?? (await runFor(doors, operation, user)),
    step_number: String(parked?.step_number ?? 0),
    token: fields.token ?? parked?.token ?? '',
    sha256: fields.sha256 ?? FILE_SHA256,
    asset: fields.asset ?? 'swagger-ui.css',
  }
  const { body, query } = TAKEN[nameOf(operation)] ?? {}
  const value = body?.(ready)
  const text = value === undefined || typeof value === 'string' ? value : JSON.stringify(value)
  const place = path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => ready[name as keyof Ready])
  const isJson = text !== undefined && typeof value !== 'string'
  return {
    method: operation.method.toUpperCase(),
    path: place + (query?.(ready) ?? ''),
    headers: {
      ...(isJson ? { 'content-type': 'application/json' } : {}),
      ...(await credentials(doors, scheme, ready, { path, body: text ?? '' })),
    },
    ...(text === undefined ? {} : { body: text }),
  }
}

/** Reads are of a run that has ended, or a stream had no end. */
async function runFor(doors: MemoryDoors, { method, security }: Operation, user: string): Promise<string> {
  if (!security.includes('user')) return GHOST
  return method === 'get' ? doors.endedRun(user) : doors.idleRun(user)
}

async function credentials(
  doors: MemoryDoors,
  scheme: string,
  { user, token }: Ready,
  { path, body }: { path: string; body: string },
): Promise<Record<string, string>> {
  if (scheme === 'user') return { authorization: `Bearer ${user}` }
  if (scheme === 'job') return { authorization: `Bearer ${token}` }
  if (scheme === 'sweep') return sweepHeaders(body, doors.sweepSecret)
  if (scheme !== 'qstash') return {}
  return {
    'upstash-signature': await qstashSignature(body, doors.publicBaseUrl + path, doors.signingKey),
  }
}

/** How a status comes about at one path of an operation. */
type Way = (doors: Doors, operation: Operation, path: string) => Promise<Exchange>

/** The usual request with a difference, at the usual doors. */
const changed =
  (change: (asked: Asked) => Partial<Asked>): Way =>
  async ({ usual }, operation, path) => {
    const asked = await taken(usual, operation, path)
    return ask(usual.origin, { ...asked, ...change(asked) })
  }
const withFields =
  (fields: Fields): Way =>
  async ({ usual }, operation, path) =>
    ask(usual.origin, await taken(usual, operation, path, fields))
const withQuery = (query: string): Way =>
  changed(({ path }) => ({ path: (path.split('?', 1)[0] ?? '') + query }))
const at =
  (which: 'failing' | 'away' | 'narrow'): Way =>
  async (doors, operation, path) =>
    ask(
      doors[which].origin,
      await taken(doors[which], operation, path, { user: randomUUID(), run_id: GHOST }),
    )

/** The first answer to a job is the only one. */
const answeredJob: Way = async ({ usual }, operation, path) => {
  const asked = await taken(usual, operation, path)
  if (!operation.security.includes('job')) return ask(usual.origin, asked)
  const end = JSON.stringify({ ...RESULT, stdout: 'an earlier end' })
  const place = asked.path.replace(/^(\/agent\/step\/job\/[^/]+\/[^/]+)\/.*/, '$1/result')
  const first = await ask(usual.origin, { ...asked, method: 'POST', path: place, body: end })
  if (first.status !== 200) throw new Error(`the job's end was not taken: ${first.text}`)
  return ask(usual.origin, asked)
}

const otherBodySameKey: Way = async ({ usual }, operation, path) => {
  const asked = await taken(usual, operation, path)
  const headers = { ...asked.headers, 'idempotency-key': randomUUID() }
  const first = await ask(usual.origin, { ...asked, headers })
  if (first.status !== 201) throw new Error(`the run was not created: ${first.text}`)
  return ask(usual.origin, { ...asked, headers, body: JSON.stringify({ prompt: 'What is 7 times 7?' }) })
}

const foreignRun: Way = changed(({ path, body }) => {
  const json = typeof body === 'string' ? JSON.parse(body) : {}
  const named = { ...json, action: 'start', run_id: GHOST }
  return {
    path: path.replace(/[\da-f]{8}-[\da-f-]{27}/, GHOST),
    ...(body === undefined ? {} : { body: JSON.stringify(named) }),
  }
})

/** For every operation that documents the status. */
const WAYS: Readonly<Record<number, Way>> = {
  400: changed(() => ({ body: NOT_UTF8 })),
  401: changed(({ headers }) => ({
    headers: Object.fromEntries(
      Object.entries(headers).filter(([name]) => !/^authorization$|signature/.test(name)),
    ),
  })),
  404: foreignRun,
  405: changed(() => ({ method: 'DELETE' })),
  async 408({ hasty }, operation, path) {
    const asked = await taken(hasty, operation, path)
    return asked.method === 'GET'
      ? askHalf(hasty.origin, asked)
      : ask(hasty.origin, { ...asked, withheldBytes: 100 })
  },
  409: answeredJob,
  413: changed(() => ({ withheldBytes: HUGE_BYTES })),
  415: changed(({ headers }) => ({ headers: { ...headers, 'content-type': 'text/plain' } })),
  async 429({ narrow }, operation, path) {
    const asked = await taken(narrow, operation, path, { user: randomUUID(), run_id: GHOST })
    const first = await ask(narrow.origin, asked)
    if (first.status === 429) throw new Error('the first request was refused already')
    return ask(narrow.origin, asked)
  },
  431: changed(({ headers }) => ({ headers: { ...headers, 'x-filler': FILLER } })),
  500: at('failing'),
  503: at('away'),
}

/** Where an operation has a way of its own. */
const OWN_WAYS: Readonly<Record<string, Way>> = {
  'get /agent/runs 400': withQuery('?before=nonsense'),
  'get /agent/logs 400': withQuery(''),
  'get /agent/run/{run_id}/stream 400': withQuery('?since=nonsense'),
  'post /agent/execute 402': at('narrow'),
  'post /agent/execute 409': otherBodySameKey,
  async 'post /agent/step 489'({ usual }, operation, path) {
    const asked = await taken(usual, operation, path)
    const body = '"none of ours"'
    const signature = await qstashSignature(body, usual.publicBaseUrl + path, usual.signingKey)
    return ask(usual.origin, { ...asked, body, headers: { 'upstash-signature': signature } })
  },
  [`get ${JOB}/blob/{sha256} 404`]: withFields({ sha256: 'f'.repeat(64) }),
  [`put ${JOB}/blob/{sha256} 404`]: withFields({ sha256: 'nonsense' }),
  'get /docs/{asset} 404': withFields({ asset: 'nothing.js' }),
}

/** Statuses above 399, those beside the error list included. */
export function refusalsOf({ errors, answers }: Operation): number[] {
  return [
    ...errors,
    ...Object.keys(answers)
      .map(Number)
      .filter((status) => status >= 400),
  ]
}

/** Every status that some way leads to. */
export const PROVOKED = Object.keys(WAYS).map(Number)

/** Makes the status happen. @throws Error where nobody has said how */
export async function provoke(
  doors: Doors,
  operation: Operation,
  path: string,
  status: number,
): Promise<Exchange> {
  const way = OWN_WAYS[`${nameOf(operation)} ${status}`] ?? WAYS[status]
  if (way === undefined)
    throw new Error(`${nameOf(operation)}: how does ${status} come about? Tell test/contract/provoke.ts`)
  return way(doors, operation, path)
}

/** The request that the operation is for, taken. */
export async function succeed({ usual }: Doors, operation: Operation, path: string): Promise<Exchange> {
  return ask(usual.origin, await taken(usual, operation, path))
}
