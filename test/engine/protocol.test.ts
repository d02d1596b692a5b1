import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { MemoryReply } from '../../shared/adapters/memory/model.ts'
import { ModelError, type ModelRequest } from '../../shared/ports/model.ts'
import { call, type Engine, engine, principal, say, script } from './harness.ts'

let respond: (request: ModelRequest, n: number) => MemoryReply | Promise<MemoryReply> = script([])
let e: Engine

beforeAll(async () => {
  e = await engine((request, n) => respond(request, n))
})
afterEach(async () => {
  expect(await e.violations()).toEqual([])
})
afterAll(() => e.close())

describe('a run', () => {
  it('goes from create over plan, tool and decide steps to its answer, each one claim and one commit', async () => {
    respond = script([
      [say('I look.'), call('code', { language: 'bash', code: 'ls' })],
      [call('file_write', { filepath: 'outputs/a.txt', content: 'hi' })],
      [say('The answer.')],
    ])
    const who = principal()
    const { run, publications } = await e.create(who)
    expect(run.status).toBe('queued')
    expect(publications).toEqual([
      { run_id: run.id, step_number: 0, epoch: 0, publication: 0, delay_seconds: 0 },
    ])
    await e.scheduler.publish(publications)
    expect((await e.drain()).map(({ outcome }) => outcome)).toEqual(['committed', 'committed', 'committed'])
    // the code step is parked: nothing is due, one job is out
    expect([...e.jobs.keys()].filter((name) => name.includes(run.id))).toEqual([`run-${run.id}-2`])
    await e.finish(`run-${run.id}-2`)
    await e.drain()
    const done = await e.run(run.id)
    expect(done).toMatchObject({
      status: 'completed',
      total_steps: 6,
      completed_steps: 6,
      failed_steps: 0,
      error_code: null,
    })
    const snapshot = await e.front.readRun({
      principal: who,
      run_id: run.id,
      steps: { limit: 50, before: null },
      messages: { limit: 50 },
      artifacts: { limit: 5 },
      logs: { limit: 500 },
    })
    expect(snapshot.steps.map((s) => [s.step_number, s.tool_name, s.status])).toEqual([
      [0, 'plan', 'completed'],
      [1, 'decide', 'completed'],
      [2, 'code', 'completed'],
      [3, 'decide', 'completed'],
      [4, 'file_write', 'completed'],
      [5, 'decide', 'completed'],
    ])
    // plan 5 + three decides 15 + code 2 + file_write 1
    expect(snapshot.run.total_credits_used).toBe(23)
    expect(snapshot.artifacts).toMatchObject([{ filename: 'a.txt', file_size: 2, file_type: 'text/plain' }])
    const [artifact] = snapshot.artifacts
    expect(await (await fetch(artifact?.signed_url ?? '')).text()).toBe('hi')
    expect(snapshot.logs.map((l) => l.seq)).toEqual(snapshot.logs.map((_, n) => n + 1))
    expect(snapshot.logs.at(-1)?.metadata).toMatchObject({
      event: 'final',
      data: { status: 'completed', result: 'The answer.' },
    })
  })

  it('does nothing twice when every message comes three times', async () => {
    respond = script([[call('shell', { command: 'true' })], [say('End.')]])
    const { run, publications } = await e.create(principal())
    await e.scheduler.publish(publications)
    await e.drain(3)
    await e.finish(`run-${run.id}-2`)
    await e.drain(3)
    expect(await e.run(run.id)).toMatchObject({ status: 'completed', total_steps: 4, completed_steps: 4 })
  })

  it('gives a step to one of two deliveries at the same moment', async () => {
    respond = async () => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      return script([[say('End.')]])(e.model.requests.at(-1) as ModelRequest)
    }
    const { run } = await e.create(principal())
    const both = await Promise.all([
      e.deliver({ run_id: run.id, step_number: 0 }),
      e.deliver({ run_id: run.id, step_number: 0 }),
    ])
    expect(both.map(({ outcome }) => outcome).toSorted((a, b) => a.localeCompare(b))).toEqual([
      'committed',
      'leased',
    ])
    await e.drain()
  })

  it('runs the calls of one turn side by side and gives their results back in call order', async () => {
    const turns = [
      [
        call('shell', { command: 'a' }, 'toolu_a'),
        call('shell', { command: 'b' }, 'toolu_b'),
        call('message', { message: 'm' }, 'toolu_m'),
      ],
      [say('End.')],
    ]
    respond = script(turns)
    const { run, publications } = await e.create(principal())
    await e.scheduler.publish(publications)
    await e.drain()
    await e.finish(`run-${run.id}-3`, { stdout: 'second' })
    await e.drain()
    expect((await e.run(run.id)).total_steps).toBe(5)
    await e.finish(`run-${run.id}-2`, { stdout: 'first' })
    await e.drain()
    expect(await e.run(run.id)).toMatchObject({ status: 'completed', total_steps: 6 })
    const last = e.model.requests.at(-1)?.messages.at(-1)
    expect(last?.content.map((b) => (b.type === 'tool_result' ? b.tool_use_id : b.type))).toEqual([
      'toolu_a',
      'toolu_b',
      'toolu_m',
    ])
  })

  it('repairs a plan once, then fails clearly', async () => {
    let plans = 0
    const bad = { blocks: [call('submit_plan', { goal: '', phases: [] })] }
    respond = (request) => {
      const isPlan = request.tools.some(({ name }) => name === 'submit_plan')
      if (isPlan && plans++ === 0) return bad
      return script([[say('End.')]])(request)
    }
    const first = await e.create(principal())
    await e.scheduler.publish(first.publications)
    await e.drain()
    expect(await e.run(first.run.id)).toMatchObject({ status: 'completed', failed_steps: 1, total_steps: 3 })
    respond = () => bad
    const second = await e.create(principal())
    await e.scheduler.publish(second.publications)
    await e.drain()
    expect(await e.run(second.run.id)).toMatchObject({ status: 'failed', error_code: 'PLAN_INVALID' })
  })

  it('tells the model about unknown tools and bad input, and goes on', async () => {
    respond = script([
      [call('teleport', {}), call('shell', { command: '' })],
      [call('advance_phase', { phase_number: 1, summary: 's' })],
      [say('End.')],
    ])
    const { run, publications } = await e.create(principal())
    await e.scheduler.publish(publications)
    await e.drain()
    expect(await e.run(run.id)).toMatchObject({ status: 'completed', current_phase: 2 })
    const results = e.model.requests.at(-2)?.messages.at(-1)?.content
    expect(results).toMatchObject([{ is_error: true }, { is_error: true }])
  })

  it('asks the user, waits holding nothing, and goes on with the answer', async () => {
    respond = script([[call('ask_user', { question: 'Which?' })], [say('You said it.')]])
    const who = principal()
    const { run, publications } = await e.create(who)
    await e.scheduler.publish(publications)
    await e.drain()
    expect((await e.run(run.id)).status).toBe('waiting_user')
    expect(await e.violations()).toEqual([])
    const resumed = await e.front.resumeRun({ principal: who, run_id: run.id, user_input: 'the red one' })
    expect(resumed.run.status).toBe('executing')
    await e.scheduler.publish(resumed.publications)
    await e.drain()
    expect((await e.run(run.id)).status).toBe('completed')
    expect(JSON.stringify(e.model.requests.at(-1)?.messages.at(-1))).toContain('the red one')
  })

  it('holds when paused and goes on when resumed', async () => {
    respond = script([[call('shell', { command: 'x' })], [say('End.')]])
    const who = principal()
    const { run, publications } = await e.create(who)
    await e.scheduler.publish(publications)
    await e.drain()
    await e.front.pauseRun({ principal: who, run_id: run.id })
    await e.finish(`run-${run.id}-2`)
    await e.drain()
    expect(await e.deliver({ run_id: run.id, step_number: 3 })).toEqual({ outcome: 'paused' })
    expect(await e.violations()).toEqual([])
    const resumed = await e.front.resumeRun({ principal: who, run_id: run.id, user_input: null })
    expect(resumed.publications).toHaveLength(1)
    await e.scheduler.publish(resumed.publications)
    await e.drain()
    expect((await e.run(run.id)).status).toBe('completed')
  })
})

