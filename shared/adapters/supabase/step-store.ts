import { modelStep } from '../../core/steps.ts'
import type { ClaimAnswer, StepStore } from '../../ports/store.ts'
import { assertReady, createRpc, type SupabaseOptions } from './rpc.ts'

/** StepStore over PostgREST rpc, as the role agent_step. */
export function createStepStore(options: SupabaseOptions): StepStore {
  const rpc = createRpc(options)
  return {
    // `model_step` is what follows a group whose last member has used up its attempts inside the claim
    claimStep: (input) =>
      rpc<ClaimAnswer>('agent_claim_step', { ...input, model_step: modelStep('decide', 0) }),
    renewLease: (input) => rpc('agent_renew_lease', { ...input }),
    commitStep: (input) => rpc('agent_commit_step', { ...input }),
    releaseStep: (input) => rpc('agent_release_step', { ...input }),
    parkStep: (input) => rpc('agent_park_step', { ...input }),
    startJob: (input) => rpc('agent_start_job', input),
    checkJob: (input) => rpc('agent_check_job', input),
    finishJob: (input) => rpc('agent_finish_job', { ...input }),
    settleAttempt: async (input) => {
      await rpc('agent_settle_attempt', { ...input })
    },
    readFiles: (input) => rpc('agent_read_files', input),
    sweepDue: (input) => rpc('agent_sweep_due', input),
    ready: () => assertReady(rpc),
  }
}
