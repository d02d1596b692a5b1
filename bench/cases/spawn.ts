import { type ChildProcess, spawn as spawnProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@supabase/supabase-js'
import { buildFunctions } from '../../dev/build.ts'
import { freePort } from '../../dev/free-port.ts'
import { functionEnv } from '../../dev/function-env.ts'
import { signDelivery } from '../../dev/qstash/sign.ts'
import { createFrontStore } from '../../shared/adapters/postgres/front-store.ts'
import { TARGETS, type Target } from '../../shared/config/settings.ts'
import type { Bench } from '../bench.ts'
import { PLAN, runOf } from '../chain.ts'
import { residentMiB, startChild } from '../child-process.ts'
import type { Database } from '../database.ts'
import { startProvider } from '../provider.ts'
import { type CaseReport, ratioText } from '../report.ts'
import { bootstrap, type Interval, median } from '../statistics.ts'

const TARGET = 1.6
const PUBLIC_BASE_URL = 'http://agent.example'
const SIGNING_KEY = 'sig_bench'
const RETRY_MS = 2
const GIVE_UP_MS = 20_000
/** After its answer a process is left alone for so long before its memory is looked at. */
const SETTLE_MS = 250
const FLOOR_EVERY = 4

interface Start {
  ms: number
  mib: number
}

/** One process to be started and asked; `ask` answers when its first answer came (Unix ms), undefined to be asked again. */
interface Program {
  file: string
  env: Record<string, string>
  ask(origin: string): Promise<number | undefined>
}

/** From spawn to the first authenticated answer, for step to its first claim; and memory when idle. Both stores, in turns with the floor. */
export async function spawn(bench: Bench): Promise<CaseReport> {
  const database = await bench.database()
  const dir = await mkdtemp(join(tmpdir(), 'agent-functions-bench-spawn-'))
  const { outDir } = await buildFunctions({ root: bench.root })
  const floorDir = join(dir, 'floor')
  await buildFunctions({
    root: bench.root,
    outDir: floorDir,
    entries: [{ name: 'bare', source: 'bench/child/bare.ts' }],
    sources: ['bench/child'],
  })
  const redisToken = randomUUID()
  const faces = await startChild('faces', {
    databaseUrls: Object.fromEntries(
      ['authenticator', 'supabase_auth_admin', 'supabase_storage_admin'].map((role) => [
        role,
        database.url(role),
      ]),
    ),
    dir,
    redisToken,
  })
  const provider = await startProvider(PLAN, 1)
  const front = createFrontStore({ url: database.logins.api, timeoutMs: 10_000, applicationName: 'bench' })
  try {
    const origin = `http://127.0.0.1:${faces.port}`
    const supabase = createClient(origin, faces.said.anonKey ?? '', { auth: { persistSession: false } })
    const { data, error } = await supabase.auth.signUp({
      email: 'bench@example.com',
      password: 'correct horse',
    })
    if (error !== null || data.session === null || data.user === null) throw error ?? new Error('no session')
    const token = data.session.access_token
    const issuer = faces.said.issuer ?? ''
    const owned = runOf(2, data.user.id)
    const { run } = await front.createRun({ ...owned, principal: { ...owned.principal, issuer } })
    const environment = (target: Target, store: 'supabase' | 'postgres') => ({
      ...functionEnv(
        target,
        {
          SUPABASE_URL: origin,
          SUPABASE_ANON_KEY: faces.said.anonKey ?? '',
          SUPABASE_ROLE_TOKEN: (target === 'step' ? faces.said.stepToken : faces.said.apiToken) ?? '',
          STORE: store,
          DATABASE_URL: target === 'step' ? database.logins.step : database.logins.api,
          PUBLIC_BASE_URL,
          QSTASH_URL: `${origin}/qstash`,
          QSTASH_TOKEN: 'bench',
          QSTASH_CURRENT_SIGNING_KEY: SIGNING_KEY,
          QSTASH_NEXT_SIGNING_KEY: 'sig_next',
          UPSTASH_REDIS_REST_URL: `${origin}/redis`,
          UPSTASH_REDIS_REST_TOKEN: redisToken,
          TRUSTED_ISSUERS: JSON.stringify([
            {
              issuer,
              jwks_url: `${issuer}/.well-known/jwks.json`,
              user_id: 'sub',
              project_url: origin,
              project_key: faces.said.anonKey,
            },
          ]),
          ALLOWED_ORIGINS: '*',
          SANDBOX_URL: 'http://127.0.0.1:9',
          SANDBOX_TOKEN: 'bench',
          AGENT_SECRET: 'a'.repeat(32),
          SWEEP_SECRET: 's'.repeat(32),
          ANTHROPIC_API_KEY: 'bench',
          ANTHROPIC_BASE_URL: provider.url,
          LOG_LEVEL: 'warn',
        },
        {},
      ),
      NODE_COMPILE_CACHE: join(dir, 'compile-cache'),
    })
    const asUser = (path: string, body?: unknown) => async (at: string) => {
      const answer = await fetch(`${at}${path}`, {
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
      })
      await answer.arrayBuffer()
      if (answer.status !== 200) throw new Error(`${path} answered ${answer.status}`)
      return Date.now()
    }
    const ask = {
      execute: asUser('/agent/runs'),
      status: asUser('/agent/status', { run_id: run.id }),
      logs: asUser(`/agent/logs?run_id=${run.id}`),
      step: claimer(database, front),
    }
    const programs = new Map<string, Program>()
    for (const store of ['supabase', 'postgres'] as const)
      for (const target of TARGETS)
        programs.set(`${target}, ${store}`, {
          file: join(outDir, `${target}.mjs`),
          env: environment(target, store),
          ask: ask[target],
        })
    const floor: Program = {
      file: join(floorDir, 'bare.mjs'),
      env: { DATABASE_URL: database.logins.step, NODE_COMPILE_CACHE: join(dir, 'compile-cache') },
      ask: asUser('/'),
    }
    return report(await rounds(bench.quick ? 2 : 20, floor, programs))
  } finally {
    await faces.stop()
    await provider.close()
    await front.close()
    await rm(dir, { recursive: true, force: true })
  }
}

/** A new run's first step by a signed message; when the database gave it out. What follows the claim (the model) is not counted. */
function claimer(database: Database, front: ReturnType<typeof createFrontStore>): Program['ask'] {
  let prepared: { body: string; signature: string; id: string } | undefined
  return async (at) => {
    if (prepared === undefined) {
      const { run } = await front.createRun(runOf(1))
      const body = JSON.stringify({ run_id: run.id, step_number: 0 })
      const signature = await signDelivery({
        key: SIGNING_KEY,
        url: `${PUBLIC_BASE_URL}/agent/step`,
        body: new TextEncoder().encode(body),
        nowMs: Date.now(),
      })
      prepared = { body, signature, id: run.id }
    }
    const { body, signature, id } = prepared
    const answer = await fetch(`${at}/agent/step`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'upstash-signature': signature },
      body,
    })
    await answer.arrayBuffer()
    if (answer.status !== 200) throw new Error(`the step answered ${answer.status}`)
    prepared = undefined
    const [row] = await database.sql<{ at: number }>(
      'select extract(epoch from started_at)::float8 * 1000 as at from public.agent_steps where run_id = $1 and step_number = 0',
      [id],
    )
    return row?.at
  }
}

