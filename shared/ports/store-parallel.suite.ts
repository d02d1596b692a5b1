import { expect } from 'vitest'
import { modelStep } from '../core/steps.ts'
import type { Principal } from './identity.ts'
import type { Publication } from './scheduler.ts'
import type { ClaimAnswer } from './store.ts'
import type { StoreFixture } from './store-fixture.suite.ts'
import {
  claim,
  commitOf,
  newRun,
  planCommit,
  plannedRun,
  read,
  runWithTools,
  type StoreCase,
  sha,
  someone,
  toolCommit,
  toolStep,
} from './store-kit.suite.ts'

const LEASE = 60

/** Asks for a place as an invocation with these limits does. */
function ask(
  { step }: StoreFixture,
  run_id: string,
  step_number: number,
  { run = 100, tenant = 100, lease_seconds = LEASE } = {},
): Promise<ClaimAnswer> {
  const parallel = { run, tenant, inline_tools: ['message'] }
  return step.claimStep({ run_id, step_number, lease_seconds, parallel })
}

const outcome = (answer: ClaimAnswer): string => ('claim' in answer ? 'claimed' : answer.refused)

/** Claims the step; the case fails when it has to wait. */
async function take(
  fixture: StoreFixture,
  run_id: string,
  step_number: number,
  limits: { run?: number; tenant?: number; lease_seconds?: number } = {},
) {
  const answer = await ask(fixture, run_id, step_number, limits)
  if (!('claim' in answer)) throw new Error(`step ${step_number} was refused: ${answer.refused}`)
  return answer.claim.step
}

const names = (publications: readonly Publication[]): string[] =>
  publications.map(({ run_id, step_number }) => `${run_id} ${step_number}`)

const calls = (count: number) => Array.from({ length: count }, (_, n) => toolStep(`call ${n}`))

const runWithCalls = (fixture: StoreFixture, who: Principal, count: number): Promise<string> =>
  runWithTools(fixture, who, calls(count))

const park = (id: string, step_number: number) => ({
  job_name: `run-${id}-${step_number}`,
  token_sha256: sha('1'),
  deadline_seconds: 9000,
  check_seconds: 10,
})

