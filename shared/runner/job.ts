import type { Confinement } from './confinement.ts'

/**
 * What a runner is told: one JSON line on stdin or, in a pod, in RUNNER_JOB. Elsewhere never in argv or the environment, which /proc
 * shows to others; in a pod nobody else sees the runner's /proc.
 */
export interface RunnerJob {
  door_url: string
  run_id: string
  step_number: number
  token: string
  /** ISO 8601: by then the result is in or nobody waits for it any more. */
  deadline_at: string
  confinement: Confinement
  /** Directory for the job's own fresh directory; must exist. */
  work_root: string
  /** The end of stdin means that the starter died: stop everything. Off where stdin is a file (a Secret in a pod). */
  lifeline: boolean
}

const CONFINEMENTS: readonly string[] = ['bubblewrap', 'namespaces', 'none', 'pod'] satisfies Confinement[]

/** Throws an Error that names the bad field; never shows a value, the token is among them. */
export function parseJob(line: string): RunnerJob {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new Error('the job is not one line of JSON')
  }
  if (typeof value !== 'object' || value === null) throw new Error('the job is not an object')
  const job = value as Record<string, unknown>
  const text = (field: keyof RunnerJob): string => {
    const found = job[field]
    if (typeof found !== 'string' || found === '') throw new Error(`the job has no ${field}`)
    return found
  }
  const confinement = text('confinement')
  if (!CONFINEMENTS.includes(confinement)) throw new Error('the job has an unknown confinement')
  const stepNumber = job.step_number
  if (typeof stepNumber !== 'number' || !Number.isSafeInteger(stepNumber) || stepNumber < 0) {
    throw new Error('the job has no step_number')
  }
  if (!/^https?:$/.test(URL.parse(text('door_url'))?.protocol ?? ''))
    throw new Error('the job has no http door_url')
  if (!Number.isFinite(Date.parse(text('deadline_at')))) throw new Error('the job has no deadline_at')
  return {
    door_url: text('door_url'),
    run_id: text('run_id'),
    step_number: stepNumber,
    token: text('token'),
    deadline_at: text('deadline_at'),
    confinement: confinement as Confinement,
    work_root: text('work_root'),
    lifeline: job.lifeline === true,
  }
}
