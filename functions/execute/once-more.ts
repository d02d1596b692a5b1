import { AppError } from '../../shared/core/errors.ts'

/**
 * A repeat that runs beside the first request of its key waits for it in the database, and is then told to try again (its transaction
 * began without the first one's run). This is that second try; with a key it cannot do anything twice.
 */
export async function onceMore<T>(hasKey: boolean, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!hasKey || !(error instanceof AppError) || error.code !== 'unavailable') throw error
    return await work()
  }
}
