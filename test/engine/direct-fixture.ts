import pg from 'pg'
import { type TestDatabase, testDatabase } from '../../dev/postgres/test-database.ts'
import { databaseControls } from './database-controls.ts'
import { postgresStores } from './sql-stores.ts'

/** Both stores over the direct connection to a database of its own, and the owner of migrations beside them: no HTTP in between. */
export async function directFixture() {
  const database = await testDatabase()
  const owner = new pg.Pool({ connectionString: database.url('postgres'), max: 2 })
  owner.on('error', () => {})
  const sql = async (text: string, values?: unknown[]) => (await owner.query(text, values)).rows
  const stores = await postgresStores(database)
  return {
    ...stores,
    ...databaseControls(sql),
    database,
    sql,
    async close(closing?: Parameters<TestDatabase['drop']>[0]) {
      await stores.close()
      await owner.end()
      await database.drop(closing)
    },
  }
}
export type DirectFixture = Awaited<ReturnType<typeof directFixture>>
