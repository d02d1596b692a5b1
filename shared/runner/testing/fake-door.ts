import { createHash, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type JobFile,
  type JobLimits,
  type JobOutputRequest,
  type JobResultRequest,
  jobOutputRequest,
  jobResultRequest,
  jobStartAnswer,
} from '../../contract/job.ts'

export const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

export const TEST_LIMITS: JobLimits = {
  timeout_seconds: 20,
  memory_bytes: 256 * 1024 * 1024,
  output_bytes: 64 * 1024,
  workspace_bytes: 16 * 1024 * 1024,
  workspace_files: 100,
  file_bytes: 8 * 1024 * 1024,
}

/** One step's job behind the door. */
export interface DoorJob {
  runId: string
  stepNumber: number
  token: string
  tool: { name: string; input: Record<string, unknown> }
  files: JobFile[]
  limits: JobLimits
  watched: boolean
  cancelled: boolean
  /** Calls of `output` in their order. */
  outputs: JobOutputRequest['chunks'][]
  results: JobResultRequest[]
  /** Bytes that may be fetched, by hash; uploads land in `uploaded`. */
  blobs: Map<string, Buffer>
  uploaded: Map<string, Buffer>
  starts: number
}

/** Answers true when it has taken the request over. */
export type Interceptor = (request: IncomingMessage, response: ServerResponse, path: string) => boolean

/** The door's protocol (contract/job.ts) over a real socket; every body is checked with the contract's schemas. */
export class FakeDoor {
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch((error: unknown) => {
      this.faults.push(String(error))
      response.destroy()
    })
  })
  readonly #jobs = new Map<string, DoorJob>()
  /** What a runner sent that the contract does not allow; tests expect none. */
  readonly faults: string[] = []
  intercept: Interceptor | undefined
  url = ''

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/agent/step/job`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  add(
    tool: DoorJob['tool'],
    options: { files?: Record<string, string | Buffer>; limits?: Partial<JobLimits>; watched?: boolean } = {},
  ): DoorJob {
    const blobs = new Map<string, Buffer>()
    const files = Object.entries(options.files ?? {}).map(([path, content]) => {
      const bytes = Buffer.from(content)
      blobs.set(sha256(bytes), bytes)
      return { path, sha256: sha256(bytes), size: bytes.byteLength, mode: 0o644 }
    })
    const job: DoorJob = {
      runId: randomUUID(),
      stepNumber: 3,
      token: `secret-${randomUUID()}`,
      tool,
      files,
      limits: { ...TEST_LIMITS, ...options.limits },
      watched: options.watched ?? false,
      cancelled: false,
      outputs: [],
      results: [],
      blobs,
      uploaded: new Map(),
      starts: 0,
    }
    this.#jobs.set(`${job.runId}/${job.stepNumber}`, job)
    return job
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts = (request.url ?? '').split('/').slice(4)
    const [runId, stepNumber, verb, hash = ''] = parts
    if (this.intercept?.(request, response, parts.slice(2).join('/'))) return
    const body = await readBody(request)
    const job = this.#jobs.get(`${runId}/${stepNumber}`)
    if (!job) return send(response, 404, { code: 'not_found' })
    if (request.headers.authorization !== `Bearer ${job.token}`)
      return send(response, 401, { code: 'unauthorized' })
    const over = job.results.length > 0 && verb !== 'result'
    if (over) return send(response, 409, { code: 'already_answered' })
    if (verb === 'start') {
      job.starts += 1
      const { tool, files, limits, watched } = job
      return send(
        response,
        200,
        jobStartAnswer.parse({ tool, files, limits, watched, idempotency_key: 'key' }),
      )
    }
    if (verb === 'blob' && request.method === 'GET') {
      const bytes = job.blobs.get(hash)
      if (!bytes) return send(response, 404, { code: 'not_found' })
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(bytes)
      return
    }
    if (verb === 'blob') {
      if (sha256(body) !== hash) return send(response, 400, { code: 'invalid_request' })
      job.uploaded.set(hash, body)
      return send(response, 200, { receipt: `receipt-${hash}` })
    }
    if (verb === 'output') {
      if (body.byteLength > 64 * 1024) throw new Error('an output call over 64 KiB')
      job.outputs.push(jobOutputRequest.parse(JSON.parse(body.toString())).chunks)
      return send(response, 200, { watched: job.watched, cancelled: job.cancelled })
    }
    if (verb === 'result') return this.#result(job, body, response)
    throw new Error(`an unknown route ${request.method} ${request.url}`)
  }

  #result(job: DoorJob, body: Buffer, response: ServerResponse): void {
    const result = jobResultRequest.parse(JSON.parse(body.toString()))
    for (const file of result.files.put) {
      if (file.receipt !== `receipt-${file.sha256}`) throw new Error('a file without its receipt')
    }
    const [first] = job.results
    const other = first !== undefined && JSON.stringify(first) !== JSON.stringify(result)
    if (!other) job.results.push(result)
    send(response, other ? 409 : 200, other ? { code: 'already_answered' } : { ok: true })
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts)
}
