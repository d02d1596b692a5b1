import { createHash } from 'node:crypto'
import { createMemoryCache } from '../shared/adapters/memory/cache.ts'
import { MemoryFrontStore } from '../shared/adapters/memory/front-store.ts'
import { AppError } from '../shared/core/errors.ts'
import type { Plan } from '../shared/core/plan.ts'
import type { App } from '../shared/http/env.ts'
import { type Running, serve } from '../shared/http/serve.ts'
import type { Artifacts, Attachments, Blobs } from '../shared/ports/blobs.ts'
import type { Caller, Identity } from '../shared/ports/identity.ts'
import type { Log, LogFields } from '../shared/ports/log.ts'
import type { Publication, Scheduler } from '../shared/ports/scheduler.ts'

export const ALICE = '00000000-0000-4000-8000-00000000000a'
export const BOB = '00000000-0000-4000-8000-00000000000b'
export const ORIGIN = 'https://app.example.com'

/** Tokens `alice` and `bob` are users; every other is refused; `keys-away` meets an issuer whose keys cannot be had. */
export function testIdentity({ expiresInSeconds = 3600 } = {}): Identity {
  return {
    async verify(accessToken): Promise<Caller> {
      if (accessToken === 'keys-away')
        throw new AppError('unavailable', 'The keys cannot be had', { retryAfterSeconds: 3 })
      const sub = accessToken === 'alice' ? ALICE : accessToken === 'bob' ? BOB : undefined
      if (sub === undefined) throw new AppError('unauthorized', 'Unauthorized')
      return {
        issuer: 'https://p.example.com/auth/v1',
        sub,
        tenant_id: null,
        user_id_from: 'sub',
        accessToken,
        expiresAt: Date.now() / 1000 + expiresInSeconds,
        projectUrl: 'https://p.example.com',
        projectKey: 'key',
      }
    },
  }
}

/** A log that keeps its lines. */
export function testLog(): Log & { lines: (LogFields & { level: string; text: string })[] } {
  const lines: (LogFields & { level: string; text: string })[] = []
  const at = (bound: LogFields): Log => {
    const write = (level: string) => (fields: LogFields, text: string) =>
      void lines.push({ ...bound, ...fields, level, text })
    return {
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
      child: (fields) => at({ ...bound, ...fields }),
    }
  }
  return { ...at({}), lines }
}

/** Ports of execute, status and logs in memory, with what was done to them. */
export function testPorts({ identity = testIdentity(), objects = {} as Record<string, string> } = {}) {
  const store = new MemoryFrontStore()
  const published: Publication[] = []
  const blobs = new Map<string, Uint8Array>()
  const reads: { caller: Caller; bucket: string; path: string }[] = []
  let schedulerFault: Error | undefined
  const scheduler: Scheduler = {
    async publish(publications) {
      if (schedulerFault) throw schedulerFault
      published.push(...publications)
    },
  }
  const attachments: Attachments = {
    async read(caller, { bucket, path }, { maxBytes }) {
      reads.push({ caller, bucket, path })
      const text = objects[`${bucket}/${path}`]
      if (text === undefined || text.length > maxBytes)
        throw new AppError('invalid_attachment', `Invalid attachment: ${path}`)
      return new TextEncoder().encode(text)
    },
  }
  const blobStore: Blobs = {
    async put(owner, sha256, bytes) {
      if (createHash('sha256').update(bytes).digest('hex') !== sha256) throw new Error('hash does not match')
      blobs.set(`${owner} ${sha256}`, bytes)
    },
    async get() {
      throw new AppError('not_found', 'gone')
    },
  }
  const artifacts: Artifacts = {
    publish: () => Promise.reject(new Error('not here')),
    async sign({ storage_bucket, storage_key }) {
      return {
        storage_bucket,
        storage_key,
        signed_url: `https://s/new/${storage_key}`,
        signed_url_expires_at: '2099-06-01T00:00:00Z',
      }
    },
  }
  return {
    store,
    published,
    reads,
    stored: blobs,
    identity,
    log: testLog(),
    cache: createMemoryCache(),
    scheduler: async () => scheduler,
    blobs: async () => blobStore,
    attachments: async () => attachments,
    artifacts: async () => artifacts,
    failScheduler(error: Error) {
      schedulerFault = error
    },
  }
}

export function twoPhases(): Plan {
  const phases = [1, 2].map((phase_number) => ({
    phase_number,
    name: `Phase ${phase_number}`,
    description: '',
    required_capabilities: [],
    estimated_credits: 1,
    dependencies: [],
    expected_outputs: [],
  }))
  return {
    goal: 'g',
    phases,
    total_estimated_credits: 2,
    total_estimated_duration_minutes: 1,
    required_capabilities: [],
    risks: [],
  }
}

/** Calls an app as a user would. */
export function caller(app: App, token: string | null = 'alice') {
  const headers = {
    'content-type': 'application/json',
    ...(token === null ? {} : { authorization: `Bearer ${token}` }),
  }
  return {
    async post(path: string, body: unknown, more: Record<string, string> = {}) {
      const text = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
      const answer = await app.request(path, {
        method: 'POST',
        headers: { ...headers, ...more },
        body: text as BodyInit,
      })
      return {
        status: answer.status,
        headers: answer.headers,
        body: (await answer.json()) as Record<string, unknown>,
      }
    },
    async get(path: string, more: Record<string, string> = {}) {
      const answer = await app.request(path, { headers: { ...headers, ...more } })
      return {
        status: answer.status,
        headers: answer.headers,
        body: (await answer.json()) as Record<string, unknown>,
      }
    },
  }
}

/** Serves an app on a free loopback port. */
export function listen(app: App, onDrain: () => void = () => {}): Promise<Running> {
  return serve(app, {
    port: 0,
    host: '127.0.0.1',
    shutdownSeconds: 2,
    log: undefined,
    onDrain,
    onClosed: async () => {},
  })
}
