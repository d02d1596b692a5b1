import { isIP } from 'node:net'
import * as z from 'zod'
import { TOOL_TYPES } from '../core/run.ts'
import { issuersSchema } from './issuers.ts'
import { bypassingRole } from './service-keys.ts'

/** The four functions. */
export const TARGETS = ['execute', 'status', 'logs', 'step'] as const
export type Target = (typeof TARGETS)[number]
/** What FUNCTION_TARGET may name: a function, or the door, which serves the job routes of step alone. */
export const SERVICES = [...TARGETS, 'door'] as const
export type ServiceName = (typeof SERVICES)[number]

/** One environment variable: what it is for stands in the message when it is missing or wrong. */
export interface Setting<T> {
  env: string
  purpose: string
  schema: z.ZodType<T>
  /** Used when the variable is unset or empty; without it the setting is required. */
  fallback?: T
}

const text = z.string().min(1)
const url = z
  .string()
  .refine((value) => /^https?:\/\//.test(value) && URL.canParse(value), 'must be an http or https address')
  .transform((value) => value.replace(/\/+$/, ''))
const databaseUrl = z
  .string()
  .refine(
    (value) => /^postgres(ql)?:\/\//.test(value) && URL.canParse(value),
    'must be a postgres:// connection string',
  )
/** No function may hold a key to everything: what one holds, a fault in it gives away. */
function narrow<T extends string>(schema: z.ZodType<T>): z.ZodType<T> {
  return schema.superRefine((value, context) => {
    const role = bypassingRole(value)
    if (role !== null) context.addIssue(`is of the role ${role}, which can step around row security`)
  })
}
const secret = z.string().min(32, 'must have at least 32 characters')
const flag = z.enum(['true', 'false']).transform((value) => value === 'true')

function whole(min: number, max: number): z.ZodType<number> {
  return z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be from ${min} to ${max}`)
}

function decimal(min: number, max: number): z.ZodType<number> {
  return z
    .string()
    .regex(/^\d+(\.\d+)?$/, 'must be a number')
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be from ${min} to ${max}`)
}

const origins: z.ZodType<'*' | readonly string[]> = z.string().transform((value, context) => {
  if (value.trim() === '*') return '*' as const
  const list = value
    .split(',')
    .map((origin) => origin.trim().replace(/\/$/, ''))
    .filter((origin) => origin !== '')
  const bad = list.find((origin) => !URL.canParse(origin) || new URL(origin).origin !== origin)
  if (bad !== undefined) context.addIssue(`"${bad}" is not an origin such as https://app.example.com`)
  return list
})

const toolNames: z.ZodType<readonly string[]> = z.string().transform((value, context) => {
  const list = value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  const bad = list.find((name) => !TOOL_TYPES.some((type) => type === name || name === 'file_list'))
  if (bad !== undefined) context.addIssue(`"${bad}" is not a tool`)
  return list
})

function setting<T>(env: string, purpose: string, schema: z.ZodType<T>, fallback?: T): Setting<T> {
  return fallback === undefined ? { env, purpose, schema } : { env, purpose, schema, fallback }
}

const MIB = 1024 * 1024

/** Settings of all four functions. */
export const common = {
  port: setting('PORT', 'port to listen on', whole(0, 65535), 8080),
  host: setting('HOST', 'address to listen on', text, '0.0.0.0'),
  publicBaseUrl: setting('PUBLIC_BASE_URL', 'origin that callers and QStash use', url),
  supabaseUrl: setting('SUPABASE_URL', 'data project', url),
  supabaseAnonKey: setting(
    'SUPABASE_ANON_KEY',
    'anon or publishable key of the data project (header apikey)',
    narrow(text),
  ),
  supabaseRoleToken: setting(
    'SUPABASE_ROLE_TOKEN',
    'JWT of the narrow database role of this function: agent_api, for step agent_step (all in one: STEP_SUPABASE_ROLE_TOKEN), for the door agent_door',
    narrow(text),
  ),
  store: setting(
    'STORE',
    'how the database is reached: supabase (PostgREST) or postgres (a connection of its own, DATABASE_URL)',
    z.enum(['supabase', 'postgres']),
    'supabase',
  ),
  databaseUrl: setting(
    'DATABASE_URL',
    'with STORE=postgres: connection string of a login role in agent_api, for step agent_step (all in one: STEP_DATABASE_URL), for the door agent_door',
    narrow(databaseUrl),
    '',
  ),
  redisUrl: setting('UPSTASH_REDIS_REST_URL', 'Upstash Redis, for live streams', url),
  redisToken: setting('UPSTASH_REDIS_REST_TOKEN', 'token of Upstash Redis', text),
  logLevel: setting(
    'LOG_LEVEL',
    'lowest level that is logged',
    z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    'info',
  ),
  // A database function takes milliseconds; one that takes 10 s is not coming back and its caller should hear so.
  storeTimeoutSeconds: setting('STORE_TIMEOUT_SECONDS', 'longest wait for the database', whole(1, 60), 10),
}

