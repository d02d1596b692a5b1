import type { Bounds } from './bounds.ts'
import { type Exploration, explore, STUCK } from './explore.ts'
import { GUARD_NAMES, type Guard } from './guards.ts'
import { PROGRAMS, type ProgramName } from './programs.ts'

export interface Removal {
  guards: Guard[]
  program: ProgramName
  /** The promise that breaks; of several the one that matters most. */
  promise: string
}

const ONCE = 'one commit a step'
const FINAL = 'a final status stays'
const WAKE = 'a reason to wake'

/** Where the loss of each guard shows, and as what. */
const SINGLE: Record<Guard, [ProgramName, string]> = {
  fence: ['two', 'only the holder writes'],
  lease_lives: ['two', 'a lapsed holder writes nothing'],
  run_lock: ['two', ONCE],
  writer_open: ['two', FINAL],
  claim_open: ['two', ONCE],
  claim_due: ['two', 'nothing before its time'],
  claim_unleased: ['two', 'one holder a step'],
  claim_lapsed: ['two', STUCK],
  claim_paused: ['two', 'a pause holds'],
  claim_paused_idle: ['two', STUCK],
  claim_attempts: ['two', 'a run always ends'],
  claim_wakes: ['two', STUCK],
  outbox: ['two', STUCK],
  sweeper: ['two', STUCK],
  sweep_raises: ['two', STUCK],
  release_raises: ['two', 'a deliberate publish is delivered'],
  resume_raises: ['two', 'a deliberate publish is delivered'],
  resume_wakes: ['two', STUCK],
  group_last: ['group', 'order between groups'],
  finish_once: ['job', ONCE],
  check_closes: ['job', ONCE],
  end_closes: ['job', FINAL],
  end_clears: ['two', FINAL],
  end_empties: ['two', 'an open step is on the queue'],
  cancel_open: ['two', FINAL],
  pause_open: ['two', FINAL],
  settle_ends: ['two', 'one charge a step'],
  settle_state: ['two', 'one charge a step'],
  token_matches: ['job', 'a callback counts for its own job'],
  park_parks: ['job', WAKE],
}

export const REMOVALS: Removal[] = [
  ...GUARD_NAMES.map((name) => ({ guards: [name], program: SINGLE[name][0], promise: SINGLE[name][1] })),
  // two lines of one defence: without both, the records double
  { guards: ['fence', 'writer_open'], program: 'two', promise: ONCE },
]

/** A counter-example is near the start: a job and a group are searched with the smallest bounds. */
const BOUNDS: Record<ProgramName, Bounds> = {
  two: { messages: 2, attempts: 2, verbs: true },
  question: { messages: 2, attempts: 2, verbs: true },
  three: { messages: 2, attempts: 2, verbs: true },
  job: { messages: 1, attempts: 1, verbs: true },
  group: { messages: 1, attempts: 1, verbs: false },
}

export function remove({ guards, program, promise }: Removal): Exploration {
  return explore(PROGRAMS[program], { off: guards, bounds: BOUNDS[program], promise })
}
