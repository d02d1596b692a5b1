import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postgresBinaries } from './binaries.ts'
import { createProject } from './create-project.ts'
import { MigrationError, migrate } from './migrate.ts'
import { postgresOsUser } from './os-user.ts'
import { isRunning } from './postmaster.ts'
import { type Postgres, startPostgres } from './start-postgres.ts'
import { type TestDatabase, testDatabase } from './test-database.ts'

async function query<Row extends pg.QueryResultRow>(url: string, text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Row>(text)).rows
  } finally {
    await client.end()
  }
}

describe('the server', () => {
  let dir: string
  let running: Postgres | undefined
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'agent-functions-pg-'))
  })
  afterAll(async () => {
    await running?.remove()
    await rm(dir, { recursive: true, force: true })
  })

  it('keeps its data between starts', async () => {
    running = await startPostgres({ dir, fsync: false })
    await query(running.superuserUrl, 'create table kept as select 1 as n')
    await running.stop()
    await running.stop()
    expect(isRunning(running.pid)).toBe(false)
    running = await startPostgres({ dir, fsync: false })
    expect(await query(running.superuserUrl, 'select n from kept')).toEqual([{ n: 1 }])
  })

  it('wants the password, and listens on loopback only', async () => {
    const url = new URL(running?.superuserUrl ?? '')
    url.password = 'wrong'
    await expect(query(url.href, 'select 1')).rejects.toThrow(/password authentication failed/)
    const [row] = await query<{ listen_addresses: string }>(
      running?.superuserUrl ?? '',
      'show listen_addresses',
    )
    expect(row?.listen_addresses).toBe('127.0.0.1')
  })

  it('refuses a directory that a living process uses', async () => {
    // The check is by process, so the second starter is another one.
    const script = `import { startPostgres } from ${JSON.stringify(join(import.meta.dirname, 'start-postgres.ts'))}
      await startPostgres({ dir: ${JSON.stringify(dir)} }).catch((error) => { console.log(error.message) })`
    expect(await runNode(script)).toMatch(/in use by process \d+: stop that one first/)
  })

  it('survives a crash: SIGKILL of the server, and a lock file whose process id is now another program', async () => {
    process.kill(running?.pid ?? 0, 'SIGKILL')
    running = await startPostgres({ dir, fsync: false })
    expect(await query(running.superuserUrl, 'select n from kept')).toEqual([{ n: 1 }])
  })

  it('stops the server that a killed parent left behind', async () => {
    await running?.stop()
    const script = `import { startPostgres } from ${JSON.stringify(join(import.meta.dirname, 'start-postgres.ts'))}
      const server = await startPostgres({ dir: ${JSON.stringify(dir)}, fsync: false })
      console.log(server.pid); process.kill(process.pid, 'SIGKILL')`
    const left = Number(await runNode(script))
    expect(isRunning(left)).toBe(true)
    const lines: string[] = []
    running = await startPostgres({ dir, fsync: false, log: (line) => lines.push(line) })
    expect(lines[0]).toMatch(/left behind/)
    expect(isRunning(left)).toBe(false)
    expect(await query(running.superuserUrl, 'select n from kept')).toEqual([{ n: 1 }])
  })

  it('says which port is in use', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const address = other.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    const home = await mkdtemp(join(tmpdir(), 'agent-functions-pg-'))
    await expect(startPostgres({ dir: home, port, fsync: false })).rejects.toThrow(`Port ${port} is in use`)
    other.close()
    const free = await startPostgres({ dir: home, fsync: false })
    await free.remove()
    await rm(home, { recursive: true, force: true })
  })

  it('finds its programs when several processes look at once', async () => {
    const found = await Promise.all([1, 2, 3].map(() => postgresBinaries(postgresOsUser())))
    expect(new Set(found.map((one) => one.postgres)).size).toBe(1)
  })
})

function runNode(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    child.on('error', reject)
    child.on('close', () => resolve(output.trim()))
  })
}

