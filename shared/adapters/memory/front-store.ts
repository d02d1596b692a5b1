import { randomUUID } from 'node:crypto'
import type { ArtifactRow, LogRow, MessageRow, RunRow, StepRow } from '../../contract/rows.ts'
import type { BulkVerb } from '../../core/bulk-verbs.ts'
import { AppError } from '../../core/errors.ts'
import { isFinal, type LogType, type RunStatus } from '../../core/run.ts'
import type { Principal } from '../../ports/identity.ts'
import type { Publication } from '../../ports/scheduler.ts'
import type {
  BulkAnswer,
  CreateAnswer,
  CreateRun,
  FrontStore,
  OpenApproval,
  StoredEvent,
  VerbStore,
} from '../../ports/store.ts'

interface Kept {
  owner: string
  run: RunRow
  input: Pick<CreateRun, 'files' | 'attachments' | 'warnings' | 'connector_ids' | 'memory_context'>
  steps: StepRow[]
  messages: MessageRow[]
  artifacts: ArtifactRow[]
  logs: LogRow[]
  /** Put here by a test. */
  approvals: OpenApproval[]
}
interface Ticket {
  run_id: string
  principal: Principal
  expires_at: string
  connection: number
  delivered: boolean
}

/** The front store in memory, for tests of what stands before it: ownership, verbs and events as SQL has them, and no engine. */
export class MemoryFrontStore implements FrontStore, VerbStore {
  readonly runs = new Map<string, Kept>()
  readonly keys = new Map<string, { body_sha256: string; run_id: string }>()
  readonly tickets = new Map<string, Ticket>()
  readonly credits = new Map<string, number>()
  /** Rejects every call with this when set: the database is away. */
  fault: Error | undefined
  /** Calls by method. */
  calls: string[] = []
  #lastMicroseconds = 1_800_000_000_000_000

  async prepareCreate({
    principal,
    idempotency,
    opening_credits,
    checks,
  }: Parameters<FrontStore['prepareCreate']>[0]) {
    this.#called('prepareCreate')
    const user_id = this.#userOf(principal)
    const replay = this.#replay(user_id, idempotency)
    if (replay === null && checks !== undefined) this.#check(user_id, { ...checks, opening_credits })
    return { user_id, replay }
  }

