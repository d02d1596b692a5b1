import { type Operation, operations } from '../../shared/contract/operations.ts'
import type { Exchange } from './exchange.ts'
import { openDoors, PROVOKED, provoke, refusalsOf, succeed } from './provoke.ts'

/** One request that was to be answered with a status. */
export interface Provoked {
  operation: Operation
  path: string
  /** Null: that of success. */
  wanted: number | null
  /** Whether the document names it for this operation. */
  documented: boolean
  exchange: Exchange | null
  /** Why there is no answer. */
  fault: string | null
}

/** Asks every operation at every path for what it is for, and for every refusal, documented there or not. */
export async function provokeEverything(): Promise<Provoked[]> {
  const doors = await openDoors()
  try {
    return await Promise.all(
      operations.flatMap((operation) => {
        const documented = refusalsOf(operation)
        const wanted = new Set([...documented, ...PROVOKED])
        return operation.paths.flatMap((path) => [
          settled({ operation, path, wanted: null, documented: true }, succeed(doors, operation, path)),
          ...[...wanted].map((status) =>
            settled(
              { operation, path, wanted: status, documented: documented.includes(status) },
              provoke(doors, operation, path, status),
            ),
          ),
        ])
      }),
    )
  } finally {
    await doors.close()
  }
}

async function settled(
  what: Omit<Provoked, 'exchange' | 'fault'>,
  exchange: Promise<Exchange>,
): Promise<Provoked> {
  try {
    return { ...what, exchange: await exchange, fault: null }
  } catch (error) {
    return { ...what, exchange: null, fault: String(error) }
  }
}