describe('a project', () => {
  let database: TestDatabase
  const owner = (text: string) => query(database.url('postgres'), text)
  beforeAll(async () => {
    database = await testDatabase('project')
  })
  afterAll(() => database.drop())

  it('has the roles of a hosted one', async () => {
    const rows = await owner(
      `select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcanlogin, rolinherit from pg_roles
       where rolname in ('postgres', 'anon', 'authenticated', 'service_role', 'authenticator') order by 1`,
    )
    expect(rows.map((row) => Object.values(row))).toEqual([
      ['anon', false, false, false, false, false],
      ['authenticated', false, false, false, false, false],
      ['authenticator', false, false, false, true, false],
      ['postgres', false, true, true, true, true],
      ['service_role', false, true, false, false, false],
    ])
  })

  it('grants new objects of postgres in public, as hosted', async () => {
    await owner(
      'create table public.made (id serial); create function public.f() returns int language sql as $$ select 1 $$',
    )
    const [row] = await owner(`select has_table_privilege('anon', 'public.made', 'insert') as t,
      has_sequence_privilege('authenticated', 'public.made_id_seq', 'usage') as s,
      has_function_privilege('service_role', 'public.f()', 'execute') as f`)
    expect(row).toEqual({ t: true, s: true, f: true })
  })

  it('lets postgres write policies and grants on storage, but not alter it', async () => {
    await owner('create policy p on storage.objects to authenticated using (true)')
    await owner(
      'create role storage_test_role; grant select on storage.objects to storage_test_role; grant usage on schema storage to storage_test_role',
    )
    await expect(owner('alter table storage.objects add column x int')).rejects.toThrow('must be owner of')
    await expect(owner('drop table storage.objects')).rejects.toThrow('must be owner of')
    await owner(
      'revoke all on storage.objects from storage_test_role; revoke usage on schema storage from storage_test_role; drop role storage_test_role',
    )
  })

  it('lets postgres make roles for authenticator, add to the publication and refer to auth.users', async () => {
    await owner(`do $$ begin create role agent_test nologin; exception when duplicate_object then null; end $$;
      grant agent_test to authenticator;
      create table public.refers (user_id uuid references auth.users);
      alter publication supabase_realtime add table public.refers;
      create schema private;`)
    await expect(owner('create table auth.mine (id int)')).rejects.toThrow(/permission denied/)
    await expect(owner('create role boss superuser')).rejects.toThrow(/permission denied/)
    expect(await query(database.url('authenticator'), 'set role agent_test')).toEqual([])
  })

  it('is made again at every start without harm', async () => {
    const home = await mkdtemp(join(tmpdir(), 'agent-functions-pg-'))
    const server = await startPostgres({ dir: home, fsync: false })
    await Promise.all([createProject(server, 'one'), createProject(server, 'two')])
    await createProject(server, 'one')
    expect(await query(server.url('postgres', 'one'), 'select auth.uid() as uid')).toEqual([{ uid: null }])
    await server.remove()
    await rm(home, { recursive: true, force: true })
  })
})

describe('migrations', () => {
  let dir: string
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'agent-functions-migrations-'))
    await writeFile(
      join(dir, '20260101000001_first.sql'),
      `do $$ begin if not exists (select from pg_roles where rolname = 'migration_role') then create role migration_role nologin; end if; end $$;
       grant migration_role to authenticator; create table public.first (id int); set search_path = '';`,
    )
    await writeFile(
      join(dir, '20260101000002_second.sql'),
      'create table public.second as select * from first;',
    )
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))

  it('apply once, in order, also in several databases of one cluster at the same time', async () => {
    const databases = await Promise.all([1, 2, 3].map(() => testDatabase('project')))
    const urls = databases.map((database) => database.url('postgres'))
    const applied = await Promise.all(urls.map((url) => migrate(url, dir)))
    expect(applied).toEqual(urls.map(() => ['20260101000001', '20260101000002']))
    expect(await migrate(urls[0] ?? '', dir)).toEqual([])
    const rows = await query(
      urls[0] ?? '',
      'select version, name from supabase_migrations.schema_migrations order by 1',
    )
    expect(rows).toEqual([
      { version: '20260101000001', name: 'first' },
      { version: '20260101000002', name: 'second' },
    ])
    await Promise.all(databases.map((database) => database.drop()))
  })

  it('name the file and the line of a fault, and leave nothing of that file', async () => {
    const database = await testDatabase('project')
    const broken = join(dir, 'broken')
    await mkdir(broken)
    await writeFile(
      join(broken, '1_bad.sql'),
      'create table public.half (id int);\n\nselect nonsense\nfrom nowhere;\n',
    )
    const error = await migrate(database.url('postgres'), broken).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(MigrationError)
    expect(error).toMatchObject({
      line: 4,
      message: expect.stringContaining('1_bad.sql:4: relation "nowhere" does not exist (42P01)'),
    })
    expect(await query(database.url('postgres'), "select to_regclass('public.half') as half")).toEqual([
      { half: null },
    ])
    await database.drop()
    expect(await readFile(join(broken, '1_bad.sql'), 'utf8')).toContain('half')
  })
})