async function rounds(
  count: number,
  floor: Program,
  programs: ReadonlyMap<string, Program>,
): Promise<Map<string, { ours: Start; floor: Start }[]>> {
  const pairs = new Map<string, { ours: Start; floor: Start }[]>(
    [...programs.keys()].map((name) => [name, []]),
  )
  // Twice before, so that every compile cache is filled: a container image has it, and so has the local stack after its first start.
  for (let round = -2; round < count; round++) {
    // One start of the floor before and one in the middle: each program is compared with the one nearest to it.
    let theirs: Start | undefined
    let index = 0
    const names = [...programs.keys()]
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      if (index++ % FLOOR_EVERY === 0) theirs = await start(floor)
      const program = programs.get(name)
      if (program === undefined || theirs === undefined) throw new Error(`there is no program ${name}`)
      const ours = await start(program)
      if (round >= 0) pairs.get(name)?.push({ ours, floor: theirs })
    }
  }
  return pairs
}

async function start({ file, env, ask }: Program): Promise<Start> {
  const port = await freePort()
  // What has to be made for the question is made before the clock starts.
  if (env.QSTASH_CURRENT_SIGNING_KEY !== undefined) await ask('http://127.0.0.1:9').catch(() => undefined)
  const spawned = Date.now()
  const child = spawnProcess(process.execPath, [file], {
    env: { ...env, PORT: String(port), HOST: '127.0.0.1' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  try {
    const answered = await firstAnswer(child, ask, `http://127.0.0.1:${port}`)
    await sleep(SETTLE_MS)
    return { ms: answered - spawned, mib: residentMiB(child.pid ?? 0) }
  } finally {
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await gone
  }
}

async function firstAnswer(child: ChildProcess, ask: Program['ask'], origin: string): Promise<number> {
  const until = Date.now() + GIVE_UP_MS
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the process ended with ${child.exitCode}`)
    try {
      const answered = await ask(origin)
      if (answered !== undefined) return answered
    } catch (error) {
      // Not listening yet; anything else is told.
      if (!(error instanceof TypeError)) throw error
    }
    if (Date.now() > until) throw new Error('the process did not answer')
    await sleep(RETRY_MS)
  }
}

function report(pairs: ReadonlyMap<string, readonly { ours: Start; floor: Start }[]>): CaseReport {
  const rows = [...pairs].flatMap(([name, starts]) => {
    const ratio = (key: 'ms' | 'mib'): Interval =>
      bootstrap(starts.map(({ ours, floor }) => ours[key] / floor[key]))
    const middle = (side: 'ours' | 'floor', key: 'ms' | 'mib') =>
      Math.round(median(starts.map((pair) => pair[side][key])))
    const [target = '', store = ''] = name.split(', ')
    const first = target === 'step' ? 'its first claimed step' : 'its first authenticated answer'
    const row = (what: string, key: 'ms' | 'mib', unit: string) => ({
      what: `${target} (\`${store}\` store): ${what}`,
      target: `≤ ${TARGET} × a bare server`,
      result: `${ratioText(ratio(key))}: ${middle('ours', key)} ${unit}, bare ${middle('floor', key)} ${unit}`,
      reached: ratio(key).high <= TARGET,
    })
    return [row(`spawn → ${first}`, 'ms', 'ms'), row('idle memory after it', 'mib', 'MiB')]
  })
  return {
    rows,
    notes: [
      'Bundles of `npm run build`, compile cache warm on both sides. The bare server is hono with one function call over `pg`, bundled alike. execute, status and logs verify an ES256 token, for which they fetch the issuer’s keys first; step verifies a signature, and its memory is that after a whole model step, with the SDKs of the model and of QStash loaded.',
    ],
  }
}