describe('cancel', () => {
  it('is final at once: nothing is claimed afterwards and the job is removed', async () => {
    respond = script([[call('shell', { command: 'sleep' })]])
    const who = principal()
    const { run, publications } = await e.create(who)
    await e.scheduler.publish(publications)
    await e.drain()
    const cancelled = await e.front.cancelRun({ principal: who, run_id: run.id })
    expect(cancelled.run.status).toBe('cancelled')
    await e.scheduler.publish(cancelled.publications)
    expect(await e.drain()).toEqual([{ outcome: 'final' }])
    expect(e.removed).toContain(`run-${run.id}-2`)
    await expect(e.front.cancelRun({ principal: who, run_id: run.id })).rejects.toMatchObject({
      code: 'invalid_state',
      message: 'Cannot cancel run in status: cancelled',
    })
  })

  it('in the middle of a model stream aborts it, refuses its commit and settles the attempt', async () => {
    respond = () => 'silence'
    const who = principal()
    const { run } = await e.create(who)
    const delivery = e.deliver({ run_id: run.id, step_number: 0 })
    await expect.poll(async () => (await e.run(run.id)).status).toBe('planning')
    await e.front.cancelRun({ principal: who, run_id: run.id })
    expect(await delivery).toEqual({ outcome: 'stale' })
    expect(await e.run(run.id)).toMatchObject({ status: 'cancelled', total_credits_used: '5.0000' })
  })
})

