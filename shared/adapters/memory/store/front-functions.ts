import { creditUnits } from '../../../core/costs.ts'
import { AppError } from '../../../core/errors.ts'
import { modelStep } from '../../../core/steps.ts'
import type { CreateAnswer, FrontStore, RunAnswer, VerbStore } from '../../../ports/store.ts'
import { bulkRuns } from './bulk-runs.ts'
import { checkOpenRuns } from './check-open-runs.ts'
import { createOnce, replay } from './create-once.ts'
import { openAccount } from './credits.ts'
import { deleteRun } from './delete-run.ts'
import { forkRun } from './fork-run.ts'
import { isoTime, microseconds } from './iso-time.ts'
import { actAs, ownRun } from './principals.ts'
import { eventPage, listRuns, logPage, snapshot } from './read.ts'
import { retryRun } from './retry-run.ts'
import { retryStep } from './retry-step.ts'
import { type Database, SECOND } from './tables.ts'
import { answerApproval, cancelRun, pauseRun, resumeRun, startRun } from './verbs.ts'

type Verbs = FrontStore & VerbStore
type Call<Method extends keyof Verbs> = Parameters<Verbs[Method]>[0]

/** How long a ticket waits for its first use. */
const TICKET_SECONDS = 60

/** private.check_create: what a create would be refused for, as things stand now. */
function checkCreate(
  db: Database,
  who: { userId: string; tenantId: string },
  { limits, auto_start }: NonNullable<Call<'prepareCreate'>['checks']>,
): void {
  checkOpenRuns(db, who, limits)
  const available = db.tables.balances.get(who.userId)?.available ?? 0
  if (auto_start && available < modelStep('plan', 0).cost_units)
    throw new AppError('insufficient_credits', 'Insufficient credits')
}

/** The functions of 20261123000005_front.sql and the verbs of 20261123000008_verbs.sql. Each runs without a break, so that it is one transaction. */
export function frontFunctions(db: Database) {
  const { tables } = db
  return {
    prepareCreate({ principal, idempotency, opening_credits, checks }: Call<'prepareCreate'>) {
      const who = actAs(db, principal)
      const { userId } = who
      const earlier = replay(db, userId, idempotency)
      const fresh = !tables.balances.has(userId)
      openAccount(db, userId, creditUnits(opening_credits))
      try {
        if (earlier === null && checks !== undefined) checkCreate(db, who, checks)
      } catch (error) {
        if (fresh) tables.balances.delete(userId)
        throw error
      }
      return { user_id: userId, replay: earlier }
    },
    createRun: ({ principal, ...fields }: Call<'createRun'>): CreateAnswer =>
      createOnce(db, actAs(db, principal), fields),
    startRun: (input: Call<'startRun'>): RunAnswer => startRun(db, ownRun(db, input)),
    cancelRun: (input: Call<'cancelRun'>) => cancelRun(db, ownRun(db, input)),
    pauseRun: (input: Call<'pauseRun'>): RunAnswer => pauseRun(db, ownRun(db, input)),
    resumeRun: (input: Call<'resumeRun'>): RunAnswer => resumeRun(db, ownRun(db, input), input.user_input),

    retryRun: (input: Call<'retryRun'>): CreateAnswer =>
      retryRun(db, actAs(db, input.principal), ownRun(db, input), input),
    forkRun: (input: Call<'forkRun'>): CreateAnswer =>
      forkRun(db, actAs(db, input.principal), ownRun(db, input), input),
    retryStep: (input: Call<'retryStep'>) =>
      retryStep(db, actAs(db, input.principal), ownRun(db, input), input),
    deleteRun: (input: Call<'deleteRun'>): RunAnswer => deleteRun(db, ownRun(db, input)),
    bulkRuns: (input: Call<'bulkRuns'>) => bulkRuns(db, actAs(db, input.principal), input),
    answerApproval: (input: Call<'answerApproval'>): RunAnswer =>
      answerApproval(db, ownRun(db, input), input),

    readRun: (input: Call<'readRun'>) => snapshot(ownRun(db, input), input),
    readLogs: (input: Call<'readLogs'>) => logPage(ownRun(db, input), input),
    readEvents: (input: Call<'readEvents'>) => eventPage(ownRun(db, input), input),
    listRuns: (input: Call<'listRuns'>) => listRuns(tables, actAs(db, input.principal).userId, input),

    issueTicket(input: Call<'issueTicket'>): void {
      ownRun(db, input)
      tables.tickets.set(input.ticket_sha256, {
        run_id: input.run_id,
        issuer: input.principal.issuer,
        sub: input.principal.sub,
        use_before: db.now() + TICKET_SECONDS * SECOND,
        expires_at: microseconds(input.expires_at),
        connection: 0,
        delivered: false,
      })
    },

    useTicket({ ticket_sha256, run_id }: Call<'useTicket'>) {
      const ticket = tables.tickets.get(ticket_sha256)
      const now = db.now()
      const known =
        ticket === undefined ? undefined : tables.principals.get(JSON.stringify([ticket.issuer, ticket.sub]))
      const issuedBy = ticket === undefined ? undefined : tables.issuers.get(ticket.issuer)
      const valid =
        ticket !== undefined &&
        ticket.run_id === run_id &&
        ticket.expires_at > now &&
        (ticket.connection > 0 || ticket.use_before > now)
      if (!valid || known === undefined || issuedBy === undefined)
        throw new AppError('unauthorized', 'Unauthorized')
      ticket.connection += 1
      return {
        principal: {
          issuer: ticket.issuer,
          sub: ticket.sub,
          tenant_id: known.tenant_id,
          user_id_from: issuedBy,
        },
        connection: ticket.connection,
        expires_at: isoTime(ticket.expires_at),
        delivered: ticket.delivered,
      }
    },

    closeTicket({ ticket_sha256, run_id }: Call<'closeTicket'>): void {
      const ticket = tables.tickets.get(ticket_sha256)
      if (ticket?.run_id === run_id) ticket.delivered = true
    },
  }
}
