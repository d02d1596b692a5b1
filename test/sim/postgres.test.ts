import { expect, it } from 'vitest'
import { supabaseStore } from '../engine/supabase-store.ts'
import { replay } from './replay.ts'
import type { CarriedOut } from './sim-store.ts'
import { runWorld } from './world.ts'

const SEEDS = process.env['TEST_FULL'] === '1' ? 12 : 4

// The twin that the simulation runs on is only worth what it shares with Postgres.
it.each(Array.from({ length: SEEDS }, (_, n) => n + 1))(
  'every call of world %i has the same answer from Postgres',
  async (seed) => {
    const calls: CarriedOut[] = []
    const world = await runWorld(BigInt(seed), { record: (call) => calls.push(call) })
    expect(world.violations).toEqual([])
    const store = await supabaseStore()
    try {
      expect(await replay(store, calls)).toEqual([])
      expect(await store.violations()).toEqual([])
    } finally {
      await store.close()
    }
  },
  120_000,
)
