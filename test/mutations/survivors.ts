/** Mutants that no test can tell from the original, each with the reason. An entry that is noticed after all, or names nothing, fails. */
export const SURVIVORS: { id: string; reason: string }[] = [
  {
    id: "private.settle_step: and dropped: kind = 'reserve' → true",
    reason:
      'A step is settled once: until then its reservation is its only row in the ledger. A second settling is refused by the unique index credit_ledger_step.',
  },
  {
    id: 'public.agent_list_runs: and dropped: user_id = v_user → true',
    reason: 'Row security of agent_front shows these rows alone; the condition lets the index be used.',
  },
  ...['list_runs', 'read_logs', 'read_events'].map((name) => ({
    id: `public.agent_${name}: always: jsonb_array_length(v_rows) > v_limit`,
    reason: 'What is taken off is the element at v_limit: of a page that is not longer there is none.',
  })),
  {
    id: 'private.cancel_run: and dropped: w.finished_at is null → true',
    reason: 'A job that has ended has no row on the queue, which the statement joins.',
  },
  {
    id: "private.keep_blobs: and dropped: o.name = r.user_id || '/' || a.sha256 → true",
    reason: 'The join spares calls: keep_blob looks for the row itself and does nothing without one.',
  },
  {
    id: 'private.open_account: never: exists (select 1 from public.credit_balances where user_id = p_user)',
    reason: 'Spares a write: the insert does nothing where there is an account.',
  },
  {
    id: "private.bulk_runs: and dropped: n.metadata ? 'retry_of' → true",
    reason: 'Lets the index be used: what has a value under this name has the name.',
  },
  {
    id: 'private.bulk_runs: limit dropped: limit c_limit + 1 → ',
    reason: 'Bounds what is read: the loop and the locks take the first c_limit of them in any case.',
  },
  {
    id: 'private.fork_run: and dropped: protocol < v_protocol → true',
    reason: 'The run is new, of protocol 1, and v_protocol is greater than 1 here.',
  },
  {
    id: 'public.agent_sweep: limit dropped: limit 1000 →  #2',
    reason: 'Bounds one pass: what is beyond it is done in the next.',
  },
  {
    id: "private.retire: where dropped: name = 'retention_days' → true",
    reason: 'The table holds no other name: settings_name_check.',
  },
  {
    id: "private.answer_approval: and dropped: kind = 'user' → true",
    reason: 'While a call waits for its answer no job of the run is out: its whole group waits.',
  },
  {
    id: 'private.copy_run: and dropped: step_number = 0 → true',
    reason: 'The first message of a run is that of step 0.',
  },
  {
    id: 'private.continue_run: least of one: least(q.due_at, v_now) → v_now',
    reason: 'What is due is due: nobody asks for how long.',
  },
  ...['p_idempotency is null → false', "jsonb_typeof(p_idempotency) = 'null' → false"].map((condition) => ({
    id: `private.replay: or dropped: ${condition}`,
    reason: 'Spares two queries: without a key they find nothing, and the answer is null as well.',
  })),
  {
    id: 'private.replay: and dropped: user_id = p_user → true',
    reason: "What is deleted in passing has expired, whoever's it is.",
  },
  {
    id: 'private.retry_step: least of one: least(due_at, v_now) → v_now',
    reason: 'What is due is due: nobody asks for how long.',
  },
  ...[
    'private.fork_run: always: v_protocol > 1',
    "public.agent_commit_step: always: coalesce((p ->> 'protocol')::integer, 1) > 1",
  ].map((id) => ({ id, reason: 'Spares a write: no run has a protocol below 1, or below none.' })),
  {
    id: "public.agent_commit_step: always: v_step.kind = 'tool'",
    reason: 'Spares a query: a step that asks the model has no place.',
  },
  ...['commit_step', 'finish_job'].map((name) => ({
    id: `public.agent_${name}: always: v_tenant is not null`,
    reason: 'Spares a query: nobody is of no tenant.',
  })),
  {
    id: 'private.claim: always: jsonb_array_length(v_logs) > 0',
    reason: 'Spares a write: of no logs none is written, and the last number is what it was.',
  },
  {
    id: 'private.copy_run: where dropped: run_id = p_run → true #2',
    reason: 'The number of its last step bounds what is taken of the run, which has none beyond.',
  },
  {
    id: 'private.sweep_due: where dropped: not handed_out → true',
    reason: 'What was handed out is deleted by the same statement, which leaves nothing to write.',
  },
  {
    id: 'private.claim: never: not found',
    reason: 'Of a run that is not there the step, which is asked for later, is not there either.',
  },
  {
    id: 'private.delete_run: and dropped: a.run_id = p_run → true',
    reason:
      'What another run of this user shows is not listed in any case: the condition after it finds that run.',
  },
  {
    id: 'private.claim: never: v_queue.run_id is null',
    reason: 'Spares a call: what is not there had no place to leave.',
  },
  {
    id: "private.claim: or dropped: status = 'queued' → false",
    reason: 'A run that is queued is at no step yet: the other condition holds.',
  },
  {
    id: "private.fenced: and dropped: run_id = (p ->> 'run_id')::uuid → true",
    reason: 'A token is of one step.',
  },
  {
    id: "private.is_idle: and dropped: kind = 'job' → true",
    reason: 'Of a step that waits for its user nothing is scheduled, and it has no place; it never failed.',
  },
  {
    id: "private.retry_step: and dropped: v_step.state <> 'open' → true",
    reason: 'A step that is open is pending or running.',
  },
  {
    id: 'private.to_check: conflict not allowed: on conflict do nothing → ',
    reason: 'A run ends once.',
  },
  {
    id: "private.keep_blobs: and dropped: o.bucket = 'agent-workspaces' → true",
    reason: 'The join spares calls: keep_blob looks in this bucket alone.',
  },
  {
    id: "private.open_approvals: and dropped: s.state = 'open' → true",
    reason:
      'Only an answer, a word instead of one, and the end of the run close such a step: the first two answer the approval, and of an ended run nobody asks.',
  },
  {
    id: "private.bulk_runs: and dropped: r.tags <> '{}' → true",
    reason: 'Lets the index be used: what has this tag has tags.',
  },
  {
    id: "private.replay: and dropped: key = p_idempotency ->> 'key' → true",
    reason:
      'What is deleted in passing has expired: its own next use, or the sweeper, would delete it as well.',
  },
  {
    id: 'private.replay: and dropped: v_run is not null → true',
    reason: 'Without a run there is no body to compare with: the other condition is null.',
  },
  {
    id: "private.retire: and dropped: status in ('completed', 'failed', 'cancelled', 'timeout') → true #2",
    reason: 'Lets the index be used: what has not ended has no completed_at.',
  },
  {
    id: 'private.retire: never: clock_timestamp() > v_until',
    reason: 'Bounds the time of one pass: what is left is done in the next.',
  },
  ...['v_user', 'v_tenant'].map((limit) => ({
    id: `private.check_open_runs: limit dropped: limit ${limit} + 1 → `,
    reason: 'Bounds what is counted: one more than are allowed is too many in any case.',
  })),
  ...['v_user', 'v_tenant'].map((limit) => ({
    id: `private.check_open_runs: and dropped: ${limit} is not null → true`,
    reason: 'Spares the counting: what is compared with no number is null.',
  })),
  {
    id: "public.agent_prepare_create: and dropped: jsonb_typeof(p -> 'checks') = 'object' → true",
    reason: 'Spares a call: without checks there is no limit in them, and nothing that starts.',
  },
  {
    id: 'public.agent_prepare_create: always: v_run is not null',
    reason: 'Spares two queries: there is no answer about no run.',
  },
  {
    id: "public.agent_read_run: always: v_answer -> 'run' ->> 'status' in ('waiting_user', 'paused')",
    reason:
      'Spares a query: in every other status each approval is answered, or its step has ended with the run.',
  },
  {
    id: 'private.retire: and dropped: v_days is not null → true',
    reason: 'Lets the query be left out: what is compared with no number of days is null.',
  },
  ...['', ' #2', ' #4', ' #5'].map((number) => ({
    id: `private.retire: limit dropped: limit p_limit → ${number}`,
    reason: 'Bounds what is read: the limit around it takes no more of them in any case.',
  })),
  {
    id: "private.apply_commit: always: jsonb_array_length(c -> 'files' -> 'put') + jsonb_array_length(c -> 'files' -> 'removed') > 0",
    reason: 'Spares four statements: of no files they change nothing.',
  },
  ...['apply_commit', 'conversation', 'copy_run', 'model_step_cost'].map((name) => ({
    id: `private.${name}: limit dropped: limit 1 → `,
    reason: 'Bounds what is looked at: the first row is taken in any case.',
  })),
  {
    id: "private.apply_commit: and dropped: v_kind = 'complete' → true",
    reason: 'A pause may end in a failure; that it goes on before is overwritten in the same transaction.',
  },
  {
    id: "private.replay: never: p_idempotency is null or jsonb_typeof(p_idempotency) = 'null'",
    reason: 'Spares two queries: without a key they find nothing, and the answer is null as well.',
  },
  {
    id: "public.agent_commit_step: and dropped: protocol < (p ->> 'protocol')::integer → true",
    reason: 'Spares a write: who commits has claimed, which takes a protocol no lower than that of the run.',
  },
  {
    id: 'public.agent_finish_job: or dropped: v_wait.body_sha256 is not null → false',
    reason: 'Both are written together: a job that was answered has ended.',
  },
  {
    id: 'private.copy_run: and dropped: m.position = v_first → true',
    reason:
      'Of what was said at step 0 a new message leaves the first alone; without one nothing is replaced.',
  },
  {
    id: 'private.take_slot: where dropped: not exists (select 1 from public.agent_task_queue q where q.tenant_id = p_queue.tenant_id and q.slot = n) → true',
    reason: 'Spares locks: whether the place is taken is asked again with its lock.',
  },
  {
    id: "private.claim: and dropped: (current_step_id is distinct from v_step.step_id or status = 'queued') → true",
    reason: 'Spares a write of what stands there already.',
  },
  ...['private.finish_run', 'private.sweep', 'public.agent_settle_attempt'].map((name) => ({
    id: `${name}: not written: lease_until = null → lease_until = lease_until`,
    reason: 'The step is done: nobody asks whether it is leased.',
  })),
  ...['held_at', 'paused_from'].map((column) => ({
    id: `private.finish_run: not written: ${column} = null → ${column} = ${column}`,
    reason: 'The run has ended: nobody asks since when it was held, or from where.',
  })),
  {
    id: 'private.leave_slot: and dropped: p_queue.slot is null → true #2',
    reason: 'Who waits for its own run has no place: agent_task_queue_place.',
  },
  {
    id: 'private.settle_step: never: not found or v_reserved = 0',
    reason: 'A step that can be settled has its reservation, and of nothing reserved nothing is moved.',
  },
  {
    id: 'private.move_credit: never: p_reserved = 0 and p_used = 0',
    reason: 'Spares a write: who has a run has an account, and no account is below zero.',
  },
  {
    id: "private.check_job: and dropped: kind = 'job' → true",
    reason: 'A wait for a person has no token that one could come with.',
  },
  {
    id: 'private.check_runs: limit dropped: limit 5 → ',
    reason: "Bounds one pass: a user's balance is looked at again with each of its runs.",
  },
  {
    id: "private.apply_commit: and dropped: v_row.status = 'paused' → true",
    reason: 'Only a run that is paused was paused from planning.',
  },
  {
    id: "private.apply_commit: and dropped: v_run.paused_from = 'planning' → true",
    reason:
      'Below a pause a plan is committed by a step in work: its run was planning, or it was executing, as it is to be then.',
  },
  {
    id: 'private.called_up: limit dropped: limit 100 → ',
    reason: 'Bounds one call: who is beyond it is due, and told by the next, or by the sweeper.',
  },
  {
    id: 'private.sweep_due: not written: due_at = least(q.due_at, clock_timestamp()) → due_at = q.due_at',
    reason: 'Nobody puts the time of a publish before the time that a step is due.',
  },
  {
    id: 'private.apply_commit: and dropped: p_burst is not null → true',
    reason: 'What is read from it is null without one, as the lease is then in any case.',
  },
  {
    id: 'public.agent_sweep: and dropped: t.removed_at is null → true',
    reason: 'What was removed had been handed out, which the condition before it asks for.',
  },
  {
    id: 'private.finish_run: conflict not allowed: on conflict do nothing → ',
    reason: 'A run ends once, and the names of its jobs are those of its steps.',
  },
  {
    id: 'private.settle_step: or dropped: not found → false',
    reason: 'A step that can be settled has its reservation: insert_steps writes both.',
  },
  {
    id: 'private.settle_step: or dropped: v_reserved = 0 → false',
    reason: 'Spares two writes: they would move nothing.',
  },
  {
    id: 'private.sweep_due: least of one: least(q.due_at, clock_timestamp()) → clock_timestamp()',
    reason: 'What is due is due: nobody asks for how long.',
  },
  ...['public.agent_commit_step', 'private.claim', 'private.is_idle'].map((name) => ({
    id: `${name}: and dropped: finished_at is null → true`,
    reason: 'A step whose wait has ended is done, and its commit was sent away before.',
  })),
  ...[
    'private.insert_steps: always: p_lease is not null #2',
    ...['park', 'release'].map(
      (verb) => `public.agent_${verb}_step: not written: token = null → token = token`,
    ),
  ].map((id) => ({
    id,
    reason:
      'Of an open step a token without a lease opens nothing; the next claim writes another, the end of the run none.',
  })),
  ...['k.run_id = p_run → true', 's.started_at is not null → true'].map((condition) => ({
    id: `private.run_violations: and dropped: ${condition}`,
    reason: 'Said twice: a step and its visible row are of one run, and nothing is later than null.',
  })),
  {
    id: 'private.run_violations: where dropped: v.run_id = p_run → true',
    reason: 'Said twice: a step and its visible row are of one run.',
  },
  ...[' #4', ' #5', ' #6', ' #7'].map((number) => ({
    id: `private.sweep: limit dropped: limit 1000 → ${number}`,
    reason: 'Bounds how far it counts.',
  })),
  ...[
    'private.sweep_due: limit dropped: limit 1000 → ',
    'private.sweep: limit dropped: limit 1000 → ',
    'private.sweep_due: limit dropped: limit 100 → ',
    'private.sweep: limit dropped: limit 200 →  #2',
    'private.sweep: limit dropped: limit 200 →  #3',
    'public.agent_sweep: limit dropped: limit 1000 →  #3',
  ].map((id) => ({
    id,
    reason: 'Bounds one pass: what is beyond it is done in the next.',
  })),
]
