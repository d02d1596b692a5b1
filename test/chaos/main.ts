import { parseArgs } from 'node:util'
import { chaosReport, failures } from './report.ts'
import { runChaos } from './run-chaos.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    'no-fsync': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(`npm run test:chaos -- [--minutes 5] [--seed 1] [--no-fsync]
The real services as processes over real Postgres, a nemesis, and a checker. The seed draws the faults, not their moments.`)
  process.exit(0)
}

const seed = Number(values.seed)
const chaos = await runChaos({
  seconds: Number(values.minutes) * 60,
  seed,
  fsync: !values['no-fsync'],
  log: (line) => console.error(line),
})
console.log(chaosReport(chaos, seed))
process.exit(failures(chaos).length === 0 ? 0 : 1)
