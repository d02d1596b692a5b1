import { readFileSync } from 'node:fs'
import { createFrontStore } from '../../shared/adapters/postgres/front-store.ts'
import { createStepStore } from '../../shared/adapters/postgres/step-store.ts'
import { advanceRun } from '../../shared/engine/advance-run.ts'
import type { StepStore } from '../../shared/ports/store.ts'
import type { Bench } from '../bench.ts'
import { chain, runOf } from '../chain.ts'
import { threadCpuMs } from '../child-process.ts'
import { type Database, openDatabase } from '../database.ts'
import type { CaseReport, Row } from '../report.ts'
import { median } from '../statistics.ts'

const POSITIONS = [10, 100, 1000, 10_000] as const
/** Of each position: as many of both kinds. A multiple of the 40 steps that lengthen.sql copies. */
const STEPS = 40
const TEXT_BYTES = 2000
const WITHIN = 1.1
const LENGTHEN = readFileSync(new URL('../lengthen.sql', import.meta.url), 'utf8')

/** Steps of each run before those that are measured. Even, so that kinds stay in turn. */
const WARM_UP = 4

/** What one call of the store cost the database. */
interface Call {
  kind: 'model' | 'tool'
  name: 'claim' | 'commit'
  buffers: number
  walBytes: number
  cpuMs: number
}

interface Position {
  position: number
  calls: Call[]
  /** Rows inserted, changed and deleted, a step. */
  rows: number
}

/** One run at step 10, 100, 1,000 and 10,000: what the database does for a step. */
export async function flat({ quick }: Bench): Promise<CaseReport> {
  const database = await openDatabase('pg_stat_statements')
  try {
    await database.sql('create extension pg_stat_statements')
    await database.sql(LENGTHEN)
    // Whole pages after a checkpoint depend on when that was, and on how many pages an index of random ids has.
    await database.sql('alter system set full_page_writes = off')
    await database.sql('select pg_reload_conf()')
    const front = createFrontStore({ url: database.logins.api, timeoutMs: 10_000, applicationName: 'bench' })
    const positions = quick ? POSITIONS.slice(0, 3) : POSITIONS
    const runs: RunAt[] = []
    // The longest first: the tables are then about as large for the first step that is measured as for the last.
    for (const position of positions.toReversed()) {
      const { run } = await front.createRun(runOf(99_999))
      runs.unshift({ id: run.id, position, next: 0 })
    }
    await front.close()
    const prepare = opened(database)
    for (const run of runs.toReversed()) {
      // lengthen.sql copies the last 40 steps
      while (run.next < Math.min(Math.max(run.position, 10), 50)) await prepare.step(run)
      if (run.position <= 50) continue
      await database.sql('select floor.lengthen($1, $2)', [run.id, run.position])
      run.next = run.position
    }
    await prepare.close()
    await database.sql('vacuum analyze')
    return report(await measure(database, runs))
  } finally {
    await database.close()
  }
}

interface RunAt {
  id: string
  position: number
  /** Number of the open step. */
  next: number
}

/** All runs in turns, one step each, over one connection: a machine that slows down does so for every position. */
async function measure(database: Database, runs: readonly RunAt[]): Promise<Position[]> {
  const store = opened(database)
  // A new connection plans its statements first.
  for (let n = 0; n < WARM_UP; n++) for (const run of runs) await store.step(run)
  const positions = new Map<RunAt, Position>()
  for (const run of runs) positions.set(run, { position: run.position, calls: [], rows: 0 })
  for (let n = 0; n < STEPS; n++)
    for (const run of runs) positions.get(run)?.calls.push(...(await store.step(run)))
  await store.close()
  for (const [run, position] of positions) {
    const counted = opened(database)
    const before = await rowsWritten(database)
    for (let n = 0; n < WARM_UP; n++) await counted.step(run)
    await counted.close()
    position.rows = ((await rowsWritten(database)) - before) / WARM_UP
  }
  return [...positions.values()]
}

/** A store on a connection of its own that takes steps of runs one by one. */
function opened(database: Database) {
  const store = createStepStore({ url: database.logins.step, timeoutMs: 30_000, applicationName: 'bench' })
  const calls: Call[] = []
  const deps = chain({
    store: watched(database, store, calls),
    scheduler: { publish: async () => {} },
    textBytes: TEXT_BYTES,
  })
  return {
    async step(run: RunAt): Promise<Call[]> {
      calls.length = 0
      const advance = await advanceRun(deps, { run_id: run.id, step_number: run.next })
      if (advance.outcome !== 'committed') throw new Error(`step ${run.next}: ${advance.outcome}`)
      run.next += 1
      return [...calls]
    },
    async close(): Promise<void> {
      await store.close()
      await new Promise((resolve) => setTimeout(resolve, 300)) // an ended backend has told all it counted
    },
  }
}

