import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exportSPKI, generateKeyPair, importJWK, SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestProject, testProject } from './test-project.ts'

const SCHEMA = `
create table public.secrets (id serial primary key, owner uuid not null default auth.uid(), body text);
alter table public.secrets enable row level security;
create policy own on public.secrets to authenticated using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
create table public.things (id int primary key, name text);
insert into public.things values (1, 'one');
create function public.whoami() returns jsonb language sql stable as $$
  select jsonb_build_object('uid', auth.uid(), 'role', current_user, 'session', session_user)
$$;
create function public.hold(seconds float8, fail boolean) returns uuid language plpgsql as $$
begin
  insert into public.secrets (body) values ('held');
  perform pg_sleep(seconds);
  if fail then raise exception 'undone'; end if;
  return auth.uid();
end $$;
create schema hidden;
create table hidden.passwords (id int);
`

let project: TestProject
beforeAll(async () => {
  project = await testProject(SCHEMA, { maxBodyBytes: 100_000, maxFileBytes: 100_000 })
})
afterAll(() => project.close())

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${project.origin}${path}`, { headers: { apikey: project.anonKey, ...headers } })
const bearer = (token: string) => get('/rest/v1/rpc/whoami', { authorization: `Bearer ${token}` })

describe('SQL injection', () => {
  const attack = `1"'); drop table public.things; --`
  const encoded = encodeURIComponent(attack)
  it.each([
    ['table', `/rest/v1/${encoded}`],
    ['select', `/rest/v1/things?select=${encoded}`],
    ['alias', `/rest/v1/things?select=${encodeURIComponent('"x\\"; drop table public.things; --":id')}`],
    ['cast', `/rest/v1/things?select=id::text);drop table public.things;--`],
    ['JSON path', `/rest/v1/things?select=name->>${encoded}`],
    ['embed', `/rest/v1/things?select=${encoded}(*)`],
    ['column', `/rest/v1/things?${encoded}=eq.1`],
    ['operator', `/rest/v1/things?id=${encoded}.1`],
    ['value', `/rest/v1/things?name=eq.${encoded}`],
    ['in', `/rest/v1/things?name=in.(${encoded})`],
    ['is', `/rest/v1/things?name=is.${encoded}`],
    ['text search', `/rest/v1/things?name=fts(${encoded}).x`],
    ['or', `/rest/v1/things?or=(${encoded})`],
    ['order', `/rest/v1/things?order=${encoded}`],
    ['order direction', `/rest/v1/things?order=id.asc;drop`],
    ['limit', `/rest/v1/things?limit=${encoded}`],
    ['offset', `/rest/v1/things?offset=-1`],
    ['function', `/rest/v1/rpc/${encoded}`],
    ['argument', `/rest/v1/rpc/whoami?${encoded}=1`],
    ['NUL', '/rest/v1/things?name=eq.%00'],
  ])('in %s', async (_, path) => {
    const response = await get(path)
    expect(response.status).not.toBe(500)
    if (response.status === 200) expect(JSON.stringify(await response.json())).not.toContain('one')
    expect(await project.sql('select name from public.things')).toEqual([{ name: 'one' }])
  })

  it('in the keys and columns of a body', async () => {
    const post = (query: string, body: unknown) =>
      fetch(`${project.origin}/rest/v1/things${query}`, {
        method: 'POST',
        headers: {
          apikey: project.anonKey,
          'content-type': 'application/json',
          prefer: 'resolution=merge-duplicates',
        },
        body: JSON.stringify(body),
      })
    expect((await post('', { [attack]: 1 })).status).toBe(400)
    expect((await post(`?columns=${encoded}`, { id: 2 })).status).toBe(400)
    expect((await post(`?on_conflict=${encoded}`, { id: 2 })).status).toBe(400)
    expect((await post('', { id: 2, name: attack })).status).toBe(201)
    expect(await project.sql('select name from public.things where id = 2')).toEqual([{ name: attack }])
    await project.sql('delete from public.things where id = 2')
  })

  it('other schemas stay hidden', async () => {
    expect((await get('/rest/v1/passwords')).status).toBe(404)
    expect((await get('/rest/v1/hidden.passwords')).status).toBe(404)
    expect((await get('/rest/v1/users', { 'accept-profile': 'auth' })).status).toBe(406)
    expect((await get('/rest/v1/rpc/pg_sleep?seconds=1')).status).toBe(404)
  })
})