  #check(
    user_id: string,
    { limits, opening_credits }: Pick<CreateRun, 'limits' | 'opening_credits' | 'auto_start'>,
  ): void {
    const most = limits.max_open_runs_per_user
    const open = [...this.runs.values()].filter((kept) => kept.owner === user_id && !isFinal(kept.run.status))
    if (most !== undefined && open.length >= most)
      throw new AppError('too_many_runs', `You have ${most} runs that have not ended: stop one`, {
        retryAfterSeconds: 30,
      })
    if ((this.credits.get(user_id) ?? opening_credits) < 5)
      throw new AppError('insufficient_credits', 'Insufficient credits')
  }

  async createRun(input: CreateRun): Promise<CreateAnswer> {
    this.#called('createRun')
    const user_id = this.#userOf(input.principal)
    const replay = this.#replay(user_id, input.idempotency)
    if (replay !== null) return replay
    this.#check(user_id, input)
    const run = newRun(user_id, input, this.#time())
    this.runs.set(run.id, {
      owner: user_id,
      run,
      input,
      steps: [],
      messages: [],
      artifacts: [],
      logs: [],
      approvals: [],
    })
    if (input.idempotency)
      this.keys.set(`${user_id} ${input.idempotency.key}`, {
        body_sha256: input.idempotency.body_sha256,
        run_id: run.id,
      })
    this.addStatus(run.id, run.status)
    for (const warning of input.warnings) this.addLog(run.id, 'warning', warning, { event: 'warning' })
    return { run, publications: input.auto_start ? [publicationOf(run.id)] : [], replayed: false }
  }

  async startRun({ principal, run_id }: { principal: Principal; run_id: string }) {
    const { run } = this.#own('startRun', principal, run_id)
    if (run.status === 'created') this.addStatus(run_id, 'queued')
    else if (!['queued', 'planning', 'executing'].includes(run.status)) throw badState('start', run)
    return { run, publications: [publicationOf(run_id)] }
  }

  async cancelRun({ principal, run_id }: { principal: Principal; run_id: string }) {
    const { run } = this.#own('cancelRun', principal, run_id)
    if (isFinal(run.status)) throw badState('cancel', run)
    this.end(run_id, 'cancelled', {})
    return { run, publications: [], jobs: [] }
  }

  async retryRun({
    principal,
    run_id,
    limits,
    opening_credits,
    idempotency,
  }: Parameters<FrontStore['retryRun']>[0]) {
    const { run, input } = this.#own('retryRun', principal, run_id)
    if (!['failed', 'timeout', 'cancelled'].includes(run.status)) throw badState('retry', run)
    return this.createRun({
      principal,
      ...input,
      prompt: run.prompt,
      mode: run.mode,
      project_id: run.project_id,
      metadata: { ...run.metadata, retry_of: run_id },
      tags: run.tags,
      auto_start: true,
      limits,
      opening_credits,
      idempotency,
    })
  }

  async resumeRun({
    principal,
    run_id,
    user_input,
  }: {
    principal: Principal
    run_id: string
    user_input: string | null
  }) {
    const { run } = this.#own('resumeRun', principal, run_id)
    if (run.status !== 'waiting_user' && run.status !== 'paused') throw badState('resume', run)
    if (user_input !== null) this.addMessage(run_id, 'user', user_input)
    this.addStatus(run_id, 'executing')
    return { run, publications: [publicationOf(run_id)] }
  }

  async answerApproval({
    principal,
    run_id,
    approval_id,
    approved,
    message,
  }: Parameters<FrontStore['answerApproval']>[0]) {
    const kept = this.#own('answerApproval', principal, run_id)
    const asked = kept.approvals.find((open) => open.approval_id === approval_id)
    if (asked === undefined) throw new AppError('not_found', 'Approval not found')
    kept.approvals = kept.approvals.filter((open) => open !== asked)
    this.addLog(run_id, 'info', `${approved ? 'Allowed' : 'Denied'}: ${asked.tool_name}`, {
      event: 'approval',
      data: { approval_id, approved, ...(message === null ? {} : { message }) },
    })
    if (kept.approvals.length === 0) this.addStatus(run_id, 'executing')
    return { run: kept.run, publications: kept.approvals.length === 0 ? [publicationOf(run_id)] : [] }
  }

  async pauseRun({ principal, run_id }: { principal: Principal; run_id: string }) {
    const { run } = this.#own('pauseRun', principal, run_id)
    if (isFinal(run.status) || run.status === 'created') throw badState('pause', run)
    this.addStatus(run_id, 'paused')
    return { run, publications: [] }
  }

  async forkRun({
    principal,
    run_id,
    from_step,
    message,
    limits,
    idempotency,
  }: Parameters<VerbStore['forkRun']>[0]) {
    const { run, input, steps } = this.#own('forkRun', principal, run_id)
    const before = steps.filter(({ step_number }) => step_number < from_step)
    if (steps.length <= from_step) throw new AppError('invalid_request', `The run has no step ${from_step}`)
    if (before.some(({ status }) => status !== 'completed' && status !== 'failed'))
      throw new AppError(
        'invalid_state',
        `Cannot fork at step ${from_step}: a step before it has not come to its end`,
      )
    const answer = await this.createRun({
      principal,
      ...input,
      prompt: from_step === 0 && message !== null ? message : run.prompt,
      mode: run.mode,
      project_id: run.project_id,
      metadata: { ...run.metadata, fork_of: run_id, fork_step: from_step },
      tags: run.tags,
      auto_start: true,
      limits,
      opening_credits: this.credits.get(principal.sub) ?? 10_000,
      idempotency,
      warnings: [],
    })
    if (!answer.replayed)
      for (const step of before) this.addStep(answer.run.id, { ...step, run_id: answer.run.id })
    return answer
  }

  async retryStep({ step_number, ...input }: Parameters<VerbStore['retryStep']>[0]) {
    const { run, steps } = this.#own('retryStep', input.principal, input.run_id)
    const step = steps.find((row) => row.step_number === step_number)
    if (step === undefined) throw new AppError('invalid_request', `The run has no step ${step_number}`)
    if (step.status === 'failed' || step.status === 'cancelled') {
      return { ...(await this.forkRun({ ...input, from_step: step_number, message: null })), forked: true }
    }
    if (step.status !== 'running' || step.retry_count === 0)
      throw new AppError('invalid_state', `Cannot retry step in status: ${step.status}`)
    return { run, publications: [publicationOf(run.id)], replayed: false, forked: false }
  }

  async deleteRun({ principal, run_id }: { principal: Principal; run_id: string }) {
    const { run } = this.#own('deleteRun', principal, run_id)
    if (!isFinal(run.status)) throw badState('delete', run)
    this.runs.delete(run_id)
    return { run, publications: [] }
  }

  async bulkRuns({
    principal,
    tag,
    verb,
    limits,
    opening_credits,
  }: Parameters<VerbStore['bulkRuns']>[0]): Promise<BulkAnswer> {
    this.#called('bulkRuns')
    const owner = this.#userOf(principal)
    const ids = [...this.runs.values()]
      .filter((kept) => kept.owner === owner && kept.run.tags.includes(tag) && isFor(verb, kept.run.status))
      .map(({ run }) => run.id)
    const answer: BulkAnswer = { results: [], publications: [], jobs: [], has_more: ids.length > 100 }
    for (const run_id of ids.slice(0, 100)) {
      try {
        const { run, publications } = await this.#verb(verb, { principal, run_id, limits, opening_credits })
        const fresh = run.id === run_id ? {} : { new_run_id: run.id }
        answer.results.push({ run_id, ok: true, status: run.status, ...fresh })
        answer.publications.push(...publications)
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        answer.results.push({ run_id, ok: false, code: error.code, message: error.message })
      }
    }
    return answer
  }

  #verb(
    verb: BulkVerb,
    input: { principal: Principal; run_id: string; limits: CreateRun['limits']; opening_credits: number },
  ) {
    switch (verb) {
      case 'stop':
        return this.cancelRun(input)
      case 'pause':
        return this.pauseRun(input)
      case 'resume':
        return this.resumeRun({ ...input, user_input: null })
      case 'retry':
        return this.retryRun({ ...input, idempotency: null })
      case 'delete':
        return this.deleteRun(input)
    }
  }

  async readRun({
    principal,
    run_id,
    steps,
    messages,
    artifacts,
    logs,
  }: Parameters<FrontStore['readRun']>[0]) {
    const kept = this.#own('readRun', principal, run_id)
    const before = steps?.before ?? null
    const [stepRows, more_steps] = newest(
      kept.steps.filter((step) => before === null || step.step_number < before),
      steps,
    )
    const [messageRows, more_messages] = newest(kept.messages, messages)
    const [artifactRows, more_artifacts] = newest(kept.artifacts, artifacts)
    const [logRows, more_logs] = newest(kept.logs, logs)
    return {
      run: kept.run,
      steps: stepRows,
      has_more_steps: more_steps,
      messages: messageRows,
      has_more_messages: more_messages,
      artifacts: artifactRows,
      has_more_artifacts: more_artifacts,
      logs: logRows,
      has_more_logs: more_logs,
      approvals: kept.approvals,
    }
  }

  async readLogs({ principal, run_id, after_seq, after_time, limit }: Parameters<FrontStore['readLogs']>[0]) {
    const { run, logs } = this.#own('readLogs', principal, run_id)
    const after = logs.filter(
      (log) =>
        log.seq > (after_seq ?? 0) &&
        (after_time === null || microseconds(log.created_at) > microseconds(after_time)),
    )
    return { logs: after.slice(0, limit), has_more: after.length > limit, status: run.status }
  }

  async readEvents({ principal, run_id, after_seq, limit }: Parameters<FrontStore['readEvents']>[0]) {
    const kept = this.#own('readEvents', principal, run_id)
    const after = kept.logs.filter((log) => log.seq > after_seq)
    const events = after.slice(0, limit).map((log): StoredEvent => {
      const { step_id, message_id, artifact_id } = log.metadata
      return {
        log,
        step: kept.steps.find((row) => row.id === step_id) ?? null,
        message: kept.messages.find((row) => row.id === message_id) ?? null,
        artifact: kept.artifacts.find((row) => row.id === artifact_id) ?? null,
      }
    })
    return structuredClone({ run: kept.run, events, has_more: after.length > limit })
  }

  async listRuns({ principal, limit, before, status }: Parameters<FrontStore['listRuns']>[0]) {
    this.#called('listRuns')
    const owner = this.#userOf(principal)
    const key = (row: { created_at: string; id: string }) =>
      `${String(microseconds(row.created_at)).padStart(20, '0')} ${row.id}`
    const rows = [...this.runs.values()]
      .filter((kept) => kept.owner === owner && (status === null || kept.run.status === status))
      .map((kept) => kept.run)
      .filter((run) => before === null || key(run) < key(before))
      .sort((a, b) => (key(a) < key(b) ? 1 : -1))
    return { runs: rows.slice(0, limit), has_more: rows.length > limit }
  }

  async issueTicket({
    principal,
    run_id,
    ticket_sha256,
    expires_at,
  }: Parameters<FrontStore['issueTicket']>[0]) {
    this.#own('issueTicket', principal, run_id)
    this.tickets.set(ticket_sha256, { run_id, principal, expires_at, connection: 0, delivered: false })
  }

  async useTicket({ ticket_sha256, run_id }: Parameters<FrontStore['useTicket']>[0]) {
    this.#called('useTicket')
    const ticket = this.tickets.get(ticket_sha256)
    if (ticket === undefined || ticket.run_id !== run_id) throw new AppError('unauthorized', 'Unauthorized')
    ticket.connection += 1
    return { ...ticket }
  }

  async closeTicket({ ticket_sha256 }: Parameters<FrontStore['closeTicket']>[0]) {
    this.#called('closeTicket')
    const ticket = this.tickets.get(ticket_sha256)
    if (ticket) ticket.delivered = true
  }

  async ready() {
    this.#called('ready')
  }

  /** Adds rows as the engine's transactions would. */
  addLog(run_id: string, log_type: LogType, message: string, metadata: Record<string, unknown>): LogRow {
    const kept = this.#kept(run_id)
    const log: LogRow = {
      id: randomUUID(),
      run_id,
      seq: kept.logs.length + 1,
      log_type,
      message,
      metadata,
      created_at: this.#time(),
    }
    kept.logs.push(log)
    return log
  }

  addStatus(run_id: string, status: RunStatus): void {
    const { run } = this.#kept(run_id)
    run.status = status
    const data = { status, current_phase: run.current_phase, total_phases: run.plan?.phases.length ?? 0 }
    this.addLog(run_id, 'state_transition', `Run is ${status}`, { event: 'run', data })
  }

  addMessage(
    run_id: string,
    role: MessageRow['role'],
    content: string,
    kind?: 'thinking' | 'answer',
  ): MessageRow {
    const row: MessageRow = {
      id: randomUUID(),
      run_id,
      step_id: null,
      role,
      content,
      tool_call_id: null,
      tool_name: null,
      attachments: [],
      metadata: {},
      created_at: this.#time(),
    }
    this.#kept(run_id).messages.push(row)
    if (kind !== undefined)
      this.addLog(run_id, 'info', content, { event: 'message', message_id: row.id, data: { kind } })
    return row
  }

  addStep(run_id: string, fields: Partial<StepRow>): StepRow {
    const { steps } = this.#kept(run_id)
    const step_number = steps.length
    const row: StepRow = {
      id: randomUUID(),
      run_id,
      parent_step_id: null,
      step_number,
      phase_number: 1,
      tool_type: 'shell',
      tool_name: 'shell',
      tool_input: { command: 'ls' },
      status: 'pending',
      tool_output: null,
      output_text: null,
      tokens_used: 0,
      credits_used: 0,
      created_at: this.#time(),
      started_at: null,
      completed_at: null,
      duration_ms: null,
      error_message: null,
      error_code: null,
      retry_count: 0,
      idempotency_key: `${run_id}:${step_number}`,
      metadata: {},
      ...fields,
    }
    steps.push(row)
    return row
  }

  changeStep(step: StepRow, fields: Partial<StepRow> & { status: StepRow['status'] }): void {
    Object.assign(step, fields)
    this.addLog(step.run_id, 'info', `${step.tool_name} ${step.status}`, {
      event: 'step',
      step_id: step.id,
      data: { status: step.status },
    })
  }

  addArtifact(run_id: string, fields: Partial<ArtifactRow>): ArtifactRow {
    const kept = this.#kept(run_id)
    const row: ArtifactRow = {
      id: randomUUID(),
      run_id,
      step_id: null,
      user_id: kept.owner,
      filename: 'chart.svg',
      file_path: 'outputs/chart.svg',
      file_type: 'image/svg+xml',
      file_size: 42,
      content_hash: 'a'.repeat(64),
      storage_bucket: 'agent-outputs',
      storage_key: 'k',
      public_url: null,
      signed_url: 'https://s/old',
      signed_url_expires_at: '2099-01-01T00:00:00Z',
      metadata: {},
      created_at: this.#time(),
      expires_at: null,
      deleted_at: null,
      ...fields,
    }
    kept.artifacts.push(row)
    this.addLog(run_id, 'success', 'File', { event: 'artifact', artifact_id: row.id })
    return row
  }

  end(
    run_id: string,
    status: 'completed' | 'failed' | 'cancelled' | 'timeout',
    data: Record<string, unknown>,
  ): void {
    const { run } = this.#kept(run_id)
    run.status = status
    run.completed_at = this.#time()
    this.addLog(run_id, 'info', `Run ${status}`, { event: 'final', data: { status, ...data } })
  }

  #kept(run_id: string): Kept {
    const kept = this.runs.get(run_id)
    if (kept === undefined) throw new AppError('run_not_found', 'Run not found')
    return kept
  }

  #called(name: string): void {
    this.calls.push(name)
    if (this.fault) throw this.fault
  }

  #own(name: string, principal: Principal, run_id: string): Kept {
    this.#called(name)
    const kept = this.#kept(run_id)
    if (kept.owner !== this.#userOf(principal)) throw new AppError('run_not_found', 'Run not found')
    return kept
  }

  #userOf(principal: Principal): string {
    return principal.sub
  }

  #replay(user_id: string, idempotency: { key: string; body_sha256: string } | null): CreateAnswer | null {
    const first = idempotency && this.keys.get(`${user_id} ${idempotency.key}`)
    if (!first) return null
    if (first.body_sha256 !== idempotency.body_sha256) {
      throw new AppError('idempotency_conflict', 'This Idempotency-Key was used with another body')
    }
    return { run: this.#kept(first.run_id).run, publications: [], replayed: true }
  }

  /** Strictly rising, to the microsecond. */
  #time(): string {
    this.#lastMicroseconds += 1
    const milliseconds = Math.floor(this.#lastMicroseconds / 1000)
    const rest = String(this.#lastMicroseconds % 1000).padStart(3, '0')
    return new Date(milliseconds).toISOString().replace('Z', `${rest}+00:00`)
  }
}

