import { afterAll, beforeAll, expect, it } from 'vitest'
import { testProject } from '../../dev/supabase/test-project.ts'
import { type Bench, openBench } from './bench.ts'
import { explore } from './explore.ts'
import { kindsWithoutStrike } from './report.ts'
import { SCENARIOS } from './scenarios.ts'

const full = process.env['TEST_FULL'] === '1'
/** Between them they make most port calls; `npm run test:crash` plays all. */
const SHARE = ['a job with a file', 'a question to the user']
let benches: Bench[]

beforeAll(async () => {
  const projects = await Promise.all([1, 2].map(() => testProject('', { template: 'migrated' })))
  benches = await Promise.all(projects.map(openBench))
})
afterAll(() => Promise.all(benches.map((bench) => bench.close())))

it('a run ends as it should, whichever of its port calls kills, freezes or lies', async () => {
  const scenarios = full ? SCENARIOS : SCENARIOS.filter(({ name }) => SHARE.includes(name))
  const findings = await explore(benches, { scenarios, alternate: !full, pairs: full ? 300 : 20, seed: 1 })
  expect(findings.violations).toEqual([])
  expect(kindsWithoutStrike(findings)).toEqual([])
}, 600_000)
