import type { StoredObject } from '../ports/store.ts'
import type { StepDeps } from './step-deps.ts'

/** Removes bytes that nothing refers to any more. What cannot be removed now is handed out again by a later sweep. */
export async function removeObjects(
  { objects, log }: Pick<StepDeps, 'objects' | 'log'>,
  listed: readonly StoredObject[],
): Promise<void> {
  if (listed.length === 0 || objects === undefined) return
  try {
    const gone = await objects.remove(listed)
    if (gone.length > 0) await objects.confirm(gone)
  } catch (err) {
    log.warn({ count: listed.length, err }, 'objects not removed')
  }
}
