import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['{shared,functions,dev,client,test}/**/*.test.ts'],
    globalSetup: ['test/postgres.setup.ts'],
    // Files share a process: isolation costs a second a file and buys nothing where no module keeps state.
    pool: 'threads',
    // Most tests wait for processes and timers: twice the cores halves the time.
    maxWorkers: 4,
    isolate: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ['default'],
  },
})
