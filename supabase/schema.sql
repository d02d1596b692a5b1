-- Generated from supabase/migrations by `npm run schema`; a test fails when the two differ.

-- Types
public.agent_log_type: info, success, error, warning, state_transition, tool_success, tool_error, phase_advance, user_input_required
public.agent_run_mode: chat, research, slides, website, document, spreadsheet, image, video, audio, code, data_analysis, custom
public.agent_run_status: created, queued, planning, executing, waiting_user, paused, completed, failed, cancelled, timeout
public.agent_step_status: pending, running, completed, failed, skipped, cancelled
public.agent_tool_type: shell, code, browser, file_read, file_write, search, message, plan, generate, slides, connector, wide_research

-- Columns
private.approvals.id uuid not null default gen_random_uuid()
private.approvals.run_id uuid not null
private.approvals.step_number integer not null
private.approvals.asked_at timestamp with time zone not null default clock_timestamp()
private.approvals.answered_at timestamp with time zone
private.approvals.approved boolean
private.approvals.reason text
private.check_round.one boolean not null default true
private.check_round.last_run uuid not null default '00000000-0000-0000-0000-000000000000'::uuid
private.credit_ledger.id bigint not null identity
private.credit_ledger.user_id uuid not null
private.credit_ledger.run_id uuid
private.credit_ledger.step_number integer
private.credit_ledger.kind text not null
private.credit_ledger.available bigint not null
private.credit_ledger.used bigint not null default 0
private.credit_ledger.created_at timestamp with time zone not null default clock_timestamp()
private.idempotency_keys.user_id uuid not null
private.idempotency_keys.key text not null
private.idempotency_keys.body_sha256 text not null
private.idempotency_keys.run_id uuid not null
private.idempotency_keys.created_at timestamp with time zone not null default clock_timestamp()
private.issuers.issuer text not null
private.issuers.user_id_from text not null
private.jobs_to_remove.job_name text not null
private.jobs_to_remove.requested_at timestamp with time zone not null default now()
private.jobs_to_remove.handed_out boolean not null default false
private.objects_to_remove.bucket text not null
private.objects_to_remove.name text not null
private.objects_to_remove.not_before timestamp with time zone not null default clock_timestamp()
private.objects_to_remove.handed_at timestamp with time zone
private.objects_to_remove.removed_at timestamp with time zone
private.principals.issuer text not null
private.principals.sub text not null
private.principals.user_id uuid not null
private.principals.tenant_id uuid not null
private.principals.created_at timestamp with time zone not null default now()
private.revoked_keys.issuer text not null
private.revoked_keys.key_id text not null
private.revoked_keys.reason text not null
private.revoked_keys.created_at timestamp with time zone not null default now()
private.run_transitions.from_status agent_run_status not null
private.run_transitions.to_status agent_run_status not null
private.runs.run_id uuid not null
private.runs.user_id uuid not null
private.runs.tenant_id uuid not null
private.runs.epoch integer not null default 0
private.runs.next_step integer not null default 0
private.runs.log_seq bigint not null default 0
private.runs.last_log_at timestamp with time zone not null default '-infinity'::timestamp with time zone
private.runs.messages integer not null default 0
private.runs.files integer not null default 0
private.runs.bytes bigint not null default 0
private.runs.group_open integer not null default 0
private.runs.max_steps integer not null
private.runs.timeout_seconds integer not null
private.runs.paused_from agent_run_status
private.runs.held_at timestamp with time zone
private.runs.deadline_at timestamp with time zone
private.runs.protocol integer not null default 1
private.runs_to_check.run_id uuid not null
private.runs_to_check.ended_at timestamp with time zone not null default clock_timestamp()
private.settings.name text not null
private.settings.value jsonb not null
private.settings.updated_at timestamp with time zone not null default clock_timestamp()
private.steps.run_id uuid not null
private.steps.step_number integer not null
private.steps.step_id uuid not null
private.steps.kind text not null
private.steps.tool_call_id text
private.steps.state text not null default 'open'::text
private.steps.attempt integer not null default 0
private.steps.fence bigint not null default 0
private.steps.token uuid
private.steps.lease_until timestamp with time zone
private.steps.last_error text
private.steps.cost bigint not null default 0
private.stream_tickets.ticket_sha256 text not null
private.stream_tickets.run_id uuid not null
private.stream_tickets.issuer text not null
private.stream_tickets.sub text not null
private.stream_tickets.use_before timestamp with time zone not null
private.stream_tickets.expires_at timestamp with time zone not null
private.stream_tickets.connection integer not null default 0
private.stream_tickets.delivered boolean not null default false
private.sweep_faults.run_id uuid not null
private.sweep_faults.what text not null
private.sweep_faults.error text not null
private.sweep_faults.first_at timestamp with time zone not null default clock_timestamp()
private.sweep_faults.last_at timestamp with time zone not null default clock_timestamp()
private.sweep_faults.times integer not null default 1
private.switches.id bigint not null identity
private.switches.tenant_id uuid
private.switches.tool_name text
private.switches.reason text not null
private.switches.created_at timestamp with time zone not null default now()
private.violations.id bigint not null identity
private.violations.invariant text not null
private.violations.run_id uuid
private.violations.detail text not null
private.violations.found_at timestamp with time zone not null default clock_timestamp()
private.violations.reported_at timestamp with time zone
private.waits.run_id uuid not null
private.waits.step_number integer not null
private.waits.kind text not null
private.waits.job_name text
private.waits.token_sha256 text
private.waits.confirmed_at timestamp with time zone
private.waits.deadline_at timestamp with time zone not null
private.waits.body_sha256 text
private.waits.answer jsonb
private.waits.finished_at timestamp with time zone
private.workspace_files.run_id uuid not null
private.workspace_files.path text not null
private.workspace_files.from_step integer not null
private.workspace_files.to_step integer
private.workspace_files.sha256 text not null
private.workspace_files.size bigint not null
private.workspace_files.mode integer not null
public.agent_artifacts.id uuid not null default gen_random_uuid()
public.agent_artifacts.run_id uuid not null
public.agent_artifacts.step_id uuid
public.agent_artifacts.user_id uuid not null
public.agent_artifacts.filename text not null default ''::text
public.agent_artifacts.file_path text not null default ''::text
public.agent_artifacts.file_type text not null default 'application/octet-stream'::text
public.agent_artifacts.file_size bigint not null default 0
public.agent_artifacts.content_hash text not null default ''::text
public.agent_artifacts.storage_bucket text not null default 'agent-outputs'::text
public.agent_artifacts.storage_key text not null default ''::text
public.agent_artifacts.public_url text
public.agent_artifacts.signed_url text
public.agent_artifacts.signed_url_expires_at timestamp with time zone
public.agent_artifacts.metadata jsonb not null default '{}'::jsonb
public.agent_artifacts.created_at timestamp with time zone not null default now()
public.agent_artifacts.expires_at timestamp with time zone
public.agent_artifacts.deleted_at timestamp with time zone
public.agent_messages.id uuid not null default gen_random_uuid()
public.agent_messages.run_id uuid not null
public.agent_messages.user_id uuid not null
public.agent_messages.step_id uuid
public.agent_messages.step_number integer not null default 0
public.agent_messages.role text not null default 'user'::text
public.agent_messages.content text not null default ''::text
public.agent_messages.tool_call_id text
public.agent_messages.tool_name text
public.agent_messages.attachments jsonb not null default '[]'::jsonb
public.agent_messages.metadata jsonb not null default '{}'::jsonb
public.agent_messages.created_at timestamp with time zone not null default now()
public.agent_messages."position" bigint not null identity
public.agent_messages.size_bytes integer default (octet_length(content) + COALESCE(octet_length(((metadata -> 'blocks'::text))::text), 0))
public.agent_run_connectors.run_id uuid not null
public.agent_run_connectors.connector_id text not null
public.agent_run_connectors.user_id uuid not null
public.agent_run_connectors.created_at timestamp with time zone not null default now()
public.agent_runs.id uuid not null default gen_random_uuid()
public.agent_runs.user_id uuid not null
public.agent_runs.tenant_id uuid
public.agent_runs.project_id uuid
public.agent_runs.prompt text not null default ''::text
public.agent_runs.mode agent_run_mode not null default 'custom'::agent_run_mode
public.agent_runs.config jsonb not null default '{}'::jsonb
public.agent_runs.status agent_run_status not null default 'created'::agent_run_status
public.agent_runs.plan jsonb
public.agent_runs.plan_version integer not null default 0
public.agent_runs.current_phase integer not null default 0
public.agent_runs.current_step_id uuid
public.agent_runs.total_steps integer not null default 0
public.agent_runs.completed_steps integer not null default 0
public.agent_runs.failed_steps integer not null default 0
public.agent_runs.total_tokens_used bigint not null default 0
public.agent_runs.total_credits_used numeric(10,4) not null default 0
public.agent_runs.estimated_credits numeric
public.agent_runs.created_at timestamp with time zone not null default now()
public.agent_runs.started_at timestamp with time zone
public.agent_runs.completed_at timestamp with time zone
public.agent_runs.timeout_at timestamp with time zone
public.agent_runs.error_message text
public.agent_runs.error_code text
public.agent_runs.retry_count integer not null default 0
public.agent_runs.max_retries integer not null default 0
public.agent_runs.metadata jsonb not null default '{}'::jsonb
public.agent_runs.tags text[] not null default '{}'::text[]
public.agent_runs.deleted_at timestamp with time zone
public.agent_steps.id uuid not null default gen_random_uuid()
public.agent_steps.run_id uuid not null
public.agent_steps.user_id uuid not null
public.agent_steps.parent_step_id uuid
public.agent_steps.step_number integer not null default 0
public.agent_steps.phase_number integer not null default 0
public.agent_steps.tool_type agent_tool_type not null default 'plan'::agent_tool_type
public.agent_steps.tool_name text not null default ''::text
public.agent_steps.tool_input jsonb not null default '{}'::jsonb
public.agent_steps.status agent_step_status not null default 'pending'::agent_step_status
public.agent_steps.tool_output jsonb
public.agent_steps.output_text text
public.agent_steps.tokens_used integer not null default 0
public.agent_steps.credits_used numeric not null default 0
public.agent_steps.created_at timestamp with time zone not null default now()
public.agent_steps.started_at timestamp with time zone
public.agent_steps.completed_at timestamp with time zone
public.agent_steps.duration_ms integer
public.agent_steps.error_message text
public.agent_steps.error_code text
public.agent_steps.retry_count integer not null default 0
public.agent_steps.idempotency_key text not null
public.agent_steps.metadata jsonb not null default '{}'::jsonb
public.agent_task_logs.id uuid not null default gen_random_uuid()
public.agent_task_logs.run_id uuid not null
public.agent_task_logs.user_id uuid not null
public.agent_task_logs.seq bigint not null
public.agent_task_logs.log_type agent_log_type not null default 'info'::agent_log_type
public.agent_task_logs.message text not null default ''::text
public.agent_task_logs.metadata jsonb not null default '{}'::jsonb
public.agent_task_logs.created_at timestamp with time zone not null default now()
public.agent_task_queue.run_id uuid not null
public.agent_task_queue.step_number integer not null
public.agent_task_queue.tenant_id uuid not null
public.agent_task_queue.epoch integer not null
public.agent_task_queue.publication integer not null default 0
public.agent_task_queue.due_at timestamp with time zone not null
public.agent_task_queue.publish_at timestamp with time zone
public.agent_task_queue.slot integer
public.agent_task_queue.waits text
public.agent_task_queue.waiting_since timestamp with time zone
public.credit_balances.user_id uuid not null
public.credit_balances.available_credits numeric(10,4) not null
public.credit_balances.total_credits numeric(10,4) not null
public.credit_balances.used_credits numeric(10,4) not null default 0
public.credit_balances.updated_at timestamp with time zone not null default now()

