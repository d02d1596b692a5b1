import type { Client } from '@upstash/qstash'
import { AppError } from '../../core/errors.ts'
import type { Publication, Scheduler } from '../../ports/scheduler.ts'
import { createRequester, QStashRequestError } from './requester.ts'

export interface SchedulerOptions {
  /** Base URL of QStash, e.g. https://qstash.upstash.io. */
  url: string
  token: string
  /** Address of the step function as QStash calls it; also what the signature is made for. */
  destination: string
  /** Deliveries after the first one that fails. */
  retries: number
  /** Milliseconds as an expression over `retried` (0 before the first retry). QStash's own default waits 12 s and then minutes. */
  retryDelayExpression: string
  /** How long QStash waits for an answer: just above what one step may take. */
  timeoutSeconds: number
  /** Called when all deliveries failed. */
  failureCallback?: string
  /** How long a publish may take. Default 10 s. */
  publishTimeoutMs?: number
}

/** Messages a batch: keeps one request far below every limit of size and time. */
const MAX_BATCH = 100

/** Separated by `_`, which is allowed wherever an id is: in headers, paths and filters. */
function deduplicationId({ run_id, step_number, epoch, publication }: Publication): string {
  return [run_id, step_number, epoch, publication].join('_')
}

/** Publishes over QStash. The SDK is loaded by the first publish, so that a function which never publishes starts without it. */
export function createScheduler(options: SchedulerOptions): Scheduler {
  let client: Promise<Client> | undefined

  const connect = async (): Promise<Client> => {
    const { Client } = await import('@upstash/qstash')
    // devMode must be said: with QSTASH_DEV in the environment the SDK would otherwise ignore url and token.
    const made = new Client({
      baseUrl: options.url,
      token: options.token,
      devMode: false,
      enableTelemetry: false,
      retry: false,
    })
    made.http = createRequester({
      url: options.url,
      token: options.token,
      timeoutMs: options.publishTimeoutMs ?? 10_000,
    })
    return made
  }

  const toRequest = (publication: Publication) => ({
    url: options.destination,
    // Nothing else leaves: every other fact is read from the row.
    body: { run_id: publication.run_id, step_number: publication.step_number },
    deduplicationId: deduplicationId(publication),
    label: publication.run_id,
    retries: options.retries,
    retryDelay: options.retryDelayExpression,
    timeout: options.timeoutSeconds,
    ...(publication.delay_seconds > 0 ? { delay: Math.ceil(publication.delay_seconds) } : {}),
    ...(options.failureCallback === undefined ? {} : { failureCallback: options.failureCallback }),
  })

  return {
    async publish(publications) {
      if (publications.length === 0) return
      try {
        client ??= connect()
        const qstash = await client
        for (let from = 0; from < publications.length; from += MAX_BATCH) {
          const requests = publications.slice(from, from + MAX_BATCH).map(toRequest)
          const [first] = requests
          const answers: unknown =
            requests.length === 1 && first
              ? [await qstash.publishJSON(first)]
              : await qstash.batchJSON(requests)
          if (!Array.isArray(answers) || answers.length !== requests.length || !answers.every(isAccepted)) {
            throw new Error('not every message was accepted')
          }
        }
      } catch (cause) {
        const retryAfterSeconds = cause instanceof QStashRequestError ? cause.retryAfterSeconds : undefined
        throw new AppError('unavailable', 'The scheduler did not accept the message.', {
          cause,
          ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
        })
      }
    },
  }
}

function isAccepted(answer: unknown): boolean {
  return (
    typeof answer === 'object' &&
    answer !== null &&
    'messageId' in answer &&
    typeof answer.messageId === 'string'
  )
}
