import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { storeCases } from '../../shared/ports/store-cases.suite.ts'
import { type DirectFixture, directFixture } from '../engine/direct-fixture.ts'

/** The port suite of the Store over the direct connection: the same cases as in `npm test`, without HTTP in between. */
let fixture: DirectFixture

beforeAll(async () => {
  fixture = await directFixture()
})
afterEach(async () => {
  for (let n = 0; n < 50; n++) {
    if ((await fixture.step.sweepDue({ limit: 200 })).publications.length === 0) break
  }
  expect(await fixture.violations()).toEqual([])
})
afterAll(() => fixture.close())
for (const [title, check] of storeCases) it(title, () => check(fixture))
