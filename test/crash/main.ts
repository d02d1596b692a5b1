import { parseArgs } from 'node:util'
import { openBench } from './bench.ts'
import { explore } from './explore.ts'
import { ownProjects } from './own-project.ts'
import { crashReport, kindsWithoutStrike } from './report.ts'
import { SCENARIOS } from './scenarios.ts'

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '500' },
    seed: { type: 'string', default: '1' },
    benches: { type: 'string', default: '4' },
    scenario: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(`npm run test:crash -- [--pairs 500] [--seed 1] [--benches 4] [--scenario TEXT]
Kills, freezes and lies at every port call of every scenario, on a Postgres of its own.`)
  process.exit(0)
}

const started = performance.now()
const scenarios = SCENARIOS.filter(({ name }) => name.includes(values.scenario ?? ''))
const pairs = Number(values.pairs)
const seed = Number(values.seed)
const { projects, close } = await ownProjects(Number(values.benches))
const benches = await Promise.all(projects.map(openBench))
try {
  const findings = await explore(benches, { scenarios, pairs, seed })
  console.log(crashReport(findings, { seed, pairs, seconds: (performance.now() - started) / 1000 }))
  const missing = kindsWithoutStrike(findings)
  if (missing.length > 0) console.log(`never struck: ${missing.join(', ')}`)
  process.exitCode = findings.violations.length === 0 && missing.length === 0 && scenarios.length > 0 ? 0 : 1
} finally {
  await Promise.all(benches.map((bench) => bench.close()))
  await close()
}
