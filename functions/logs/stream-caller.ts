import { AppError } from '../../shared/core/errors.ts'
import { principalOf } from '../../shared/engine/create-run.ts'
import { hashOf } from '../../shared/engine/issue-ticket.ts'
import { bearerToken } from '../../shared/http/auth.ts'
import type { AppContext } from '../../shared/http/env.ts'
import type { Principal } from '../../shared/ports/identity.ts'
import type { LogsPorts } from './ports.ts'

/** Who reads a stream, until when, and by which ticket. */
export interface StreamCaller {
  principal: Principal
  /** Unix milliseconds. */
  expiresAt: number
  ticket: { sha256: string; connection: number; delivered: boolean } | null
}

/** A ticket is 43 characters of base64url; what is much longer is not one. */
const TICKET = /^[\w-]{20,200}$/

/**
 * The reader of a stream: by the Authorization header, a ticket of this run, or (only where allowed) a token in the query.
 *
 * @throws AppError unauthorized, unavailable
 */
export function createStreamCaller(
  { identity, store, log }: LogsPorts,
  { allowTokenInQuery }: { allowTokenInQuery: boolean },
): (context: AppContext, runId: string) => Promise<StreamCaller> {
  let warned = false

  const byToken = async (token: string): Promise<StreamCaller> => {
    const caller = await identity.verify(token)
    return { principal: principalOf(caller), expiresAt: caller.expiresAt * 1000, ticket: null }
  }

  return async (context, runId) => {
    const bearer = bearerToken(context)
    if (bearer !== null) return byToken(bearer)
    const { ticket, token } = context.req.query()
    if (ticket !== undefined) {
      if (!TICKET.test(ticket)) throw new AppError('unauthorized', 'Unauthorized')
      const sha256 = hashOf(ticket)
      const { principal, connection, expires_at, delivered } = await store
        .useTicket({ ticket_sha256: sha256, run_id: runId })
        .catch(refusedAlike)
      return { principal, expiresAt: Date.parse(expires_at), ticket: { sha256, connection, delivered } }
    }
    if (token === undefined || !allowTokenInQuery) throw new AppError('unauthorized', 'Unauthorized')
    if (!warned)
      log.warn(
        {},
        'a token came in the query: ALLOW_TOKEN_IN_QUERY should be off once every client uses tickets',
      )
    warned = true
    return byToken(token)
  }
}

/** Whoever has no way in hears the same, whatever they tried. */
function refusedAlike(error: unknown): never {
  throw error instanceof AppError && error.code === 'unauthorized'
    ? new AppError('unauthorized', 'Unauthorized', { cause: error })
    : error
}