/** Settings of the functions that users call. */
export const front = {
  // Two a second: more than a person or a front end starts. How many may be open at once is bounded too.
  rateCreates: setting(
    'RATE_CREATES_PER_MINUTE',
    'runs a user may make in a minute',
    whole(1, 10_000_000),
    120,
  ),
  // Five a second: stop, pause, answer, delete, and what scripts do with them.
  rateWrites: setting(
    'RATE_WRITES_PER_MINUTE',
    'calls of execute of a user in a minute',
    whole(1, 10_000_000),
    300,
  ),
  // Front ends poll every 1 to 2 s: room for twenty open tabs.
  rateReads: setting(
    'RATE_READS_PER_MINUTE',
    'calls of status and logs of a user in a minute',
    whole(1, 10_000_000),
    1200,
  ),
  // A stream lasts minutes; an EventSource whose network comes and goes asks again every second.
  rateStreams: setting(
    'RATE_STREAMS_PER_MINUTE',
    'streams a user may open in a minute',
    whole(1, 10_000_000),
    300,
  ),
  rateTenantFactor: setting(
    'RATE_TENANT_FACTOR',
    'a tenant may ask so many times as often as one of its users',
    whole(1, 1_000_000),
    20,
  ),
  issuers: setting('TRUSTED_ISSUERS', 'JSON list of the projects whose users may call', issuersSchema),
  allowedOrigins: setting(
    'ALLOWED_ORIGINS',
    'origins of the front ends, separated by commas, or * in a local stack',
    origins,
  ),
  // Requests in flight when SIGTERM comes take well under a second; streams end at once.
  shutdownSeconds: setting(
    'SHUTDOWN_SECONDS',
    'longest wait for requests in flight at shutdown',
    whole(1, 600),
    20,
  ),
}

export const execute = {
  qstashUrl: setting('QSTASH_URL', 'QStash, to publish steps', url),
  qstashToken: setting('QSTASH_TOKEN', 'token of QStash', text),
  // A prompt of 100,000 characters takes at most 600 KB in any JSON escaping without surrogates; the rest shares what is left.
  maxBodyBytes: setting('MAX_BODY_BYTES', 'largest request body', whole(1024, 100 * MIB), 768 * 1024),
  runTimeoutSeconds: setting('RUN_TIMEOUT_SECONDS', 'time a run may take', whole(10, 30 * 86_400), 3600),
  runMaxSteps: setting('RUN_MAX_STEPS', 'steps a run may take', whole(1, 100_000), 200),
  // What a person can look after, and more than a front end shows; each open run may hold a job and reserved credits.
  maxOpenRunsPerUser: setting(
    'MAX_OPEN_RUNS_PER_USER',
    'runs of a user that have not ended',
    whole(1, 1_000_000),
    100,
  ),
  // Ten busy users: a tenant should not fill the queue for all others.
  maxOpenRunsPerTenant: setting(
    'MAX_OPEN_RUNS_PER_TENANT',
    'runs of a tenant that have not ended',
    whole(1, 1_000_000),
    1000,
  ),
  openingCredits: setting('OPENING_CREDITS', 'balance of a new user', decimal(0, 999_999), 10_000),
  maxAttachments: setting('MAX_ATTACHMENTS', 'attachments of a run', whole(0, 1000), 20),
  // One at a time is held in memory, so this bounds the memory of a create.
  maxAttachmentBytes: setting(
    'MAX_ATTACHMENT_BYTES',
    'size of one attachment',
    whole(1, 1024 * MIB),
    50 * MIB,
  ),
  maxAttachmentsBytes: setting(
    'MAX_ATTACHMENTS_BYTES',
    'size of all attachments of a run',
    whole(1, 4096 * MIB),
    200 * MIB,
  ),
}

