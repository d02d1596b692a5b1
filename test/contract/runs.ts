import assert from 'node:assert/strict'
import { setTimeout as wait } from 'node:timers/promises'
import { createClient } from '@supabase/supabase-js'
import { execute, type Loose, status } from './call.ts'
import { PATIENCE_MS } from './follow.ts'
import type { World } from './installation.ts'

/** Enough for a table and a chart, little enough for a model that is paid by the word. */
const CSV = `name,price\n${['alder', 'birch', 'cedar', 'elm', 'fir', 'hazel'].map((name, n) => `${name},${n + 1}`).join('\n')}\n`

export const SMALL_PROMPT = 'What is 6 times 7?'

/** A completed run that came with a file, used tools and made files; one for all installations over the same database. */
export function demoRun(world: World): Promise<string> {
  return fixture(world, 'demo', async () => {
    const storage = createClient(world.supabaseUrl, world.anonKey, {
      accessToken: async () => world.alice.token,
    }).storage
    const path = `${world.alice.id}/contract-${Date.now()}/prices.csv`
    const { error } = await storage.from('agent-inputs').upload(path, new Blob([CSV], { type: 'text/csv' }))
    assert.equal(error, null)
    const answer = await execute(world, {
      action: 'create',
      prompt: 'Which is the dearest in this file? Answer in a sentence, with a table as CSV.',
      attachments: [{ bucket: 'agent-inputs', path }],
      mode: 'data_analysis',
      tags: ['contract'],
    })
    assert.equal(answer.status, 201, answer.text)
    return untilFinal(world, answer.body.run_id, 'completed')
  })
}

function fixture(world: World, name: string, make: () => Promise<string>): Promise<string> {
  const made = world.fixtures.get(name) ?? make()
  world.fixtures.set(name, made)
  return made
}

/** Waits for a run's end by polling status. */
export async function untilFinal(world: World, run_id: string, wanted: string): Promise<string> {
  const end = Date.now() + PATIENCE_MS
  let last: Loose
  while (Date.now() < end) {
    const answer = await status(world, {
      run_id,
      include_steps: false,
      include_messages: false,
      include_artifacts: false,
      include_logs: false,
    })
    last = answer.body?.run
    if (last !== undefined && ['completed', 'failed', 'cancelled', 'timeout'].includes(last.status)) break
    await wait(250)
  }
  assert.equal(last?.status, wanted, `run ${run_id}: ${last?.error_code} ${last?.error_message}`)
  return run_id
}