function newest<T>(rows: T[], part: { limit: number } | null): [T[], boolean] {
  return part === null ? [[], false] : [rows.slice(-part.limit), rows.length > part.limit]
}

function microseconds(time: string): number {
  const fraction = /\.(\d+)/.exec(time)?.[1] ?? ''
  return Math.floor(Date.parse(time) / 1000) * 1_000_000 + Number(fraction.slice(0, 6).padEnd(6, '0'))
}

function badState(verb: string, { status }: RunRow): AppError {
  return new AppError('invalid_state', `Cannot ${verb} run in status: ${status}`)
}

function isFor(verb: BulkVerb, status: RunStatus): boolean {
  if (verb === 'delete') return isFinal(status)
  if (verb === 'retry') return isFinal(status) && status !== 'completed'
  if (verb === 'resume') return status === 'paused'
  if (verb === 'pause') return !isFinal(status) && status !== 'created' && status !== 'paused'
  return !isFinal(status)
}

function publicationOf(run_id: string): Publication {
  return { run_id, step_number: 0, epoch: 0, publication: 1, delay_seconds: 0 }
}

function newRun(user_id: string, input: CreateRun, created_at: string): RunRow {
  return {
    id: randomUUID(),
    user_id,
    tenant_id: user_id,
    project_id: input.project_id,
    prompt: input.prompt,
    mode: input.mode,
    config: {},
    status: input.auto_start ? 'queued' : 'created',
    plan: null,
    plan_version: 0,
    current_phase: 0,
    current_step_id: null,
    total_steps: 0,
    completed_steps: 0,
    failed_steps: 0,
    total_tokens_used: 0,
    total_credits_used: 0,
    estimated_credits: null,
    created_at,
    started_at: null,
    completed_at: null,
    timeout_at: null,
    error_message: null,
    error_code: null,
    retry_count: 0,
    max_retries: 3,
    metadata: input.metadata,
    tags: input.tags,
    deleted_at: null,
  }
}
