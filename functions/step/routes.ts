import { setTimeout as sleep } from 'node:timers/promises'
import type { StepConfig } from '../../shared/config/read-config.ts'
import { isNewerMessage, stepMessage } from '../../shared/contract/step.ts'
import { AppError } from '../../shared/core/errors.ts'
import { NEWER_RETRY_SECONDS } from '../../shared/core/protocol.ts'
import { type Advance, advanceRun } from '../../shared/engine/advance-run.ts'
import type { StepDeps } from '../../shared/engine/step-deps.ts'
import { sweep } from '../../shared/engine/sweep.ts'
import { createApp } from '../../shared/http/create-app.ts'
import type { App, AppContext } from '../../shared/http/env.ts'
import { rawBody } from '../../shared/http/raw-body.ts'
import { route, servicePaths } from '../../shared/http/route.ts'
import type { SignatureVerifier } from '../../shared/ports/scheduler.ts'
import { addJobRoutes } from './job-routes.ts'
import { isSweepSignature } from './sweep-signature.ts'

/** A message is two fields; a failure callback carries it once more in base64 with what the target answered. */
const MAX_MESSAGE_BYTES = 4096
const MAX_CALLBACK_BYTES = 1024 * 1024
/** Retry-After knows whole seconds: a lease that ends within one is waited for, so that a dead attempt costs its lease and no more. */
const LEASE_WAIT_SECONDS = 1
/** Added to that wait, as timers may be early and the database asks for a lease that is over. */
const LEASE_MARGIN_MS = 10

/** The step service: QStash's messages, the sweeper's call, and the door for tool jobs where it is not a service of its own. No browser calls it. */
export function stepApp(config: StepConfig, deps: StepDeps, verifier: SignatureVerifier): App {
  const app = createApp({
    service: 'step',
    version: config.version,
    log: deps.log,
    allowedOrigins: [],
    publicBaseUrl: config.publicBaseUrl,
    ready: () => deps.store.ready(),
  })

  // QStash signs the address that it was told to publish to; Host and X-Forwarded headers are rewritten on the way and prove nothing.
  const verified = async (context: AppContext, path: string, maxBytes: number): Promise<string> => {
    const body = await rawBody(context, maxBytes)
    const signature = context.req.header('upstash-signature')
    const url = `${config.publicBaseUrl}${path}`
    if (signature === undefined || !(await verifier.verify({ signature, rawBody: body, url }))) {
      throw new AppError('signature_invalid', 'The signature is not valid')
    }
    return body
  }

  route(app, servicePaths(config.mounted, ['/agent/step']), {
    POST: [
      async (context) => {
        const started = performance.now()
        const body = await verified(context, '/agent/step', MAX_MESSAGE_BYTES)
        const value = parse(body)
        if (isNewerMessage(value)) {
          context.get('log').warn({ outcome: 'newer' }, 'a message of newer code is handed back')
          throw new AppError('unavailable', 'Only newer code can read this message', {
            retryAfterSeconds: NEWER_RETRY_SECONDS,
          })
        }
        const message = stepMessage.safeParse(value)
        if (!message.success) return poison(context)
        const { run_id, step_number } = message.data
        const advance = await advanceSoon(deps, message.data)
        const duration_ms = Math.round(performance.now() - started)
        const count = 'steps' in advance ? advance.steps : 1
        context.get('log').info({ run_id, step_number, outcome: advance.outcome, count, duration_ms }, 'step')
        if (advance.outcome === 'newer') {
          throw new AppError('unavailable', 'Only newer code can go on with this run', {
            retryAfterSeconds: NEWER_RETRY_SECONDS,
          })
        }
        if (advance.outcome === 'leased') {
          throw new AppError('unavailable', 'The step is in work', {
            // rather too early than too late: what is then left is waited for here
            retryAfterSeconds: Math.floor(advance.retryAfterSeconds),
          })
        }
        return context.json(advance)
      },
    ],
  })

  // A message that QStash gave up on: the run is looked at, not killed. Its row is still unclaimed, so the sweeper publishes it again.
  route(app, ['/agent/step/failure'], {
    POST: [
      async (context) => {
        await verified(context, '/agent/step/failure', MAX_CALLBACK_BYTES)
        context.get('log').warn({ outcome: 'dead_letter' }, 'QStash gave a step message up')
        return context.json({ outcome: 'noted' })
      },
    ],
  })

  route(app, ['/agent/step/sweep'], {
    POST: [
      async (context) => {
        const body = await rawBody(context, MAX_MESSAGE_BYTES)
        const timestamp = context.req.header('x-agent-timestamp') ?? ''
        const signature = context.req.header('x-agent-signature') ?? ''
        if (!isSweepSignature(config.sweepSecret, { timestamp, body, signature }, Date.now() / 1000)) {
          throw new AppError('signature_invalid', 'The signature is not valid')
        }
        const swept = await sweep(deps)
        context.get('log').info({ count: swept.published, outcome: 'swept' }, 'sweep')
        return context.json(swept)
      },
    ],
  })

  if (config.doorUrl === '') addJobRoutes(app, deps, { maxBlobBytes: config.maxBlobBytes })
  return app
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/** 489 with this header tells QStash never to try again. */
function poison(context: AppContext): Response {
  context.get('log').warn({ outcome: 'poison' }, 'a signed message that is none of ours')
  const text = 'Not a step message'
  const body = {
    error: text,
    detail: text,
    message: text,
    code: 'invalid_request',
    request_id: context.get('requestId'),
  }
  return new Response(JSON.stringify(body), {
    status: 489,
    headers: { 'content-type': 'application/json', 'upstash-nonretryable-error': 'true' },
  })
}

async function advanceSoon(
  deps: StepDeps,
  message: { run_id: string; step_number: number },
): Promise<Advance> {
  const advance = await advanceRun(deps, message)
  if (advance.outcome !== 'leased' || advance.retryAfterSeconds > LEASE_WAIT_SECONDS) return advance
  await sleep(advance.retryAfterSeconds * 1000 + LEASE_MARGIN_MS)
  return advanceRun(deps, message)
}
