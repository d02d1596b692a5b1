import { defineConfig } from 'vitest/config'

/** Tests on the cluster that KUBECONFIG names (npm run test:cluster). One after the other: they share it, and the machine. */
export default defineConfig({
  test: {
    root: '.',
    include: ['test/cluster/*.cluster.ts'],
    globalSetup: ['test/cluster/setup.ts'],
    pool: 'threads',
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 300_000,
    // As in npm test: what fails twice in a row is not the machine's fault.
    retry: process.env['CI'] === 'true' ? 1 : 0,
    reporters: ['verbose'],
  },
})
