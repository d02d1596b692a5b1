import { createHash, randomBytes } from 'node:crypto'
import type { Caller } from '../ports/identity.ts'
import type { FrontStore } from '../ports/store.ts'
import { principalOf } from './create-run.ts'

/** The store lets a ticket be first used within this time. */
export const TICKET_FIRST_USE_SECONDS = 60

/** A random ticket for one run's stream; only its hash is stored. */
export async function issueTicket(
  { store }: { store: FrontStore },
  caller: Caller,
  run_id: string,
): Promise<string> {
  const ticket = randomBytes(32).toString('base64url')
  await store.issueTicket({
    principal: principalOf(caller),
    run_id,
    ticket_sha256: hashOf(ticket),
    expires_at: new Date(caller.expiresAt * 1000).toISOString(),
  })
  return ticket
}

export function hashOf(ticket: string): string {
  return createHash('sha256').update(ticket).digest('hex')
}
