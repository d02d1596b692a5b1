import { AgentError } from './agent-error.ts'
import { type LogsOptions, type PollOptions, pollLogs, readLogs } from './poll-logs.ts'
import { type AgentStream, type StreamOptions, streamRun } from './stream-run.ts'
import { createTokens, type GetToken, type SupabaseSession, sessionToken } from './tokens.ts'
import { type CallOptions, createTransport } from './transport.ts'
import type {
  BulkAction,
  BulkAnswer,
  CreateAnswer,
  CreateOptions,
  LogEntry,
  LogsPage,
  RunStatus,
  RunSummary,
  RunsPage,
  StatusAnswer,
  StatusOptions,
  StreamTicket,
  VerbAnswer,
} from './types.ts'

export interface AgentClientOptions {
  /** Where the service is, e.g. `https://agents.example.com`. */
  url: string
  /** A supabase-js client: its session's token is used, and refreshed when it has to be. */
  supabase?: SupabaseSession | undefined
  /** Instead of `supabase`: gives the user's access token. */
  getToken?: GetToken | undefined
  /** Sent with every request, e.g. `traceparent`. A browser may send only what the service's CORS rule names. */
  headers?: Readonly<Record<string, string>> | undefined
  /** Default: the global one. */
  fetch?: typeof fetch | undefined
  /** Longest wait for one answer; 60,000 by default, as a service may have to start first. */
  timeoutMs?: number | undefined
  /** Repeats of a call after a network fault or a 502, 503, 504; 3 by default. */
  maxRetries?: number | undefined
  /** Base of the growing pause between them and between two connections of a stream; 500 by default. */
  retryDelayMs?: number | undefined
}

export interface KeyedOptions extends CallOptions {
  /** Default: a new one a call. The same key with the same body gets the first answer again, for 24 hours; 409 when its run was deleted. */
  idempotencyKey?: string | undefined
}
export interface ListOptions extends CallOptions {
  status?: RunStatus | undefined
  /** 1 to 500, 50 by default. */
  limit?: number | undefined
  /** A `next_cursor`, or an ISO time. */
  before?: string | undefined
}

/** Every method rejects with an AgentError, or with the reason of the signal that it was given. */
export interface AgentClient {
  /** Makes a run and, unless `auto_start` is false, starts it. */
  create(prompt: string, options?: CreateOptions & KeyedOptions): Promise<CreateAnswer>
  start(runId: string, options?: CallOptions): Promise<VerbAnswer>
  stop(runId: string, options?: CallOptions): Promise<VerbAnswer>
  /** Finishes the step in hand, then holds. */
  pause(runId: string, options?: CallOptions): Promise<VerbAnswer>
  /** Goes on with a paused run, or with one that waits for an answer: `userInput`. */
  resume(runId: string, userInput?: string | null, options?: CallOptions): Promise<VerbAnswer>
  /** Allows a tool call that the run asks about: one of the status answer's `approvals`. */
  approve(runId: string, approvalId: string, options?: CallOptions): Promise<VerbAnswer>
  /** Does not allow it; the agent reads `message` and goes on without the call. */
  deny(
    runId: string,
    approvalId: string,
    options?: CallOptions & { message?: string | undefined },
  ): Promise<VerbAnswer>
  /** A new run like one that failed, timed out or was cancelled. */
  retry(runId: string, options?: KeyedOptions): Promise<CreateAnswer>
  /** Tries one step again: in place while it has no result, else in a new run that is forked there. */
  retryStep(runId: string, stepNumber: number, options?: KeyedOptions): Promise<CreateAnswer | VerbAnswer>
  /** A new run that does everything from a step on anew; `message` stands before that step. */
  fork(
    runId: string,
    fromStep: number,
    options?: KeyedOptions & { message?: string | undefined },
  ): Promise<CreateAnswer>
  /** Deletes a run that has ended, with its files. */
  delete(runId: string, options?: CallOptions): Promise<VerbAnswer>
  /** A verb for the oldest 100 runs of a tag that it fits; `has_more`: call again. */
  bulk(action: BulkAction, tag: string, options?: CallOptions): Promise<BulkAnswer>
  status(runId: string, options?: StatusOptions & CallOptions): Promise<StatusAnswer>
  /** A page of the user's own runs, newest first. */
  listRuns(options?: ListOptions): Promise<RunsPage>
  /** All of them, page by page. */
  runs(options?: ListOptions): AsyncGenerator<RunSummary, void, undefined>
  /** What happens in a run, from its beginning (or `lastEventId`) to its end, across any number of connections. */
  stream(runId: string, options?: StreamOptions): AgentStream
  /** A page of a run's log. */
  logs(runId: string, options?: LogsOptions): Promise<LogsPage>
  /** The log by polling, entry by entry until the run has ended: where streams do not get through. */
  pollLogs(runId: string, options?: PollOptions): AsyncGenerator<LogEntry, void, undefined>
  /** A ticket for one run's stream, for readers that cannot send headers; first used within `expires_in` seconds. */
  streamTicket(runId: string, options?: CallOptions): Promise<StreamTicket>
  /** An address with a ticket in it, for `new EventSource(url)`. */
  eventSourceUrl(runId: string, options?: CallOptions): Promise<string>
}

