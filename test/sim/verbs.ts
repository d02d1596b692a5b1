import { BULK_VERBS } from '../../shared/core/bulk-verbs.ts'

/** What users did and the store carried out. A report in which one of them did not succeed once has proved nothing about it. */
export const VERBS = [
  'create',
  'start',
  'cancel',
  'pause',
  'resume',
  'retry',
  'fork',
  'fork with a message',
  'retry of a step in place',
  'retry of a step by a fork',
  'delete',
  ...BULK_VERBS.map((verb) => `bulk ${verb}` as const),
] as const
export type Verb = (typeof VERBS)[number]