export const status = {
  maxBodyBytes: setting('MAX_BODY_BYTES', 'largest request body', whole(1024, 100 * MIB), 64 * 1024),
}

export const logs = {
  maxBodyBytes: setting('MAX_BODY_BYTES', 'largest request body', whole(1024, 100 * MIB), 64 * 1024),
  allowTokenInQuery: setting(
    'ALLOW_TOKEN_IN_QUERY',
    'accept ?token=<JWT> on streams (true or false)',
    flag,
    false,
  ),
  // Knative ends a request after 300 s by default: end before it, on our own terms.
  streamMaxSeconds: setting(
    'STREAM_MAX_SECONDS',
    'time after which a stream ends itself',
    whole(1, 3600),
    280,
  ),
  streamHeartbeatSeconds: setting(
    'STREAM_HEARTBEAT_SECONDS',
    'longest silence on a stream',
    whole(1, 60),
    15,
  ),
  idleEndSeconds: setting(
    'IDLE_END_SECONDS',
    'a stream asked with idle=end ends after this time of waiting',
    whole(1, 3600),
    60,
  ),
  // Tabs of one person with a run each; a stream that is open costs memory here and a subscription.
  maxStreamsPerUser: setting(
    'MAX_STREAMS_PER_USER',
    'streams of a user that may be open at once',
    whole(1, 1_000_000),
    50,
  ),
  // An idle reader takes 0.03 MB of heap, with its sockets and buffers 0.16 MB: 2,000 fit into 512 MB.
  maxStreams: setting('MAX_STREAMS', 'streams that one process holds open', whole(1, 1_000_000), 2000),
  // A reader with full buffers that takes nothing for so long is gone or hostile; what it missed it gets on its next connection.
  slowReaderSeconds: setting(
    'SLOW_READER_SECONDS',
    'a reader that takes nothing for so long is dropped',
    whole(1, 600),
    30,
  ),
}