-- Constraints
agent_artifacts agent_artifacts_pkey: PRIMARY KEY (id)
agent_artifacts agent_artifacts_run_id_fkey: FOREIGN KEY (run_id) REFERENCES agent_runs(id) ON DELETE CASCADE
agent_artifacts agent_artifacts_step_id_fkey: FOREIGN KEY (step_id) REFERENCES agent_steps(id) ON DELETE SET NULL
agent_messages agent_messages_pkey: PRIMARY KEY (id)
agent_messages agent_messages_role_check: CHECK ((role = ANY (ARRAY['user'::text, 'assistant'::text, 'system'::text, 'tool'::text]))) NOT VALID
agent_messages agent_messages_run_id_fkey: FOREIGN KEY (run_id) REFERENCES agent_runs(id) ON DELETE CASCADE
agent_messages agent_messages_step_id_fkey: FOREIGN KEY (step_id) REFERENCES agent_steps(id) ON DELETE SET NULL
agent_run_connectors agent_run_connectors_pkey: PRIMARY KEY (run_id, connector_id)
agent_run_connectors agent_run_connectors_run_id_fkey: FOREIGN KEY (run_id) REFERENCES agent_runs(id) ON DELETE CASCADE
agent_runs agent_runs_pkey: PRIMARY KEY (id)
agent_steps agent_steps_idempotency_key_key: UNIQUE (idempotency_key)
agent_steps agent_steps_pkey: PRIMARY KEY (id)
agent_steps agent_steps_run_id_fkey: FOREIGN KEY (run_id) REFERENCES agent_runs(id) ON DELETE CASCADE
agent_steps agent_steps_run_step_key: UNIQUE (run_id, step_number)
agent_task_logs agent_task_logs_pkey: PRIMARY KEY (id)
agent_task_logs agent_task_logs_run_id_fkey: FOREIGN KEY (run_id) REFERENCES agent_runs(id) ON DELETE CASCADE
agent_task_logs agent_task_logs_run_seq_key: UNIQUE (run_id, seq)
agent_task_queue agent_task_queue_pkey: PRIMARY KEY (run_id, step_number)
agent_task_queue agent_task_queue_place: CHECK (
CASE waits
    WHEN 'called'::text THEN (slot IS NOT NULL)
    WHEN 'run'::text THEN (slot IS NULL)
    WHEN 'tenant'::text THEN (slot IS NULL)
    ELSE true
END)
agent_task_queue agent_task_queue_run_id_fkey: FOREIGN KEY (run_id) REFERENCES agent_runs(id) ON DELETE CASCADE
agent_task_queue agent_task_queue_slot_check: CHECK ((slot > 0))
agent_task_queue agent_task_queue_waits_check: CHECK ((waits = ANY (ARRAY['run'::text, 'tenant'::text, 'called'::text])))
credit_balances credit_balances_available_credits_check: CHECK ((available_credits >= (0)::numeric))
credit_balances credit_balances_pkey: PRIMARY KEY (user_id)
credit_balances credit_balances_total_credits_check: CHECK ((total_credits >= (0)::numeric))
credit_balances credit_balances_used_credits_check: CHECK ((used_credits >= (0)::numeric))
private.approvals approvals_check: CHECK (((answered_at IS NULL) = (approved IS NULL)))
private.approvals approvals_pkey: PRIMARY KEY (id)
private.approvals approvals_run_id_step_number_fkey: FOREIGN KEY (run_id, step_number) REFERENCES private.steps(run_id, step_number) ON DELETE CASCADE
private.approvals approvals_run_id_step_number_key: UNIQUE (run_id, step_number)
private.check_round check_round_one_check: CHECK (one)
private.check_round check_round_pkey: PRIMARY KEY (one)
private.credit_ledger credit_ledger_check: CHECK (((kind = 'opening'::text) = (run_id IS NULL)))
private.credit_ledger credit_ledger_kind_check: CHECK ((kind = ANY (ARRAY['opening'::text, 'reserve'::text, 'charge'::text, 'refund'::text])))
private.credit_ledger credit_ledger_pkey: PRIMARY KEY (id)
private.idempotency_keys idempotency_keys_pkey: PRIMARY KEY (user_id, key)
private.issuers issuers_pkey: PRIMARY KEY (issuer)
private.issuers issuers_user_id_from_check: CHECK ((user_id_from = ANY (ARRAY['sub'::text, 'new'::text])))
private.jobs_to_remove jobs_to_remove_pkey: PRIMARY KEY (job_name)
private.objects_to_remove objects_to_remove_pkey: PRIMARY KEY (bucket, name)
private.principals principals_pkey: PRIMARY KEY (issuer, sub)
private.revoked_keys revoked_keys_pkey: PRIMARY KEY (issuer, key_id)
private.run_transitions run_transitions_pkey: PRIMARY KEY (from_status, to_status)
private.runs runs_pkey: PRIMARY KEY (run_id)
private.runs runs_run_id_fkey: FOREIGN KEY (run_id) REFERENCES agent_runs(id) ON DELETE CASCADE
private.runs_to_check runs_to_check_pkey: PRIMARY KEY (run_id)
private.runs_to_check runs_to_check_run_id_fkey: FOREIGN KEY (run_id) REFERENCES agent_runs(id) ON DELETE CASCADE
private.settings settings_name_check: CHECK ((name = 'retention_days'::text))
private.settings settings_pkey: PRIMARY KEY (name)
private.steps steps_cost_check: CHECK ((cost >= 0))
private.steps steps_kind_check: CHECK ((kind = ANY (ARRAY['model'::text, 'tool'::text])))
private.steps steps_pkey: PRIMARY KEY (run_id, step_number)
private.steps steps_run_id_fkey: FOREIGN KEY (run_id) REFERENCES private.runs(run_id) ON DELETE CASCADE
private.steps steps_state_check: CHECK ((state = ANY (ARRAY['open'::text, 'settling'::text, 'done'::text])))
private.stream_tickets stream_tickets_pkey: PRIMARY KEY (ticket_sha256)
private.stream_tickets stream_tickets_run_id_fkey: FOREIGN KEY (run_id) REFERENCES agent_runs(id) ON DELETE CASCADE
private.sweep_faults sweep_faults_pkey: PRIMARY KEY (run_id, what)
private.sweep_faults sweep_faults_run_id_fkey: FOREIGN KEY (run_id) REFERENCES private.runs(run_id) ON DELETE CASCADE
private.sweep_faults sweep_faults_what_check: CHECK ((what = ANY (ARRAY['end'::text, 'settle'::text])))
private.switches switches_pkey: PRIMARY KEY (id)
private.violations violations_pkey: PRIMARY KEY (id)
private.waits waits_kind_check: CHECK ((kind = ANY (ARRAY['job'::text, 'user'::text])))
private.waits waits_pkey: PRIMARY KEY (run_id, step_number)
private.waits waits_run_id_step_number_fkey: FOREIGN KEY (run_id, step_number) REFERENCES private.steps(run_id, step_number) ON DELETE CASCADE
private.workspace_files workspace_files_pkey: PRIMARY KEY (run_id, path, from_step)
private.workspace_files workspace_files_run_id_fkey: FOREIGN KEY (run_id) REFERENCES private.runs(run_id) ON DELETE CASCADE
private.workspace_files workspace_files_sha256_check: CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text))
private.workspace_files workspace_files_size_check: CHECK ((size >= 0))

