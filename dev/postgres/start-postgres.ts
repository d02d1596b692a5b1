import { type ChildProcess, spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { closeSync, existsSync, openSync } from 'node:fs'
import { chown, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type Binaries, postgresBinaries } from './binaries.ts'
import { type OsUser, postgresOsUser } from './os-user.ts'
import { type Place, preparePlace } from './place.ts'
import { stopLeftover, stopPostmaster, takeOwnership } from './postmaster.ts'

/** Name of the bootstrap superuser, as on hosted Supabase; `postgres` is a narrower role there (see bootstrap-cluster). */
export const SUPERUSER = 'supabase_admin'

export interface PostgresOptions {
  /** Kept between starts: data, log, password secret. */
  dir: string
  /** Default 0: any free one. */
  port?: number
  /** Default true. False for tests only: a crash of the machine may then lose the cluster. */
  fsync?: boolean
  log?: (line: string) => void
}

/** A running development Postgres that listens on 127.0.0.1 only, with password login. Not for production. */
export interface Postgres {
  port: number
  pid: number
  /** URL of the superuser (`supabase_admin`) on the maintenance database `postgres`. */
  superuserUrl: string
  /** URL of a login role on a database (default `postgres`). */
  url(role: string, database?: string): string
  /** Password of a role: HMAC of the directory's secret, so that nothing but the secret has to be kept. */
  password(role: string): string
  /** For tests: stops it at once, as a crash does (SIGQUIT), and starts it again on the same port and data. `pid` is a new one then. */
  crash(): Promise<void>
  /** Fast shutdown. May be called twice. */
  stop(): Promise<void>
  /** Stops and deletes the data, wherever it lies: the next start begins empty. */
  remove(): Promise<void>
}

// Crash recovery of a development database takes seconds; a minute means that something is wrong.
const READY_SECONDS = 60
const PORT_ATTEMPTS = 5
// Each takes 15 ms and more: time enough for a server that cannot have the port to end.
const MAX_REFUSALS = 40
const HOME_FILES = ['initialised', 'postgres.log', 'owner', 'secret']

/** @throws Error with one sentence that says what to do: no disk space, port in use, directory in use, no account. */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const log = options.log ?? (() => {})
  const user = postgresOsUser()
  const place = await preparePlace(options.dir, user)
  const owner = join(place.home, 'owner')
  await takeOwnership(owner)
  try {
    const leftover = await stopLeftover(place.data)
    if (leftover === 'stopped') log('stopped a Postgres that an earlier run had left behind')
    const binaries = await postgresBinaries(user)
    await initialise(binaries, place, user)
    const running = await launch(binaries, place, user, options)
    log(`Postgres 17 on 127.0.0.1:${running.port}, data in ${place.data}`)
    const again = () => launch(binaries, place, user, { ...options, port: running.port })
    return handle(running, place, owner, again)
  } catch (error) {
    await rm(owner, { force: true })
    throw error
  }
}

function handle(started: Running, place: Place, owner: string, again: () => Promise<Running>): Postgres {
  let running = started
  const password = (role: string) => rolePassword(place, role)
  const url = (role: string, database = 'postgres') =>
    `postgres://${encodeURIComponent(role)}:${password(role)}@127.0.0.1:${running.port}/${encodeURIComponent(database)}`
  let stopping: Promise<void> | undefined
  const onExit = () => void running.child.kill('SIGINT')
  process.on('exit', onExit)
  const stop = () => {
    stopping ??= stopPostmaster(running.pid).then(async () => {
      process.off('exit', onExit)
      await rm(owner, { force: true })
    })
    return stopping
  }
  const crash = async () => {
    await stopPostmaster(running.pid, ['SIGQUIT', 'SIGKILL'])
    running = await again()
  }
  const remove = async () => {
    await stop()
    await rm(place.data, { recursive: true, force: true })
    for (const name of HOME_FILES) await rm(join(place.home, name), { force: true })
    // The directory asked for is the caller's; one below /var/tmp is ours and by now empty.
    await rmdir(place.home).catch(() => {})
  }
  return {
    port: running.port,
    get pid() {
      return running.pid
    },
    superuserUrl: url(SUPERUSER),
    url,
    password,
    crash,
    stop,
    remove,
  }
}

function rolePassword(place: Place, role: string): string {
  return createHmac('sha256', place.secret).update(`postgres role ${role}`).digest('hex')
}

async function initialise(binaries: Binaries, place: Place, user: OsUser | null): Promise<void> {
  const done = join(place.home, 'initialised')
  if (existsSync(done) && existsSync(join(place.data, 'PG_VERSION'))) return
  // No mark: an initdb that was cut short; initdb refuses a directory that is not empty.
  for (const name of await readdir(place.data))
    await rm(join(place.data, name), { recursive: true, force: true })
  const passwordFile = join(place.home, 'initdb-password')
  await writeFile(passwordFile, rolePassword(place, SUPERUSER), { mode: 0o600 })
  if (user !== null) await chown(passwordFile, user.uid, user.gid)
  try {
    const flags = ['--auth=scram-sha-256', '--encoding=UTF8', '--no-sync', `--username=${SUPERUSER}`]
    // The built-in provider sorts and folds the same on every machine, whatever locales it has.
    flags.push('--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8')
    const { code, output } = await run(
      binaries.initdb,
      [`--pgdata=${place.data}`, `--pwfile=${passwordFile}`, ...flags],
      user,
    )
    if (code !== 0) throw new Error(explain(output, 'Postgres could not make its data directory'))
  } finally {
    await rm(passwordFile, { force: true })
  }
  await writeFile(done, '')
}

