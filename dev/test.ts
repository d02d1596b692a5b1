import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import ansis from 'ansis'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const bin = (path: string) => join(ROOT, 'node_modules', path)

/** Checks that read the source only; they run side by side. */
const CHECKS: readonly { name: string; command: string[]; node?: boolean }[] = [
  { name: 'lint', command: [bin('.bin/biome'), 'check', '--error-on-warnings'] },
  { name: 'types', command: [bin('typescript/bin/tsc'), '--noEmit'], node: true },
  {
    name: 'import rule',
    command: [
      bin('dependency-cruiser/bin/dependency-cruise.mjs'),
      '--output-type',
      'err',
      'functions',
      'shared',
      'dev',
      'test',
      'bench',
      'client',
      'knative',
    ],
    node: true,
  },
  { name: 'unused code', command: [bin('knip/bin/knip.js')], node: true },
]

interface Ended {
  status: number
  output: string
  seconds: number
}

function run(command: readonly string[], { node = false, show = false } = {}): Promise<Ended> {
  const [program, ...args] = node
    ? [process.execPath, '--disable-warning=ExperimentalWarning', ...command]
    : command
  const started = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(program ?? '', args, {
      cwd: ROOT,
      stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
      env: { ...process.env, FORCE_COLOR: process.stdout.isTTY ? '1' : '0' },
    })
    let output = ''
    child.stdout?.on('data', (chunk) => {
      output += chunk
    })
    child.stderr?.on('data', (chunk) => {
      output += chunk
    })
    child.on('error', reject)
    child.on('exit', (code) =>
      resolve({ status: code ?? 1, output, seconds: (performance.now() - started) / 1000 }),
    )
  })
}

interface Report {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  numTodoTests: number
}

const { values, positionals } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    proofs: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
  allowPositionals: true,
})
if (values.help) {
  console.log(`npm test                lint, types, import rule, unused code, then every test but the proofs
npm test -- PATH …      only the tests whose file name holds one of these, proofs included
npm run test:proofs     the proofs of the step protocol: model, simulation, crash exploration, each a share of the whole
npm run test:full       everything, with all seeds of the random suites`)
  process.exit(0)
}

let failed = 0
const withChecks = positionals.length === 0 && !values.proofs
if (withChecks) {
  const checks = await Promise.all(
    CHECKS.map(async (check) => ({ ...check, ...(await run(check.command, check)) })),
  )
  for (const { name, status, output, seconds } of checks) {
    console.log(`${status === 0 ? ansis.green('✓') : ansis.red('✗')} ${name} (${seconds.toFixed(1)} s)`)
    if (status !== 0) {
      failed += 1
      console.log(output)
    }
  }
}

const dir = await mkdtemp(join(tmpdir(), 'agent-functions-report-'))
const report = join(dir, 'report.json')
try {
  if (values.full) process.env.TEST_FULL = '1'
  process.env.TEST_TIER = values.proofs ? 'proofs' : values.full || positionals.length > 0 ? 'all' : 'quick'
  const { status } = await run(
    [
      bin('vitest/vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile=${report}`,
      ...positionals,
    ],
    {
      node: true,
      show: true,
    },
  )
  const counts = await readFile(report, 'utf8').then(
    (text) => JSON.parse(text) as Report,
    () => undefined,
  )
  const checks = withChecks ? CHECKS.length : 0
  const passed = (counts?.numPassedTests ?? 0) + checks - failed
  const failures =
    (counts?.numFailedTests ?? 0) + failed + (status !== 0 && (counts?.numFailedTests ?? 0) === 0 ? 1 : 0)
  const skipped = (counts?.numPendingTests ?? 0) + (counts?.numTodoTests ?? 0)
  console.log(`\n${passed} passed, ${failures} failed, ${skipped} skipped`)
  process.exitCode = failures === 0 && passed > 0 ? 0 : 1
} finally {
  await rm(dir, { recursive: true, force: true })
}
