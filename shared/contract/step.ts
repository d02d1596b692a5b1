import * as z from 'zod'

/** Highest step number that is taken for one: far above any limit of a run, far below what overflows an integer. */
const MAX_STEP_NUMBER = 1_000_000

/** What QStash carries: which step is due, and nothing else. Everything besides is read from the row. */
export const stepMessage = z.strictObject({
  run_id: z.uuid(),
  step_number: z.int().min(0).max(MAX_STEP_NUMBER),
})

/**
 * Whether a signed message is of a shape that code after this one may have given it: fields that are not known here. It is handed back,
 * not thrown away; what has only known fields and yet no sense is poison.
 */
export function isNewerMessage(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.keys(value).some((key) => !Object.hasOwn(stepMessage.shape, key))
  )
}

/** Path of the job routes: `/agent/step/job/{run_id}/{step_number}/…`. */
export const jobPath = z.object({
  run_id: z.uuid(),
  step_number: z
    .string()
    .regex(/^\d{1,7}$/)
    .transform(Number),
})
