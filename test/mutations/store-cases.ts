import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { testDatabase } from '../../dev/postgres/test-database.ts'
import type { StoreFixture } from '../../shared/ports/store.suite.ts'
import { storeCases } from '../../shared/ports/store-cases.suite.ts'
import { databaseControls } from '../engine/database-controls.ts'
import { postgresStores } from '../engine/sql-stores.ts'

/** The port suite of the Store over the direct connection: the same cases as in `npm test`, without HTTP in between. */
let fixture: StoreFixture

beforeAll(async () => {
  const database = await testDatabase()
  const owner = new pg.Pool({ connectionString: database.url('postgres'), max: 2 })
  owner.on('error', () => {})
  const stores = await postgresStores(database)
  fixture = {
    ...stores,
    ...databaseControls(async (text, values) => (await owner.query(text, values)).rows),
    async close() {
      await stores.close()
      await owner.end()
      await database.drop()
    },
  }
})
afterEach(async () => {
  for (let n = 0; n < 50; n++) {
    if ((await fixture.step.sweepDue({ limit: 200 })).publications.length === 0) break
  }
  expect(await fixture.violations()).toEqual([])
})
afterAll(() => fixture.close())
for (const [title, check] of storeCases) it(title, () => check(fixture))
