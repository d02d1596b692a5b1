import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestProject, testProject } from '../test-project.ts'

const SCHEMA = `
create table public.notes (id int primary key, body text, owner uuid);
insert into public.notes values (1, 'one', null), (2, 'two', null);
create function public.add(a int, b int default 10) returns int language sql immutable as 'select a + b';
create function public.hello(name text) returns text language sql stable as $$ select 'hello ' || name $$;
create function public.echo(value jsonb) returns jsonb language sql immutable as 'select value';
create function public.nothing() returns void language sql as $$ insert into public.notes values (100, 'void', null) $$;
create function public.all_notes() returns setof public.notes language sql stable as 'select * from public.notes order by id';
create function public.one_note(note_id int) returns public.notes language sql stable as 'select * from public.notes where id = note_id';
create function public.pairs() returns table (k text, n int) language sql stable as $$ values ('a', 1), ('b', 2) $$;
create function public.one_column() returns table (n int) language sql stable as 'values (1), (2)';
create function public.out_args(x int, out double int, out half numeric) language sql immutable as 'select x * 2, x / 2.0';
create function public.numbers() returns setof int language sql stable as 'values (1), (2)';
create function public.total(items int[]) returns int language sql immutable as 'select sum(i)::int from unnest(items) i';
create function public.over(a int) returns text language sql immutable as $$ select 'int' $$;
create function public.over(a int, b int) returns text language sql immutable as $$ select 'two' $$;
create function public.write_then_fail() returns void language plpgsql as $$
begin
  insert into public.notes values (200, 'lost', null);
  raise exception 'no' using errcode = 'PT409', detail = 'why', hint = 'idempotency_conflict';
end $$;
create function public.fail(state text) returns void language plpgsql as $$
begin
  raise exception 'message' using errcode = state, detail = 'detail', hint = 'hint';
end $$;
create function public.custom() returns void language plpgsql as $$
begin
  raise sqlstate 'PGRST' using message = '{"code":"X1","message":"m","details":"d","hint":"h"}', detail = '{"status":418,"headers":{"x-tea":"pot"}}';
end $$;
create function public.headers() returns text language sql as $$
  select set_config('response.headers', '[{"x-made":"here"}]', true), set_config('response.status', '202', true);
  select 'done'
$$;
create function public.slow() returns void language sql as 'select pg_sleep(10)';
create function public.who() returns jsonb language sql stable as $$
  select jsonb_build_object('role', current_user, 'uid', auth.uid(), 'claim', auth.jwt() ->> 'role', 'email', auth.email(),
    'method', current_setting('request.method', true), 'path', current_setting('request.path', true),
    'header', current_setting('request.headers', true)::json ->> 'x-mine',
    'timeout', current_setting('statement_timeout'))
$$;
do $$ begin create role rest_test_agent nologin; exception when duplicate_object then null; end $$;
grant rest_test_agent to authenticator;
grant usage on schema public to rest_test_agent;
alter role rest_test_agent set statement_timeout = '1234ms';
create function public.role_and_timeout() returns jsonb language sql stable as $$
  select jsonb_build_object('role', current_user, 'timeout', current_setting('statement_timeout'))
$$;
create function public.secret() returns int language sql as 'select 1';
revoke execute on function public.secret() from public, anon, authenticated;
create function public.make_note(note_id int, body text) returns public.notes language sql as 'insert into public.notes values (note_id, body, null) returning *';
`

let project: TestProject
beforeAll(async () => {
  project = await testProject(SCHEMA)
})
afterAll(() => project.close())

const rpc = (name: string, args?: object, options?: object) => project.client().rpc(name, args, options)