-- Indexes
CREATE UNIQUE INDEX approvals_pkey ON private.approvals USING btree (id)
CREATE UNIQUE INDEX approvals_run_id_step_number_key ON private.approvals USING btree (run_id, step_number)
CREATE UNIQUE INDEX check_round_pkey ON private.check_round USING btree (one)
CREATE UNIQUE INDEX credit_ledger_pkey ON private.credit_ledger USING btree (id)
CREATE UNIQUE INDEX credit_ledger_step ON private.credit_ledger USING btree (run_id, step_number, ((kind = 'reserve'::text))) WHERE (run_id IS NOT NULL)
CREATE INDEX credit_ledger_user ON private.credit_ledger USING btree (user_id)
CREATE INDEX idempotency_keys_created ON private.idempotency_keys USING btree (created_at)
CREATE UNIQUE INDEX idempotency_keys_pkey ON private.idempotency_keys USING btree (user_id, key)
CREATE UNIQUE INDEX issuers_pkey ON private.issuers USING btree (issuer)
CREATE UNIQUE INDEX jobs_to_remove_pkey ON private.jobs_to_remove USING btree (job_name)
CREATE INDEX objects_to_remove_due ON private.objects_to_remove USING btree (not_before) WHERE (removed_at IS NULL)
CREATE INDEX objects_to_remove_gone ON private.objects_to_remove USING btree (removed_at) WHERE (removed_at IS NOT NULL)
CREATE UNIQUE INDEX objects_to_remove_pkey ON private.objects_to_remove USING btree (bucket, name)
CREATE UNIQUE INDEX principals_pkey ON private.principals USING btree (issuer, sub)
CREATE INDEX principals_user ON private.principals USING btree (user_id)
CREATE UNIQUE INDEX revoked_keys_pkey ON private.revoked_keys USING btree (issuer, key_id)
CREATE UNIQUE INDEX run_transitions_pkey ON private.run_transitions USING btree (from_status, to_status)
CREATE INDEX runs_deadline ON private.runs USING btree (deadline_at) WHERE (deadline_at IS NOT NULL)
CREATE INDEX runs_open_tenant ON private.runs USING btree (tenant_id) WHERE (deadline_at IS NOT NULL)
CREATE INDEX runs_open_user ON private.runs USING btree (user_id) WHERE (deadline_at IS NOT NULL)
CREATE UNIQUE INDEX runs_pkey ON private.runs USING btree (run_id)
CREATE UNIQUE INDEX runs_to_check_pkey ON private.runs_to_check USING btree (run_id)
CREATE UNIQUE INDEX settings_pkey ON private.settings USING btree (name)
CREATE UNIQUE INDEX steps_pkey ON private.steps USING btree (run_id, step_number)
CREATE INDEX steps_unsettled ON private.steps USING btree (run_id) WHERE (state = 'settling'::text)
CREATE INDEX stream_tickets_expires ON private.stream_tickets USING btree (expires_at)
CREATE UNIQUE INDEX stream_tickets_pkey ON private.stream_tickets USING btree (ticket_sha256)
CREATE INDEX stream_tickets_run ON private.stream_tickets USING btree (run_id)
CREATE UNIQUE INDEX sweep_faults_pkey ON private.sweep_faults USING btree (run_id, what)
CREATE UNIQUE INDEX switches_pkey ON private.switches USING btree (id)
CREATE UNIQUE INDEX violations_once ON private.violations USING btree (invariant, run_id, detail) NULLS NOT DISTINCT
CREATE UNIQUE INDEX violations_pkey ON private.violations USING btree (id)
CREATE INDEX violations_unreported ON private.violations USING btree (id) WHERE (reported_at IS NULL)
CREATE UNIQUE INDEX waits_pkey ON private.waits USING btree (run_id, step_number)
CREATE INDEX workspace_files_blob ON private.workspace_files USING btree (sha256)
CREATE UNIQUE INDEX workspace_files_current ON private.workspace_files USING btree (run_id, path) WHERE (to_step IS NULL)
CREATE INDEX workspace_files_hash ON private.workspace_files USING btree (run_id, sha256)
CREATE UNIQUE INDEX workspace_files_pkey ON private.workspace_files USING btree (run_id, path, from_step)
CREATE INDEX agent_artifacts_deleted ON public.agent_artifacts USING btree (deleted_at) WHERE (deleted_at IS NOT NULL)
CREATE INDEX agent_artifacts_expires ON public.agent_artifacts USING btree (expires_at) WHERE (expires_at IS NOT NULL)
CREATE UNIQUE INDEX agent_artifacts_pkey ON public.agent_artifacts USING btree (id)
CREATE INDEX agent_artifacts_run ON public.agent_artifacts USING btree (run_id, created_at)
CREATE INDEX agent_artifacts_step ON public.agent_artifacts USING btree (step_id)
CREATE INDEX agent_artifacts_user ON public.agent_artifacts USING btree (user_id, created_at)
CREATE INDEX agent_messages_conversation ON public.agent_messages USING btree (run_id, step_number, "position")
CREATE UNIQUE INDEX agent_messages_pkey ON public.agent_messages USING btree (id)
CREATE INDEX agent_messages_step ON public.agent_messages USING btree (step_id)
CREATE INDEX agent_messages_user ON public.agent_messages USING btree (user_id, created_at)
CREATE UNIQUE INDEX agent_run_connectors_pkey ON public.agent_run_connectors USING btree (run_id, connector_id)
CREATE INDEX agent_run_connectors_user ON public.agent_run_connectors USING btree (user_id)
CREATE INDEX agent_runs_deleted ON public.agent_runs USING btree (deleted_at) WHERE (deleted_at IS NOT NULL)
CREATE INDEX agent_runs_ended ON public.agent_runs USING btree (completed_at) WHERE (status = ANY (ARRAY['completed'::agent_run_status, 'failed'::agent_run_status, 'cancelled'::agent_run_status, 'timeout'::agent_run_status]))
CREATE UNIQUE INDEX agent_runs_pkey ON public.agent_runs USING btree (id)
CREATE INDEX agent_runs_retry_of ON public.agent_runs USING btree (((metadata ->> 'retry_of'::text))) WHERE (metadata ? 'retry_of'::text)
CREATE INDEX agent_runs_tags ON public.agent_runs USING gin (tags) WHERE (tags <> '{}'::text[])
CREATE INDEX agent_runs_user_created ON public.agent_runs USING btree (user_id, created_at DESC, id DESC)
CREATE UNIQUE INDEX agent_steps_idempotency_key_key ON public.agent_steps USING btree (idempotency_key)
CREATE UNIQUE INDEX agent_steps_pkey ON public.agent_steps USING btree (id)
CREATE UNIQUE INDEX agent_steps_run_step_key ON public.agent_steps USING btree (run_id, step_number)
CREATE INDEX agent_steps_user ON public.agent_steps USING btree (user_id, created_at)
CREATE UNIQUE INDEX agent_task_logs_pkey ON public.agent_task_logs USING btree (id)
CREATE INDEX agent_task_logs_run_created ON public.agent_task_logs USING btree (run_id, created_at)
CREATE UNIQUE INDEX agent_task_logs_run_seq_key ON public.agent_task_logs USING btree (run_id, seq)
CREATE INDEX agent_task_logs_user ON public.agent_task_logs USING btree (user_id, created_at)
CREATE INDEX agent_task_queue_line ON public.agent_task_queue USING btree (tenant_id, waiting_since) WHERE (waits IS NOT NULL)
CREATE UNIQUE INDEX agent_task_queue_pkey ON public.agent_task_queue USING btree (run_id, step_number)
CREATE INDEX agent_task_queue_publish ON public.agent_task_queue USING btree (publish_at) WHERE (publish_at IS NOT NULL)
CREATE UNIQUE INDEX agent_task_queue_slot ON public.agent_task_queue USING btree (tenant_id, slot) WHERE (slot IS NOT NULL)
CREATE UNIQUE INDEX credit_balances_pkey ON public.credit_balances USING btree (user_id)

