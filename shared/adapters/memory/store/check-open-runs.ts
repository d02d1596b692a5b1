import { AppError } from '../../../core/errors.ts'
import type { RunLimits } from '../../../ports/store.ts'
import type { Database } from './tables.ts'

/** private.check_open_runs, before one more run is made. */
export function checkOpenRuns(
  { tables }: Database,
  { userId, tenantId }: { userId: string; tenantId: string },
  { max_open_runs_per_user: perUser, max_open_runs_per_tenant: perTenant }: RunLimits,
): void {
  const open = [...tables.runs.values()].map(({ run }) => run).filter((run) => run.deadline_at !== null)
  const most =
    'runs that have not ended, which is the most that are allowed: wait until one ends, or stop one'
  if (perUser !== undefined && open.filter((run) => run.user_id === userId).length >= perUser)
    throw new AppError('too_many_runs', `You have ${perUser} ${most}`, { retryAfterSeconds: 30 })
  if (perTenant === undefined || tenantId === userId) return
  if (open.filter((run) => run.tenant_id === tenantId).length >= perTenant)
    throw new AppError('too_many_runs', `Your organisation has ${perTenant} ${most}`, {
      retryAfterSeconds: 30,
    })
}