describe('calls', () => {
  it('answer scalars, JSON, tables, composites and nothing', async () => {
    expect((await rpc('add', { a: 1 })).data).toBe(11)
    expect((await rpc('add', { a: 1, b: 2 })).data).toBe(3)
    expect((await rpc('hello', { name: 'Zoë "x"' })).data).toBe('hello Zoë "x"')
    expect((await rpc('numbers')).data).toEqual([1, 2])
    expect((await rpc('pairs')).data).toEqual([
      { k: 'a', n: 1 },
      { k: 'b', n: 2 },
    ])
    expect((await rpc('one_column')).data).toEqual([{ n: 1 }, { n: 2 }])
    expect((await rpc('out_args', { x: 3 })).data).toEqual({ double: 6, half: 1.5 })
    expect((await rpc('one_note', { note_id: 2 })).data).toEqual({ id: 2, body: 'two', owner: null })
    expect((await rpc('total', { items: [1, 2, 3] })).data).toBe(6)
    expect(await rpc('nothing')).toMatchObject({ status: 204, data: null, error: null })
    expect(await project.sql('select body from public.notes where id = 100')).toEqual([{ body: 'void' }])
  })

  it.each([[{ a: [1, { b: null }] }], ['text'], [null], [12.5], [[1]], [true]])(
    'give JSON back as it was: %j',
    async (value) => {
      expect((await rpc('echo', { value })).data).toEqual(value)
    },
  )

  it('take filters, select, order and single on what they answer', async () => {
    expect((await rpc('all_notes').select('body').eq('id', 2)).data).toEqual([{ body: 'two' }])
    expect((await rpc('all_notes').order('id', { ascending: false }).limit(1).single()).data).toMatchObject({
      id: 100,
    })
    expect(await rpc('pairs', {}, { count: 'exact' }).gt('n', 1)).toMatchObject({
      data: [{ k: 'b', n: 2 }],
      count: 1,
    })
  })

  it('by GET, read-only', async () => {
    expect((await rpc('add', { a: 5 }, { get: true })).data).toBe(15)
    expect((await rpc('total', { items: [4, 5] }, { get: true })).data).toBe(9)
    expect(await rpc('make_note', { note_id: 7, body: 'x' }, { get: true })).toMatchObject({
      status: 405,
      error: { code: '25006' },
    })
    expect((await rpc('make_note', { note_id: 7, body: 'x' })).data).toMatchObject({ id: 7 })
  })

  it('choose among overloads by the names of arguments', async () => {
    expect((await rpc('over', { a: 1 })).data).toBe('int')
    expect((await rpc('over', { a: 1, b: 2 })).data).toBe('two')
    expect(await rpc('over', { c: 1 })).toMatchObject({
      status: 404,
      error: { code: 'PGRST202', message: 'Could not find the function public.over(c) in the schema cache' },
    })
    expect(await rpc('absent')).toMatchObject({ status: 404, error: { code: 'PGRST202' } })
  })

  it('roll back all they did when they fail', async () => {
    expect(await rpc('write_then_fail')).toMatchObject({
      status: 409,
      error: { code: 'PT409', message: 'no', details: 'why', hint: 'idempotency_conflict' },
    })
    expect(await project.sql('select from public.notes where id = 200')).toEqual([])
  })

  it.each([
    ['P0001', 400],
    ['PT404', 404],
    ['PT503', 503],
    ['PT999', 500],
    ['AG001', 400],
    ['40001', 500],
    ['40P01', 500],
    ['42501', 401],
    ['23505', 409],
    ['23514', 400],
    ['22023', 400],
    ['53300', 503],
    ['28000', 403],
    ['54000', 500],
    ['57014', 500],
  ])('answer SQLSTATE %s with %i', async (state, status) => {
    expect(await rpc('fail', { state })).toMatchObject({
      status,
      error: { code: state, message: 'message', details: 'detail', hint: 'hint' },
    })
  })

  it('may set the whole error, headers and status', async () => {
    expect(await rpc('custom')).toMatchObject({
      status: 418,
      error: { code: 'X1', message: 'm', details: 'd', hint: 'h' },
    })
    const response = await fetch(`${project.origin}/rest/v1/rpc/headers`, {
      method: 'POST',
      headers: { apikey: project.anonKey },
    })
    expect([response.status, response.headers.get('x-made'), await response.json()]).toEqual([
      202,
      'here',
      'done',
    ])
  })
})

describe('roles', () => {
  it('anon, user, service and custom roles with their claims and timeouts', async () => {
    expect((await rpc('who')).data).toMatchObject({
      role: 'anon',
      uid: null,
      claim: 'anon',
      timeout: '3s',
      method: 'POST',
      path: '/rest/v1/rpc/who',
    })
    const { client, id } = await project.user('who@example.com')
    expect((await client.rpc('who')).data).toMatchObject({
      role: 'authenticated',
      uid: id,
      email: 'who@example.com',
      timeout: '8s',
    })
    expect((await project.client(project.serviceRoleKey).rpc('who')).data).toMatchObject({
      role: 'service_role',
    })
    const token = await project.mintRoleToken({ role: 'rest_test_agent' })
    expect((await project.client(token).rpc('role_and_timeout')).data).toEqual({
      role: 'rest_test_agent',
      timeout: '1234ms',
    })
  })

  it('headers reach SQL', async () => {
    const response = await fetch(`${project.origin}/rest/v1/rpc/who`, {
      method: 'POST',
      headers: { apikey: project.anonKey, 'x-mine': 'yes' },
    })
    expect(await response.json()).toMatchObject({ header: 'yes' })
  })

  it('a missing privilege is 401 for anon and 403 for users', async () => {
    expect(await rpc('secret')).toMatchObject({ status: 401, error: { code: '42501' } })
    const { client } = await project.user('denied@example.com')
    expect(await client.rpc('secret')).toMatchObject({ status: 403, error: { code: '42501' } })
  })

  it('a statement over its time is cut off', async () => {
    expect(await rpc('slow')).toMatchObject({ status: 500, error: { code: '57014' } })
  })
})