-- Row security
private.approvals: off
private.check_round: off
private.credit_ledger: off
private.idempotency_keys: off
private.issuers: off
private.jobs_to_remove: off
private.objects_to_remove: off
private.principals: off
private.revoked_keys: off
private.run_transitions: off
private.runs: off
private.runs_to_check: off
private.settings: off
private.steps: off
private.stream_tickets: off
private.sweep_faults: off
private.switches: off
private.violations: off
private.waits: off
private.workspace_files: off
public.agent_artifacts: on
public.agent_messages: on
public.agent_run_connectors: on
public.agent_runs: on
public.agent_steps: on
public.agent_task_logs: on
public.agent_task_queue: on
public.credit_balances: on

-- Policies
public.agent_artifacts engine: ALL to agent_engine using true with check true
public.agent_artifacts own_rows: SELECT to agent_front, authenticated using (user_id = ( SELECT private.current_user_id() AS current_user_id)) with check -
public.agent_messages engine: ALL to agent_engine using true with check true
public.agent_messages own_rows: SELECT to agent_front, authenticated using (user_id = ( SELECT private.current_user_id() AS current_user_id)) with check -
public.agent_run_connectors engine: ALL to agent_engine using true with check true
public.agent_run_connectors own_rows: SELECT to agent_front, authenticated using (user_id = ( SELECT private.current_user_id() AS current_user_id)) with check -
public.agent_runs engine: ALL to agent_engine using true with check true
public.agent_runs own_rows: SELECT to agent_front, authenticated using (user_id = ( SELECT private.current_user_id() AS current_user_id)) with check -
public.agent_steps engine: ALL to agent_engine using true with check true
public.agent_steps own_rows: SELECT to agent_front, authenticated using (user_id = ( SELECT private.current_user_id() AS current_user_id)) with check -
public.agent_task_logs engine: ALL to agent_engine using true with check true
public.agent_task_logs own_rows: SELECT to agent_front, authenticated using (user_id = ( SELECT private.current_user_id() AS current_user_id)) with check -
public.agent_task_queue engine: ALL to agent_engine using true with check true
public.credit_balances engine: ALL to agent_engine using true with check true
public.credit_balances own_rows: SELECT to agent_front, authenticated using (user_id = ( SELECT private.current_user_id() AS current_user_id)) with check -
storage.buckets agent_door_buckets: SELECT to agent_door using (id = ANY (ARRAY['agent-workspaces'::text, 'agent-outputs'::text])) with check -
storage.buckets agent_service_buckets: SELECT to agent_api, agent_step using (id = ANY (ARRAY['agent-workspaces'::text, 'agent-outputs'::text])) with check -
storage.objects agent_api_write: INSERT to agent_api using - with check (bucket_id = 'agent-workspaces'::text)
storage.objects agent_door_read: SELECT to agent_door using (bucket_id = ANY (ARRAY['agent-workspaces'::text, 'agent-outputs'::text])) with check -
storage.objects agent_door_write: INSERT to agent_door using - with check (bucket_id = ANY (ARRAY['agent-workspaces'::text, 'agent-outputs'::text]))
storage.objects agent_inputs_own_folder: ALL to authenticated using ((bucket_id = 'agent-inputs'::text) AND ((storage.foldername(name))[1] = (( SELECT auth.uid() AS uid))::text)) with check ((bucket_id = 'agent-inputs'::text) AND ((storage.foldername(name))[1] = (( SELECT auth.uid() AS uid))::text))
storage.objects agent_outputs_own_folder: SELECT to authenticated using ((bucket_id = 'agent-outputs'::text) AND ((storage.foldername(name))[1] = (( SELECT private.current_user_id() AS current_user_id))::text)) with check -
storage.objects agent_service_read: SELECT to agent_api, agent_step using (bucket_id = ANY (ARRAY['agent-workspaces'::text, 'agent-outputs'::text])) with check -
storage.objects agent_service_remove: DELETE to agent_step using ((bucket_id = ANY (ARRAY['agent-workspaces'::text, 'agent-outputs'::text])) AND private.is_to_remove(bucket_id, name)) with check -
storage.objects agent_service_write: INSERT to agent_step using - with check (bucket_id = ANY (ARRAY['agent-workspaces'::text, 'agent-outputs'::text]))