describe('tokens', () => {
  const claims = { role: 'service_role', sub: '00000000-0000-4000-8000-000000000001', aud: 'authenticated' }
  const expectRefused = async (token: string) => {
    const response = await bearer(token)
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([
      401,
      expect.stringContaining('invalid_token'),
    ])
  }

  it('unsigned, re-signed, foreign and broken ones are refused everywhere', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    const [jwk] = project.jwks.keys
    const ours = await importJWK(jwk ?? {}, 'ES256', { extractable: true })
    const pem = new TextEncoder().encode(await exportSPKI(ours as typeof publicKey))
    const { token } = await project.user('forge@example.com')
    const [head, , signature] = token.split('.')
    const other = Buffer.from(JSON.stringify({ ...claims, exp: 4_000_000_000 })).toString('base64url')
    const forged = [
      new UnsecuredJWT(claims).setExpirationTime('1h').encode(),
      await new SignJWT(claims)
        .setProtectedHeader({ alg: 'ES256', kid: jwk?.kid ?? '' })
        .setExpirationTime('1h')
        .sign(privateKey),
      await new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256', kid: jwk?.kid ?? '' })
        .setExpirationTime('1h')
        .sign(pem),
      await new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256' })
        .setExpirationTime('1h')
        .sign(new TextEncoder().encode(JSON.stringify(jwk))),
      `${head}.${other}.${signature}`,
      'x.y.z',
      'nonsense',
      'a'.repeat(15_000),
    ]
    for (const one of forged) {
      await expectRefused(one)
      const user = await get('/auth/v1/user', { authorization: `Bearer ${one}` })
      expect(user.status).toBe(403)
      const file = await get('/storage/v1/object/private/x', { authorization: `Bearer ${one}` })
      expect([file.status, await file.json()]).toMatchObject([400, { statusCode: '403' }])
      expect((await get('/auth/v1/admin/users', { authorization: `Bearer ${one}` })).status).toBe(403)
    }
  })

  it('expired ones are refused by name', async () => {
    const stored = JSON.parse(await readFile(join(project.dir, 'keys.json'), 'utf8')) as {
      private_jwk: object
    }
    const key = await importJWK(stored.private_jwk, 'ES256')
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256' })
      .setExpirationTime('-10s')
      .sign(key)
    const response = await bearer(token)
    expect([response.status, await response.json()]).toMatchObject([
      401,
      { code: 'PGRST303', message: 'JWT expired' },
    ])
  })

  it('name only roles that authenticator may enter', async () => {
    for (const role of ['postgres', 'supabase_admin', 'pg_read_server_files', 'supabase_auth_admin']) {
      const response = await bearer(await project.mintRoleToken({ role }))
      expect([role, response.status]).toEqual([role, 403])
    }
    expect((await bearer(await project.mintRoleToken({ role: 'no_such_role' }))).status).toBe(401)
  })

  it('need an API key beside them', async () => {
    expect((await fetch(`${project.origin}/rest/v1/things`)).status).toBe(401)
    expect((await get('/rest/v1/things', { apikey: 'wrong' })).status).toBe(401)
    expect((await fetch(`${project.origin}/auth/v1/settings`)).status).toBe(401)
  })

  it('keys are kept from other users of the machine', async () => {
    const { statSync } = await import('node:fs')
    expect(statSync(join(project.dir, 'keys.json')).mode & 0o077).toBe(0)
  })
})

describe('limits', () => {
  it('bodies', async () => {
    const body = JSON.stringify({ name: 'x'.repeat(200_000) })
    const post = (path: string) =>
      fetch(`${project.origin}${path}`, {
        method: 'POST',
        headers: { apikey: project.anonKey, 'content-type': 'application/json' },
        body,
      })
    expect((await post('/rest/v1/things')).status).toBe(413)
    expect((await post('/rest/v1/rpc/whoami')).status).toBe(413)
    const { client, id } = await project.user('big@example.com')
    await project.sql(
      "insert into storage.buckets (id, name) values ('b', 'b') on conflict do nothing; create policy b on storage.objects to authenticated using (true)",
    )
    const stream = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(10_000)),
    })
    const { error } = await client.storage.from('b').upload(`${id}/endless`, stream, { duplex: 'half' })
    expect(error).toMatchObject({ statusCode: '413' })
  })

  it('nesting', async () => {
    expect((await get(`/rest/v1/things?select=${'a('.repeat(500)}`)).status).toBe(400)
    expect((await get(`/rest/v1/things?or=${'(and'.repeat(500)}`)).status).toBe(400)
  })

  it('malformed JSON', async () => {
    for (const body of ['{', '[1]', '"x"', 'null', '[[{}]]', '{"id":1}{"id":2}']) {
      const response = await fetch(`${project.origin}/rest/v1/things`, {
        method: 'POST',
        headers: { apikey: project.anonKey },
        body,
      })
      expect([body, response.status]).toEqual([body, 400])
    }
  })
})

