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
    /** Somebody else's transaction that has rows locked, until what it returns is called. */
    async holding(text: string, values: unknown[] = []): Promise<() => Promise<void>> {
      const client = new pg.Client({ connectionString: database.url('postgres') })
      client.on('error', () => {})
      await client.connect()
      await client.query('begin')
      await client.query(text, values)
      return () => client.end()
    },
    /** When the step will be published, in tens of seconds from now. */
    async publishedIn(run: string, step: number): Promise<unknown> {
      const [row] = await sql(
        `select round(extract(epoch from publish_at - clock_timestamp()) / 10)::int * 10 as s from public.agent_task_queue where run_id = $1 and step_number = $2`,
        [run, step],
      )
      return row?.s
    },
    async close(closing?: Parameters<TestDatabase['drop']>[0]) {
      await stores.close()
      await owner.end()
      await database.drop(closing)
    },
  }
}
export type DirectFixture = Awaited<ReturnType<typeof directFixture>>
