import type { Box, Wrapped } from './box.ts'
import { wrapInBubblewrap } from './bubblewrap.ts'
import type { Confinement } from './confinement.ts'
import { wrapInNamespaces } from './namespaces.ts'
import { wrapUnconfined } from './unconfined.ts'

/** Throws an Error with a sentence when the confinement's programs are missing. */
export function confine(confinement: Confinement, box: Box): Wrapped {
  if (confinement === 'bubblewrap') return wrapInBubblewrap(box)
  if (confinement === 'namespaces') return wrapInNamespaces(box)
  if (confinement === 'pod') return wrapUnconfined(box, true)
  return wrapUnconfined(box)
}
