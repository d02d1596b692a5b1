import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import {
  answerCommit,
  artifactOf,
  carryOut,
  commitOf,
  newRun,
  plannedRun,
  read,
  refusal,
  runWithTools,
  type StoreCase,
  sha,
  someone,
  toolCommit,
  toolStep,
} from './store-kit.suite.ts'

/** Creating and reading. */
export const frontCases: readonly StoreCase[] = [
  [
    'is ready',
    async ({ front, step }) => {
      await front.ready()
      await step.ready()
    },
  ],
  [
    'a run begins queued, with its first step due and its message, files and warnings written',
    async (fixture) => {
      const who = someone()
      const file = { path: 'inputs/a', sha256: sha('a'), size: 3, mode: 0o644 }
      const { run, publications, replayed } = await fixture.front.createRun(
        newRun(who, {
          metadata: { k: [1, null] },
          tags: ['t'],
          warnings: ['left out'],
          files: [file],
          attachments: [{ path: 'inputs/a', name: 'a', bucket: 'b', size: 3 }],
        }),
      )
      expect(replayed).toBe(false)
      expect(run).toMatchObject({
        user_id: who.sub,
        tenant_id: who.sub,
        status: 'queued',
        prompt: 'please',
        metadata: { k: [1, null] },
        tags: ['t'],
        total_steps: 1,
        total_credits_used: 0,
        current_phase: 0,
        plan: null,
      })
      expect(Date.parse(run.timeout_at ?? '') - Date.parse(run.created_at)).toBe(600_000)
      expect(publications).toEqual([
        { run_id: run.id, step_number: 0, epoch: 0, publication: 0, delay_seconds: 0 },
      ])
      const snapshot = await read(fixture, who, run.id)
      expect(snapshot.steps).toMatchObject([{ step_number: 0, tool_name: 'plan', status: 'pending' }])
      expect(snapshot.messages).toMatchObject([
        { role: 'user', content: 'please', attachments: [{ path: 'inputs/a', size: 3 }], metadata: {} },
      ])
      expect(snapshot.logs).toMatchObject([
        { seq: 1, log_type: 'state_transition', metadata: { event: 'run', data: { status: 'queued' } } },
        { seq: 2, log_type: 'warning', message: 'left out' },
      ])
      expect(
        await fixture.step.readFiles({ run_id: run.id, paths: null, under: 'inputs/', limit: 5 }),
      ).toEqual([file])
    },
  ],
  [
    'a run that is not to start at once holds nothing until it is started, once',
    async (fixture) => {
      const who = someone()
      const { run, publications } = await fixture.front.createRun(newRun(who, { auto_start: false }))
      expect([run.status, run.timeout_at, publications]).toEqual(['created', null, []])
      expect(
        await fixture.step.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 5 }),
      ).toMatchObject({
        refused: 'unknown',
      })
      const ids = { principal: who, run_id: run.id }
      const started = await fixture.front.startRun(ids)
      expect(started).toMatchObject({ run: { status: 'queued' }, publications: [{ step_number: 0 }] })
      // who starts twice gets what is still unclaimed
      expect(await fixture.front.startRun(ids)).toMatchObject({
        publications: [{ step_number: 0, publication: 0 }],
      })
      await carryOut(fixture, run.id, 0, answerless())
      await expect(fixture.front.startRun(ids)).rejects.toMatchObject({
        ...refusal('invalid_state'),
        message: 'Cannot start run in status: failed',
      })
    },
  ],
  [
    'credit that does not suffice refuses the run and writes nothing',
    async (fixture) => {
      const who = someone()
      await expect(fixture.front.createRun(newRun(who, { opening_credits: 4 }))).rejects.toMatchObject(
        refusal('insufficient_credits'),
      )
      const none = { runs: [], has_more: false }
      expect(await fixture.front.listRuns({ principal: who, limit: 5, before: null, status: null })).toEqual(
        none,
      )
      // the account was not opened either: the next create opens it with its own balance
      const { run } = await fixture.front.createRun(newRun(who, { opening_credits: 5, auto_start: false }))
      await fixture.front.createRun(newRun(who))
      await expect(fixture.front.startRun({ principal: who, run_id: run.id })).rejects.toMatchObject(
        refusal('insufficient_credits'),
      )
      expect((await read(fixture, who, run.id)).run.status).toBe('created')
    },
  ],
  [
    'a principal is one user, whatever issuer and tenant say later',
    async ({ front }) => {
      const who = someone({ user_id_from: 'new', issuer: `https://${randomUUID()}.example` })
      const prepare = (principal: typeof who) =>
        front.prepareCreate({ principal, idempotency: null, opening_credits: 10 })
      const { user_id, replay } = await prepare(who)
      expect(user_id).not.toBe(who.sub)
      expect(replay).toBeNull()
      expect((await prepare({ ...who, tenant_id: randomUUID() })).user_id).toBe(user_id)
      const tenant = randomUUID()
      const { run } = await front.createRun(newRun({ ...who, tenant_id: tenant }))
      expect(run).toMatchObject({ user_id, tenant_id: tenant })
      await expect(prepare({ ...who, issuer: '' })).rejects.toMatchObject(refusal('unauthorized'))
    },
  ],
  [
    'an idempotency key repeats its run for a day, and refuses another body',
    async ({ front, advance }) => {
      const who = someone()
      const idempotency = { key: 'k', body_sha256: sha('b') }
      const first = await front.createRun(newRun(who, { idempotency }))
      const again = await front.createRun(newRun(who, { idempotency }))
      expect(again).toMatchObject({
        replayed: true,
        run: { id: first.run.id },
        publications: first.publications,
      })
      const prepared = await front.prepareCreate({ principal: who, idempotency, opening_credits: 1 })
      expect(prepared.replay).toMatchObject({ replayed: true, run: { id: first.run.id } })
      const other = { ...idempotency, body_sha256: sha('c') }
      await expect(front.createRun(newRun(who, { idempotency: other }))).rejects.toMatchObject(
        refusal('idempotency_conflict'),
      )
      await expect(
        front.prepareCreate({ principal: who, idempotency: other, opening_credits: 1 }),
      ).rejects.toMatchObject(refusal('idempotency_conflict'))
      // of this user only
      expect((await front.createRun(newRun(someone(), { idempotency }))).replayed).toBe(false)
      await front.cancelRun({ principal: who, run_id: first.run.id })
      await advance(25 * 3600)
      expect((await front.createRun(newRun(who, { idempotency: other }))).replayed).toBe(false)
    },
  ],
  [
    'nobody sees or moves a run of somebody else',
    async (fixture) => {
      const { front } = fixture
      const { run } = await front.createRun(newRun(someone()))
      const calls = [someone(), run.id] as const
      for (const ids of [
        { principal: calls[0], run_id: run.id },
        { principal: calls[0], run_id: randomUUID() },
      ]) {
        for (const call of [
          () => front.readRun({ ...ids, steps: null, messages: null, artifacts: null, logs: null }),
          () => front.readLogs({ ...ids, after_seq: null, after_time: null, limit: 5 }),
          () => front.readEvents({ ...ids, after_seq: 0, limit: 5 }),
          () => front.startRun(ids),
          () => front.cancelRun(ids),
          () => front.pauseRun(ids),
          () => front.resumeRun({ ...ids, user_input: null }),
          () =>
            front.retryRun({
              ...ids,
              limits: { max_steps: 1, timeout_seconds: 1 },
              opening_credits: 1,
              idempotency: null,
            }),
          () =>
            front.issueTicket({ ...ids, ticket_sha256: randomUUID(), expires_at: '2099-01-01T00:00:00Z' }),
        ])
          await expect(call()).rejects.toMatchObject({
            ...refusal('run_not_found'),
            message: 'Run not found',
          })
      }
    },
  ],
  [
    'lists and logs come in pages, the newest first and the oldest first',
    async ({ front }) => {
      const who = someone()
      const ids: string[] = []
      for (let n = 0; n < 3; n++) ids.unshift((await front.createRun(newRun(who))).run.id)
      const page = await front.listRuns({ principal: who, limit: 2, before: null, status: null })
      expect([page.runs.map(({ id }) => id), page.has_more]).toEqual([ids.slice(0, 2), true])
      const last = page.runs.at(-1)
      if (last === undefined) throw new Error('no page')
      const rest = await front.listRuns({ principal: who, limit: 2, before: last, status: null })
      expect([rest.runs.map(({ id }) => id), rest.has_more]).toEqual([ids.slice(2), false])
      await front.cancelRun({ principal: who, run_id: last.id })
      const cancelled = await front.listRuns({ principal: who, limit: 5, before: null, status: 'cancelled' })
      expect(cancelled.runs.map(({ id }) => id)).toEqual([last.id])

      const ask = { principal: who, run_id: last.id, after_seq: null, after_time: null, limit: 1 }
      const head = await front.readLogs(ask)
      expect(head).toMatchObject({ logs: [{ seq: 1 }], has_more: true, status: 'cancelled' })
      const tail = await front.readLogs({ ...ask, after_seq: 1, limit: 9 })
      expect([tail.logs.map(({ seq }) => seq), tail.has_more]).toEqual([[2], false])
      const later = await front.readLogs({ ...ask, after_time: head.logs[0]?.created_at ?? '', limit: 9 })
      expect(later.logs.map(({ seq }) => seq)).toEqual([2])
    },
  ],
  [
    'events bring what their rows refer to, and the run as it was then',
    async (fixture) => {
      const who = someone()
      const id = await runWithTools(fixture, who, [toolStep('a', { tool_name: 'message' })])
      const artifact = artifactOf('a.txt', 'k')
      const said = randomUUID()
      const message = {
        id: said,
        role: 'assistant' as const,
        content: 'Look.',
        tool_call_id: null,
        tool_name: 'message',
        is_error: false,
        blocks: null,
      }
      await carryOut(fixture, id, 2, toolCommit({ artifacts: [artifact], messages: [message] }))
      const all = await fixture.front.readEvents({ principal: who, run_id: id, after_seq: 0, limit: 100 })
      expect(all.run.status).toBe('executing')
      expect(all.events.map(({ log }) => log.seq)).toEqual(all.events.map((_, n) => n + 1))
      const spoken = all.events.find(({ message: row }) => row?.id === said)
      expect(spoken).toMatchObject({
        step: { tool_name: 'message', status: 'completed' },
        log: { metadata: { event: 'message', data: { kind: 'answer' } } },
      })
      const made = all.events.find(({ artifact: row }) => row !== null)
      expect(made?.artifact).toMatchObject({
        ...artifact,
        signed_url_expires_at: expect.stringContaining('2099-01-01T00:00:00'),
      })
      const rest = await fixture.front.readEvents({ principal: who, run_id: id, after_seq: 3, limit: 1 })
      expect(rest).toMatchObject({ has_more: true, events: [{ log: { seq: 4 } }] })
      const snapshot = await fixture.front.readRun({
        principal: who,
        run_id: id,
        steps: { limit: 1, before: 2 },
        messages: { limit: 1 },
        artifacts: { limit: 1 },
        logs: { limit: 1 },
      })
      expect(snapshot).toMatchObject({
        steps: [{ step_number: 1 }],
        has_more_steps: true,
        messages: [{ content: 'Look.' }],
        has_more_messages: true,
        artifacts: [{ filename: 'a.txt' }],
        has_more_artifacts: false,
        logs: [{ seq: all.events.length }],
        has_more_logs: true,
      })
    },
  ],
  [
    'a ticket stands for its principal while it is valid, for its own run',
    async (fixture) => {
      const { front, advance } = fixture
      const who = someone()
      const id = await plannedRun(fixture, who)
      const ticket = async (seconds: number) => {
        const ticket_sha256 = randomUUID()
        // by the clock of the store, which is ahead of ours
        const { run } = await front.createRun(newRun(someone()))
        const expires_at = new Date(Date.parse(run.created_at) + seconds * 1000).toISOString()
        await front.issueTicket({ principal: who, run_id: id, ticket_sha256, expires_at })
        return { ticket_sha256, run_id: id }
      }
      const used = await ticket(3600)
      const late = await ticket(3600)
      const short = await ticket(30)
      expect(await front.useTicket(used)).toMatchObject({
        connection: 1,
        delivered: false,
        principal: { sub: who.sub },
      })
      await front.closeTicket(used)
      expect(await front.useTicket(used)).toMatchObject({ connection: 2, delivered: true })
      await expect(front.useTicket({ ...used, run_id: randomUUID() })).rejects.toMatchObject(
        refusal('unauthorized'),
      )
      await advance(61)
      expect(await front.useTicket(used)).toMatchObject({ connection: 3 })
      for (const gone of [late, short, { ...used, ticket_sha256: 'unknown' }])
        await expect(front.useTicket(gone)).rejects.toMatchObject(refusal('unauthorized'))
      await carryOut(fixture, id, 1, answerCommit())
    },
  ],
]

/** A plan step that could not be carried out. */
function answerless() {
  return commitOf({ status: 'failed', next: { kind: 'fail', code: 'PLAN_INVALID', message: 'No plan.' } })
}
