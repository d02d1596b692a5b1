/**
 * Who may do what: reviewed by people, compared with what the catalogue and the route tables really hold. A table, function, route,
 * action, bucket or published table that is not listed here fails the matrix; whatever is not said here must be refused.
 */

/** Who asks the database, as PostgREST and Storage would let them. */
export const ASKERS = [
  'anon', // the publishable key without a user
  'alice', // a user of the data project
  'twin', // a user of another issuer with the same sub
  'stranger', // a user of an issuer that nobody has listed, with the same sub
  'nobody', // the role authenticated without any claims
  'service_role', // as hosted has it: BYPASSRLS, but grants come first
  'agent_api',
  'agent_step',
  'agent_door',
] as const
export type Asker = (typeof ASKERS)[number]

export const VERBS = ['select', 'insert', 'insert foreign', 'update', 'delete', 'truncate'] as const
export type Verb = (typeof VERBS)[number]

/** `own`: exactly the asker's rows; `none`: allowed, but no row is theirs; `bytes of runs`: all but what users have uploaded. */
export type Reach = 'own' | 'none' | 'all' | 'bytes of runs'
type Reaches = Partial<Record<Asker, Partial<Record<Verb, Reach>>>>

/** Schemas that are not ours: their tables and functions come with Supabase or an extension. `storage` is there and in the matrix. */
export const FOREIGN_SCHEMAS = ['auth', 'extensions']

const NO_ROWS = { select: 'none', update: 'none', delete: 'none' } as const
const OWN_ROWS: Reaches = {
  alice: { select: 'own' },
  twin: { select: 'own' },
  stranger: { select: 'none' },
  nobody: { select: 'none' },
}

export const TABLES: Readonly<Record<string, Reaches>> = {
  'public.agent_runs': OWN_ROWS,
  'public.agent_steps': OWN_ROWS,
  'public.agent_messages': OWN_ROWS,
  'public.agent_artifacts': OWN_ROWS,
  'public.agent_run_connectors': OWN_ROWS,
  'public.agent_task_logs': OWN_ROWS,
  'public.credit_balances': OWN_ROWS,
  'public.agent_task_queue': {},
  'private.approvals': {},
  'private.check_round': {},
  'private.credit_ledger': {},
  'private.idempotency_keys': {},
  'private.issuers': {},
  'private.jobs_to_remove': {},
  'private.objects_to_remove': {},
  'private.principals': {},
  'private.revoked_keys': {},
  'private.run_transitions': {},
  'private.runs': {},
  'private.runs_to_check': {},
  'private.settings': {},
  'private.steps': {},
  'private.stream_tickets': {},
  'private.sweep_faults': {},
  'private.switches': {},
  'private.violations': {},
  'private.waits': {},
  'private.workspace_files': {},
  'supabase_migrations.schema_migrations': {},
  // Supabase grants these two to everybody and leaves the rest to policies. Storage knows its users by `sub` alone.
  'storage.objects': {
    anon: NO_ROWS,
    alice: { select: 'own', insert: 'own', update: 'own', delete: 'own' },
    twin: { select: 'own', insert: 'own', update: 'own', delete: 'own' },
    stranger: { select: 'own', insert: 'own', update: 'own', delete: 'own' },
    nobody: NO_ROWS,
    service_role: { select: 'all', insert: 'own', 'insert foreign': 'own', update: 'all', delete: 'all' },
    agent_api: { select: 'bytes of runs' },
    agent_step: { select: 'bytes of runs', delete: 'none' },
    agent_door: { select: 'bytes of runs' },
  },
  'storage.buckets': {
    anon: NO_ROWS,
    alice: NO_ROWS,
    twin: NO_ROWS,
    stranger: NO_ROWS,
    nobody: NO_ROWS,
    service_role: { select: 'all', insert: 'own', 'insert foreign': 'own', update: 'all', delete: 'all' },
    agent_api: { select: 'bytes of runs' },
    agent_step: { select: 'bytes of runs' },
    agent_door: { select: 'bytes of runs' },
  },
}

/** Into which buckets a new object may be written; a user only below the own folder. */
export const UPLOADS: Readonly<Record<string, readonly Asker[]>> = {
  'agent-inputs': ['alice', 'twin', 'stranger', 'service_role'],
  'agent-workspaces': ['agent_api', 'agent_step', 'agent_door', 'service_role'],
  'agent-outputs': ['agent_step', 'agent_door', 'service_role'],
}

