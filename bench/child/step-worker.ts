// The step function's own app with its signature check and either store, and the twins of bench/chain.ts around it.

import { stepApp } from '../../functions/step/routes.ts'
import { createStepStore as overPostgres } from '../../shared/adapters/postgres/step-store.ts'
import { createSignatureVerifier } from '../../shared/adapters/qstash/signature.ts'
import { createStepStore as overSupabase } from '../../shared/adapters/supabase/step-store.ts'
import { testConfig } from '../../shared/config/test-config.ts'
import { serve } from '../../shared/http/serve.ts'
import { chain } from '../chain.ts'
import { publish } from './publish.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as {
  databaseUrl: string
  supabase?: { url: string; anonKey: string; roleToken: string }
  dispatcher: string
  publicBaseUrl: string
  signingKey: string
}
const store =
  options.supabase === undefined
    ? overPostgres({ url: options.databaseUrl, timeoutMs: 10_000, applicationName: 'bench' })
    : overSupabase({ ...options.supabase, timeoutMs: 10_000 })
const deps = chain({
  store,
  scheduler: {
    publish: async (publications) => {
      for (const { run_id, step_number } of publications)
        await publish(options.dispatcher, { run_id, step_number })
    },
  },
  textBytes: 200,
})
const config = testConfig('step', {
  PUBLIC_BASE_URL: options.publicBaseUrl,
  QSTASH_CURRENT_SIGNING_KEY: options.signingKey,
  QSTASH_NEXT_SIGNING_KEY: 'sig_next',
  ANTHROPIC_API_KEY: 'none',
  SANDBOX_URL: 'http://127.0.0.1:9',
  SANDBOX_TOKEN: 'none',
  AGENT_SECRET: 'a'.repeat(32),
  SWEEP_SECRET: 's'.repeat(32),
})
const verifier = createSignatureVerifier({ currentKey: options.signingKey, nextKey: 'sig_next' })
const { port } = await serve(stepApp(config, deps, verifier), {
  port: 0,
  host: '127.0.0.1',
  log: undefined,
  shutdownSeconds: 1,
  onDrain: () => {},
  onClosed: async () => {},
})
process.send?.({ port })
process.on('disconnect', () => process.exit())
