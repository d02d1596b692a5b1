import { isFinal, type RunStatus } from './run.ts'

/** What an estimate needs to know of a run at some moment. */
export interface Standing {
  status: RunStatus
  /** From 1; 0 before the first. */
  current_phase: number
  /** 0 without a plan. */
  total_phases: number
  /** Steps that ended, well or badly. */
  finished_steps: number
}

/** The first part is planning; the last percent belongs to `completed` alone. */
const PLANNED = 10
const NEARLY = 99
/** With so many finished steps half of a phase counts as done: nobody knows how many a phase will take. */
const HALF_STEPS = 6

/**
 * How far a run is, 0..100, an integer. 100 only when completed. It never falls while a run advances: phases count fully, steps
 * fill the current phase without ever reaching its end.
 */
export function progressOf({ status, current_phase, total_phases, finished_steps }: Standing): number {
  if (status === 'completed') return 100
  if (total_phases === 0) return unplanned(status, finished_steps)
  const before = Math.min(total_phases, Math.max(1, current_phase)) - 1
  const within = finished_steps / (finished_steps + HALF_STEPS)
  return Math.min(NEARLY, Math.floor(PLANNED + (100 - PLANNED) * ((before + within) / total_phases)))
}

function unplanned(status: RunStatus, finishedSteps: number): number {
  const idle = status === 'created' || status === 'queued' || isFinal(status)
  if (idle && finishedSteps === 0) return 0
  return Math.min(PLANNED - 1, 5 + finishedSteps)
}
