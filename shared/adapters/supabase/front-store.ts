import { creditUnits } from '../../core/costs.ts'
import { modelStep } from '../../core/steps.ts'
import type { FrontStore } from '../../ports/store.ts'
import { assertReady, createRpc, type SupabaseOptions } from './rpc.ts'

/** FrontStore over PostgREST rpc, as the role agent_api. */
export function createFrontStore(options: SupabaseOptions): FrontStore {
  const rpc = createRpc(options)
  const firstStep = modelStep('plan', 0)
  return {
    prepareCreate: ({ opening_credits, ...input }) =>
      rpc('agent_prepare_create', { ...input, opening_units: creditUnits(opening_credits) }),
    createRun: ({ opening_credits, ...input }) =>
      rpc('agent_create_run', {
        ...input,
        opening_units: creditUnits(opening_credits),
        first_step: firstStep,
      }),
    startRun: (input) => rpc('agent_start_run', { ...input, first_step: firstStep }),
    cancelRun: (input) => rpc('agent_cancel_run', input),
    retryRun: ({ opening_credits, ...input }) =>
      rpc('agent_retry_run', {
        ...input,
        opening_units: creditUnits(opening_credits),
        first_step: firstStep,
      }),
    resumeRun: (input) => rpc('agent_resume_run', input),
    pauseRun: (input) => rpc('agent_pause_run', input),
    readRun: (input) => rpc('agent_read_run', { ...input }),
    readLogs: (input) => rpc('agent_read_logs', { ...input }),
    readEvents: (input) => rpc('agent_read_events', input),
    listRuns: (input) => rpc('agent_list_runs', { ...input }),
    issueTicket: async (input) => {
      await rpc('agent_issue_ticket', input)
    },
    useTicket: (input) => rpc('agent_use_ticket', input),
    closeTicket: async (input) => {
      await rpc('agent_close_ticket', input)
    },
    ready: () => assertReady(rpc),
  }
}
