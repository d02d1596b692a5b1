import { AppError } from '../../../core/errors.ts'
import type { Principal } from '../../../ports/identity.ts'
import type { Database, RunTables } from './tables.ts'

/** private.act_as: who the principal is to us; a new one is written down. */
export function actAs(
  { tables, newId }: Database,
  { issuer, sub, tenant_id, user_id_from }: Principal,
): { userId: string; tenantId: string } {
  if (issuer === '') throw new AppError('unauthorized', 'Unauthorized')
  const key = JSON.stringify([issuer, sub])
  const known = tables.principals.get(key)
  if (known !== undefined) {
    known.tenant_id = tenant_id ?? known.user_id
    return { userId: known.user_id, tenantId: known.tenant_id }
  }
  if (!tables.issuers.has(issuer)) tables.issuers.set(issuer, user_id_from)
  const userId = user_id_from === 'sub' ? sub : newId()
  tables.principals.set(key, { user_id: userId, tenant_id: tenant_id ?? userId })
  return { userId, tenantId: tenant_id ?? userId }
}

/** The run of this principal, or the one answer for "does not exist" and "is not yours". */
export function ownRun(
  db: Database,
  { principal, run_id }: { principal: Principal; run_id: string },
): RunTables {
  const { userId } = actAs(db, principal)
  const found = db.tables.runs.get(run_id)
  if (found === undefined || found.run.user_id !== userId)
    throw new AppError('run_not_found', 'Run not found')
  return found
}
