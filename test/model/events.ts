import type { Bounds } from './bounds.ts'
import type { Database } from './database.ts'
import type { Guards } from './guards.ts'
import type { Follow, Program } from './programs.ts'
import {
  ACKING,
  ANSWERED,
  CLAIMED,
  CONFIRMED,
  IDLE,
  isFinalStatus,
  JOB,
  LAPSED,
  LATER,
  type Layout,
  LIVE,
  MAKING_JOB,
  NO_JOB,
  NO_WAIT,
  OPEN,
  OPERATIONS,
  type Operation,
  PARKED,
  PUBLISHING,
  RECEIVED,
  RUN,
  SETTLING,
  SETTLING_UP,
  STATUS,
  STEP,
  stepAt,
  WORKED,
  WORKER,
  WORKER_FIELDS,
  WORKERS,
  workerAt,
} from './state.ts'

/** What can happen. Faults and verbs of the user may happen at any time; recovery must not need them. */
export const EVENTS = {
  deliver: 'the broker delivers step {}',
  claim: 'a worker asks for step {}',
  'work answer': 'the worker is done with step {}',
  'work refuse': 'the model refuses step {}',
  'work release': 'the provider fails step {}',
  'work release_free': 'the provider is overloaded at step {}',
  'work park': 'the worker will park step {}',
  'work repark': 'the job of step {} is there, the worker will park it again',
  'work give_up': 'the worker gives up the job of step {}',
  check: 'the database checks the writer of step {}, without a lock',
  write: 'the worker writes step {}',
  'write and claim': 'the worker writes step {} and is handed the next one',
  'make job': 'the worker makes the job of step {}',
  settle: 'the worker settles its attempt at step {}',
  publish: 'the worker of step {} publishes what became due',
  ack: 'the worker acknowledges the message of step {}',
  'lease lapses': 'the lease of step {} lapses',
  'time comes': 'step {} is due now',
  'sweep settles': 'the sweeper settles step {}',
  sweep: 'the sweeper publishes step {}',
  'job starts': 'the job of step {} starts',
  'job ends': 'the job of step {} calls back',
  resume: 'the user resumes the run',
  'CRASH, redelivered': 'CRASH of the worker at step {}, its message comes again',
  'CRASH, given up': 'CRASH of the worker at step {}, its message is given up',
  'publish lost': 'FAULT: what the worker of step {} publishes is lost, its message comes again',
  duplicate: 'FAULT: the message of step {} is doubled',
  drop: 'FAULT: the message of step {} is lost',
  'sweep lost': 'FAULT: what the sweeper publishes for step {} is lost',
  'resume lost': 'FAULT: what the resume publishes is lost',
  'work stops': 'FAULT: the worker of step {} sees a cancel flag, of a cancel that may have failed',
  'job vanishes': 'FAULT: the job of step {} vanishes',
  'job calls twice': 'FAULT: the job of step {} calls back and will do so again',
  'job answer lost':
    'FAULT: the job of step {} calls back, what it made due is not published, it will call again',
  'forged callback': 'FAULT: a stranger answers for the job of step {}',
  cancel: 'the user cancels the run',
  pause: 'the user pauses the run',
  timeout: 'the run passes its deadline',
} as const
export type EventName = keyof typeof EVENTS
export const EVENT_NAMES = Object.keys(EVENTS) as EventName[]
const CODE = Object.fromEntries(EVENT_NAMES.map((name, n) => [name, n])) as Record<EventName, number>
/** Ways on that need no luck and nobody's mistake: a run must be able to end by these alone, its deadline aside. */
const HEALTHY = new Set<EventName>(EVENT_NAMES.slice(0, EVENT_NAMES.indexOf('CRASH, redelivered')))
/** A provider that fails for ever is no way to an end. */
HEALTHY.delete('work release')
HEALTHY.delete('work release_free')
HEALTHY.delete('work refuse')
export const isHealthy = EVENT_NAMES.map((name) => HEALTHY.has(name))

export type Emit = (code: number, step: number) => void

