import { expect } from 'vitest'
import type { StoreFixture } from './store-fixture.suite.ts'
import {
  carryOut,
  claim,
  commitOf,
  newRun,
  plannedRun,
  read,
  runWithTools,
  type StoreCase,
  sha,
  someone,
  toolStep,
} from './store-kit.suite.ts'

/** Everything that is due, until nothing is: other cases leave runs behind. */
async function dueOf({ step }: StoreFixture, runId: string) {
  const all = []
  for (let n = 0; n < 20; n++) {
    const { publications } = await step.sweepDue({ limit: 200 })
    if (publications.length === 0) break
    all.push(...publications)
  }
  return all.filter(({ run_id }) => run_id === runId)
}

/** The sweeper, and what only time brings about. */
export const sweepCases: readonly StoreCase[] = [
  [
    'a step that nobody claimed is published again with a raised number, later each time',
    async (fixture) => {
      const who = someone()
      const { run } = await fixture.front.createRun(
        newRun(who, { limits: { max_steps: 9, timeout_seconds: 9000 } }),
      )
      expect(await dueOf(fixture, run.id)).toEqual([])
      await fixture.advance(21)
      expect((await fixture.sweep()).due).toBeGreaterThan(0)
      const at = { run_id: run.id, step_number: 0, epoch: 0, delay_seconds: 0 }
      expect(await dueOf(fixture, run.id)).toEqual([{ ...at, publication: 1 }])
      await fixture.advance(19)
      expect(await dueOf(fixture, run.id)).toEqual([])
      await fixture.advance(2)
      expect(await dueOf(fixture, run.id)).toEqual([{ ...at, publication: 2 }])
      await fixture.advance(39)
      expect(await dueOf(fixture, run.id)).toEqual([])
      await fixture.advance(2)
      expect(await dueOf(fixture, run.id)).toEqual([{ ...at, publication: 3 }])
    },
  ],
  [
    'a claim holds the sweeper off until its lease has lapsed',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      await claim(fixture, id, 1, 100)
      await fixture.advance(90)
      expect(await dueOf(fixture, id)).toEqual([])
      await fixture.advance(15)
      expect(await dueOf(fixture, id)).toMatchObject([{ step_number: 1, publication: 1 }])
      await claim(fixture, id, 1)
    },
  ],
  [
    'every status that is not final has its deadline, and the sweeper ends it with its reason',
    async (fixture) => {
      const who = someone()
      const day = 24 * 3600
      const fresh = (await fixture.front.createRun(newRun(who, { auto_start: false }))).run.id
      const running = await plannedRun(fixture, who)
      const paused = await plannedRun(fixture, who)
      await fixture.front.pauseRun({ principal: who, run_id: paused })
      const asking = await plannedRun(fixture, who)
      const steps = [{ ...toolStep('x'), kind: 'model' as const, tool_name: 'decide', tool_call_id: null }]
      const held = await claim(fixture, asking, 1)
      await fixture.step.commitStep({
        ...held.step,
        commit: commitOf({
          next: { kind: 'wait_user', question: 'Q', steps },
        }),
      })
      const status = async (id: string) => (await read(fixture, who, id)).run.status
      await fixture.advance(601)
      await fixture.sweep()
      expect(await Promise.all([fresh, running, paused, asking].map(status))).toEqual([
        'created',
        'timeout',
        'paused',
        'waiting_user',
      ])
      await fixture.advance(day)
      await fixture.sweep()
      expect(await status(fresh)).toBe('timeout')
      await fixture.advance(30 * day)
      expect((await fixture.sweep()).ended).toBeGreaterThanOrEqual(2)
      const reasons = await Promise.all(
        [fresh, running, paused, asking].map(async (id) => {
          const { run } = await read(fixture, who, id)
          return [run.status, run.error_code, run.error_message]
        }),
      )
      expect(reasons).toEqual([
        ['timeout', 'RUN_TIMEOUT', 'The run was not started within 24 hours.'],
        ['timeout', 'RUN_TIMEOUT', 'The run reached its time limit.'],
        ['timeout', 'RUN_TIMEOUT', 'The run was paused for 30 days.'],
        ['timeout', 'RUN_TIMEOUT', 'The run waited 30 days for an answer.'],
      ])
    },
  ],
  [
    'a step that was held for longer than its duration can count commits all the same',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const ids = { principal: who, run_id: id }
      const { step } = await claim(fixture, id, 1)
      await fixture.step.releaseStep({ ...step, delay_seconds: 0, error: 'later', free: true })
      await fixture.front.pauseRun(ids)
      await fixture.advance(29 * 86_400)
      await fixture.front.resumeRun({ ...ids, user_input: null })
      await carryOut(fixture, id, 1, commitOf({ next: { kind: 'complete', result: 'done' } }))
      const { run, steps } = await read(fixture, who, id)
      expect([run.status, steps[1]?.duration_ms]).toEqual(['completed', 2_147_483_647])
    },
  ],
  [
    'a step that was held for so long ends with its run all the same',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const ids = { principal: who, run_id: id }
      const { step } = await claim(fixture, id, 1)
      await fixture.step.releaseStep({ ...step, delay_seconds: 0, error: 'later', free: true })
      await fixture.front.pauseRun(ids)
      await fixture.advance(29 * 86_400)
      await fixture.front.cancelRun(ids)
      expect((await read(fixture, who, id)).steps[1]).toMatchObject({
        status: 'cancelled',
        duration_ms: 2_147_483_647,
      })
    },
  ],
  [
    'an attempt that died with its run is charged when its lease has lapsed',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const { step } = await claim(fixture, id, 1, 30)
      await fixture.front.cancelRun({ principal: who, run_id: id })
      await fixture.sweep()
      expect((await read(fixture, who, id)).run.total_credits_used).toBe(5)
      await fixture.advance(31)
      expect((await fixture.sweep()).settled).toBeGreaterThan(0)
      await fixture.step.settleAttempt({ ...step, tokens_used: 9, used: true })
      const { run, steps } = await read(fixture, who, id)
      expect([run.total_credits_used, run.total_tokens_used, steps[1]?.credits_used]).toEqual([10, 0, 5])
    },
  ],
  [
    'jobs of a run that reached its time limit are handed out for removal, once',
    async (fixture) => {
      const who = someone()
      const id = await runWithTools(fixture, who, [toolStep('x')])
      const held = await claim(fixture, id, 2)
      const park = {
        job_name: `run-${id}-2`,
        token_sha256: sha('1'),
        deadline_seconds: 9000,
        check_seconds: 10,
      }
      await fixture.step.parkStep({ ...held.step, ...park })
      await fixture.advance(700)
      expect((await fixture.step.sweepDue({ limit: 200 })).jobs_to_remove).toContain(park.job_name)
      expect((await fixture.step.sweepDue({ limit: 200 })).jobs_to_remove).not.toContain(park.job_name)
    },
  ],
  [
    'the sweeper is fair: one tenant with much does not keep another from its turn',
    async (fixture) => {
      // what other cases left is published again every 300 s after five times: it is not due in what follows
      for (let n = 0; n < 6; n++) {
        await fixture.advance(301)
        await dueOf(fixture, 'nobody')
      }
      const many = someone()
      const one = someone()
      const ids: string[] = []
      for (let n = 0; n < 4; n++) ids.push((await fixture.front.createRun(newRun(many))).run.id)
      const { run } = await fixture.front.createRun(newRun(one))
      await fixture.advance(21)
      const { publications } = await fixture.step.sweepDue({ limit: 1000 })
      expect(publications.map(({ run_id }) => run_id)).toEqual(expect.arrayContaining([run.id, ...ids]))
      // due again, all of them: with room for two, each tenant gets one of them
      await fixture.advance(21)
      const fair = await fixture.step.sweepDue({ limit: 2 })
      const ours = fair.publications.map(({ run_id }) => run_id).filter((id) => [run.id, ...ids].includes(id))
      expect(ours).toHaveLength(2)
      expect(ours).toContain(run.id)
      await carryOut(
        fixture,
        run.id,
        0,
        commitOf({ status: 'failed', next: { kind: 'fail', code: 'X', message: 'x' } }),
      )
    },
  ],
]
