import type * as z from 'zod'
import {
  JOB_OUTPUT_BODY_BYTES,
  JOB_RESULT_BODY_BYTES,
  jobOutputRequest,
  jobResultRequest,
  jobSha256,
  jobStartRequest,
} from '../../shared/contract/job.ts'
import { watchFlag } from '../../shared/contract/live.ts'
import { jobPath } from '../../shared/contract/step.ts'
import { AppError } from '../../shared/core/errors.ts'
import {
  TOOL_MEMORY_BYTES,
  TOOL_OUTPUT_BYTES,
  WORKSPACE_BYTES,
  WORKSPACE_FILES,
} from '../../shared/core/limits.ts'
import { storableJson } from '../../shared/core/storable-json.ts'
import { finishJob } from '../../shared/engine/finish-job.ts'
import { blobReceipt, type JobId, sha256Hex } from '../../shared/engine/job-token.ts'
import { sendLive } from '../../shared/engine/live.ts'
import type { DoorDeps } from '../../shared/engine/step-deps.ts'
import type { App, AppContext } from '../../shared/http/env.ts'
import { rawBody, rawBytes } from '../../shared/http/raw-body.ts'
import { route } from '../../shared/http/route.ts'

const MAX_TOKEN_CHARS = 512
const BASE = '/agent/step/job/:run_id/:step_number'

/** The door (contract/job.ts): what a job's runner may ask with its one-time token. */
export function addJobRoutes(app: App, deps: DoorDeps, limits: { maxBlobBytes: number }): void {
  const { store, cache, blobs, settings } = deps

  route(app, [`${BASE}/start`], {
    POST: [
      async (context) => {
        const { job, ids } = identify(context)
        parseBody(jobStartRequest, await rawBody(context, 1024))
        const started = await store.startJob(ids)
        return context.json({
          tool: { name: started.tool_name, input: started.tool_input },
          files: started.files,
          limits: {
            timeout_seconds: settings.jobDeadlineSeconds,
            memory_bytes: TOOL_MEMORY_BYTES,
            output_bytes: TOOL_OUTPUT_BYTES,
            workspace_bytes: WORKSPACE_BYTES,
            workspace_files: WORKSPACE_FILES,
            file_bytes: limits.maxBlobBytes,
          },
          watched: await cache.hasFlag(watchFlag(job.runId)),
          idempotency_key: started.idempotency_key,
        })
      },
    ],
  })

  route(app, [`${BASE}/blob/:sha256`], {
    GET: [
      async (context) => {
        const { ids } = identify(context)
        const sha256 = hashIn(context)
        const { user_id, owned } = await store.checkJob({ ...ids, sha256 })
        if (!owned) throw new AppError('not_found', 'Not found')
        const bytes = await blobs.get(user_id, sha256)
        return context.body(bytes.slice().buffer, 200, { 'content-type': 'application/octet-stream' })
      },
    ],
    PUT: [
      async (context) => {
        const { job, ids } = identify(context)
        const sha256 = hashIn(context)
        const { user_id } = await store.checkJob({ ...ids, sha256, storing: true })
        const bytes = await rawBytes(context, limits.maxBlobBytes)
        if (sha256Hex(bytes) !== sha256)
          throw new AppError('invalid_request', 'The bytes do not have this hash')
        await blobs.put(user_id, sha256, bytes)
        return context.json({ receipt: blobReceipt(settings.secret, job, sha256, bytes.length) })
      },
    ],
  })

  route(app, [`${BASE}/output`], {
    POST: [
      async (context) => {
        const { job, ids } = identify(context)
        const { chunks } = parseBody(jobOutputRequest, await rawBody(context, JOB_OUTPUT_BODY_BYTES * 2))
        const { step_id, cancelled } = await store.checkJob(ids)
        const [watched] = await Promise.all([
          cache.hasFlag(watchFlag(job.runId)),
          cancelled
            ? undefined
            : sendLive(
                cache,
                job.runId,
                chunks.map((chunk) => ({ t: 'terminal' as const, step_id, ...chunk })),
              ),
        ])
        return context.json({ watched, cancelled })
      },
    ],
  })

  route(app, [`${BASE}/result`], {
    POST: [
      async (context) => {
        const { job, token } = identify(context)
        const body = await rawBody(context, JOB_RESULT_BODY_BYTES)
        const result = parseBody(jobResultRequest, body)
        await finishJob(deps, job, token, body, result)
        context
          .get('log')
          .info({ run_id: job.runId, step_number: job.stepNumber, outcome: result.outcome.kind }, 'job ended')
        return context.json({ ok: true })
      },
    ],
  })
}

interface Identified {
  job: JobId
  token: string
  ids: { run_id: string; step_number: number; token_sha256: string }
}

/** Whoever asks without a well-formed path or token gets what a wrong token gets. */
function identify(context: AppContext): Identified {
  const path = jobPath.safeParse(context.req.param())
  const token = /^bearer ([\w.~+/=-]+)$/i.exec(context.req.header('authorization') ?? '')?.[1]
  if (!path.success || token === undefined || token.length > MAX_TOKEN_CHARS)
    throw new AppError('unauthorized', 'Unknown job')
  const { run_id, step_number } = path.data
  return {
    job: { runId: run_id, stepNumber: step_number },
    token,
    ids: { run_id, step_number, token_sha256: sha256Hex(token) },
  }
}

function hashIn(context: AppContext): string {
  const sha256 = jobSha256.safeParse(context.req.param('sha256'))
  if (!sha256.success) throw new AppError('not_found', 'Not found')
  return sha256.data
}

function parseBody<T>(schema: z.ZodType<T>, body: string): T {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch (error) {
    throw new AppError('invalid_json', 'Request body is not valid JSON', { cause: error })
  }
  const parsed = schema.safeParse(storableJson(value))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new AppError(
      'invalid_request',
      `${issue?.path.join('.') ?? 'body'}: ${issue?.message ?? 'invalid'}`,
    )
  }
  return parsed.data
}