describe('faults', () => {
  it('a provider that is overloaded is asked again later, without using up attempts', async () => {
    respond = () => new ModelError('overloaded', 'busy', { retryAfterSeconds: 0 })
    const { run } = await e.create(principal())
    for (let n = 0; n < 7; n++)
      expect((await e.deliver({ run_id: run.id, step_number: 0 })).outcome).toBe('committed')
    respond = script([[say('End.')]])
    await e.deliver({ run_id: run.id, step_number: 0 })
    await e.drain()
    // what was published on the way is answered without effect
    expect((await e.run(run.id)).status).toBe('completed')
  })

  it('a step that fails five times ends the run with its last error', async () => {
    respond = () => new ModelError('unavailable', 'the connection was cut', { retryAfterSeconds: 0 })
    const { run } = await e.create(principal())
    for (let n = 0; n < 6; n++) await e.deliver({ run_id: run.id, step_number: 0 })
    expect(await e.run(run.id)).toMatchObject({ status: 'failed', error_code: 'ATTEMPTS_EXHAUSTED' })
    expect((await e.run(run.id)).error_message).toContain('the connection was cut')
  })

  it('a lapsed holder cannot commit; the sweeper brings the step back', async () => {
    e.deps.settings.leaseSeconds = 1
    const { run } = await e.create(principal())
    const answer = await e.store.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 1 })
    if (!('claim' in answer)) throw new Error('not claimed')
    await new Promise((resolve) => setTimeout(resolve, 1100))
    expect(await e.store.renewLease({ ...answer.claim.step })).toEqual({ held: false, cancelled: false })
    expect(
      await e.store.releaseStep({ ...answer.claim.step, delay_seconds: 0, error: 'late', free: false }),
    ).toMatchObject({ committed: false })
    await expect
      .poll(async () => (await e.store.sweepDue({ limit: 10 })).publications, { timeout: 10_000 })
      .toMatchObject([{ run_id: run.id, step_number: 0, publication: 1 }])
    respond = script([[say('End.')]])
    await e.deliver({ run_id: run.id, step_number: 0 })
    await e.drain()
    expect((await e.run(run.id)).status).toBe('completed')
    e.deps.settings.leaseSeconds = 5
  })

  it('a publish that is lost is made up for by the repeat of the message before it', async () => {
    respond = script([[say('End.')]])
    const { run } = await e.create(principal())
    e.scheduler.failNext(1)
    await expect(e.deliver({ run_id: run.id, step_number: 0 })).rejects.toMatchObject({ code: 'unavailable' })
    expect(await e.deliver({ run_id: run.id, step_number: 0 })).toEqual({ outcome: 'done' })
    await e.drain()
    expect((await e.run(run.id)).status).toBe('completed')
  })

  it('a job that was parked but never made is made by the check', async () => {
    respond = script([[call('shell', { command: 'x' })], [say('End.')]])
    const { run, publications } = await e.create(principal())
    await e.scheduler.publish(publications)
    const { create } = e.deps.sandbox
    e.deps.sandbox.create = async () => {
      throw new Error('killed here')
    }
    await expect(e.drain()).rejects.toThrow('killed here')
    e.deps.sandbox.create = create
    expect(await e.deliver({ run_id: run.id, step_number: 2 })).toEqual({ outcome: 'not_due' })
    await e.project.sql(
      `update public.agent_task_queue set due_at = now(), publish_at = now() where run_id = $1`,
      [run.id],
    )
    expect(await e.deliver({ run_id: run.id, step_number: 2 })).toEqual({ outcome: 'committed' })
    await e.finish(`run-${run.id}-2`)
    await e.drain()
    expect((await e.run(run.id)).status).toBe('completed')
  })

  it('a job whose runner vanished is told to the model, which goes on', async () => {
    respond = script([[call('shell', { command: 'x' })], [say('End.')]])
    const { run, publications } = await e.create(principal())
    await e.scheduler.publish(publications)
    await e.drain()
    const job = e.jobs.get(`run-${run.id}-2`)
    if (job === undefined) throw new Error('no job')
    const { sha256Hex } = await import('../../shared/engine/job-token.ts')
    await e.store.startJob({ run_id: run.id, step_number: 2, token_sha256: sha256Hex(job.token) })
    e.jobs.clear()
    await e.project.sql(`update public.agent_task_queue set due_at = now() where run_id = $1`, [run.id])
    await e.deliver({ run_id: run.id, step_number: 2 })
    await e.drain()
    expect(await e.run(run.id)).toMatchObject({ status: 'completed', failed_steps: 1 })
    expect(JSON.stringify(e.model.requests.at(-1)?.messages.at(-1))).toContain('lost')
  })

  it('a job that does not start is waited for, then given up with its reason; a hopeless one at once', async () => {
    const { inspect } = e.deps.sandbox
    for (const [waits, given, told] of [
      [{ waitedSeconds: 29, reason: 'no place' }, { waitedSeconds: 30, reason: 'no place' }, 'no place'],
      [{ reason: 'new' }, { isHopeless: true, reason: 'the name of its image is not valid' }, 'not valid'],
    ] as const) {
      respond = script([[call('shell', { command: 'x' })], [say('End.')]])
      const { run, publications } = await e.create(principal())
      await e.scheduler.publish(publications)
      await e.drain()
      const due = `update public.agent_task_queue set due_at = now() where run_id = $1`
      e.deps.sandbox.inspect = async () => ({ state: 'pending', ...waits })
      await e.project.sql(due, [run.id])
      await e.deliver({ run_id: run.id, step_number: 2 })
      expect(e.jobs.has(`run-${run.id}-2`)).toBe(true)
      e.deps.sandbox.inspect = async () => ({ state: 'pending', ...given })
      await e.project.sql(due, [run.id])
      await e.deliver({ run_id: run.id, step_number: 2 })
      expect(e.removed).toContain(`run-${run.id}-2`)
      e.deps.sandbox.inspect = inspect
      await e.drain()
      expect(await e.run(run.id)).toMatchObject({ status: 'completed', failed_steps: 1 })
      const answer = JSON.stringify(e.model.requests.at(-1)?.messages.at(-1))
      expect(answer).toContain('did not start')
      expect(answer).toContain(told)
    }
  })

  it('the same callback again gets the same answer, another body is refused, a wrong token is nobody', async () => {
    respond = script([[call('shell', { command: 'x' })], [say('End.')]])
    const { run, publications } = await e.create(principal())
    await e.scheduler.publish(publications)
    await e.drain()
    const name = `run-${run.id}-2`
    const job = e.jobs.get(name)
    await e.finish(name)
    await e.finish(name)
    await expect(e.finish(name, { stdout: 'other' })).rejects.toMatchObject({ code: 'already_answered' })
    if (job !== undefined) e.jobs.set(name, { ...job, token: 'forged' })
    await expect(e.finish(name)).rejects.toMatchObject({ code: 'unauthorized' })
    await e.drain()
    expect(await e.run(run.id)).toMatchObject({ status: 'completed', total_steps: 4 })
  })

  it('a manifest may name only verified bytes and files of its own run', async () => {
    respond = script([[call('shell', { command: 'x' })], [say('End.')]])
    const { run, publications } = await e.create(principal())
    await e.scheduler.publish(publications)
    await e.drain()
    const file = { path: 'stolen', sha256: 'a'.repeat(64), size: 1, mode: 0o644 }
    await expect(
      e.finish(`run-${run.id}-2`, { files: { put: [{ ...file, receipt: 'forged' }], removed: [] } }),
    ).rejects.toMatchObject({ code: 'invalid_request' })
    await e.finish(`run-${run.id}-2`)
    await e.drain()
  })
})

