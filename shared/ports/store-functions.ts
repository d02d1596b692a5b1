import type { ConfigError } from '../core/config-error.ts'
import { creditUnits } from '../core/costs.ts'
import { READS_PROTOCOL, WRITES_PROTOCOL } from '../core/protocol.ts'
import { modelStep } from '../core/steps.ts'
import { checkRole } from './role-check.ts'
import type { SqlCall } from './sql-call.ts'
import type { ClaimAnswer, FrontStore, ObjectStore, RetentionStore, StepStore, VerbStore } from './store.ts'

export interface StoreOptions {
  /** Told when the database says that this service must not run under its role. */
  refuse?: ((error: ConfigError) => void) | undefined
}

/** FrontStore over any way to call the SQL functions, as the role agent_api. */
export function frontStoreOver(
  calling: SqlCall,
  { refuse = () => {} }: StoreOptions = {},
): FrontStore & VerbStore {
  const { call, ready } = checkRole(calling, refuse)
  const firstStep = modelStep('plan', 0)
  return {
    prepareCreate: ({ opening_credits, checks, ...input }) =>
      call('agent_prepare_create', {
        ...input,
        opening_units: creditUnits(opening_credits),
        checks: checks === undefined ? null : { ...checks, cost_units: firstStep.cost_units },
      }),
    createRun: ({ opening_credits, ...input }) =>
      call('agent_create_run', {
        ...input,
        protocol: WRITES_PROTOCOL,
        opening_units: creditUnits(opening_credits),
        first_step: firstStep,
      }),
    startRun: (input) => call('agent_start_run', { ...input, first_step: firstStep }),
    cancelRun: (input) => call('agent_cancel_run', input),
    retryRun: ({ opening_credits, ...input }) =>
      call('agent_retry_run', {
        ...input,
        protocol: WRITES_PROTOCOL,
        opening_units: creditUnits(opening_credits),
        first_step: firstStep,
      }),
    forkRun: (input) => call('agent_fork_run', { ...input }),
    retryStep: (input) => call('agent_retry_step', { ...input }),
    answerApproval: (input) => call('agent_answer_approval', input),
    deleteRun: (input) => call('agent_delete_run', input),
    bulkRuns: ({ opening_credits, ...input }) =>
      call('agent_bulk_runs', {
        ...input,
        protocol: WRITES_PROTOCOL,
        opening_units: creditUnits(opening_credits),
        first_step: firstStep,
      }),
    resumeRun: (input) => call('agent_resume_run', input),
    pauseRun: (input) => call('agent_pause_run', input),
    readRun: (input) => call('agent_read_run', { ...input }),
    readLogs: (input) => call('agent_read_logs', { ...input }),
    readEvents: (input) => call('agent_read_events', input),
    listRuns: (input) => call('agent_list_runs', { ...input }),
    issueTicket: async (input) => {
      await call('agent_issue_ticket', input)
    },
    useTicket: (input) => call('agent_use_ticket', input),
    closeTicket: async (input) => {
      await call('agent_close_ticket', input)
    },
    ready,
  }
}

/** StepStore over any way to call the SQL functions, as the role agent_step. */
export function stepStoreOver(
  calling: SqlCall,
  { refuse = () => {} }: StoreOptions = {},
): StepStore & ObjectStore & RetentionStore {
  const { call, ready } = checkRole(calling, refuse)
  return {
    // `model_step` is what follows a group whose last member has used up its attempts inside the claim
    claimStep: (input) =>
      call<ClaimAnswer>('agent_claim_step', {
        protocol: READS_PROTOCOL,
        ...input,
        model_step: modelStep('decide', 0),
      }),
    renewLease: (input) => call('agent_renew_lease', { ...input }),
    commitStep: ({ burst, ...input }) =>
      call('agent_commit_step', {
        protocol: WRITES_PROTOCOL,
        ...input,
        ...(burst ? { burst: { protocol: READS_PROTOCOL, ...burst } } : {}),
      }),
    releaseStep: (input) => call('agent_release_step', { ...input }),
    parkStep: (input) => call('agent_park_step', { ...input }),
    startJob: (input) => call('agent_start_job', { protocol: READS_PROTOCOL, ...input }),
    checkJob: (input) => call('agent_check_job', input),
    finishJob: (input) => call('agent_finish_job', { protocol: READS_PROTOCOL, ...input }),
    settleAttempt: async (input) => {
      await call('agent_settle_attempt', { ...input })
    },
    readFiles: (input) => call('agent_read_files', input),
    sweepDue: (input) => call('agent_sweep_due', input),
    objectsRemoved: async (input) => {
      await call('agent_objects_removed', input)
    },
    setRetention: async ({ days }) => {
      await call('agent_configure', { retention_days: days })
    },
    ready,
  }
}
