import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { storeCases } from './store-cases.suite.ts'
import type { StoreFixture } from './store-fixture.suite.ts'

export type { StoreFixture } from './store-fixture.suite.ts'

/**
 * What every implementation of FrontStore and StepStore does. One fixture serves all cases: each works with users and runs of its
 * own and looks at no others, as cases leave runs behind.
 */
export function storeSuite(name: string, makeFixture: () => Promise<StoreFixture>): void {
  describe(`Store: ${name}`, () => {
    let fixture: StoreFixture
    beforeAll(async () => {
      fixture = await makeFixture()
    })
    afterEach(async () => {
      // the sweeper runs: after it nothing may be silent, however much time a case let pass
      for (let n = 0; n < 50; n++) {
        if ((await fixture.step.sweepDue({ limit: 200 })).publications.length === 0) break
      }
      expect(await fixture.violations()).toEqual([])
    })
    afterAll(() => fixture.close())
    for (const [title, check] of storeCases) test(title, () => check(fixture))
  })
}
