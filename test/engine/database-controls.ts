import { readFileSync } from 'node:fs'
import type { StoreFixture } from '../../shared/ports/store.suite.ts'
import { advanceDatabase } from './advance-database.ts'

const INVARIANTS = readFileSync(new URL('../../supabase/invariants.sql', import.meta.url), 'utf8')

type Sql = (text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>

/** What the port suite does to a real database besides calling its stores. `sql` runs as `postgres`, the owner of migrations. */
export function databaseControls(
  sql: Sql,
): Pick<StoreFixture, 'advance' | 'violations' | 'sweep' | 'switchOff'> {
  return {
    advance: (seconds) => advanceDatabase(sql, seconds),
    violations: async () => (await sql(INVARIANTS)) as never,
    async sweep() {
      const [row] = await sql(`select public.agent_sweep('{}') as swept`)
      return row?.['swept'] as { ended: number; settled: number; due: number }
    },
    async switchOff({ tenant_id, tool_name }) {
      const [row] = await sql(
        `insert into private.switches (tenant_id, tool_name, reason) values ($1, $2, 'test') returning id`,
        [tenant_id, tool_name],
      )
      return async () => {
        await sql('delete from private.switches where id = $1', [row?.['id']])
      }
    },
  }
}
