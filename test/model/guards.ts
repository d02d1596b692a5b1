/**
 * The guards of the protocol as predicates, each with the condition in supabase/migrations that it stands for. Taking one away means
 * that its condition is never asked (or its effect never happens).
 */
export const GUARDS = {
  fence: 'private.fenced: `fence = … and token = …`, the writer names the claim that holds now',
  lease_lives:
    "private.fenced: `state <> 'open' or lease_until > clock_timestamp()`, a lapsed holder writes nothing",
  run_lock:
    'private.fenced: `perform 1 from private.runs … for update`, nothing comes between check and write',
  writer_open: "agent_commit_step, agent_release_step, agent_park_step: `v_step.state <> 'open'` is stale",
  claim_open: "agent_claim_step: `v_step.state <> 'open'` refuses with done",
  claim_due: 'agent_claim_step: `v_queue.due_at > v_now + 1 s` refuses with not_due',
  claim_unleased: 'agent_claim_step: `v_step.lease_until > v_now` refuses with leased',
  claim_lapsed:
    'agent_claim_step: a lease is compared with the clock, so that one which lapsed is given out again',
  claim_paused: "agent_claim_step: `v_row.status = 'paused' and v_wait.kind is distinct from 'job'` refuses",
  claim_paused_idle: 'agent_claim_step: a paused step leaves the schedule only when it is idle',
  claim_attempts: 'agent_claim_step: `v_step.attempt >= 5` fails the step',
  claim_wakes: 'agent_claim_step: `publish_at = lease_until + 2 s` while a step is in work',
  outbox: 'private.add_steps: the queue row is written by the commit that made the step due',
  sweeper: 'agent_sweep_due: what is due and unclaimed is published again',
  sweep_raises: 'agent_sweep_due: `publication = publication + 1`',
  release_raises: 'agent_release_step: `publication = publication + 1`',
  resume_raises: 'private.resume_run: `publication = publication + 1`',
  resume_wakes: 'private.resume_run: `publish_at = v_now + 20 s` for what a pause held',
  group_last: 'private.apply_commit: `v_run.group_open = 0`, the last member schedules the model step',
  finish_once: 'agent_finish_job: `v_wait.body_sha256 is not null or v_wait.finished_at is not null`',
  check_closes:
    'agent_commit_step: `update private.waits set finished_at …`, a check ends the wait it answers',
  end_closes: 'private.finish_run: `update private.waits set finished_at …`, the end of a run ends its waits',
  end_clears: 'private.finish_run: `deadline_at = null`',
  end_empties: 'private.finish_run: `delete from public.agent_task_queue`',
  cancel_open: 'private.cancel_run: `v_status in (final)` is refused',
  pause_open:
    "private.pause_run: `status not in ('queued', 'planning', 'executing', 'waiting_user')` is refused",
  settle_ends: "agent_settle_attempt, agent_sweep: `update private.steps set state = 'done'`",
  settle_state: "agent_settle_attempt: `v_step.state <> 'settling'` settles nothing",
  token_matches: 'private.awaited: `v_wait.token_sha256 is distinct from …`, only its own job answers',
  park_parks: 'agent_park_step: `publish_at = v_check`, a job that was never made is looked for',
} as const
export type Guard = keyof typeof GUARDS
export const GUARD_NAMES = Object.keys(GUARDS) as Guard[]

export const guards = (...off: Guard[]) => {
  const on = (name: Guard) => !off.includes(name)
  const fence = on('fence')
  const leaseLives = on('lease_lives')
  const writerOpen = on('writer_open')
  const claimOpen = on('claim_open')
  const claimDue = on('claim_due')
  const claimUnleased = on('claim_unleased')
  const claimLapsed = on('claim_lapsed')
  const claimPaused = on('claim_paused')
  const finishOnce = on('finish_once')
  const settleState = on('settle_state')
  return {
    on,
    /** private.fenced */
    holds: (current: boolean, open: boolean, live: boolean) =>
      (current || !fence) && (!open || live || !leaseLives),
    mayWrite: (open: boolean) => open || !writerOpen,
    claimable: (open: boolean) => open || !claimOpen,
    isDue: (due: boolean) => due || !claimDue,
    /** `leased` of agent_claim_step. */
    isLeased: (live: boolean, lapsed: boolean) => (live && claimUnleased) || (lapsed && !claimLapsed),
    isHeld: (paused: boolean, awaited: boolean) => paused && !awaited && claimPaused,
    isAnswered: (closed: boolean) => closed && finishOnce,
    maySettle: (settling: boolean) => settling || !settleState,
  }
}
export type Guards = ReturnType<typeof guards>
