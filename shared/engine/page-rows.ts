import type { EventPage, StoredEvent } from '../ports/store.ts'

/** Rows of a first page, and of one after big rows: a page is in memory for as long as its reader takes. */
export const SMALL_PAGE_ROWS = 20
const MOST_PAGE_ROWS = 160
/** A page this small may be followed by one of twice the rows, a bigger one by a small one. */
const SMALL_PAGE_CHARACTERS = 128 * 1024

/** How many rows to ask for after a page: many small ones take few round trips, big ones little memory. */
export function nextPageRows(rows: number, { events, has_more }: EventPage): number {
  if (!has_more) return SMALL_PAGE_ROWS
  const characters = events.reduce((sum, event) => sum + sizeOf(event), 0)
  return characters <= SMALL_PAGE_CHARACTERS ? Math.min(MOST_PAGE_ROWS, rows * 2) : SMALL_PAGE_ROWS
}

/** About: of a row the texts that can be long. */
function sizeOf({ log, step, message }: StoredEvent): number {
  const output = step?.tool_output
  const texts = [log.message, message?.content, step?.output_text, ...(output ? Object.values(output) : [])]
  return texts.reduce<number>((sum, text) => sum + (typeof text === 'string' ? text.length : 0), 200)
}