-- Triggers
CREATE TRIGGER hold_open_runs AFTER INSERT ON private.runs FOR EACH ROW EXECUTE FUNCTION private.hold_open_runs()
CREATE TRIGGER keep_blobs AFTER INSERT ON private.workspace_files REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION private.keep_blobs()
CREATE TRIGGER run_to_check AFTER UPDATE OF status ON public.agent_runs FOR EACH ROW WHEN (((old.status IS DISTINCT FROM new.status) AND (new.status = ANY (ARRAY['completed'::agent_run_status, 'failed'::agent_run_status, 'cancelled'::agent_run_status, 'timeout'::agent_run_status])))) EXECUTE FUNCTION private.to_check()
CREATE TRIGGER run_transition BEFORE UPDATE OF status ON public.agent_runs FOR EACH ROW WHEN ((old.status IS DISTINCT FROM new.status)) EXECUTE FUNCTION private.check_run_transition()
CREATE TRIGGER slot_freed AFTER DELETE ON public.agent_task_queue FOR EACH ROW WHEN (((old.slot IS NOT NULL) OR (old.waits = 'tenant'::text))) EXECUTE FUNCTION private.slot_freed()

-- Functions: owner, security, who may execute, MD5 of the body
private.act_as(p_principal jsonb) agent_engine, definer, agent_front, 31c0a80cf6104ebe502ae135b2f0e95a
private.add_logs(p_run uuid, p_logs jsonb) agent_engine, invoker, nobody else, 9431e579f055a1b52db90c426baeb1a1
private.add_messages(p_run uuid, p_step_number integer, p_step uuid, p_messages jsonb) agent_engine, invoker, nobody else, 6b89bd9609705a00e47d2f9765b73c2f
private.add_steps(p_run uuid, p_steps jsonb, p_due timestamp with time zone) agent_engine, invoker, nobody else, 8b05f842bf578f92ee35072b70b41647
private.answer_approval(p_run uuid, p jsonb) agent_engine, definer, agent_front, e9e1184e3e8d3ecb2606cfdbe83828b7
private.apply_commit(p_run uuid, p_step_number integer, c jsonb) agent_engine, invoker, nobody else, f84e586a6950a44615e0ed57f19c0cef
private.apply_commit(p_run uuid, p_step_number integer, c jsonb, p_burst jsonb) agent_engine, invoker, nobody else, 43494959e8de0f48f49a8b383ec895a3
private.ask_approvals(p_run uuid, p_first integer, p_steps jsonb) agent_engine, invoker, nobody else, 46459a94890d8eb97c68e8c770bcb5d8
private.awaited(p jsonb) agent_engine, invoker, nobody else, 8da143d2ca4842adf0042d795a54ac2e
private.balance_violations(p_user uuid) agent_engine, invoker stable, postgres, bcb2d0d68f63551f86365fe5df253f55
private.bulk_runs(p_user uuid, p_tenant uuid, p jsonb) agent_engine, definer, agent_front, d321a575f479a0492d6cb9563c469f68
private.call_sweep() postgres, invoker, nobody else, e3b5edf5d038d3935e7c6902f76613bb
private.called_up(p_tenant uuid) agent_engine, invoker, nobody else, 0afd314185c49168f458399fa12130e6
private.cancel_run(p_run uuid) agent_engine, definer, agent_front, 17e96a52db1e7d8d3c3359775c019d1f
private.check_create(p_user uuid, p_tenant uuid, p_checks jsonb) agent_engine, definer, agent_front, 1b95b6e5ff7321b7fbceb2a63099b458
private.check_job(p jsonb) agent_engine, invoker, nobody else, e8bf7b49e4715eb3bc06f61d18bdd82e
private.check_open_runs(p_user uuid, p_tenant uuid, p_limits jsonb, p_extra integer) agent_engine, invoker, nobody else, fd3de24a899d06bfc9378b71c6f35812
private.check_run_transition() postgres, invoker, nobody else, 1285b6a8be2d33c9663569515ffdb589
private.check_runs() agent_engine, invoker, nobody else, 358b8c2aa2cf2cb17b3d17a4ceb024ef
private.claim(p jsonb) agent_engine, invoker, nobody else, 262a1ca6593d3e62c15303bba923b0a7
private.claimed(p_run private.runs, p_row agent_runs, p_step private.steps, p_visible agent_steps, p_wait private.waits, p_lease integer) agent_engine, invoker stable, nobody else, 5681a01f49a3821b90f9a0913eb11f6d
private.close_ticket(p jsonb) agent_engine, definer, agent_front, cedcd60128c268715b001bfdf5333a26
private.commit_denied(p_run uuid) agent_engine, invoker, nobody else, 2676a78effb831484abde51bdd74d145
private.continue_run(p_run uuid, p_to agent_run_status, p_logs jsonb) agent_engine, invoker, nobody else, 12d46957ec91631d75670765e8a2d32b
private.conversation(p_run uuid) agent_engine, invoker stable, nobody else, d54813eea785e6814954a9ebcf10ac0a
private.copy_run(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) agent_engine, definer, nobody else, e7acc7f44ae66581cae4471740e6d035
private.cost_of(p_steps jsonb) agent_engine, invoker, nobody else, 2d954d3eac2a94412da8c30fe1641544
private.create_once(p_user uuid, p_tenant uuid, p jsonb) agent_engine, definer, agent_front, 85a2275049542796485e68d355667756
private.current_user_id() agent_engine, definer stable, agent_front authenticated, 483faa989e3f478fe3cfc3b25592a4f1
private.delete_run(p_user uuid, p_run uuid) agent_engine, definer, agent_front, 400ba0d7b4fb66b8a3dfc28accf416a8
private.fail(p_status integer, p_code text, p_message text, p_detail text) agent_front, invoker, agent_engine, 40ba82663d62450b54a6354b3c2b2e54
private.fenced(p jsonb) agent_engine, invoker, nobody else, 1c066c3ee5961cf6c10310c583a6b2a7
private.finish_run(p_run uuid, p_status agent_run_status, p_code text, p_message text, p_result text) agent_engine, invoker, nobody else, 30ce9a038245cb23d59908a6b5dd79ce
private.fork_run(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) agent_engine, definer, agent_front, f0852bfd350baec112daef1602b1d512
private.hold_open_runs() agent_engine, invoker, nobody else, 9e5fe33ff94abb16ad7e5ce9b18b778e
private.insert_logs(p_run uuid, p_user uuid, p_last bigint, p_time timestamp with time zone, p_logs jsonb) agent_engine, invoker, nobody else, 059fb4703c7adeaad5ab42443621d5df
private.insert_messages(p_run uuid, p_user uuid, p_step_number integer, p_step uuid, p_call text, p_tool text, p_messages jsonb) agent_engine, invoker, nobody else, 3b13da8fb191abeee8c99c4e98ba62bb
private.insert_run(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) agent_engine, invoker, nobody else, af15715a240f31efc38bca5bab3b69cc
private.insert_steps(p_run private.runs, p_first integer, p_steps jsonb, p_due timestamp with time zone, p_lease integer) agent_engine, invoker, nobody else, 0c79a1cb2523aeac2bf0bf3c101053f9
private.insert_ticket(p_run uuid, p jsonb) agent_engine, definer, agent_front, 668b5c871ff8b25b0fbf18daa0235504
private.is_idle(p_run uuid, p_step integer) agent_engine, invoker stable, nobody else, a45a34ae99f5f539d9db32e478c645a2
private.is_to_remove(p_bucket text, p_name text) agent_engine, definer stable, agent_step, 043b6ca22d361c66ed1af345f50a0a75
private.keep_blob(p_user uuid, p_sha256 text) agent_engine, invoker, nobody else, 213a6b736a33e1b0096c23f14c4c9c5c
private.keep_blobs() agent_engine, invoker, nobody else, ac57324cd65135b77f0a36b2aaf98cc4
private.leave_slot(p_queue agent_task_queue) agent_engine, invoker, nobody else, 309e07e5cec501c0474bc1a2b58f299a
private.log_time(p_last_log_at timestamp with time zone, p_count integer) agent_engine, invoker, nobody else, 6f9961ff76612526cf429d8a1bb4198b
private.model_step_cost(p_run uuid) agent_engine, invoker stable, nobody else, 7d196b70be9a0f621638b9d4208713d4
private.move_credit(p_user uuid, p_reserved bigint, p_used bigint) agent_engine, invoker, nobody else, 2714b1550753a0a6818259880f524419
private.note_fault(p_run uuid, p_what text, p_error text) agent_engine, invoker, nobody else, bad118edbddc5f1b23c3de6f1c2dc294
private.objects_due(p_limit integer) agent_engine, invoker stable, nobody else, 78534400b48391e00451ca20d3754733
private.open_account(p_user uuid, p_opening_units bigint) agent_engine, definer, agent_front, c44cc0e0c86d38640438dd5aca2fc86a
private.open_approvals(p_run uuid) agent_engine, definer stable, agent_front, 8e53bca20cf670b0ca7b1fb5b31f4aff
private.own_run(p jsonb) agent_front, invoker, agent_engine, 2a7a60891d2c8a79c24eb122a576c431
private.pass_slot(p_tenant uuid, p_slot integer, p_run uuid) agent_engine, invoker, nobody else, 71210559c3853421deb4dc76e19b0a14
private.pause_run(p_run uuid) agent_engine, definer, agent_front, 492932698449b3c5deb49082a733a9c0
private.publication(p_queue agent_task_queue) agent_engine, invoker stable, nobody else, 967715e7c8c7a023d521e6f05e97d30d
private.read_run(p jsonb) agent_front, invoker, nobody else, b0b3b609bfce927bba8f77c793dc9efe
private.refuse_unasked(p_run uuid, p_step integer) agent_engine, definer, agent_front, 10bc3ada55091de9fe0966ca9e4e5cb7
private.replay(p_user uuid, p_idempotency jsonb) agent_engine, definer, agent_front, 38649b08d3c8cbe5ed78a07147407cfa
private.resume_run(p_run uuid, p_input text) agent_engine, definer, agent_front, a555b0fb86737e4e0adb423f210cceb6
private.retire(p_limit integer) agent_engine, invoker, nobody else, 533d00ef4b5c6b13b7379d49229dcc95
private.retry_run(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) agent_engine, definer, agent_front, 07d202fb51d8436c6f79ba7b0cf118a5
private.retry_step(p_user uuid, p_tenant uuid, p_run uuid, p jsonb) agent_engine, definer, agent_front, 2373e7b23491ddd75438fe7a6d00f3d7
private.revoke_key(p_issuer text, p_key_id text, p_reason text) agent_engine, invoker, postgres, 586d67f262b55b24ea62f545515060b4
private.run_answer(p_run uuid, p_publications jsonb) agent_engine, definer stable, agent_front, c13baeb062d49433996890f63bd3c4de
private.run_event(p_status text, p_phase integer, p_total integer) agent_engine, invoker stable, nobody else, 4834d6d8d35e1e7a1ab8caaa81f4ef1e
private.run_violations(p_run uuid) agent_engine, invoker stable, postgres, c6e5a0aa5559dfd82de3c3b66e68512c
private.settle_step(p_run uuid, p_step integer, p_used boolean) agent_engine, invoker, nobody else, ab0d07ad6453c3d2e39b1241f2bed453
private.sha256_hex(p text) agent_engine, invoker immutable, nobody else, aaaca33ae8fe35bcdc41cf03e0f6c35f
private.slot_freed() agent_engine, invoker, nobody else, ac8b37fa4a795cca55fcaa8b8211ad9b
private.stale(p_run uuid) agent_engine, invoker stable, nobody else, d699d8ba295f81d75efd68162504ce9a
private.start_run(p_run uuid, p jsonb) agent_engine, definer, agent_front, a8498d872f8ccc12ecd0d37268ab5c11
private.step_event(p_step uuid, p_tool text, p_status text) agent_engine, invoker stable, nobody else, 9f46ee1fa95d1831298d40a83ae2bce6
private.sweep(p jsonb) agent_engine, invoker, nobody else, f67088df10b0f2f9496f906dfb8ee995
private.sweep_due(p jsonb) agent_engine, invoker, nobody else, 2ff9181b260b35364e22ed90198fb3e1
private.take_slot(p_queue agent_task_queue, p_parallel jsonb) agent_engine, invoker, nobody else, 196707ac39d8867aef89eebbeaca043b
private.tenant_of(p_principal jsonb) agent_engine, definer stable, agent_front, 90e2e70cafa70a1ed6c1d349731b0fb4
private.to_check() agent_engine, invoker, nobody else, 09cbd8fa55e659160a629570072daf7d
private.unclaimed(p_run uuid) agent_engine, definer stable, agent_front, 80118748bafc30555b3082e1ecdffbbb
private.use_ticket(p jsonb) agent_engine, definer, agent_front, e17903a560f57a3251c9d4aca9ed7c71
public.agent_answer_approval(p jsonb) agent_front, definer, agent_api, 6bf242d75e31e35bd371083faff50659
public.agent_bulk_runs(p jsonb) agent_front, definer, agent_api, 66e70e47ee35e4f1d9ba08fec767ba97
public.agent_cancel_run(p jsonb) agent_front, definer, agent_api, 934bf55ea34667ad331ee118035e6f78
public.agent_check_job(p jsonb) agent_engine, definer, agent_door agent_step, d0bac73466e8ab0cff29f861b5afe0fc
public.agent_claim_step(p jsonb) agent_engine, definer, agent_step, d50133d6064b68655fd6b636c59e8959
public.agent_close_ticket(p jsonb) agent_front, definer, agent_api, 0b544c19204fa9628de6cdbd40f016f1
public.agent_commit_step(p jsonb) agent_engine, definer, agent_step, a65b3655a1d90f629e78762301f85b74
public.agent_configure(p jsonb) agent_engine, definer, agent_step postgres, 9d44e6a31068976d9782e96ef51a886a
public.agent_create_run(p jsonb) agent_front, definer, agent_api, b95944f547663ef1618d303e10524e79
public.agent_delete_run(p jsonb) agent_front, definer, agent_api, 60adac2d374ce1fb536ce73282a8047e
public.agent_finish_job(p jsonb) agent_engine, definer, agent_door agent_step, 366ec17c4fec912548dce023b37f209b
public.agent_fork_run(p jsonb) agent_front, definer, agent_api, 29df7ea70d2c66f19c896f07cc546315
public.agent_issue_ticket(p jsonb) agent_front, definer, agent_api, b97f5846eeb6e64c18113df256c7fc33
public.agent_list_runs(p jsonb) agent_front, definer, agent_api, a39adf22e80aa8f91cb49d24b12ac974
public.agent_objects_removed(p jsonb) agent_engine, definer, agent_step, 9a3a464ef8dafdc4261d41060c6244ca
public.agent_park_step(p jsonb) agent_engine, definer, agent_step, 9cd8531ad5c26097668bd471e1f08785
public.agent_pause_run(p jsonb) agent_front, definer, agent_api, c4262d4ae975cc303d2ebb790991c2dd
public.agent_prepare_create(p jsonb) agent_front, definer, agent_api, 4292202112a35c429474a6686399c4aa
public.agent_read_events(p jsonb) agent_front, definer, agent_api, 2e06111f39a71d68e5e93b50f643f03a
public.agent_read_files(p jsonb) agent_engine, definer stable, agent_step, 9631ed239ca00bd82326456f7d830a02
public.agent_read_logs(p jsonb) agent_front, definer, agent_api, 148d1b9251e5f6d93efe6f0cee167a5b
public.agent_read_run(p jsonb) agent_front, definer, agent_api, 8a1796528fdd8f9915eca6962e2e3f47
public.agent_ready(p jsonb) postgres, invoker stable, agent_api agent_door agent_step, 7c82c55da9c65f75d1406d2507069bf1
public.agent_release_step(p jsonb) agent_engine, definer, agent_step, 3bd01a6185ab237f77f1fe53752d2653
public.agent_renew_lease(p jsonb) agent_engine, definer, agent_step, 8ea7483c772321d564b7947a8052cc2f
public.agent_resume_run(p jsonb) agent_front, definer, agent_api, 8c977504c4958b605c5abd08460fb00f
public.agent_retry_run(p jsonb) agent_front, definer, agent_api, 08b6918948a5f5263bac0bb42670ca89
public.agent_retry_step(p jsonb) agent_front, definer, agent_api, 44094bfa0eef878974e94289266038ff
public.agent_settle_attempt(p jsonb) agent_engine, definer, agent_step, 1c97422b1e56ba71190f639829b5c385
public.agent_start_job(p jsonb) agent_engine, definer, agent_door agent_step, 1cd4d1a33ac989346edf5adf77c8c143
public.agent_start_run(p jsonb) agent_front, definer, agent_api, 0e45f04fda51f561f1b0dc05fd6481c4
public.agent_sweep(p jsonb) agent_engine, definer, agent_step postgres, ff21d85bd4661a0f5c895bbc7bc4ed4c
public.agent_sweep_due(p jsonb) agent_engine, definer, agent_step, c5bf882250d8635323dce9e2020f0e26
public.agent_use_ticket(p jsonb) agent_front, definer, agent_api, 3bbf24acd356368903e95e8a4728cdf5

