import { createClient } from '@supabase/supabase-js'
import { execute } from './call.ts'
import { recordingFetch } from './exchange.ts'
import type { Case, Installation, Member, World } from './installation.ts'

export interface Result {
  name: string
  /** Undefined: it holds. */
  fault?: string
  /** What the installation lacks for it. */
  skipped?: string
}

/** Most cases wait for the network; a deployed installation should still not be stormed. */
const AT_ONCE = 6

export function worldOf(installation: Installation): World {
  const recorded = recordingFetch(installation.exchanges)
  return {
    ...installation,
    fetch: recorded,
    supabase: ({ token }) =>
      createClient(installation.functionsBase, installation.anonKey, {
        accessToken: async () => token,
        // One URL for all functions: where each stands alone it is asked where it is.
        global: { fetch: (input, init) => recorded(elsewhere(installation, String(input)), init ?? {}) },
      }),
  }
}

/** Runs every case on an installation, each to its end whatever the others do. */
export async function runCases(
  world: World,
  cases: readonly Case[],
  onResult: (result: Result) => void = () => {},
): Promise<Result[]> {
  const results: Result[] = []
  const left = [...cases]
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const result = await runCase(world, next)
      results.push(result)
      onResult(result)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return results
}

async function runCase(world: World, { name, needs = [], run }: Case): Promise<Result> {
  const missing = needs.filter((feature) => !world.features.has(feature))
  if (missing.length > 0) return { name, skipped: missing.join(', ') }
  const made = new Map<string, Member>()
  try {
    await run({ ...world, made })
    return { name }
  } catch (error) {
    return { name, fault: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  } finally {
    if (world.hooks === null) await removeRuns({ ...world, made })
  }
}

function elsewhere({ baseOf }: Installation, url: string): string {
  const { pathname, search } = new URL(url)
  return baseOf(pathname) + pathname + search
}

/** A deployed installation is left as it was, and its users have only so many runs open at once. */
export async function removeRuns(world: World): Promise<void> {
  const kept = new Set(
    await Promise.allSettled(world.fixtures.values()).then((all) =>
      all.map((one) => (one.status === 'fulfilled' ? one.value : '')),
    ),
  )
  for (const [run_id, as] of world.made) {
    if (kept.has(run_id)) continue
    await execute(world, { action: 'stop', run_id }, { as }).catch(() => {})
    await execute(world, { action: 'delete', run_id }, { as }).catch(() => {})
    world.removed.add(run_id)
  }
}