describe('credits and limits', () => {
  it('a user without credit gets 402 and nothing is written', async () => {
    const who = principal()
    await expect(e.create(who, { opening_credits: 4 })).rejects.toMatchObject({
      code: 'insufficient_credits',
      message: 'Insufficient credits',
    })
    expect((await e.front.listRuns({ principal: who, limit: 5, before: null, status: null })).runs).toEqual(
      [],
    )
  })

  it('a run that cannot reserve its next step fails with INSUFFICIENT_CREDITS', async () => {
    respond = script([[call('shell', { command: 'x' })]])
    const { run, publications } = await e.create(principal(), { opening_credits: 10 })
    await e.scheduler.publish(publications)
    await e.drain()
    expect(await e.run(run.id)).toMatchObject({
      status: 'failed',
      error_code: 'INSUFFICIENT_CREDITS',
      total_credits_used: '10.0000',
    })
  })

  it('a run ends at its limit of steps and at its time limit', async () => {
    respond = script(Array.from({ length: 20 }, () => [call('file_list', { dirpath: '.' })]))
    const first = await e.create(principal(), { limits: { max_steps: 5, timeout_seconds: 600 } })
    await e.scheduler.publish(first.publications)
    await e.drain()
    expect(await e.run(first.run.id)).toMatchObject({
      status: 'failed',
      error_code: 'STEP_LIMIT',
      total_steps: 5,
    })
    const second = await e.create(principal())
    await e.project.sql(`update private.runs set deadline_at = now() where run_id = $1`, [second.run.id])
    await e.store.sweepDue({ limit: 1 })
    expect(await e.run(second.run.id)).toMatchObject({ status: 'timeout', error_code: 'RUN_TIMEOUT' })
  })
})

