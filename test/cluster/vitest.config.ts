import { defineConfig } from 'vitest/config'

/** Suites on a real cluster: the one that KUBECONFIG names. They share it, so one file at a time. */
const isThere = (process.env['KUBECONFIG'] ?? '') !== ''
if (!isThere) process.stderr.write('KUBECONFIG is not set: the cluster suites are skipped\n')

export default defineConfig({
  test: {
    include: isThere ? ['test/cluster/*.cluster.ts'] : [],
    passWithNoTests: true,
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 180_000,
    reporters: ['default'],
  },
})