async function rowsWritten(database: Database): Promise<number> {
  const [row] = await database.sql<{ rows: string }>(
    'select sum(n_tup_ins + n_tup_upd + n_tup_del) as rows from pg_stat_user_tables',
  )
  return Number(row?.rows)
}

/** A store whose claims and commits are counted, one by one. */
function watched(database: Database, store: StepStore, calls: Call[]): StepStore {
  let kind: Call['kind'] = 'model'
  let pid: number | undefined
  const cost = async <T>(name: Call['name'], call: () => Promise<T>): Promise<T> => {
    if (pid === undefined) await store.ready() // the connection is there
    pid ??= (
      await database.sql<{ pid: number }>(
        `select pid from pg_stat_activity where usename = 'agent_step_bench' limit 1`,
      )
    )[0]?.pid
    if (pid === undefined) throw new Error('the store has no backend')
    await database.sql('select pg_stat_statements_reset()')
    const started = threadCpuMs(pid)
    const answer = await call()
    const cpuMs = threadCpuMs(pid) - started
    const [row] = await database.sql<{ buffers: string; wal_bytes: string }>(
      `select shared_blks_hit + shared_blks_read as buffers, wal_bytes from pg_stat_statements
       where query like '%agent_' || $1 || '_step%'`,
      [name],
    )
    if (row === undefined) throw new Error(`pg_stat_statements has no ${name}`)
    calls.push({ kind, name, buffers: Number(row.buffers), walBytes: Number(row.wal_bytes), cpuMs })
    return answer
  }
  return {
    ...store,
    async claimStep(input) {
      const answer = await cost('claim', () => store.claimStep(input))
      if (!('claim' in answer)) throw new Error(`no claim: ${answer.refused}`)
      kind = answer.claim.step.kind
      const last = calls.at(-1)
      if (last !== undefined) last.kind = kind
      return answer
    },
    commitStep: (input) => cost('commit', () => store.commitStep(input)),
  }
}

const NUMBERS = ['buffers', 'walBytes', 'cpuMs'] as const

function report(measured: readonly Position[]): CaseReport {
  // Model steps of the first position read a short conversation: what a prompt needs is looked at apart from the engine's own work.
  const own = (call: Call) => call.kind === 'tool' || call.name === 'commit'
  const typical = ({ calls }: Position, number: (typeof NUMBERS)[number], kept: (call: Call) => boolean) => {
    const groups = (['model', 'tool'] as const).flatMap((kind) =>
      (['claim', 'commit'] as const).map((name) =>
        calls
          .filter((call) => call.kind === kind && call.name === name && kept(call))
          .map((call) => call[number]),
      ),
    )
    // the sum over one step of each kind
    return groups.reduce((sum, values) => sum + (values.length === 0 ? 0 : median(values)), 0)
  }
  const series = (values: readonly number[], digits: number) =>
    values.map((value) => value.toFixed(digits)).join(' : ')
  const spread = (values: readonly number[]) =>
    Math.max(...values.map((value) => value / (values[0] ?? Number.NaN)))
  const line = (what: string, values: readonly number[], digits = 0): Row => ({
    what: `flat cost: ${what} at step ${measured.map(({ position }) => position).join(' : ')}`,
    target: 'within 10 %',
    result: `${series(values, digits)}, most ${((spread(values) - 1) * 100).toFixed(1)} % over the first`,
    reached: spread(values) <= WITHIN,
  })
  const prompt = (call: Call) => call.kind === 'model' && call.name === 'claim'
  return {
    rows: [
      line(
        'rows written a step',
        measured.map(({ rows }) => rows),
        1,
      ),
      line(
        'buffers of a model and a tool step',
        measured.map((at) => typical(at, 'buffers', own)),
      ),
      line(
        'WAL bytes of a model and a tool step',
        measured.map((at) => typical(at, 'walBytes', own)),
      ),
      line(
        'CPU ms of a model and a tool step',
        measured.map((at) => typical(at, 'cpuMs', own)),
        2,
      ),
    ],
    notes: [
      `One run with ${TEXT_BYTES} bytes of text a message; medians of ${STEPS} steps at each position, four runs in turns over one connection, their claims and commits as pg_stat_statements and the kernel count them. The run is made longer by copying its own rows (lengthen.sql), without full page writes. The claim of a model step also reads the prompt, which grows with the conversation until its limit (400 messages or 400 KB) and then stays: buffers ${series(
        measured.map((at) => typical(at, 'buffers', prompt)),
        0,
      )}, CPU ms ${series(
        measured.map((at) => typical(at, 'cpuMs', prompt)),
        2,
      )}; it is left out of the rows above.`,
    ],
  }
}