describe('verbs', () => {
  it('an idempotency key repeats the first answer and refuses another body', async () => {
    const who = principal()
    const idempotency = { key: 'k', body_sha256: 'b'.repeat(64) }
    const first = await e.create(who, { idempotency })
    const again = await e.create(who, { idempotency })
    expect(again).toMatchObject({ replayed: true, run: { id: first.run.id } })
    await expect(
      e.create(who, { idempotency: { ...idempotency, body_sha256: 'c'.repeat(64) } }),
    ).rejects.toMatchObject({ code: 'idempotency_conflict' })
    const side = await Promise.allSettled(
      Array.from({ length: 5 }, () =>
        e.create(who, { idempotency: { key: 'race', body_sha256: 'd'.repeat(64) } }),
      ),
    )
    const ids = new Set(side.flatMap((s) => (s.status === 'fulfilled' ? [s.value.run.id] : [])))
    expect(ids.size).toBe(1)
  })

  it('nobody sees or moves a run of somebody else', async () => {
    const { run } = await e.create(principal())
    const other = principal()
    const notFound = { code: 'run_not_found', message: 'Run not found' }
    const ids = { principal: other, run_id: run.id }
    await expect(
      e.front.readRun({ ...ids, steps: null, messages: null, artifacts: null, logs: null }),
    ).rejects.toMatchObject(notFound)
    await expect(
      e.front.readLogs({ ...ids, after_seq: null, after_time: null, limit: 5 }),
    ).rejects.toMatchObject(notFound)
    await expect(e.front.readEvents({ ...ids, after_seq: 0, limit: 5 })).rejects.toMatchObject(notFound)
    await expect(e.front.startRun(ids)).rejects.toMatchObject(notFound)
    await expect(e.front.cancelRun(ids)).rejects.toMatchObject(notFound)
    await expect(e.front.pauseRun(ids)).rejects.toMatchObject(notFound)
    await expect(e.front.resumeRun({ ...ids, user_input: null })).rejects.toMatchObject(notFound)
    await expect(
      e.front.issueTicket({ ...ids, ticket_sha256: 'x', expires_at: new Date().toISOString() }),
    ).rejects.toMatchObject(notFound)
    await expect(
      e.front.retryRun({
        ...ids,
        limits: { max_steps: 1, timeout_seconds: 10 },
        opening_credits: 1,
        idempotency: null,
      }),
    ).rejects.toMatchObject(notFound)
  })

  it('retry makes a new run of an ended one', async () => {
    respond = () => new ModelError('invalid_request', 'no')
    const who = principal()
    const { run, publications } = await e.create(who, { prompt: 'again', connector_ids: ['github'] })
    await expect(
      e.front.retryRun({
        principal: who,
        run_id: run.id,
        limits: { max_steps: 9, timeout_seconds: 60 },
        opening_credits: 1,
        idempotency: null,
      }),
    ).rejects.toMatchObject({ message: 'Cannot retry run in status: queued' })
    await e.scheduler.publish(publications)
    await e.drain()
    const retried = await e.front.retryRun({
      principal: who,
      run_id: run.id,
      limits: { max_steps: 9, timeout_seconds: 60 },
      opening_credits: 1,
      idempotency: null,
    })
    expect(retried.run).toMatchObject({ status: 'queued', prompt: 'again', metadata: { retry_of: run.id } })
  })

  it('a created run starts once', async () => {
    const who = principal()
    const { run, publications } = await e.create(who, { auto_start: false })
    expect([run.status, publications]).toEqual(['created', []])
    const started = await e.front.startRun({ principal: who, run_id: run.id })
    expect(started).toMatchObject({ run: { status: 'queued' }, publications: [{ step_number: 0 }] })
    expect((await e.front.startRun({ principal: who, run_id: run.id })).run.status).toBe('queued')
    await e.front.cancelRun({ principal: who, run_id: run.id })
    await expect(e.front.startRun({ principal: who, run_id: run.id })).rejects.toMatchObject({
      message: 'Cannot start run in status: cancelled',
    })
  })

  it('a ticket opens its run again and again, for its owner', async () => {
    const who = principal()
    const { run } = await e.create(who)
    const ticket = { ticket_sha256: 'e'.repeat(64), run_id: run.id }
    await e.front.issueTicket({
      principal: who,
      ...ticket,
      expires_at: new Date(Date.now() + 60_000).toISOString(),
    })
    expect(await e.front.useTicket(ticket)).toMatchObject({
      connection: 1,
      delivered: false,
      principal: { issuer: who.issuer, sub: who.sub },
    })
    expect(await e.front.useTicket(ticket)).toMatchObject({ connection: 2 })
    await e.front.closeTicket(ticket)
    expect(await e.front.useTicket(ticket)).toMatchObject({ delivered: true })
    await expect(e.front.useTicket({ ...ticket, ticket_sha256: 'f'.repeat(64) })).rejects.toMatchObject({
      code: 'unauthorized',
    })
  })
})