const EXECUTE = '/agent/execute'

/** @throws AgentError not_configured */
export function createAgentClient(options: AgentClientOptions): AgentClient {
  const url = String(options.url).replace(/\/+$/, '')
  if (!/^https?:\/\/./.test(url))
    throw new AgentError(
      'not_configured',
      'url must be the address of the agent service, such as https://agents.example.com',
    )
  const getToken = options.getToken ?? (options.supabase && sessionToken(options.supabase))
  if (!getToken)
    throw new AgentError('not_configured', 'Give either supabase (a supabase-js client) or getToken')
  const transport = createTransport({
    url,
    tokens: createTokens(getToken),
    headers: options.headers ?? {},
    // Called late: tests and polyfills replace it.
    fetch: options.fetch ?? ((...request) => fetch(...request)),
    timeoutMs: options.timeoutMs ?? 60_000,
    maxRetries: options.maxRetries ?? 3,
    retryDelayMs: options.retryDelayMs ?? 500,
  })

  /** A verb changes what a stream waits for: those that pause look again at once. */
  async function execute<T>(
    body: object,
    options: CallOptions,
    again: boolean,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const answer = await transport.json<T>(EXECUTE, { ...options, body, headers }, again)
    for (const wake of [...transport.sleepers]) wake()
    return answer
  }
  /** With a key the service does it once however often it is asked, so that it may be asked again. */
  const keyed = <T>(body: object, { idempotencyKey, ...options }: KeyedOptions) =>
    execute<T>(body, options, true, { 'idempotency-key': idempotencyKey ?? randomKey() })
  /** A repeat would be refused for the state that the first one made. */
  const verb = (action: string, run_id: string, options: CallOptions, more: object = {}) =>
    execute<VerbAnswer>({ action, run_id, ...more }, options, false)

  const client: AgentClient = {
    create: (prompt, { signal, timeoutMs, idempotencyKey, ...body } = {}) =>
      keyed({ ...body, action: 'create', prompt }, { signal, timeoutMs, idempotencyKey }),
    start: (run_id, options = {}) => execute({ action: 'start', run_id }, options, true),
    stop: (runId, options = {}) => verb('stop', runId, options),
    pause: (runId, options = {}) => verb('pause', runId, options),
    resume: (runId, user_input, options = {}) => verb('resume', runId, options, { user_input }),
    // the same answer again changes nothing
    approve: (run_id, approval_id, options = {}) =>
      execute({ action: 'approve', run_id, approval_id }, options, true),
    deny: (run_id, approval_id, { message, ...options } = {}) =>
      execute({ action: 'deny', run_id, approval_id, message }, options, true),
    retry: (run_id, options = {}) => keyed({ action: 'retry', run_id }, options),
    retryStep: (run_id, step_number, options = {}) =>
      keyed({ action: 'retry', run_id, step_number }, options),
    fork: (run_id, from_step, { message, ...options } = {}) =>
      keyed({ action: 'fork', run_id, from_step, message }, options),
    delete: (runId, options = {}) => verb('delete', runId, options),
    bulk: (action, tag, options = {}) => execute({ action, tag }, options, false),
    status: (run_id, { signal, timeoutMs, ...body } = {}) =>
      transport.json('/agent/status', { signal, timeoutMs, body: { ...body, run_id } }, true),
    listRuns({ status, limit, before, ...options } = {}) {
      const query = new URLSearchParams()
      for (const [name, value] of Object.entries({ status, limit, before }))
        if (value !== undefined) query.set(name, String(value))
      return transport.json(`/agent/runs?${query}`, options, true)
    },
    async *runs(options = {}) {
      let before: string | null | undefined = options.before
      do {
        const page: RunsPage = await client.listRuns({ ...options, before })
        yield* page.runs
        before = page.next_cursor
      } while (before !== null)
    },
    stream: (runId, options) => streamRun(transport, runId, options),
    logs: (runId, options = {}) => readLogs(transport, runId, options),
    pollLogs: (runId, options = {}) => pollLogs(transport, runId, options),
    streamTicket: (run_id, options = {}) =>
      transport.json('/agent/stream-ticket', { ...options, body: { run_id } }, true),
    async eventSourceUrl(runId, options) {
      const { ticket } = await client.streamTicket(runId, options)
      return `${url}/agent/run/${encodeURIComponent(runId)}/stream?${new URLSearchParams({ ticket })}`
    },
  }
  return client
}

/** By hand, as crypto.randomUUID is missing on pages that are not served securely. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('')
}
