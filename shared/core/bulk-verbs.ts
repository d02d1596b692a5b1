/** Verbs that can be meant for all runs of a tag; the same list stands in SQL (private.bulk_runs). */
export const BULK_VERBS = ['stop', 'pause', 'resume', 'retry', 'delete'] as const
export type BulkVerb = (typeof BULK_VERBS)[number]
