import { Readable } from 'node:stream'
import type { JobOutputAnswer, JobOutputRequest, JobResultRequest } from '../contract/job.ts'
import type { RunnerJob } from './job.ts'
import { REQUEST_TIMEOUT_SECONDS, TRANSFER_TIMEOUT_SECONDS } from './limits.ts'
import { readFileStream } from './read-file-stream.ts'
import { Refusal } from './refusal.ts'

/** An answer that trying again does not change. */
export class DoorError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.name = 'DoorError'
    this.status = status
  }
}

const FIRST_DELAY_MS = 250
const LONGEST_DELAY_MS = 15_000
/** Answers of the door other than `start` and blobs are a few bytes. */
const ANSWER_BYTES = 64 * 1024
const START_BYTES = 16 * 1024 * 1024
/** Below 500, but trying again may help. */
const RETRYABLE_STATUSES: ReadonlySet<number> = new Set([408, 425, 429])

interface Call {
  method: 'GET' | 'POST' | 'PUT'
  path: string
  body?: () => BodyInit | Promise<BodyInit>
  headers?: Record<string, string>
  timeoutSeconds: number
  maxBytes: number
}

/** The HTTP client of the door (contract/job.ts). Every call ends by the deadline; only `output` is tried just once. */
export class Door {
  readonly #base: string
  readonly #token: string
  readonly #deadline: number

  constructor(job: RunnerJob) {
    this.#base = `${job.door_url.replace(/\/+$/, '')}/${encodeURIComponent(job.run_id)}/${job.step_number}`
    this.#token = job.token
    this.#deadline = Date.parse(job.deadline_at)
  }

  /** The answer as it came; start.ts checks it. */
  async start(signal: AbortSignal): Promise<unknown> {
    return parse(await this.#retry(this.#json('start', {}, START_BYTES), signal))
  }

  async getBlob(sha256: string, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
    const call: Call = {
      method: 'GET',
      path: `blob/${sha256}`,
      timeoutSeconds: TRANSFER_TIMEOUT_SECONDS,
      maxBytes,
    }
    return await this.#retry(call, signal)
  }

  /** Uploads a file's bytes and answers the receipt. */
  async putBlob(file: { path: string; sha256: string; size: number }, signal: AbortSignal): Promise<string> {
    const answer = await this.#retry(
      {
        method: 'PUT',
        path: `blob/${file.sha256}`,
        body: async () => Readable.toWeb(await readFileStream(file.path)) as BodyInit,
        headers: { 'content-type': 'application/octet-stream', 'content-length': String(file.size) },
        timeoutSeconds: TRANSFER_TIMEOUT_SECONDS,
        maxBytes: ANSWER_BYTES,
      },
      signal,
    )
    const { receipt } = parse(answer) as { receipt?: unknown }
    if (typeof receipt !== 'string' || receipt === '')
      throw new DoorError(200, 'the door gave no receipt for a file')
    return receipt
  }

  async output(chunks: JobOutputRequest['chunks'], signal: AbortSignal): Promise<JobOutputAnswer> {
    const answer = parse(
      await this.#once(this.#json('output', { chunks }, ANSWER_BYTES), signal),
    ) as Partial<JobOutputAnswer>
    return { watched: answer.watched === true, cancelled: answer.cancelled === true }
  }

  async result(body: JobResultRequest, signal: AbortSignal): Promise<void> {
    await this.#retry(this.#json('result', body, ANSWER_BYTES), signal)
  }

  #json(path: string, value: unknown, maxBytes: number): Call {
    // Written once: a repeated result must be the same body, byte for byte.
    const text = JSON.stringify(value)
    const headers = { 'content-type': 'application/json' }
    return {
      method: 'POST',
      path,
      body: () => text,
      headers,
      timeoutSeconds: REQUEST_TIMEOUT_SECONDS,
      maxBytes,
    }
  }

  /** Everything that is not final by its status is tried again, with back-off, until the deadline. */
  async #retry(call: Call, signal: AbortSignal): Promise<Buffer> {
    let delayMs = FIRST_DELAY_MS
    for (;;) {
      try {
        return await this.#once(call, signal)
      } catch (error) {
        if (error instanceof DoorError && error.status < 500 && !RETRYABLE_STATUSES.has(error.status))
          throw error
        if (signal.aborted || error instanceof Refusal) throw error
        const asked = error instanceof RetryLater ? error.seconds * 1000 : 0
        const waitMs = Math.min(Math.max(delayMs, asked), LONGEST_DELAY_MS)
        if (Date.now() + waitMs > this.#deadline) throw error
        await sleep(waitMs, signal)
        delayMs = Math.min(delayMs * 2, LONGEST_DELAY_MS)
      }
    }
  }

  async #once(call: Call, signal: AbortSignal): Promise<Buffer> {
    const leftMs = Math.max(this.#deadline - Date.now(), 1)
    const body = await call.body?.()
    const response = await fetch(`${this.#base}/${call.path}`, {
      method: call.method,
      headers: { ...call.headers, authorization: `Bearer ${this.#token}` },
      // The token goes to the door and nowhere else.
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(Math.min(call.timeoutSeconds * 1000, leftMs))]),
      ...(body === undefined ? {} : { body, duplex: 'half' as const }),
    })
    if (!response.ok) {
      const text = (await readBounded(response, ANSWER_BYTES)).toString('utf8').slice(0, 300)
      const after = Number(response.headers.get('retry-after'))
      if (Number.isFinite(after) && after > 0) throw new RetryLater(response.status, text, after)
      throw new DoorError(response.status, `the door answered ${response.status} to ${call.path}: ${text}`)
    }
    return await readBounded(response, call.maxBytes)
  }
}

class RetryLater extends DoorError {
  readonly seconds: number
  constructor(status: number, text: string, seconds: number) {
    super(status, `the door answered ${status}: ${text}`)
    this.seconds = seconds
  }
}

async function readBounded(response: Response, maxBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of response.body ?? []) {
    bytes += part.byteLength
    if (bytes > maxBytes) throw new DoorError(response.status, `the door sent more than ${maxBytes} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

function parse(answer: Buffer): unknown {
  const value: unknown = JSON.parse(answer.toString('utf8'))
  if (typeof value !== 'object' || value === null) throw new DoorError(200, 'the door sent no JSON object')
  return value
}

export async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, milliseconds)
    signal.addEventListener('abort', done)
  })
}