/** Limits of parallel tool calls, and rows that only newer code can read. */
export const parallelCases: readonly StoreCase[] = [
  [
    'a run has so many calls out as its limit says; one that ends sends the next one on its way',
    async (fixture) => {
      const who = someone()
      const id = await runWithCalls(fixture, who, 4)
      const limits = { run: 2 }
      const first = await take(fixture, id, 2, limits)
      await take(fixture, id, 3, limits)
      const waiting = { refused: 'busy', publications: [] }
      expect(await ask(fixture, id, 5, limits)).toEqual(waiting)
      expect(await ask(fixture, id, 4, limits)).toEqual(waiting)
      const ended = await fixture.step.commitStep({ ...first, commit: toolCommit() })
      expect(ended.publications).toMatchObject([{ run_id: id, step_number: 4, delay_seconds: 0 }])
      // its place is kept for it: nobody else of the run gets in between
      expect(outcome(await ask(fixture, id, 5, limits))).toBe('busy')
      await take(fixture, id, 4, limits)
      expect((await read(fixture, who, id)).steps.map(({ status }) => status)).toEqual([
        'completed',
        'completed',
        'completed',
        'running',
        'running',
        'pending',
      ])
    },
  ],
  [
    'a tenant has so many calls out as its limit says; a place goes to whoever has waited longest',
    async (fixture) => {
      const tenant_id = someone().sub
      const people = [someone({ tenant_id }), someone({ tenant_id }), someone({ tenant_id })]
      const runs: string[] = []
      for (const who of people) runs.push(await runWithCalls(fixture, who, 3))
      const [a = '', b = '', c = ''] = runs
      const limits = { run: 2, tenant: 2 }
      const first = await take(fixture, a, 2, limits)
      const second = await take(fixture, a, 3, limits)
      const early = await ask(fixture, b, 2, limits)
      // it asks again by itself, for the case that nobody can tell it
      expect(early).toMatchObject({ refused: 'busy', publications: [{ run_id: b, step_number: 2 }] })
      expect(outcome(await ask(fixture, c, 2, limits))).toBe('busy')
      expect(outcome(await ask(fixture, b, 3, limits))).toBe('busy')
      // no room in its own run, so that it does not stand in the tenant's line
      expect(await ask(fixture, a, 4, limits)).toEqual({ refused: 'busy', publications: [] })
      const one = await fixture.step.commitStep({ ...first, commit: toolCommit() })
      expect(names(one.publications)).toEqual([`${b} 2`])
      expect(outcome(await ask(fixture, c, 3, limits))).toBe('busy')
      const held = await take(fixture, b, 2, limits)
      const two = await fixture.step.commitStep({ ...second, commit: toolCommit() })
      expect(names(two.publications)).toEqual([`${c} 2`])
      const three = await fixture.step.commitStep({ ...held, commit: toolCommit() })
      expect(names(three.publications)).toEqual([`${b} 3`])
      // somebody else's tenant does not wait for any of this
      await take(fixture, await runWithCalls(fixture, someone(), 1), 2, limits)
    },
  ],
  [
    'a place is held over a lapsed lease and while its job is out, and passed on when the job has ended',
    async (fixture) => {
      const who = someone()
      const id = await runWithCalls(fixture, who, 2)
      const limits = { tenant: 1 }
      await take(fixture, id, 2, { ...limits, lease_seconds: 5 })
      await fixture.advance(6)
      expect(outcome(await ask(fixture, id, 3, limits))).toBe('busy')
      const again = await take(fixture, id, 2, limits)
      expect(again.attempt).toBe(2)
      await fixture.step.parkStep({ ...again, ...park(id, 2) })
      await fixture.advance(65)
      expect(outcome(await ask(fixture, id, 3, limits))).toBe('busy')
      const job = { run_id: id, step_number: 2, token_sha256: sha('1') }
      await fixture.step.startJob(job)
      const end = { ...job, body_sha256: sha('2'), commit: toolCommit() }
      expect(names((await fixture.step.finishJob(end)).publications)).toEqual([`${id} 3`])
      await take(fixture, id, 3, limits)
      // a repeat gets the first answer, which is about its own run
      expect(names((await fixture.step.finishJob(end)).publications)).toEqual([])
    },
  ],
  [
    'a call that is given back, cancelled, held or switched off leaves its place to the next one',
    async (fixture) => {
      const tenant_id = someone().sub
      const limits = { tenant: 1 }
      const who = someone({ tenant_id })
      const runs: string[] = []
      for (let n = 0; n < 5; n++) runs.push(await runWithCalls(fixture, who, 1))
      const [a = '', b = '', c = '', d = '', e = ''] = runs
      const first = await take(fixture, a, 2, limits)
      for (const id of [b, c, d, e]) expect(outcome(await ask(fixture, id, 2, limits))).toBe('busy')
      const release = { delay_seconds: 30, error: 'x', free: false }
      const released = await fixture.step.releaseStep({ ...first, ...release })
      expect(names(released.publications)).toEqual([`${a} 2`, `${b} 2`])
      const cancelled = await fixture.front.cancelRun({ principal: who, run_id: b })
      expect(names(cancelled.publications)).toEqual([`${c} 2`])
      await fixture.front.pauseRun({ principal: who, run_id: c })
      const paused = await ask(fixture, c, 2, limits)
      expect([outcome(paused), 'claim' in paused || names(paused.publications)]).toEqual([
        'paused',
        [`${d} 2`],
      ])
      const switchOn = await fixture.switchOff({ tenant_id, tool_name: null })
      const off = await ask(fixture, d, 2, limits)
      expect([outcome(off), 'claim' in off || names(off.publications)]).toEqual(['switched_off', [`${e} 2`]])
      await switchOn()
      await take(fixture, e, 2, limits)
    },
  ],
  [
    'a paused call that nobody delivers any more loses its place to the sweeper',
    async (fixture) => {
      const who = someone()
      const [a, b] = [await runWithCalls(fixture, who, 1), await runWithCalls(fixture, who, 1)]
      await take(fixture, a, 2, { tenant: 1, lease_seconds: 5 })
      expect(outcome(await ask(fixture, b, 2, { tenant: 1 }))).toBe('busy')
      await fixture.advance(6)
      await fixture.front.pauseRun({ principal: who, run_id: a })
      const { publications } = await fixture.step.sweepDue({ limit: 200 })
      expect(names(publications)).toContain(`${b} 2`)
      await take(fixture, b, 2, { tenant: 1 })
    },
  ],
  [
    'who waits comes before who has just come, also when the limit was raised',
    async (fixture) => {
      const who = someone()
      const id = await runWithCalls(fixture, who, 4)
      await take(fixture, id, 2, { tenant: 1 })
      expect(outcome(await ask(fixture, id, 3, { tenant: 1 }))).toBe('busy')
      const later = await ask(fixture, id, 4, { tenant: 2 })
      expect([outcome(later), 'claim' in later || names(later.publications)]).toEqual([
        'busy',
        [`${id} 3`, `${id} 4`],
      ])
      await take(fixture, id, 3, { tenant: 2 })
      await take(fixture, id, 5, { tenant: 3 }).then(
        () => expect.fail('overtook the one that waits'),
        () => undefined,
      )
      await take(fixture, id, 4, { tenant: 3 })
    },
  ],
  [
    'a call that waits and is paused keeps no place from others',
    async (fixture) => {
      const who = someone()
      const runs: string[] = []
      for (let n = 0; n < 3; n++) runs.push(await runWithCalls(fixture, who, 1))
      const [a = '', b = '', c = ''] = runs
      const held = await take(fixture, a, 2, { tenant: 1 })
      expect(outcome(await ask(fixture, b, 2, { tenant: 1 }))).toBe('busy')
      await fixture.front.pauseRun({ principal: who, run_id: b })
      const { publications } = await fixture.step.commitStep({ ...held, commit: toolCommit() })
      expect(names(publications)).toEqual([`${a} 3`])
      await take(fixture, c, 2, { tenant: 1 })
    },
  ],
  [
    'a call that waits for the tenant is one of those that its run may have, and asks again as such',
    async (fixture) => {
      const who = someone()
      const [a, b] = [await runWithCalls(fixture, who, 1), await runWithCalls(fixture, who, 2)]
      await take(fixture, a, 2, { tenant: 1 })
      const limits = { run: 1, tenant: 1 }
      const early = await ask(fixture, b, 2, limits)
      expect('claim' in early || names(early.publications)).toEqual([`${b} 2`])
      expect(await ask(fixture, b, 3, limits)).toEqual({ refused: 'busy', publications: [] })
      await fixture.advance(3)
      const again = await ask(fixture, b, 2, limits)
      expect('claim' in again || names(again.publications)).toEqual([`${b} 2`])
    },
  ],
  [
    'who waits and asks again takes a place that became free, unless somebody has waited longer',
    async (fixture) => {
      const who = someone()
      const runs: string[] = []
      for (let n = 0; n < 3; n++) runs.push(await runWithCalls(fixture, who, 1))
      const [a = '', b = '', c = ''] = runs
      await take(fixture, a, 2, { tenant: 1 })
      for (const id of [b, c]) expect(outcome(await ask(fixture, id, 2, { tenant: 1 }))).toBe('busy')
      await fixture.advance(3)
      const later = await ask(fixture, c, 2, { tenant: 2 })
      expect('claim' in later || names(later.publications)).toEqual([`${b} 2`, `${c} 2`])
      await take(fixture, b, 2, { tenant: 2 })
      await fixture.advance(5)
      await take(fixture, c, 2, { tenant: 3 })
    },
  ],
  [
    'calls that end within their step are not counted, nor are those of code that knows no limits',
    async (fixture) => {
      const who = someone()
      const steps = [
        ...calls(3),
        toolStep('m', { tool_type: 'message', tool_name: 'message', cost_units: 0 }),
      ]
      const id = await runWithTools(fixture, who, steps)
      await take(fixture, id, 2, { run: 1, tenant: 1 })
      expect(outcome(await ask(fixture, id, 3, { run: 1, tenant: 1 }))).toBe('busy')
      await take(fixture, id, 5, { run: 1, tenant: 1 })
      const { step } = await claim(fixture, id, 4)
      await fixture.step.commitStep({ ...step, commit: toolCommit() })
      const waited = await claim(fixture, id, 3)
      await fixture.step.commitStep({ ...waited.step, commit: toolCommit() })
    },
  ],
  [
    'claims at the same moment never get more places than there are',
    async (fixture) => {
      const tenant_id = someone().sub
      const who = someone({ tenant_id })
      const runs: string[] = []
      for (let n = 0; n < 6; n++) runs.push(await runWithCalls(fixture, who, 2))
      const limits = { run: 1, tenant: 3 }
      const answers = await Promise.all(
        runs.flatMap((id) => [ask(fixture, id, 2, limits), ask(fixture, id, 3, limits)]),
      )
      const held = answers.flatMap((answer) => ('claim' in answer ? [answer.claim.step] : []))
      expect(held.length).toBeGreaterThan(0)
      expect(held.length).toBeLessThanOrEqual(3)
      expect(new Set(held.map(({ run_id }) => run_id)).size).toBe(held.length)
      // whoever is published gets through, until all have ended: nothing is stuck
      const inWork = [...held]
      let ended = 0
      for (let n = 0; n < 200 && ended < 12; n++) {
        for (const step of inWork.splice(0)) {
          const { publications } = await fixture.step.commitStep({ ...step, commit: toolCommit() })
          ended += 1
          for (const { run_id, step_number } of publications) {
            const answer = await ask(fixture, run_id, step_number, limits)
            if ('claim' in answer && answer.claim.step.kind === 'tool') inWork.push(answer.claim.step)
          }
        }
        expect(inWork.length).toBeLessThanOrEqual(3)
        if (inWork.length > 0) continue
        // those that had to ask again by themselves, and those of runs that nobody has called up yet
        await fixture.advance(61)
        const { publications } = await fixture.step.sweepDue({ limit: 200 })
        for (const { run_id, step_number } of publications.filter(({ run_id }) => runs.includes(run_id))) {
          const answer = await ask(fixture, run_id, step_number, limits)
          if ('claim' in answer && answer.claim.step.kind === 'tool') inWork.push(answer.claim.step)
        }
      }
      expect(ended).toBe(12)
    },
  ],
  [
    'a run that newer code has written to is handed back by older code, and no attempt is counted',
    async (fixture) => {
      const who = someone()
      const id = (await fixture.front.createRun(newRun(who))).run.id
      const lease_seconds = LEASE
      // version 1 begins, version 2 goes on without writing anything new, version 1 goes on
      const plan = await claim(fixture, id, 0)
      await fixture.step.commitStep({ ...plan.step, commit: planCommit() })
      const taken = await fixture.step.claimStep({ run_id: id, step_number: 1, lease_seconds, protocol: 2 })
      if (!('claim' in taken)) throw new Error(taken.refused)
      const next = commitOf({ next: { kind: 'steps', steps: [modelStep('decide', 1)] } })
      await fixture.step.commitStep({ ...taken.claim.step, commit: next, protocol: 1 })
      const old = await claim(fixture, id, 2)
      // a newer claim that an older one finds in work is in work
      await fixture.step.commitStep({
        ...old.step,
        commit: commitOf({ next: { kind: 'steps', steps: [toolStep('t')] } }),
        protocol: 2,
      })
      const at = { run_id: id, step_number: 3, lease_seconds }
      expect(await fixture.step.claimStep(at)).toEqual({ refused: 'newer', publications: [] })
      const newer = await fixture.step.claimStep({ ...at, protocol: 2 })
      if (!('claim' in newer)) throw new Error(newer.refused)
      expect([newer.claim.step.attempt, newer.claim.step.fence]).toEqual([1, 1])
      await fixture.step.parkStep({ ...newer.claim.step, ...park(id, 3) })
      const job = { run_id: id, step_number: 3, token_sha256: sha('1') }
      await expect(fixture.step.startJob(job)).rejects.toMatchObject({ code: 'not_ready' })
      await fixture.step.startJob({ ...job, protocol: 2 })
      const end = { ...job, body_sha256: sha('2'), commit: toolCommit() }
      await expect(fixture.step.finishJob(end)).rejects.toMatchObject({ code: 'not_ready' })
      expect((await fixture.step.finishJob({ ...end, protocol: 2 })).committed).toBe(true)
      // what has ended has ended, whatever wrote it
      expect(outcome(await fixture.step.claimStep({ ...at, step_number: 2 }))).toBe('done')
      await fixture.front.cancelRun({ principal: who, run_id: id })
      expect(outcome(await fixture.step.claimStep(at))).toBe('final')
    },
  ],
  [
    'a newer run stays on the schedule while only older code is there, and so does a fork of it',
    async (fixture) => {
      const who = someone()
      const id = await plannedRun(fixture, who)
      const held = await claim(fixture, id, 1)
      const steps = [modelStep('decide', 1)]
      await fixture.step.commitStep({
        ...held.step,
        commit: commitOf({ next: { kind: 'steps', steps } }),
        protocol: 2,
      })
      const at = { run_id: id, step_number: 2, lease_seconds: LEASE }
      expect(outcome(await fixture.step.claimStep(at))).toBe('newer')
      await fixture.advance(21)
      const { publications } = await fixture.step.sweepDue({ limit: 200 })
      expect(names(publications)).toContain(`${id} 2`)
      expect(outcome(await fixture.step.claimStep({ ...at, protocol: 2 }))).toBe('claimed')
      const { run } = await fixture.front.forkRun({
        principal: who,
        run_id: id,
        from_step: 1,
        message: null,
        limits: { max_steps: 50, timeout_seconds: 600 },
        idempotency: null,
      })
      const forked = { ...at, run_id: run.id, step_number: 1 }
      expect(outcome(await fixture.step.claimStep(forked))).toBe('newer')
      expect(outcome(await fixture.step.claimStep({ ...forked, protocol: 2 }))).toBe('claimed')
    },
  ],
]
