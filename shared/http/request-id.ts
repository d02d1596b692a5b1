import { randomUUID } from 'node:crypto'

const SANE = /^[\w.:-]{8,128}$/

/** The caller's own id when it can be trusted in a header and a log line, else a new one. */
export function requestIdOf(header: string | undefined): string {
  return header !== undefined && SANE.test(header) ? header : randomUUID()
}
