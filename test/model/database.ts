import { RUN_STATUSES, RUN_TRANSITIONS, type RunStatus } from '../../shared/core/run.ts'
import type { Bounds } from './bounds.ts'
import type { Guards } from './guards.ts'
import type { Follow, Program } from './programs.ts'
import {
  ABSENT,
  ANSWERED,
  CLOSED,
  CONFIRMED,
  DONE,
  DUE,
  isFinalStatus,
  LAPSED,
  LATER,
  type Layout,
  LIVE,
  NEVER,
  NO_LEASE,
  NO_ROW,
  NO_WAIT,
  OPEN,
  PARKED,
  RUN,
  SETTLING,
  STATUS,
  STEP,
  stepAt,
  WORKER,
  WORKERS,
  workerAt,
} from './state.ts'

export type Refusal = 'final' | 'unknown' | 'done' | 'paused' | 'not_due' | 'leased'

/** The functions of supabase/migrations on one state. Each is one transaction; `publications` are bits of step numbers.
 * A break of a promise is kept when it is of the one that counts (all of them begin with ''). */
export function database(layout: Layout, program: Program, guards: Guards, bounds: Bounds, promise: string) {
  let s = new Uint8Array(layout.fields)
  let violation: string | null = null
  const workers = Array.from({ length: WORKERS }, (_, n) => workerAt(layout, n))
  const wrong = (what: string) => {
    if (what.startsWith(promise)) violation ??= what
  }
  const get = (step: number, field: number) => s[stepAt(step) + field] ?? 0
  const put = (step: number, field: number, value: number) => {
    s[stepAt(step) + field] = value
  }
  const status = () => s[RUN.status] ?? 0
  const isFinal = () => isFinalStatus(status())
  const isOpen = (step: number) => get(step, STEP.state) === OPEN
  const isAwaited = (step: number) => get(step, STEP.wait) === PARKED || get(step, STEP.wait) === CONFIRMED
  const isIdle = (step: number) => get(step, STEP.lease) !== LIVE && !isAwaited(step)

  function setStatus(to: RunStatus): void {
    const from = RUN_STATUSES[status()]
    if (from === undefined || from === to) return
    if (!RUN_TRANSITIONS[from].includes(to)) wrong(`a final status stays: ${from} became ${to}`)
    s[RUN.status] = STATUS[to]
  }
  /** The publication number goes up: the broker has not seen the new id, and whoever still holds the old one publishes the old one. */
  function raise(step: number): void {
    put(step, STEP.seen, 0)
    for (const worker of workers) {
      const publications = s[worker + WORKER.publications] ?? 0
      s[worker + WORKER.old] = (s[worker + WORKER.old] ?? 0) | (publications & (1 << step))
    }
  }
  function clearToken(step: number): void {
    for (const worker of workers) if (s[worker + WORKER.step] === step) s[worker + WORKER.current] = 0
    put(step, STEP.lease, NO_LEASE)
  }
  function settle(step: number): void {
    if (get(step, STEP.settled) === 1) wrong(`one charge a step: step ${step} was settled twice`)
    put(step, STEP.settled, 1)
  }
  function close(step: number): void {
    put(step, STEP.state, DONE)
    clearToken(step)
    put(step, STEP.attempt, 0)
    put(step, STEP.claimed, 0)
  }
  function unqueue(step: number): void {
    put(step, STEP.due, NO_ROW)
    put(step, STEP.publish, 0)
    put(step, STEP.seen, 0)
  }
  /** private.add_steps */
  function addStep(step: number, due: boolean): number {
    if (get(step, STEP.state) !== ABSENT) {
      wrong(`order between groups: step ${step} was scheduled twice`)
      return 0
    }
    for (let before = 0; before < step; before++) {
      if (program.steps[step]?.kind === 'model' && get(before, STEP.state) !== DONE)
        wrong(`order between groups: step ${step} was scheduled before step ${before} was committed`)
    }
    put(step, STEP.state, OPEN)
    if (guards.on('outbox')) {
      put(step, STEP.due, due ? DUE : NEVER)
      put(step, STEP.publish, due ? 1 : 0)
    }
    return due ? 1 << step : 0
  }
  /** private.finish_run */
  function finishRun(to: RunStatus): void {
    for (let step = 0; step < layout.steps; step++) {
      if (isAwaited(step) && guards.on('end_closes')) put(step, STEP.wait, CLOSED)
      if (guards.on('end_empties')) unqueue(step)
      if (!isOpen(step)) continue
      if (get(step, STEP.lease) === LIVE) {
        put(step, STEP.state, SETTLING)
        put(step, STEP.attempt, 0)
      } else {
        settle(step)
        close(step)
      }
    }
    setStatus(to)
    s[RUN.pausedFrom] = 0
  }
  /** private.apply_commit */
  function applyCommit(step: number, follow: Follow): number {
    if (get(step, STEP.state) === DONE) wrong(`one commit a step: step ${step} was committed again`)
    if (isFinal()) wrong(`a final status stays: step ${step} was committed after the end`)
    settle(step)
    close(step)
    unqueue(step)
    const paused = status() === STATUS.paused
    const add = (steps: number[]) => steps.reduce((bits, next) => bits | addStep(next, !paused), 0)
    switch (follow.kind) {
      case 'steps':
        if (follow.plan && status() === STATUS.planning) setStatus('executing')
        if (follow.plan && paused && s[RUN.pausedFrom] === STATUS.planning)
          s[RUN.pausedFrom] = STATUS.executing
        return add(follow.steps)
      case 'group': {
        const others = program.steps.some(({ kind }, n) => kind === 'tool' && isOpen(n))
        return others && guards.on('group_last') ? 0 : add([follow.modelStep])
      }
      case 'wait_user':
        addStep(follow.step, false)
        if (paused) s[RUN.pausedFrom] = STATUS.waiting_user
        else setStatus('waiting_user')
        return 0
      case 'complete':
        if (paused) setStatus('executing')
        finishRun('completed')
        return 0
      case 'fail':
        finishRun('failed')
        return 0
    }
  }
  /** private.unclaimed */
  function unclaimed(): number {
    let bits = 0
    for (let step = 0; step < layout.steps; step++) {
      if (isOpen(step) && get(step, STEP.claimed) === 0 && get(step, STEP.due) === DUE) bits |= 1 << step
    }
    return bits
  }

  return {
    bind(state: Uint8Array<ArrayBuffer>): void {
      s = state
      violation = null
    },
    violation: () => violation,
    wrong,
    raise,
    unclaimed,
    isIdle,
    /** private.fenced, then whether this writer may write to an open step. */
    mayWrite(worker: number): boolean {
      const at = workers[worker] ?? 0
      const step = s[at + WORKER.step] ?? 0
      const live = get(step, STEP.lease) === LIVE
      return guards.holds(s[at + WORKER.current] === 1, isOpen(step), live) && guards.mayWrite(isOpen(step))
    },
    /** agent_claim_step; a claim gives null, and for a step past its attempts what its failure made due. */
    claim(worker: number): { refused: Refusal; publications: number } | null {
      const at = workers[worker] ?? 0
      const step = s[at + WORKER.step] ?? 0
      if (isFinal()) return { refused: 'final', publications: 0 }
      if (get(step, STEP.state) === ABSENT) return { refused: 'unknown', publications: 0 }
      const paused = status() === STATUS.paused
      if (!guards.claimable(isOpen(step))) return { refused: 'done', publications: paused ? 0 : unclaimed() }
      if (guards.isHeld(paused, isAwaited(step))) {
        if (isIdle(step) || !guards.on('claim_paused_idle')) put(step, STEP.publish, 0)
        return { refused: 'paused', publications: 0 }
      }
      // a step without a row is compared with null: not refused
      const due = get(step, STEP.due) !== LATER && get(step, STEP.due) !== NEVER
      if (!guards.isDue(due)) return { refused: 'not_due', publications: 0 }
      const lease = get(step, STEP.lease)
      if (guards.isLeased(lease === LIVE, lease === LAPSED)) return { refused: 'leased', publications: 0 }
      const check = isAwaited(step)
      if (!check && get(step, STEP.attempt) >= bounds.attempts) {
        if (guards.on('claim_attempts')) {
          const { kind, answer } = program.steps[step] ?? { kind: 'model', answer: { kind: 'fail' } }
          return {
            refused: 'done',
            publications: applyCommit(step, kind === 'tool' ? answer : { kind: 'fail' }),
          }
        }
        wrong(`a run always ends: step ${step} is tried again after ${bounds.attempts} attempts`)
      }
      if (!isOpen(step)) wrong(`one commit a step: step ${step} was given out after its commit`)
      if (paused && !check) wrong(`a pause holds: step ${step} was given out`)
      if (get(step, STEP.due) === LATER || get(step, STEP.due) === NEVER)
        wrong(`nothing before its time: step ${step} was given out`)
      if (lease === LIVE) wrong(`one holder a step: step ${step} was given out under a lease`)
      clearToken(step)
      put(step, STEP.lease, LIVE)
      put(step, STEP.claimed, 1)
      if (!check) put(step, STEP.attempt, Math.min(bounds.attempts, get(step, STEP.attempt) + 1))
      if (guards.on('outbox')) put(step, STEP.publish, guards.on('claim_wakes') ? 1 : 0)
      s[at + WORKER.current] = 1
      s[at + WORKER.wait] = check ? get(step, STEP.wait) : NO_WAIT
      if (status() === STATUS.queued) setStatus('planning')
      return null
    },
    /** agent_commit_step, after its check. */
    commit(step: number, follow: Follow, current: boolean): number {
      if (!current) wrong(`only the holder writes: step ${step} was committed by a stale writer`)
      if (get(step, STEP.lease) === LAPSED) wrong(`a lapsed holder writes nothing: step ${step}`)
      if (isAwaited(step) && guards.on('check_closes')) put(step, STEP.wait, CLOSED)
      return applyCommit(step, follow)
    },
    /** agent_release_step, after its check. */
    release(step: number, free: boolean): number {
      const paused = status() === STATUS.paused
      if (!isOpen(step)) {
        wrong(`a final status stays: step ${step} was given back after the end`)
        return 0
      }
      clearToken(step)
      if (free) put(step, STEP.attempt, Math.max(0, get(step, STEP.attempt) - 1))
      put(step, STEP.due, LATER)
      put(step, STEP.publish, paused ? 0 : 1)
      if (guards.on('release_raises')) raise(step)
      return paused ? 0 : 1 << step
    },
    /** agent_park_step, after its check. */
    park(step: number): void {
      if (!isOpen(step)) {
        wrong(`a final status stays: step ${step} was parked after the end`)
        return
      }
      if (get(step, STEP.wait) === NO_WAIT) put(step, STEP.wait, PARKED)
      clearToken(step)
      put(step, STEP.due, LATER)
      put(step, STEP.publish, guards.on('park_parks') ? 1 : 0)
      raise(step)
    },
    /** agent_start_job: refused when the wait is over. */
    startJob(step: number): void {
      if (get(step, STEP.wait) === PARKED) put(step, STEP.wait, CONFIRMED)
      put(step, STEP.due, LATER)
      put(step, STEP.publish, 1)
    },
    /** agent_finish_job: undefined when the answer is refused. */
    finishJob(step: number, ownToken: boolean): number | undefined {
      const wait = get(step, STEP.wait)
      if (wait === NO_WAIT) return undefined
      if (!ownToken && guards.on('token_matches')) return undefined
      if (guards.isAnswered(wait === CLOSED || wait === ANSWERED))
        return wait === ANSWERED ? unclaimed() : undefined
      if (!ownToken) wrong(`a callback counts for its own job: step ${step} was answered by a stranger`)
      put(step, STEP.wait, ANSWERED)
      return applyCommit(step, program.steps[step]?.answer ?? { kind: 'fail' })
    },
    /** agent_settle_attempt */
    settleAttempt(worker: number): void {
      const at = workers[worker] ?? 0
      const step = s[at + WORKER.step] ?? 0
      const live = get(step, STEP.lease) === LIVE
      if (!guards.holds(s[at + WORKER.current] === 1, isOpen(step), live)) return
      if (!guards.maySettle(get(step, STEP.state) === SETTLING)) return
      if (isOpen(step)) wrong(`one charge a step: step ${step} was settled while it is open`)
      settle(step)
      if (guards.on('settle_ends')) close(step)
    },
    /** agent_sweep: an attempt that was in flight when its run ended, after its lease. */
    sweepSettling(step: number): void {
      settle(step)
      if (guards.on('settle_ends')) close(step)
    },
    /** agent_sweep: past its deadline. */
    timeout: () => finishRun('timeout'),
    /** private.cancel_run */
    cancel: () => finishRun('cancelled'),
    /** private.pause_run */
    pause(): void {
      s[RUN.pausedFrom] = status()
      setStatus('paused')
      for (let step = 0; step < layout.steps; step++) {
        if (isOpen(step) && isIdle(step)) put(step, STEP.publish, 0)
      }
    },
    /** private.resume_run */
    resume(): number {
      const from = RUN_STATUSES[status() === STATUS.paused ? (s[RUN.pausedFrom] ?? 0) : STATUS.executing]
      s[RUN.pausedFrom] = 0
      setStatus(from ?? 'executing')
      if (from === 'waiting_user') return 0
      let publications = 0
      for (let step = 0; step < layout.steps; step++) {
        if (!isOpen(step) || !isIdle(step)) continue
        put(step, STEP.due, DUE)
        if (guards.on('resume_wakes')) put(step, STEP.publish, 1)
        if (guards.on('resume_raises')) raise(step)
        publications |= 1 << step
      }
      return publications
    },
    /** agent_sweep_due for one row. */
    sweep(step: number): void {
      put(step, STEP.due, DUE)
      if (guards.on('sweep_raises')) raise(step)
    },
    /** The state as it is, judged (supabase/invariants.sql). */
    judge(): void {
      let wakes = false
      const final = isFinal()
      for (let step = 0; step < layout.steps; step++) {
        const open = isOpen(step)
        if (get(step, STEP.publish) === 1) wakes = true
        if (open !== (get(step, STEP.due) !== NO_ROW)) wrong(`an open step is on the queue: step ${step}`)
        if (final && open) wrong(`an ended run holds nothing: step ${step} is open`)
        if (final && isAwaited(step)) wrong(`an ended run holds nothing: step ${step} waits`)
      }
      const moving =
        status() === STATUS.queued || status() === STATUS.planning || status() === STATUS.executing
      if (moving && !wakes) wrong('a reason to wake: nothing is scheduled and nobody works')
    },
  }
}
export type Database = ReturnType<typeof database>