-- Table privileges
private.approvals agent_engine: DELETE, INSERT, SELECT, UPDATE
private.check_round agent_engine: DELETE, INSERT, SELECT, UPDATE
private.credit_ledger agent_engine: DELETE, INSERT, SELECT, UPDATE
private.credit_ledger_id_seq agent_engine: USAGE
private.idempotency_keys agent_engine: DELETE, INSERT, SELECT, UPDATE
private.issuers agent_engine: DELETE, INSERT, SELECT, UPDATE
private.jobs_to_remove agent_engine: DELETE, INSERT, SELECT, UPDATE
private.objects_to_remove agent_engine: DELETE, INSERT, SELECT, UPDATE
private.principals agent_engine: DELETE, INSERT, SELECT, UPDATE
private.revoked_keys agent_engine: DELETE, INSERT, SELECT, UPDATE
private.run_transitions agent_engine: DELETE, INSERT, SELECT, UPDATE
private.runs agent_engine: DELETE, INSERT, SELECT, UPDATE
private.runs_to_check agent_engine: DELETE, INSERT, SELECT, UPDATE
private.settings agent_engine: DELETE, INSERT, SELECT, UPDATE
private.steps agent_engine: DELETE, INSERT, SELECT, UPDATE
private.stream_tickets agent_engine: DELETE, INSERT, SELECT, UPDATE
private.sweep_faults agent_engine: DELETE, INSERT, SELECT, UPDATE
private.switches agent_engine: DELETE, INSERT, SELECT, UPDATE
private.switches_id_seq agent_engine: USAGE
private.violations agent_engine: DELETE, INSERT, SELECT, UPDATE
private.waits agent_engine: DELETE, INSERT, SELECT, UPDATE
private.workspace_files agent_engine: DELETE, INSERT, SELECT, UPDATE
public.agent_artifacts agent_engine: DELETE, INSERT, SELECT, UPDATE
public.agent_artifacts agent_front: SELECT
public.agent_artifacts authenticated: SELECT
public.agent_messages agent_engine: DELETE, INSERT, SELECT, UPDATE
public.agent_messages agent_front: SELECT
public.agent_messages authenticated: SELECT
public.agent_run_connectors agent_engine: DELETE, INSERT, SELECT, UPDATE
public.agent_run_connectors agent_front: SELECT
public.agent_run_connectors authenticated: SELECT
public.agent_runs agent_engine: DELETE, INSERT, SELECT, UPDATE
public.agent_runs agent_front: SELECT
public.agent_runs authenticated: SELECT
public.agent_steps agent_engine: DELETE, INSERT, SELECT, UPDATE
public.agent_steps agent_front: SELECT
public.agent_steps authenticated: SELECT
public.agent_task_logs agent_engine: DELETE, INSERT, SELECT, UPDATE
public.agent_task_logs agent_front: SELECT
public.agent_task_logs authenticated: SELECT
public.agent_task_queue agent_engine: DELETE, INSERT, SELECT, UPDATE
public.credit_balances agent_engine: DELETE, INSERT, SELECT, UPDATE
public.credit_balances agent_front: SELECT
public.credit_balances authenticated: SELECT

-- Schema privileges
private agent_engine: USAGE
private agent_front: USAGE
private authenticated: USAGE
private postgres: CREATE, USAGE
