import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { modelStep, type NewStep } from '../core/steps.ts'
import type { CommitAnswer } from './store.ts'
import {
  answerCommit,
  carryOut,
  claim,
  commitOf,
  newRun,
  PLAN,
  planCommit,
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

/** Claim, commit, release, groups, files. */
export const stepCases: readonly StoreCase[] = [
  [
    'a claim brings what the step needs and moves the run to planning',
    async (fixture) => {
      const who = someone()
      const { run } = await fixture.front.createRun(newRun(who, { memory_context: 'm' }))
      const held = await claim(fixture, run.id, 0, 7)
      expect(held).toMatchObject({
        step: {
          run_id: run.id,
          step_number: 0,
          epoch: 0,
          fence: 1,
          attempt: 1,
          lease_seconds: 7,
          kind: 'model',
          tool_type: 'plan',
          tool_name: 'plan',
          tool_input: {},
          tool_call_id: null,
          last_error: null,
          job: null,
        },
        run: {
          id: run.id,
          user_id: who.sub,
          tenant_id: who.sub,
          status: 'planning',
          plan: null,
          current_phase: 0,
          next_step: 1,
          limits: { max_steps: 50, timeout_seconds: 600 },
          memory_context: 'm',
        },
        conversation: [
          { role: 'user', content: 'please', step_number: 0, blocks: null, is_error: false, attachments: [] },
        ],
        messages: 1,
        log_seq: 3,
        workspace: { files: 0, bytes: 0, complete: true, entries: [] },
      })
      expect((await read(fixture, who, run.id)).run).toMatchObject({
        status: 'planning',
        current_step_id: held.step.step_id,
      })
    },
  ],
  [
    'a step is given to one holder at a time; unknown runs and steps to nobody',
    async (fixture) => {
      const who = someone()
      const { run } = await fixture.front.createRun(newRun(who))
      const ask = { run_id: run.id, step_number: 0, lease_seconds: 10 }
      const both = await Promise.all([fixture.step.claimStep(ask), fixture.step.claimStep(ask)])
      expect(both.filter((answer) => 'claim' in answer)).toHaveLength(1)
      expect(both.find((answer) => !('claim' in answer))).toMatchObject({
        refused: 'leased',
        retry_after_seconds: expect.toSatisfy((seconds: number) => seconds > 0 && seconds <= 10),
        publications: [],
      })
      const unknown = { refused: 'unknown', publications: [] }
      expect(await fixture.step.claimStep({ ...ask, step_number: 1 })).toEqual(unknown)
      expect(await fixture.step.claimStep({ ...ask, run_id: randomUUID() })).toEqual(unknown)
    },
  ],
  [
    'a commit ends its step and makes the next one due, once; a repeat is told what is due',
    async (fixture) => {
      const who = someone()
      const { run } = await fixture.front.createRun(newRun(who))
      const { step } = await claim(fixture, run.id, 0)
      const commit = { ...planCommit(), tokens_used: 12, output_text: 'text', output: { a: 1 } }
      const first = await fixture.step.commitStep({ ...step, commit })
      const next = { run_id: run.id, step_number: 1, epoch: 0, publication: 0, delay_seconds: 0 }
      expect(first).toMatchObject({ committed: true, run_status: 'executing', publications: [next] })
      expect(await fixture.step.commitStep({ ...step, commit })).toMatchObject({
        committed: false,
        publications: [],
      })
      expect(await fixture.step.renewLease({ ...step })).toEqual({ held: false, cancelled: false })
      expect(await fixture.step.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 5 })).toEqual({
        refused: 'done',
        publications: [next],
      })
      await claim(fixture, run.id, 1)
      expect(await fixture.step.claimStep({ run_id: run.id, step_number: 0, lease_seconds: 5 })).toEqual({
        refused: 'done',
        publications: [],
      })
      const snapshot = await read(fixture, who, run.id)
      expect(snapshot.run).toMatchObject({
        plan: PLAN,
        plan_version: 1,
        current_phase: 1,
        estimated_credits: 6,
        total_tokens_used: 12,
        total_credits_used: 5,
        completed_steps: 1,
        total_steps: 2,
      })
      expect(snapshot.steps[0]).toMatchObject({
        status: 'completed',
        tool_output: { a: 1 },
        output_text: 'text',
        tokens_used: 12,
        credits_used: 5,
        retry_count: 0,
      })
      expect(snapshot.logs.map(({ metadata }) => metadata['event'])).toEqual([
        'run',
        'run',
        'step',
        'step',
        'plan',
        'phase',
        'run',
        'step',
      ])
      expect(first.log_seq).toBe(7)
    },
  ],
  [
    'a writer whose fence, token or lease is not current writes nothing',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const { step } = await claim(fixture, id, 1, 10)
      const commit = answerCommit()
      for (const wrong of [{ fence: step.fence + 1 }, { token: randomUUID() }, { step_number: 0 }])
        expect(await fixture.step.commitStep({ ...step, ...wrong, commit })).toMatchObject({
          committed: false,
        })
      await fixture.advance(8)
      expect(await fixture.step.renewLease({ ...step, lease_seconds: 10 })).toEqual({
        held: true,
        cancelled: false,
      })
      await fixture.advance(8)
      expect(await fixture.step.renewLease({ ...step, lease_seconds: 1 })).toEqual({
        held: true,
        cancelled: false,
      })
      await fixture.advance(2)
      // lapsed, though nobody else has claimed
      expect(await fixture.step.commitStep({ ...step, commit })).toMatchObject({
        committed: false,
        run_status: 'executing',
      })
      expect(await fixture.step.renewLease({ ...step, lease_seconds: 1 })).toEqual({
        held: false,
        cancelled: false,
      })
      const park = { job_name: 'x', token_sha256: sha('0'), deadline_seconds: 1, check_seconds: 1 }
      expect(await fixture.step.parkStep({ ...step, ...park })).toMatchObject({ committed: false })
      const second = await claim(fixture, id, 1)
      expect(second.step).toMatchObject({ fence: 2, attempt: 2 })
      expect(await fixture.step.commitStep({ ...step, commit })).toMatchObject({ committed: false })
      expect(await fixture.step.commitStep({ ...second.step, commit })).toMatchObject({
        run_status: 'completed',
      })
      expect((await read(fixture, who, id)).steps[1]?.retry_count).toBe(1)
    },
  ],
  [
    'a step that is given back is due after its delay, with its error; five attempts are the end',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const first = await claim(fixture, id, 1)
      const busy = await fixture.step.releaseStep({
        ...first.step,
        delay_seconds: 30,
        error: 'busy',
        free: true,
      })
      expect(busy).toMatchObject({
        committed: true,
        run_status: 'executing',
        publications: [{ step_number: 1, publication: 1, delay_seconds: 30 }],
      })
      expect(await fixture.step.claimStep({ run_id: id, step_number: 1, lease_seconds: 5 })).toEqual({
        refused: 'not_due',
        publications: [],
      })
      await fixture.advance(30)
      for (let attempt = 1; attempt <= 5; attempt++) {
        const held = await claim(fixture, id, 1)
        expect(held.step.attempt).toBe(attempt)
        const error = `cut ${attempt}`
        await fixture.step.releaseStep({ ...held.step, delay_seconds: 0, error, free: false })
      }
      expect(await fixture.step.claimStep({ run_id: id, step_number: 1, lease_seconds: 5 })).toEqual({
        refused: 'done',
        publications: [],
      })
      const { run, steps } = await read(fixture, who, id)
      expect(run).toMatchObject({
        status: 'failed',
        error_code: 'ATTEMPTS_EXHAUSTED',
        error_message: 'The step did not finish in 5 attempts: cut 5',
        failed_steps: 1,
      })
      expect(steps[1]).toMatchObject({ status: 'failed', retry_count: 4 })
    },
  ],
  [
    'a tool that uses up its attempts is a result that the model reads',
    async (fixture) => {
      const who = someone()
      const id = await runWithTools(fixture, who, [toolStep('call')])
      for (let attempt = 1; attempt <= 5; attempt++) {
        await claim(fixture, id, 2, 1)
        await fixture.advance(2)
      }
      const answer = await fixture.step.claimStep({ run_id: id, step_number: 2, lease_seconds: 5 })
      expect(answer).toMatchObject({ refused: 'done', publications: [{ step_number: 3 }] })
      const { conversation } = await claim(fixture, id, 3)
      expect(conversation.at(-1)).toMatchObject({
        role: 'tool',
        tool_call_id: 'call',
        tool_name: 'shell',
        is_error: true,
        content: 'The step did not finish in 5 attempts. Its last attempt was cut off.',
      })
    },
  ],
  [
    'the calls of one turn end in any order, and the last one makes the next model step due',
    async (fixture) => {
      const who = someone()
      const id = await runWithTools(fixture, who, [toolStep('a'), toolStep('b'), toolStep('c')])
      expect(await carryOut(fixture, id, 4, toolCommit())).toMatchObject({ publications: [] })
      expect(await carryOut(fixture, id, 2, toolCommit({ status: 'failed' }))).toMatchObject({
        publications: [],
      })
      const last = await carryOut(fixture, id, 3, toolCommit())
      expect(last.publications).toMatchObject([{ step_number: 5 }])
      const { conversation, messages } = await claim(fixture, id, 5)
      expect(conversation.map(({ tool_call_id }) => tool_call_id)).toEqual([null, 'a', 'b', 'c'])
      expect(messages).toBe(4)
      const { run, steps } = await read(fixture, who, id)
      expect(run).toMatchObject({ completed_steps: 4, failed_steps: 1, total_credits_used: 13 })
      expect(steps.at(-1)).toMatchObject({ tool_name: 'decide', phase_number: 1 })
    },
  ],
  [
    'a run ends at its limit of steps and when its credit is used up',
    async (fixture) => {
      const who = someone()
      const limited = await plannedRun(fixture, who, { limits: { max_steps: 3, timeout_seconds: 60 } })
      const two = commitOf({ next: { kind: 'steps', steps: [toolStep('a'), toolStep('b')] } })
      expect(await carryOut(fixture, limited, 1, two)).toMatchObject({
        run_status: 'failed',
        publications: [],
      })
      expect((await read(fixture, who, limited)).run).toMatchObject({
        error_code: 'STEP_LIMIT',
        total_steps: 2,
      })
      const poor = someone()
      const id = await plannedRun(fixture, poor, { opening_credits: 11 })
      expect(await carryOut(fixture, id, 1, two)).toMatchObject({ run_status: 'failed' })
      expect((await read(fixture, poor, id)).run).toMatchObject({
        error_code: 'INSUFFICIENT_CREDITS',
        total_credits_used: 10,
      })
    },
  ],
  [
    'files are versions; a commit names only verified bytes or files of its own run',
    async (fixture) => {
      const who = someone()
      const at = (path: string, letter: string) => ({ path, sha256: sha(letter), size: 2, mode: 0o644 })
      const id = await runWithTools(fixture, who, [toolStep('a'), toolStep('b')], {
        files: [at('inputs/x', 'e')],
      })
      const held = await claim(fixture, id, 2)
      const files = { put: [at('a/b', 'a'), at('c', 'e')], removed: ['inputs/x'] }
      await expect(
        fixture.step.commitStep({ ...held.step, commit: toolCommit({ files }) }),
      ).rejects.toMatchObject(refusal('invalid_request'))
      const commit = toolCommit({ files, verified: [sha('a')] })
      expect(await fixture.step.commitStep({ ...held.step, commit })).toMatchObject({ committed: true })
      const put = { put: [at('c', 'f')], removed: [] }
      await carryOut(fixture, id, 3, toolCommit({ files: put, verified: [sha('f')] }))
      const { workspace } = await claim(fixture, id, 4)
      expect(workspace).toEqual({
        files: 2,
        bytes: 4,
        complete: true,
        entries: [at('a/b', 'a'), at('c', 'f')],
      })
      const ask = { run_id: id, paths: null, under: null, limit: 9 }
      expect(await fixture.step.readFiles({ ...ask, under: 'a/' })).toEqual([at('a/b', 'a')])
      expect(await fixture.step.readFiles({ ...ask, paths: ['c', 'inputs/x'] })).toEqual([at('c', 'f')])
      expect(await fixture.step.readFiles({ ...ask, limit: 1 })).toEqual([at('a/b', 'a')])
      expect(await fixture.step.readFiles({ ...ask, run_id: randomUUID() })).toEqual([])
    },
  ],
  [
    'what a model or a tool writes is stored, NUL and half characters repaired, nulls in data left out',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const blocks = [{ type: 'text', text: 'a\0b\ud800' }]
      const message = {
        id: randomUUID(),
        role: 'assistant' as const,
        content: 'a\0b',
        tool_call_id: null,
        tool_name: null,
        is_error: false,
        blocks,
      }
      const logs = [
        { log_type: 'warning' as const, message: 'w', event: null, data: { kept: 1, gone: null } },
      ]
      await carryOut(
        fixture,
        id,
        1,
        commitOf({ messages: [message], logs, next: { kind: 'steps', steps: [modelStep('decide', 1)] } }),
      )
      const snapshot = await read(fixture, who, id)
      expect(snapshot.messages.at(-1)).toMatchObject({
        id: message.id,
        content: 'a\uFFFDb',
        metadata: { blocks: [{ type: 'text', text: 'a\uFFFDb\uFFFD' }] },
      })
      expect(snapshot.logs.find(({ message: text }) => text === 'w')?.metadata['data']).toEqual({ kept: 1 })
      let deep: unknown = 1
      for (let n = 0; n < 200; n++) deep = [deep]
      const held = await claim(fixture, id, 2)
      await expect(
        fixture.step.commitStep({
          ...held.step,
          commit: commitOf({ output: { deep }, next: { kind: 'complete', result: '' } }),
        }),
      ).rejects.toMatchObject(refusal('invalid_request'))
    },
  ],
  [
    'a long conversation comes with its first message and the newest that fit',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const message = {
        id: null,
        role: 'user' as const,
        tool_call_id: null,
        tool_name: null,
        is_error: false,
        blocks: null,
      }
      const messages = ['1', '2', '3', '4', '5'].map((letter) => ({
        ...message,
        content: letter.repeat(100_000),
      }))
      await carryOut(
        fixture,
        id,
        1,
        commitOf({ messages, next: { kind: 'steps', steps: [modelStep('decide', 1)] } }),
      )
      const { conversation, messages: total } = await claim(fixture, id, 2)
      expect(total).toBe(6)
      expect(conversation.map(({ content }) => content[0])).toEqual(['p', '2', '3', '4', '5'])
    },
  ],
  [
    "the operator's switch holds new claims, of a tenant or of a tool, until it is removed",
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const ask = { run_id: id, step_number: 1, lease_seconds: 5 }
      const off = { refused: 'switched_off', publications: [] }
      const on = await fixture.switchOff({ tenant_id: who.sub, tool_name: null })
      expect(await fixture.step.claimStep(ask)).toEqual(off)
      await on()
      const other = await fixture.switchOff({ tenant_id: who.sub, tool_name: 'shell' })
      await carryOut(fixture, id, 1, commitOf({ next: { kind: 'steps', steps: [toolStep('a')] } }))
      expect(await fixture.step.claimStep({ ...ask, step_number: 2 })).toEqual(off)
      await other()
      await claim(fixture, id, 2)
    },
  ],
  [
    'a commit hands back the next claim when its invocation can go on, and then publishes nothing',
    async (fixture) => {
      const who = someone()
      const { run } = await fixture.front.createRun(newRun(who))
      const burst = { lease_seconds: 9, inline_tools: ['message'] }
      const first = await claim(fixture, run.id, 0)
      const planned = await fixture.step.commitStep({ ...first.step, commit: planCommit(), burst })
      expect(planned).toMatchObject({
        committed: true,
        publications: [],
        claim: { step: { step_number: 1, fence: 1, attempt: 1, lease_seconds: 9, tool_name: 'decide' } },
      })
      expect(planned.log_seq).toBe(planned.claim?.log_seq)
      expect(
        await fixture.step.claimStep({ run_id: run.id, step_number: 1, lease_seconds: 5 }),
      ).toMatchObject({
        refused: 'leased',
      })
      const next = async (from: CommitAnswer | undefined, steps: NewStep[]) => {
        if (from?.claim === undefined) throw new Error('no claim came back')
        const commit = commitOf({ next: { kind: 'steps', steps } })
        return fixture.step.commitStep({ ...from.claim.step, commit, burst })
      }
      const inline = await next(planned, [toolStep('m', { tool_name: 'message' })])
      expect(inline.claim?.step).toMatchObject({ step_number: 2, tool_name: 'message' })
      if (inline.claim === undefined) throw new Error('no claim came back')
      const decided = await fixture.step.commitStep({ ...inline.claim.step, commit: toolCommit(), burst })
      // a job is another invocation's, and so are two steps at once
      const job = await next(decided, [toolStep('j')])
      expect([job.claim, job.publications]).toMatchObject([undefined, [{ step_number: 4 }]])
      await carryOut(fixture, run.id, 4, toolCommit())
      const last = await claim(fixture, run.id, 5)
      const steps = ['a', 'b'].map((id) => toolStep(id, { tool_name: 'message' }))
      const two = await fixture.step.commitStep({
        ...last.step,
        commit: commitOf({ next: { kind: 'steps', steps } }),
        burst,
      })
      expect([two.claim, two.publications.length]).toEqual([undefined, 2])
    },
  ],
  [
    'what a commit hands back has begun as a claimed step has',
    async (fixture) => {
      const who = someone()
      const { run } = await fixture.front.createRun(newRun(who))
      const burst = { lease_seconds: 9, inline_tools: ['message'] }
      const first = await claim(fixture, run.id, 0)
      const put = [{ path: 'a.txt', sha256: sha('a'), size: 3, mode: 0o644 }]
      const commit = { ...planCommit(), files: { put, removed: [] }, verified: [sha('a')] }
      const { claim: begun } = await fixture.step.commitStep({ ...first.step, commit, burst })
      expect(begun).toMatchObject({
        run: { status: 'executing', plan: PLAN, current_phase: 1, next_step: 2 },
        messages: 1,
        workspace: { files: 1, bytes: 3, entries: put },
      })
      expect(begun?.conversation.map(({ role }) => role)).toEqual(['user'])
      const seen = await read(fixture, who, run.id)
      expect(seen.run).toMatchObject({ current_step_id: begun?.step.step_id, current_phase: 1 })
      expect(seen.steps.find(({ step_number }) => step_number === 1)).toMatchObject({
        status: 'running',
        started_at: expect.any(String),
      })
      const events = seen.logs.map(({ metadata }) => [metadata['event'], metadata['step_id']])
      expect(events).toContainEqual(['step', begun?.step.step_id])
      // the sweeper looks after it when its lease is over, not before
      await fixture.advance(8)
      const wakes = async () =>
        (await fixture.step.sweepDue({ limit: 200 })).publications.filter(({ run_id }) => run_id === run.id)
      expect(await wakes()).toEqual([])
      await fixture.advance(5)
      expect(await wakes()).toMatchObject([{ step_number: 1 }])
      const again = await claim(fixture, run.id, 1)
      expect([again.step.attempt, again.step.fence]).toEqual([2, 2])
    },
  ],
  [
    'no commit hands back a claim of a run that is paused, switched off or newer than its code',
    async (fixture) => {
      const who = someone()
      const burst = { lease_seconds: 9, inline_tools: ['message'] }
      const next = commitOf({ next: { kind: 'steps', steps: [modelStep('decide', 1)] } })
      const ids = { principal: who, run_id: await plannedRun(fixture, who) }
      const held = await claim(fixture, ids.run_id, 1)
      await fixture.front.pauseRun(ids)
      const paused = await fixture.step.commitStep({ ...held.step, commit: next, burst })
      expect([paused.committed, paused.claim, paused.publications]).toEqual([true, undefined, []])
      await fixture.front.resumeRun({ ...ids, user_input: null })
      expect((await claim(fixture, ids.run_id, 2)).step.attempt).toBe(1)

      for (const [tenant_id, tool_name] of [
        [who.sub, null],
        [who.sub, 'decide'],
        [null, 'decide'],
      ] as const) {
        const id = await plannedRun(fixture, who)
        const { step } = await claim(fixture, id, 1)
        const on = await fixture.switchOff({ tenant_id, tool_name })
        const off = await fixture.step.commitStep({ ...step, commit: next, burst })
        expect([off.claim, off.publications]).toMatchObject([undefined, [{ step_number: 2 }]])
        await on()
        // somebody else's switch, or another tool's, is not meant
        await fixture.switchOff({ tenant_id: someone().sub, tool_name: null })
        await fixture.switchOff({ tenant_id: who.sub, tool_name: 'shell' })
        const taken = await claim(fixture, id, 2)
        expect((await fixture.step.commitStep({ ...taken.step, commit: next, burst })).claim).toBeDefined()
      }

      for (const [reads, claimed] of [
        [1, false],
        [2, true],
      ] as const) {
        const id = await plannedRun(fixture, who)
        const { step } = await claim(fixture, id, 1)
        const ask = { ...step, commit: next, protocol: 2, burst: { ...burst, protocol: reads } }
        const newer = await fixture.step.commitStep(ask)
        expect([newer.claim !== undefined, newer.publications.length]).toEqual([claimed, Number(!claimed)])
      }
    },
  ],
]
