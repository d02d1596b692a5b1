import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['{shared,functions,dev,client,test,knative}/**/*.test.ts'],
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
