import type pg from 'pg'
import { createFrontStore } from '../../shared/adapters/postgres/front-store.ts'
import { createStepStore } from '../../shared/adapters/postgres/step-store.ts'
import { advanceRun } from '../../shared/engine/advance-run.ts'
import type { Bench } from '../bench.ts'
import { chain, runOf } from '../chain.ts'
import { openDatabase } from '../database.ts'
import type { CaseReport } from '../report.ts'

const STEPS = 40
const SHOWN = 14

interface Line extends pg.QueryResultRow {
  query: string
  ms: number
  calls: number
}

/** Which statements a step of a burst runs inside Postgres, by time, from pg_stat_statements with what is nested. */
export async function profile({ quick }: Bench): Promise<CaseReport> {
  const database = await openDatabase('pg_stat_statements')
  try {
    await database.sql('create extension pg_stat_statements')
    await database.sql(`alter system set pg_stat_statements.track = 'all'`)
    await database.sql(`alter system set pg_stat_statements.track_planning = on`)
    await database.sql('select pg_reload_conf()')
    const front = createFrontStore({ url: database.logins.api, timeoutMs: 10_000, applicationName: 'bench' })
    const store = createStepStore({ url: database.logins.step, timeoutMs: 10_000, applicationName: 'bench' })
    const deps = chain({
      store,
      scheduler: { publish: async () => {} },
      textBytes: 200,
      burst: { steps: STEPS, ms: 60_000 },
    })
    const take = async () => {
      const { run } = await front.createRun(runOf(STEPS))
      await advanceRun(deps, { run_id: run.id, step_number: 0 })
    }
    await take()
    await database.sql('select pg_stat_statements_reset()')
    const runs = quick ? 3 : 15
    for (let n = 0; n < runs; n++) await take()
    const lines = await database.sql<Line>(
      `select left(regexp_replace(query, '\\s+', ' ', 'g'), 110) as query,
         (total_plan_time + total_exec_time) / $1::float8 as ms, calls / $1::float8 as calls
       from pg_stat_statements where query !~ 'pg_stat|agent_create_run' order by 2 desc limit $2`,
      [runs * STEPS, SHOWN],
    )
    await Promise.all([front.close(), store.close()])
    const rows = lines.map(
      ({ query, ms, calls }) =>
        `| ${ms.toFixed(3)} | ${calls.toFixed(1)} | \`${query.replaceAll('|', '\\|')}\` |`,
    )
    return {
      rows: [],
      notes: [
        `Statements of a burst, ms a step in Postgres (nested ones are part of those that run them; the libraries that measure cost time of their own):\n\n| ms | calls | statement |\n| --- | --- | --- |\n${rows.join('\n')}`,
      ],
    }
  } finally {
    await database.close()
  }
}