/** Calls `emit` with `next` set to each state that may follow `from`. */
export function successors(
  layout: Layout,
  program: Program,
  guards: Guards,
  bounds: Bounds,
  db: Database,
  from: Uint8Array<ArrayBuffer>,
  next: Uint8Array<ArrayBuffer>,
  emit: Emit,
): void {
  const stepField = (step: number, field: number) => from[stepAt(step) + field] ?? 0
  const begin = () => {
    next.set(from)
    db.bind(next)
  }
  const event = (name: EventName, step: number, change: () => void) => {
    begin()
    change()
    db.judge()
    emit(CODE[name], step)
  }
  const add = (step: number, field: number, by: number) => {
    next[stepAt(step) + field] = (next[stepAt(step) + field] ?? 0) + by
  }
  const enqueue = (step: number) => {
    if ((next[stepAt(step) + STEP.messages] ?? 0) < bounds.messages) add(step, STEP.messages, 1)
  }
  /** The broker's side of a publish; a deliberate one must not be swallowed as a repeat. */
  const publish = (publications: number, old: number, deliberate: boolean) => {
    for (let step = 0; step < layout.steps; step++) {
      const bit = 1 << step
      if ((publications & bit) === 0) continue
      if ((old & bit) !== 0) enqueue(step)
      else if (next[stepAt(step) + STEP.seen] === 1) {
        if (deliberate)
          db.wrong(`a deliberate publish is delivered: the broker swallowed that of step ${step}`)
      } else {
        // an id that the row has no more is nobody's business later
        if (next[stepAt(step) + STEP.state] === OPEN) next[stepAt(step) + STEP.seen] = 1
        enqueue(step)
      }
    }
  }

  const status = from[RUN.status] ?? 0
  const final = isFinalStatus(status)

  for (let worker = 0; worker < WORKERS; worker++) {
    const at = workerAt(layout, worker)
    const does = from[at + WORKER.does] ?? 0
    const step = from[at + WORKER.step] ?? 0
    const message = from[at + WORKER.message] ?? 0
    const set = (field: number, value: number) => {
      next[at + field] = value
    }
    const rest = () => next.fill(0, at, at + WORKER_FIELDS)
    const goPublish = (publications: number, operation: number) => {
      rest()
      set(WORKER.message, message)
      // who only acknowledges has forgotten on what it worked
      set(WORKER.step, publications === 0 ? message : step)
      set(WORKER.does, publications === 0 ? ACKING : PUBLISHING)
      if (publications !== 0) set(WORKER.operation, operation)
      set(WORKER.publications, publications)
    }
    if (does === IDLE) {
      // the first idle worker takes what comes: two of them are alike
      if (worker === 1 && from[workerAt(layout, 0) + WORKER.does] === IDLE) continue
      for (let n = 0; n < layout.steps; n++) {
        if (stepField(n, STEP.messages) === 0) continue
        event('deliver', n, () => {
          add(n, STEP.messages, -1)
          set(WORKER.does, RECEIVED)
          set(WORKER.step, n)
          set(WORKER.message, n)
        })
      }
      continue
    }
    event('CRASH, given up', step, rest)
    event('CRASH, redelivered', step, () => {
      rest()
      enqueue(message)
    })
    if (stepField(message, STEP.messages) < bounds.messages)
      event('duplicate', message, () => add(message, STEP.messages, 1))

    const kind = program.steps[step]?.kind ?? 'model'
    if (does === RECEIVED) {
      event('claim', step, () => {
        const refused = db.claim(worker)
        if (refused === null) set(WORKER.does, CLAIMED)
        else if (refused.refused === 'leased') {
          // answered 503: the broker tries again
          rest()
          enqueue(message)
        } else goPublish(refused.publications, 0)
      })
    } else if (does === CLAIMED) {
      const wait = from[at + WORKER.wait] ?? 0
      const jobThere = stepField(step, STEP.job) === JOB
      const possible: Operation[] =
        kind === 'model'
          ? ['answer', 'refuse', 'release', 'release_free']
          : wait === NO_WAIT || (wait === PARKED && !jobThere)
            ? ['park']
            : jobThere
              ? ['repark', 'give_up']
              : ['give_up']
      if (kind === 'model') {
        event('work stops', step, () => {
          set(WORKER.does, SETTLING_UP)
          set(WORKER.wait, 0)
        })
      }
      for (const operation of possible) {
        event(`work ${operation}`, step, () => {
          set(WORKER.does, WORKED)
          set(WORKER.operation, OPERATIONS.indexOf(operation))
          set(WORKER.wait, 0)
        })
      }
    } else if (does === WORKED) {
      const operation = OPERATIONS[from[at + WORKER.operation] ?? 0] ?? 'answer'
      const checked = from[at + WORKER.checked] === 1
      const write = (burst: boolean) => {
        if (!checked && !db.mayWrite(worker)) {
          // what a stale model step used is settled; a tool's reservation is the sweeper's
          const settles = kind === 'model' && (operation === 'answer' || operation === 'refuse')
          if (settles) set(WORKER.does, SETTLING_UP)
          else goPublish(0, 0)
          return
        }
        const { answer, refuse } = program.steps[step] ?? { answer: { kind: 'fail' }, refuse: null }
        const current = next[at + WORKER.current] === 1
        const commit = (follow: Follow) => {
          const publications = db.commit(step, follow, current)
          const only = Math.log2(publications)
          if (!burst || !Number.isInteger(only) || program.steps[only]?.kind !== 'model') {
            goPublish(publications, 0)
            return
          }
          // the same transaction hands out the next step
          rest()
          set(WORKER.message, message)
          set(WORKER.step, only)
          if (db.claim(worker) === null) set(WORKER.does, CLAIMED)
          else goPublish(publications, 0)
        }
        switch (operation) {
          case 'answer':
            return commit(answer)
          case 'refuse':
            return commit(refuse ?? answer)
          case 'give_up':
            next[stepAt(step) + STEP.job] = NO_JOB
            return commit(answer)
          case 'release':
          case 'release_free':
            return goPublish(db.release(step, operation === 'release_free'), OPERATIONS.indexOf('release'))
          case 'park':
          case 'repark':
            db.park(step)
            if (operation === 'park') set(WORKER.does, MAKING_JOB)
            else goPublish(0, 0)
        }
      }
      if (guards.on('run_lock') || checked) {
        event('write', step, () => write(false))
        if (operation === 'answer') event('write and claim', step, () => write(true))
      } else {
        event('check', step, () => {
          if (db.mayWrite(worker)) set(WORKER.checked, 1)
          else write(false)
        })
      }
    } else if (does === MAKING_JOB) {
      event('make job', step, () => {
        next[stepAt(step) + STEP.job] = JOB
        goPublish(0, 0)
      })
    } else if (does === SETTLING_UP) {
      event('settle', step, () => {
        db.settleAttempt(worker)
        goPublish(0, 0)
      })
    } else if (does === PUBLISHING) {
      const publications = from[at + WORKER.publications] ?? 0
      const old = from[at + WORKER.old] ?? 0
      const deliberate = OPERATIONS[from[at + WORKER.operation] ?? 0] === 'release'
      event('publish', step, () => {
        publish(publications, old, deliberate)
        rest()
        set(WORKER.does, ACKING)
        set(WORKER.step, message)
        set(WORKER.message, message)
      })
      event('publish lost', step, () => {
        rest()
        enqueue(message)
      })
    } else event('ack', step, rest)
  }

  for (let step = 0; step < layout.steps; step++) {
    const state = stepField(step, STEP.state)
    const lease = stepField(step, STEP.lease)
    const wait = stepField(step, STEP.wait)
    const set = (field: number, value: number) => {
      next[stepAt(step) + field] = value
    }
    if (stepField(step, STEP.messages) > 0) event('drop', step, () => add(step, STEP.messages, -1))
    if (lease === LIVE) event('lease lapses', step, () => set(STEP.lease, LAPSED))
    if (state === SETTLING && lease === LAPSED) event('sweep settles', step, () => db.sweepSettling(step))
    if (stepField(step, STEP.due) === LATER) event('time comes', step, () => set(STEP.due, 1))
    // publish_at is later than every lease: when its time comes, the lease is over
    if (stepField(step, STEP.publish) === 1 && lease !== LIVE && guards.on('sweeper')) {
      event('sweep', step, () => {
        db.sweep(step)
        publish(1 << step, 0, true)
      })
      event('sweep lost', step, () => db.sweep(step))
    }
    if (stepField(step, STEP.job) === JOB) {
      event('job vanishes', step, () => set(STEP.job, NO_JOB))
      if (wait === PARKED) event('job starts', step, () => db.startJob(step))
      if (wait >= CONFIRMED) {
        event('job ends', step, () => {
          publish(db.finishJob(step, true) ?? 0, 0, false)
          set(STEP.job, NO_JOB)
        })
        event('job calls twice', step, () => publish(db.finishJob(step, true) ?? 0, 0, false))
        if (wait !== ANSWERED) event('job answer lost', step, () => void db.finishJob(step, true))
      }
    }
    if (wait === PARKED || wait === CONFIRMED)
      event('forged callback', step, () => publish(db.finishJob(step, false) ?? 0, 0, false))
  }

  if (!final || !guards.on('end_clears')) event('timeout', 0, db.timeout)
  if (bounds.verbs && (!final || !guards.on('cancel_open'))) event('cancel', 0, db.cancel)
  const pausable = final ? !guards.on('pause_open') : status !== STATUS.paused
  if (bounds.verbs && pausable) event('pause', 0, db.pause)
  if (status === STATUS.paused || status === STATUS.waiting_user) {
    event('resume', 0, () => publish(db.resume(), 0, true))
    event('resume lost', 0, () => void db.resume())
  }
}