export const SEQUENCES: Readonly<Record<string, readonly Asker[]>> = {
  'public.agent_messages_position_seq': [],
  'private.credit_ledger_id_seq': [],
  'private.switches_id_seq': [],
  'private.violations_id_seq': [],
}

/** What supabase_realtime publishes; each must have row security on. */
export const PUBLISHED = [
  'public.agent_artifacts',
  'public.agent_messages',
  'public.agent_run_connectors',
  'public.agent_runs',
  'public.agent_steps',
  'public.agent_task_logs',
]

/** Roles that may execute a function besides its owner. */
export const EXECUTORS = [
  'anon',
  'authenticated',
  'service_role',
  'agent_api',
  'agent_step',
  'agent_door',
  'agent_front',
  'agent_engine',
] as const
export type Executor = (typeof EXECUTORS)[number]

/**
 * How a function of the API is bound to its caller. `run`: to a principal's run, a foreign one is as unknown · `user`: to a principal,
 * names no run · `ticket`: to a ticket of one run · `job`: to the token of one job · `fence`: to a claim of one step · `system`: moves
 * any run, for the step service only · `nothing`: says nothing about anybody
 */
export type Binding = 'run' | 'user' | 'ticket' | 'job' | 'fence' | 'system' | 'nothing'

export const API: Readonly<Record<string, { by: readonly Executor[]; bound: Binding }>> = {
  agent_prepare_create: { by: ['agent_api'], bound: 'user' },
  agent_create_run: { by: ['agent_api'], bound: 'user' },
  agent_list_runs: { by: ['agent_api'], bound: 'user' },
  agent_bulk_runs: { by: ['agent_api'], bound: 'user' },
  agent_start_run: { by: ['agent_api'], bound: 'run' },
  agent_cancel_run: { by: ['agent_api'], bound: 'run' },
  agent_pause_run: { by: ['agent_api'], bound: 'run' },
  agent_resume_run: { by: ['agent_api'], bound: 'run' },
  agent_retry_run: { by: ['agent_api'], bound: 'run' },
  agent_retry_step: { by: ['agent_api'], bound: 'run' },
  agent_fork_run: { by: ['agent_api'], bound: 'run' },
  agent_delete_run: { by: ['agent_api'], bound: 'run' },
  agent_answer_approval: { by: ['agent_api'], bound: 'run' },
  agent_read_run: { by: ['agent_api'], bound: 'run' },
  agent_read_logs: { by: ['agent_api'], bound: 'run' },
  agent_read_events: { by: ['agent_api'], bound: 'run' },
  agent_issue_ticket: { by: ['agent_api'], bound: 'run' },
  agent_use_ticket: { by: ['agent_api'], bound: 'ticket' },
  agent_close_ticket: { by: ['agent_api'], bound: 'ticket' },
  agent_start_job: { by: ['agent_step', 'agent_door'], bound: 'job' },
  agent_check_job: { by: ['agent_step', 'agent_door'], bound: 'job' },
  agent_finish_job: { by: ['agent_step', 'agent_door'], bound: 'job' },
  agent_renew_lease: { by: ['agent_step'], bound: 'fence' },
  agent_commit_step: { by: ['agent_step'], bound: 'fence' },
  agent_release_step: { by: ['agent_step'], bound: 'fence' },
  agent_park_step: { by: ['agent_step'], bound: 'fence' },
  agent_settle_attempt: { by: ['agent_step'], bound: 'fence' },
  agent_claim_step: { by: ['agent_step'], bound: 'system' },
  agent_read_files: { by: ['agent_step'], bound: 'system' },
  agent_sweep: { by: ['agent_step'], bound: 'system' },
  agent_sweep_due: { by: ['agent_step'], bound: 'system' },
  agent_configure: { by: ['agent_step'], bound: 'system' },
  agent_objects_removed: { by: ['agent_step'], bound: 'system' },
  agent_ready: { by: ['agent_api', 'agent_step', 'agent_door'], bound: 'nothing' },
}