describe('Storage paths', () => {
  it.each([
    '../../../etc/passwd',
    '..%2f..%2fetc%2fpasswd',
    '%2e%2e/%2e%2e/keys.json',
    'a/%00b',
    'a//b',
    '%ff',
    'a%2f..%2fb',
    'ü.txt',
    `${'x'.repeat(2000)}`,
  ])('odd name %s neither escapes nor breaks', async (name) => {
    const { token } = await project.user(`p${Math.random()}@example.com`)
    const headers = {
      apikey: project.anonKey,
      authorization: `Bearer ${token}`,
      'content-type': 'text/plain',
    }
    const url = `${project.origin}/storage/v1/object/b/${name}`
    const upload = await fetch(url, { method: 'POST', headers, body: 'x' })
    expect([400, 404]).toContain(upload.status)
    const read = await fetch(url, { headers })
    expect([400, 404]).toContain(read.status)
    expect(await read.text()).not.toContain('private_jwk')
  })

  it('names with spaces, brackets and signs that S3 takes', async () => {
    const { client, id } = await project.user('names@example.com')
    const path = `${id}/a b/(c)'s & d=e;f:g+h,i@j$k!.txt`
    expect((await client.storage.from('b').upload(path, 'odd')).error).toBeNull()
    expect(await (await client.storage.from('b').download(path)).data?.text()).toBe('odd')
    expect((await client.storage.from('b').move(path, `${id}/../up`)).error).toMatchObject({
      statusCode: '400',
    })
  })
})

describe('isolation', () => {
  it('forty calls at once with four identities leak nothing into each other', async () => {
    const users = await Promise.all(
      ['a', 'b', 'c'].map((name) => project.user(`${name}-parallel@example.com`)),
    )
    const identities = [...users, { client: project.client(), id: null }]
    const calls = Array.from({ length: 40 }, async (_, index) => {
      const { client, id } = identities[index % 4] ?? identities[0] ?? { client: project.client(), id: null }
      const fail = index % 3 === 0
      if (id !== null) {
        const held = await client.rpc('hold', { seconds: 0.02, fail })
        expect(held.error === null ? held.data : held.error.message).toBe(fail ? 'undone' : id)
      }
      const who = await client.rpc('whoami')
      expect(who.data).toEqual({
        uid: id,
        role: id === null ? 'anon' : 'authenticated',
        session: 'authenticator',
      })
      const { data } = await client.from('secrets').select('owner')
      expect(new Set(data?.map((row) => row.owner))).toEqual(new Set(data?.length === 0 ? [] : [id]))
    })
    await Promise.all(calls)
    const rows = await project.sql<{ owner: string; count: number }>(
      'select owner, count(*)::int as count from public.secrets group by 1',
    )
    const kept = Array.from({ length: 40 }, (_, index) => index).filter(
      (index) => index % 4 !== 3 && index % 3 !== 0,
    )
    expect(rows.reduce((sum, row) => sum + row.count, 0)).toBe(kept.length)
  })
})

describe('CORS', () => {
  it('lets browsers of other origins send what supabase-js sends', async () => {
    const response = await fetch(`${project.origin}/rest/v1/things`, {
      method: 'OPTIONS',
      headers: {
        origin: 'http://app.example',
        'access-control-request-method': 'PATCH',
        'access-control-request-headers': 'apikey,authorization,x-client-info,prefer,accept-profile',
      },
    })
    expect(response.headers.get('access-control-allow-origin')).toBe('http://app.example')
    expect(response.headers.get('access-control-allow-headers')).toContain('x-client-info')
    expect(response.headers.get('access-control-allow-methods')).toContain('PATCH')
    const get = await fetch(`${project.origin}/rest/v1/things`, { headers: { origin: 'http://app.example' } })
    expect(get.headers.get('access-control-allow-origin')).toBe('http://app.example')
  })
})