function run(
  program: string,
  args: string[],
  user: OsUser | null,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...runAs(user), stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-8192)
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}

interface Running {
  child: ChildProcess
  pid: number
  port: number
}

async function launch(
  binaries: Binaries,
  place: Place,
  user: OsUser | null,
  options: PostgresOptions,
): Promise<Running> {
  for (let attempt = 1; ; attempt++) {
    const port = options.port !== undefined && options.port !== 0 ? options.port : await freePort()
    const result = await tryLaunch(binaries, place, user, port, options.fsync ?? true)
    if ('child' in result) return result
    const taken = /Address already in use|could not bind/.test(result.output)
    // Between choosing a free port and listening on it another program may take it.
    if (taken && (options.port ?? 0) === 0 && attempt < PORT_ATTEMPTS) continue
    // The dead server's last children may hold its shared memory for a moment.
    if (/shared memory block/.test(result.output) && attempt < PORT_ATTEMPTS) {
      await sleep(500)
      continue
    }
    if (taken)
      throw new Error(`Port ${port} is in use: stop the program that has it or choose another for Postgres.`)
    throw new Error(explain(result.output, 'Postgres did not start'))
  }
}

async function tryLaunch(
  binaries: Binaries,
  place: Place,
  user: OsUser | null,
  port: number,
  fsync: boolean,
): Promise<Running | { output: string }> {
  const logFile = join(place.home, 'postgres.log')
  const fd = openSync(logFile, 'w')
  // Detached: Ctrl-C in a terminal must reach the stack alone, which then stops the database last.
  const child = spawn(binaries.postgres, ['-D', place.data, ...settings(port, fsync)], {
    ...runAs(user),
    stdio: ['ignore', fd, fd],
    detached: true,
  })
  closeSync(fd)
  let ended = false
  child.on('exit', () => (ended = true))
  child.on('error', () => (ended = true))
  const deadline = Date.now() + READY_SECONDS * 1000
  let refusals = 0
  while (!ended && child.pid !== undefined && Date.now() < deadline && refusals < MAX_REFUSALS) {
    const answer = await ask(port, rolePassword(place, SUPERUSER))
    if (answer === 'ready') {
      child.unref()
      return { child, pid: child.pid, port }
    }
    if (answer === 'refused') refusals++
    await sleep(15)
  }
  if (!ended && child.pid !== undefined) await stopPostmaster(child.pid)
  if (refusals >= MAX_REFUSALS) {
    return {
      output: `error: the password in ${place.home}/secret is not that of the data beside it: remove both`,
    }
  }
  return { output: await readFile(logFile, 'utf8') }
}

function settings(port: number, fsync: boolean): string[] {
  const unsafe = fsync
    ? {}
    : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', autovacuum: 'off' }
  const values = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    max_connections: '200',
    shared_buffers: '64MB',
    max_wal_size: '128MB',
    timezone: 'UTC',
    log_timezone: 'UTC',
    // Statements and their values may hold secrets and prompts: the log names failures of the server only (`log` ranks above `error`).
    log_min_messages: 'log',
    log_min_error_statement: 'panic',
    ...unsafe,
  }
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

/** `refused`: a Postgres is there but knows another password. (Perhaps not ours: ours may just be failing to bind.) */
async function ask(port: number, password: string): Promise<'ready' | 'refused' | 'away'> {
  // Whatever else may listen on the port need not speak at all.
  const connectionTimeoutMillis = 2000
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: SUPERUSER,
    password,
    database: 'postgres',
    connectionTimeoutMillis,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    return 'ready'
  } catch (error) {
    return error instanceof pg.DatabaseError && error.code === '28P01' ? 'refused' : 'away'
  } finally {
    await client.end().catch(() => {})
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0))
    })
  })
}

function runAs(user: OsUser | null) {
  const env = { PATH: process.env.PATH, LANG: 'C', LC_ALL: 'C', TZ: 'UTC' }
  return user === null ? { env, cwd: '/' } : { env, cwd: '/', uid: user.uid, gid: user.gid }
}

function explain(output: string, what: string): string {
  if (/No space left on device/i.test(output))
    return `${what}: the disk is full; free some space and start again.`
  const line = output
    .split('\n')
    .filter((text) => /error|fatal|could not|cannot/i.test(text))
    .slice(-2)
    .join(' ')
  return `${what}: ${line || output.trim().slice(-400) || 'it said nothing'}`
}