/** Inner functions that others than their owner may execute; every other function of `private` is its owner's alone. */
export const INNER: Readonly<Record<string, readonly Executor[]>> = {
  // policies call these as the role they are for
  current_user_id: ['authenticated', 'agent_front'],
  is_to_remove: ['agent_step'],
  // reached from the functions that act for a user, on a run that row security has shown to be theirs
  act_as: ['agent_front'],
  answer_approval: ['agent_front'],
  bulk_runs: ['agent_front'],
  cancel_run: ['agent_front'],
  check_create: ['agent_front'],
  close_ticket: ['agent_front'],
  create_once: ['agent_front'],
  delete_run: ['agent_front'],
  fork_run: ['agent_front'],
  insert_ticket: ['agent_front'],
  open_account: ['agent_front'],
  open_approvals: ['agent_front'],
  pause_run: ['agent_front'],
  refuse_unasked: ['agent_front'],
  replay: ['agent_front'],
  resume_run: ['agent_front'],
  retry_run: ['agent_front'],
  retry_step: ['agent_front'],
  run_answer: ['agent_front'],
  start_run: ['agent_front'],
  tenant_of: ['agent_front'],
  unclaimed: ['agent_front'],
  use_ticket: ['agent_front'],
  // raise an answer or find one's own run; agent_front's, and the engine's too
  fail: ['agent_engine'],
  own_run: ['agent_engine'],
}

/**
 * What opens a route. `open`: nothing is needed · `user`: a trusted issuer's user · `stream`: a user, or a ticket of this run · `qstash`,
 * `sweep`: a signature over the request · `job`: the token of this run's job
 */
export type Door = 'open' | 'user' | 'stream' | 'qstash' | 'sweep' | 'job'
export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
type Routes = Readonly<Record<string, Partial<Record<Method, Door>>>>

const PROBES: Routes = {
  '/health': { GET: 'open', HEAD: 'open' },
  '/health/liveness': { GET: 'open', HEAD: 'open' },
  '/ready': { GET: 'open', HEAD: 'open' },
  '/health/readiness': { GET: 'open', HEAD: 'open' },
  '/openapi.json': { GET: 'open', HEAD: 'open' },
  '/docs': { GET: 'open', HEAD: 'open' },
  '/docs/start.js': { GET: 'open', HEAD: 'open' },
  '/docs/:asset': { GET: 'open', HEAD: 'open' },
}
const each = (paths: readonly string[], verbs: Routes[string]): Routes =>
  Object.fromEntries(paths.map((path) => [path, verbs]))

/** Every path of every service, standing alone. A verb that is not named is answered with 405, whoever asks. */
export const ROUTES: Readonly<Record<'execute' | 'status' | 'logs' | 'step', Routes>> = {
  execute: {
    ...PROBES,
    ...each(['/', '/agent/execute', '/functions/v1/agent-execute', '/functions/v1/agent-execute-phase2'], {
      POST: 'user',
    }),
    '/agent/cancel': { POST: 'user' },
    '/agent/runs': { GET: 'user', HEAD: 'user' },
  },
  status: {
    ...PROBES,
    ...each(['/', '/agent/status', '/functions/v1/agent-status', '/functions/v1/agent-status-phase2'], {
      POST: 'user',
    }),
  },
  logs: {
    ...PROBES,
    // with mode=stream the door is `stream`: those requests are the second list below
    ...each(['/', '/agent/logs', '/functions/v1/agent-logs', '/functions/v1/agent-logs-phase2'], {
      GET: 'user',
      HEAD: 'user',
    }),
    ...each(['/agent/run/:run_id/stream', '/agent/stream/:run_id'], { GET: 'stream' }),
    '/agent/stream-ticket': { POST: 'user' },
  },
  step: {
    ...PROBES,
    ...each(['/', '/agent/step'], { POST: 'qstash' }),
    '/agent/step/failure': { POST: 'qstash' },
    '/agent/step/sweep': { POST: 'sweep' },
    '/agent/step/job/:run_id/:step_number/start': { POST: 'job' },
    '/agent/step/job/:run_id/:step_number/blob/:sha256': { GET: 'job', HEAD: 'job', PUT: 'job' },
    '/agent/step/job/:run_id/:step_number/output': { POST: 'job' },
    '/agent/step/job/:run_id/:step_number/result': { POST: 'job' },
  },
}

/** Bodies of POST /agent/execute that name a run; a verb without one here fails. */
export const ACTIONS: Readonly<Record<string, Record<string, unknown>>> = {
  start: {},
  stop: {},
  retry: {},
  pause: {},
  resume: { user_input: 'go on' },
  approve: { approval_id: '00000000-0000-4000-8000-0000000000aa' },
  deny: { approval_id: '00000000-0000-4000-8000-0000000000aa' },
  fork: { from_step: 0 },
  'retry step': { action: 'retry', step_number: 2 },
  // the last: after it there is no run to ask about
  delete: {},
}
