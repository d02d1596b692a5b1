import { configDefaults, defineConfig } from 'vitest/config'

/** Proofs of the step protocol: minutes of computing each. `npm run test:proofs` runs them, `npm test` everything else. */
const PROOFS = 'test/{model,sim,crash}/**/*.test.ts'
const ALL = '{shared,functions,dev,client,test,knative}/**/*.test.ts'
const tier = process.env['TEST_TIER']

export default defineConfig({
  test: {
    include: [tier === 'proofs' ? PROOFS : ALL],
    exclude: [...configDefaults.exclude, ...(tier === 'quick' ? [PROOFS] : [])],
    globalSetup: ['test/postgres.setup.ts'],
    // Files share a process: isolation costs a second a file and buys nothing where no module keeps state.
    pool: 'threads',
    // Most tests wait for processes and timers: twice the cores halves the time.
    maxWorkers: 4,
    isolate: false,
    // Processes, timers and a browser share two cores: what fails twice in a row is not the machine's fault.
    retry: process.env['CI'] === 'true' ? 1 : 0,
    // No test depends on speed: these only end what hangs, also on a slow machine with other work to do.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
    reporters: ['default'],
  },
})
