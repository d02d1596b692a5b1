import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const ROOT = resolve(import.meta.dirname, '../..')
const { values, positionals } = parseArgs({
  options: { help: { type: 'boolean', short: 'h', default: false } },
  allowPositionals: true,
})
if (values.help) {
  console.log(`npm run test:cluster [-- NAME …]   tests on the cluster that KUBECONFIG names; NAME: only files whose name holds it

The cluster needs Knative Serving, Gateway API and an enforcer of network policies; its namespaces agents and agents-sandbox are
emptied. The local stack (Postgres, Auth, Storage, Redis, QStash, model) runs on this machine. Where they are:
  CLUSTER_TOOLS         folder with the programs load IMAGE.tar and expose PORT (default ../shared/cluster)
  CLUSTER_HOST          this machine as pods reach it (default 10.90.0.1)
  CLUSTER_PUBLIC_URL    the gateway as this machine reaches it (default http://localhost:8080)
  CLUSTER_OVERLAY       (default knative/overlays/test)
  CLUSTER_LOCAL_GATEWAY NAMESPACE/SERVICE of Knative's cluster-local gateway (default ingress/local)
  CLUSTER_BASE_IMAGE    Debian 12 to build the images on (default dev.local/debian-base:12)
  CLUSTER_IMAGE_TAG     images with this tag are on the cluster already: they are neither built nor loaded
How much of a figure is taken:
  CLUSTER_COLD_ROUNDS   cold requests of each function (default 10)
  CLUSTER_TOOL_STEPS, CLUSTER_TOOL_SECONDS   the run whose tools sleep (default 20 of 30 s)
  CLUSTER_IDLE_SECONDS  idle time with a waiting run (default 90; an hour is 3600)
  CLUSTER_ROLLOUT_RUNS  runs that are live while a revision rolls out (default 20)
For scripts:
  CLUSTER_FAILED_FILE   file that gets the name of each test file that failed, a line each`)
  process.exit(0)
}
if (!process.env['KUBECONFIG']) {
  console.log('test:cluster skipped: KUBECONFIG names no cluster')
  process.exit(0)
}
/** Vitest's report, and from it a line for each file that failed: for whoever repeats those. */
const failedFile = process.env['CLUSTER_FAILED_FILE']
const report = failedFile === undefined ? undefined : `${failedFile}.json`

function writeFailed(path: string): void {
  if (failedFile === undefined || !existsSync(path)) return
  const { testResults } = JSON.parse(readFileSync(path, 'utf8')) as {
    testResults: { name: string; status: string }[]
  }
  const failed = testResults
    .filter(({ status }) => status !== 'passed')
    .map(({ name }) => relative(ROOT, name))
  writeFileSync(failedFile, failed.map((name) => `${name}\n`).join(''))
  rmSync(path)
}

const child = spawn(
  process.execPath,
  [
    join(ROOT, 'node_modules/vitest/vitest.mjs'),
    'run',
    ...(report === undefined ? [] : ['--reporter=verbose', '--reporter=json', `--outputFile=${report}`]),
    '--config',
    join(import.meta.dirname, 'vitest.config.ts'),
    ...positionals,
  ],
  { cwd: ROOT, stdio: 'inherit' },
)
child.on('exit', (code) => {
  process.exitCode = code ?? 1
  if (report !== undefined) writeFailed(report)
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