export const step = {
  qstashUrl: execute.qstashUrl,
  qstashToken: execute.qstashToken,
  qstashCurrentSigningKey: setting('QSTASH_CURRENT_SIGNING_KEY', 'verifies QStash messages', text),
  qstashNextSigningKey: setting(
    'QSTASH_NEXT_SIGNING_KEY',
    'verifies QStash messages after a key rotation',
    text,
  ),
  anthropicApiKey: setting('ANTHROPIC_API_KEY', 'key of the model', text),
  anthropicBaseUrl: setting('ANTHROPIC_BASE_URL', 'address of the model', url, 'https://api.anthropic.com'),
  model: setting('AGENT_MODEL', 'name of the model', text, 'claude-sonnet-5-5'),
  maxTokens: setting('AGENT_MAX_TOKENS', 'tokens of one answer of the model', whole(256, 200_000), 32_000),
  sandbox: setting(
    'SANDBOX',
    'what runs tools: daemon (the local stack) or kubernetes (a Job for each call)',
    z.enum(['daemon', 'kubernetes']),
    'daemon',
  ),
  sandboxUrl: setting('SANDBOX_URL', 'with SANDBOX=daemon: jobs daemon that runs tools', url, ''),
  sandboxToken: setting('SANDBOX_TOKEN', 'with SANDBOX=daemon: secret of the jobs daemon', text, ''),
  sandboxNamespace: setting('SANDBOX_NAMESPACE', 'namespace of tool jobs', text, 'agents-sandbox'),
  toolImage: setting('TOOL_IMAGE', 'with SANDBOX=kubernetes: image of tool jobs', text, ''),
  doorUrl: setting(
    'DOOR_URL',
    'address of the job routes as jobs reach them; unset: PUBLIC_BASE_URL/agent/step/job',
    url,
    '',
  ),
  doorAddress: setting(
    'DOOR_ADDRESS',
    "IP address of the door's host; with it tool jobs have no DNS, through which data could leave",
    z.string().refine((value) => isIP(value) !== 0, 'must be an IP address'),
    '',
  ),
  toolRuntimeClass: setting('TOOL_RUNTIME_CLASS', 'RuntimeClass of tool jobs, such as gvisor', text, ''),
  toolHostUsers: setting(
    'TOOL_HOST_USERS',
    'false gives each tool job a user namespace, where the nodes can (true or false)',
    flag,
    true,
  ),
  toolProxyUrl: setting('TOOL_PROXY_URL', 'egress proxy of tools; unset: no internet', url, ''),
  // Half of what a small node has to give; a job's runner takes 250 more.
  toolCpuMillicores: setting(
    'TOOL_CPU_MILLICORES',
    'thousandths of a core for a tool',
    whole(50, 64_000),
    1000,
  ),
  // A new node takes two to three minutes; nobody waits longer for a tool that may never start.
  jobStartSeconds: setting(
    'JOB_START_SECONDS',
    'time after which a tool job that has not started is given up',
    whole(10, 86_400),
    300,
  ),
  agentSecret: setting('AGENT_SECRET', 'derives job tokens and receipts', secret),
  sweepSecret: setting('SWEEP_SECRET', 'signs POST /agent/step/sweep', secret),
  stepLeaseSeconds: setting(
    'STEP_LEASE_SECONDS',
    'lease of a step, renewed while it works',
    whole(2, 600),
    15,
  ),
  // Knative ends a request after 300 s: 30 s are left to commit and answer.
  stepDeadlineSeconds: setting('STEP_DEADLINE_SECONDS', 'time one step may take', whole(5, 570), 270),
  jobDeadlineSeconds: setting('JOB_DEADLINE_SECONDS', 'time a tool job may take', whole(5, 86_400), 900),
  // A model asks for a handful of calls at once; each is a pod with up to 1 GiB, so that 8 runs at full width fill a tenant's share.
  runParallelCalls: setting(
    'RUN_PARALLEL_CALLS',
    'tool jobs of one run that may be out at once',
    whole(1, 1000),
    4,
  ),
  tenantParallelCalls: setting(
    'TENANT_PARALLEL_CALLS',
    'tool jobs of all runs of a tenant that may be out at once',
    whole(1, 1000),
    32,
  ),
  approvalTools: setting(
    'APPROVAL_TOOLS',
    "tools whose calls wait for their user's yes, separated by commas",
    toolNames,
    [],
  ),
  stepBurst: setting('STEP_BURST', 'steps that one invocation may take', whole(1, 1000), 1),
  stepBurstMs: setting(
    'STEP_BURST_MS',
    'milliseconds after which an invocation takes no further step',
    whole(0, 270_000),
    20_000,
  ),
  maxBlobBytes: setting('MAX_BLOB_BYTES', 'largest workspace file', whole(1024, 1024 * MIB), 50 * MIB),
  // Nobody's data should go because somebody forgot a setting: without it the database keeps what it was told last, at first all.
  retentionDays: setting<number | null>(
    'RETENTION_DAYS',
    'days after which ended runs are removed with everything in them; 0: never',
    whole(0, 36_500),
    null,
  ),
  // A step in flight at SIGTERM may finish; the platform's grace period equals its request limit (300 s).
  shutdownSeconds: setting(
    'SHUTDOWN_SECONDS',
    'longest wait for requests in flight at shutdown',
    whole(1, 600),
    280,
  ),
}

/** What tool jobs talk to, where they may reach nothing else: the job routes, without what plans, claims or makes jobs. */
export const door = {
  qstashUrl: step.qstashUrl,
  qstashToken: step.qstashToken,
  agentSecret: step.agentSecret,
  jobDeadlineSeconds: step.jobDeadlineSeconds,
  maxBlobBytes: step.maxBlobBytes,
  // Requests of a job are short; the longest is a file of 50 MiB on its way to storage.
  shutdownSeconds: setting(
    'SHUTDOWN_SECONDS',
    'longest wait for requests in flight at shutdown',
    whole(1, 600),
    60,
  ),
}
