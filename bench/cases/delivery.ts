import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createFrontStore } from '../../shared/adapters/postgres/front-store.ts'
import type { Bench } from '../bench.ts'
import { runOf } from '../chain.ts'
import { type Child, startChild } from '../child-process.ts'
import { type Cost, costOf, costText } from '../cost.ts'
import type { Database } from '../database.ts'
import { type Dispatcher, startDispatcher } from '../dispatcher.ts'
import { compare } from '../pairs.ts'
import { type CaseReport, ratioText } from '../report.ts'

const STEPS = 40
const TARGET = 1.3
const PUBLIC_BASE_URL = 'http://agent.example'
const SIGNING_KEY = 'sig_bench'

/** One step a message: a dispatcher delivers over HTTP to a worker process, which publishes the next message before it answers. */
export async function delivery(bench: Bench): Promise<CaseReport> {
  const database = await bench.database()
  const dir = await mkdtemp(join(tmpdir(), 'agent-functions-bench-faces-'))
  const dispatcher = await startDispatcher()
  const children: Child[] = []
  const child = async (name: string, args: Record<string, unknown>) => {
    const started = await startChild(name, args)
    children.push(started)
    return started
  }
  const front = createFrontStore({ url: database.logins.api, timeoutMs: 10_000, applicationName: 'bench' })
  try {
    const faces = await child('faces', {
      databaseUrls: Object.fromEntries(
        ['authenticator', 'supabase_auth_admin', 'supabase_storage_admin'].map((role) => [
          role,
          database.url(role),
        ]),
      ),
      dir,
      redisToken: randomUUID(),
    })
    const options = {
      databaseUrl: database.logins.step,
      dispatcher: dispatcher.url,
      publicBaseUrl: PUBLIC_BASE_URL,
      signingKey: SIGNING_KEY,
    }
    const supabase = {
      url: `http://127.0.0.1:${faces.port}`,
      anonKey: faces.said.anonKey,
      roleToken: faces.said.stepToken,
    }
    const follow = followers(dispatcher, database, front)
    const floor = await child('floor-worker', options)
    const direct = await child('step-worker', options)
    const rest = await child('step-worker', { ...options, supabase })
    const overPostgres = await compare(
      bench.pairs,
      () => follow.floor(floor),
      () => follow.step(direct),
    )
    const overRest = await compare(
      bench.pairs,
      () => follow.floor(floor),
      () => follow.step(rest),
    )
    await Promise.all([floor.stop(), direct.stop(), rest.stop()])

    const counted = async (
      start: () => Promise<Child>,
      run: (worker: Child) => Promise<unknown>,
      others: Record<string, number> = {},
    ): Promise<Cost> => {
      const worker = await start()
      const end = async () => {
        await worker.stop()
        // the backends of the third are the face's
        if (Object.keys(others).length > 0) await faces.stop()
      }
      await run(worker)
      const runs = bench.quick ? 3 : 15
      return await costOf(database, runs * STEPS, {
        processes: { worker: worker.pid, ...others },
        work: async () => {
          for (let n = 0; n < runs; n++) await run(worker)
        },
        end,
      })
    }
    const floorCost = await counted(() => child('floor-worker', options), follow.floor)
    const directCost = await counted(() => child('step-worker', options), follow.step)
    const restCost = await counted(() => child('step-worker', { ...options, supabase }), follow.step, {
      'PostgREST’s face': faces.pid,
    })
    return {
      rows: [
        {
          what: 'one step a message, `postgres` store: time a step against F2',
          target: `≤ ${TARGET} × F2`,
          result: `${ratioText(overPostgres.ratio)}: ${overPostgres.candidate.toFixed(2)} ms, F2 ${overPostgres.floor.toFixed(2)} ms`,
          reached: overPostgres.ratio.high <= TARGET,
        },
        {
          what: 'one step a message: WAL syncs a step',
          target: '≤ 2 (1 with a claim that does not wait)',
          result: `${directCost.walSyncs.toFixed(2)} (F2 ${floorCost.walSyncs.toFixed(2)})`,
          reached: directCost.walSyncs <= 2,
        },
        {
          what: 'the same through PostgREST’s face against F2',
          target: null,
          result: `${ratioText(overRest.ratio)}: ${overRest.candidate.toFixed(2)} ms, F2 ${overRest.floor.toFixed(2)} ms`,
          reached: null,
        },
      ],
      notes: [
        `Runs of ${STEPS} steps, one after the other; ${overPostgres.pairs} pairs each. The dispatcher (\`here\`) signs for the candidate, whose worker is the step function's own app. The face is our stand-in for PostgREST, in JavaScript: it opens a transaction and sets role and claims with two statements more, as PostgREST does.\n\n${[costText('F2', floorCost), costText('`postgres` store', directCost), costText('PostgREST’s face', restCost)].join('\n')}`,
      ],
    }
  } finally {
    await Promise.all(children.map((running) => running.stop()))
    await dispatcher.close()
    await front.close()
    await rm(dir, { recursive: true, force: true })
  }
}

function followers(dispatcher: Dispatcher, database: Database, front: ReturnType<typeof createFrontStore>) {
  const timed = async (work: () => Promise<void>) => {
    const started = performance.now()
    await work()
    return (performance.now() - started) / STEPS
  }
  return {
    async floor(worker: Child): Promise<number> {
      const id = randomUUID()
      await database.sql('insert into floor.runs (id) values ($1)', [id])
      return timed(() => dispatcher.follow(id, STEPS, { url: `http://127.0.0.1:${worker.port}/` }))
    },
    async step(worker: Child): Promise<number> {
      const { run } = await front.createRun(runOf(STEPS))
      const sign = { url: `${PUBLIC_BASE_URL}/agent/step`, key: SIGNING_KEY }
      return timed(() =>
        dispatcher.follow(run.id, STEPS, { url: `http://127.0.0.1:${worker.port}/agent/step`, sign }),
      )
    },
  }
}
