import { parseArgs } from 'node:util'
import { MUTANTS } from './mutants.ts'
import { Report } from './report.ts'
import { runWorld } from './world.ts'

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '2000' },
    seed: { type: 'string', default: '1' },
    /** Prints the history of the first seed. */
    trace: { type: 'boolean', default: false },
    /** Takes one guard of the store away: the command then has to fail. */
    mutant: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(`npm run test:sim -- [--runs 2000] [--seed 1] [--trace] [--mutant NAME]
Simulated runs, one seed each, with every port simulated and faults of every kind. A seed replays exactly: --runs 1 --seed N.

  --trace         prints the history of the first seed
  --mutant NAME   takes a guard of the store away, and must fail: ${MUTANTS.join(', ')}`)
  process.exit(0)
}
const mutant = MUTANTS.find((name) => name === values.mutant)
if (values.mutant !== undefined && mutant === undefined) {
  console.error(`The mutants are: ${MUTANTS.join(', ')}`)
  process.exit(2)
}
const wanted = Number(values.runs)
const report = new Report()
const started = performance.now()
for (let seed = BigInt(values.seed); report.runs < wanted; seed += 1n) {
  const world = await runWorld(seed, { mutant, trace: values.trace ? console.log : undefined })
  report.add(world)
  if (values.trace) break
  if (world.violations.length > 0) console.error(`seed ${seed} broke: ${world.violations[0]?.what}`)
  if (report.broken.length > 50) break
}
console.log(report.text((performance.now() - started) / 1000))
// a few runs cannot meet every fault; from 2,000 on they do
const silent = wanted >= 2000 && mutant === undefined ? report.missing.length : 0
process.exitCode = report.broken.length > 0 || silent > 0 ? 1 : 0
