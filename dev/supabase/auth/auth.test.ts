import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestProject, testProject } from '../test-project.ts'

let project: TestProject
beforeAll(async () => {
  project = await testProject(
    'create function public.me() returns uuid language sql stable as $$ select auth.uid() $$',
  )
})
afterAll(() => project.close())

const password = 'correct horse'

describe('users', () => {
  it('sign up, sign in, read and change themselves, and sign out', async () => {
    const client = project.client()
    const signedUp = await client.auth.signUp({
      email: 'Ada@Example.com',
      password,
      options: { data: { name: 'Ada' } },
    })
    expect(signedUp.error).toBeNull()
    expect(signedUp.data.user).toMatchObject({
      email: 'ada@example.com',
      aud: 'authenticated',
      user_metadata: { name: 'Ada' },
    })
    const signedIn = await client.auth.signInWithPassword({ email: 'ada@example.com', password })
    expect(signedIn.data.user?.id).toBe(signedUp.data.user?.id)
    expect((await client.auth.getUser()).data.user?.email).toBe('ada@example.com')
    expect((await client.rpc('me')).data).toBe(signedUp.data.user?.id)
    const changed = await client.auth.updateUser({
      password: 'another horse',
      data: { name: null, city: 'Bern' },
    })
    expect(changed.data.user?.user_metadata).toMatchObject({ city: 'Bern' })
    expect(changed.data.user?.user_metadata).not.toHaveProperty('name')
    expect((await client.auth.signInWithPassword({ email: 'ada@example.com', password })).error?.code).toBe(
      'invalid_credentials',
    )
    const token = (await client.auth.getSession()).data.session?.access_token
    expect((await client.auth.signOut()).error).toBeNull()
    const gone = await fetch(`${project.origin}/auth/v1/user`, {
      headers: { apikey: project.anonKey, authorization: `Bearer ${token}` },
    })
    expect([gone.status, await gone.json()]).toMatchObject([403, { error_code: 'session_not_found' }])
  })

  it('carry the claims of hosted access tokens, signed with the key of the JWKS', async () => {
    const { token, id, client } = await project.user('claims@example.com')
    const jwks = createRemoteJWKSet(new URL(`${project.origin}/auth/v1/.well-known/jwks.json`))
    const { payload } = await jwtVerify(token, jwks, {
      issuer: `${project.origin}/auth/v1`,
      audience: 'authenticated',
    })
    expect(payload).toMatchObject({
      sub: id,
      role: 'authenticated',
      email: 'claims@example.com',
      app_metadata: { provider: 'email' },
      aal: 'aal1',
      amr: [{ method: 'password' }],
      session_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(3600)
    expect(decodeProtectedHeader(token)).toMatchObject({ alg: 'ES256', kid: project.jwks.keys[0]?.kid })
    expect(project.jwks.keys[0]).not.toHaveProperty('d')
    const claims = await client.auth.getClaims()
    expect(claims.data?.claims.sub).toBe(id)
  })

  it('get the errors of GoTrue', async () => {
    const { auth } = project.client()
    await project.user('taken@example.com')
    const code = async (
      answer: PromiseLike<{ error: { code?: string | undefined; status?: number | undefined } | null }>,
    ) => {
      const { error } = await answer
      return [error?.status, error?.code]
    }
    expect(await code(auth.signUp({ email: 'taken@example.com', password }))).toEqual([
      422,
      'user_already_exists',
    ])
    expect(await code(auth.signUp({ email: 'nonsense', password }))).toEqual([400, 'validation_failed'])
    expect(await code(auth.signUp({ email: 'weak@example.com', password: '123' }))).toEqual([
      422,
      'weak_password',
    ])
    expect(await code(auth.signInAnonymously())).toEqual([422, 'anonymous_provider_disabled'])
    expect(await code(auth.signInWithPassword({ email: 'taken@example.com', password: 'wrong' }))).toEqual([
      400,
      'invalid_credentials',
    ])
    expect(await code(auth.signInWithPassword({ email: 'nobody@example.com', password }))).toEqual([
      400,
      'invalid_credentials',
    ])
    expect(await code(auth.refreshSession({ refresh_token: 'made-up' }))).toEqual([
      400,
      'refresh_token_not_found',
    ])
    const legacy = await fetch(`${project.origin}/auth/v1/token?grant_type=password`, {
      method: 'POST',
      headers: { apikey: project.anonKey },
      body: '{not json',
    })
    expect([legacy.status, await legacy.json()]).toMatchObject([400, { code: 400, error_code: 'bad_json' }])
  })

  it('cannot choose their role, id or app metadata', async () => {
    const response = await fetch(`${project.origin}/auth/v1/signup`, {
      method: 'POST',
      headers: { apikey: project.anonKey, 'content-type': 'application/json' },
      body: JSON.stringify({
        email: 'evil@example.com',
        password,
        role: 'service_role',
        app_metadata: { admin: true },
      }),
    })
    const { access_token: token } = (await response.json()) as { access_token: string }
    expect(decodeJwt(token)).toMatchObject({ role: 'authenticated', app_metadata: { provider: 'email' } })
    expect(decodeJwt(token).app_metadata).not.toHaveProperty('admin')
  })
})

describe('refresh tokens', () => {
  it('rotate; a second use at once is forgiven, a later one ends the session', async () => {
    const { client } = await project.user('rotate@example.com')
    const first = (await client.auth.getSession()).data.session?.refresh_token ?? ''
    const refresh = (token: string) => project.client().auth.refreshSession({ refresh_token: token })
    const second = (await refresh(first)).data.session?.refresh_token ?? ''
    expect(second).not.toBe(first)
    expect((await refresh(first)).error).toBeNull()
    await project.sql("update auth.refresh_tokens set updated_at = now() - interval '1 minute' where revoked")
    expect((await refresh(first)).error?.code).toBe('refresh_token_already_used')
    expect((await refresh(second)).error?.code).toBe('refresh_token_not_found')
  })

  it('are not stored in the clear', async () => {
    const { client } = await project.user('stored@example.com')
    const token = (await client.auth.getSession()).data.session?.refresh_token
    expect(await project.sql('select from auth.refresh_tokens where token = $1', [token])).toEqual([])
    const [row] = await project.sql<{ encrypted_password: string }>(
      "select encrypted_password from auth.users where email = 'stored@example.com'",
    )
    expect(row?.encrypted_password).toMatch(/^scrypt\$/)
  })
})

describe('administration', () => {
  it('makes, lists, reads, changes and deletes users for service_role only', async () => {
    const { createClient } = await import('@supabase/supabase-js')
    const { admin } = createClient(project.origin, project.serviceRoleKey, {
      auth: { persistSession: false },
    }).auth
    const made = await admin.createUser({
      email: 'made@example.com',
      password,
      email_confirm: true,
      app_metadata: { tenant_id: 't1' },
    })
    expect(made.data.user).toMatchObject({ email: 'made@example.com', app_metadata: { tenant_id: 't1' } })
    const id = made.data.user?.id ?? ''
    expect((await admin.getUserById(id)).data.user?.email).toBe('made@example.com')
    expect((await admin.listUsers()).data.users.map((user) => user.email)).toContain('made@example.com')
    expect(
      (await admin.updateUserById(id, { app_metadata: { tenant_id: 't2' } })).data.user?.app_metadata
        .tenant_id,
    ).toBe('t2')
    expect((await admin.createUser({ email: 'made@example.com', password })).error?.code).toBe('email_exists')
    expect((await admin.deleteUser(id)).error).toBeNull()
    expect((await admin.getUserById(id)).error?.code).toBe('user_not_found')
    const { token } = await project.user('plain@example.com')
    const denied = await createClient(project.origin, token, {
      auth: { persistSession: false },
    }).auth.admin.listUsers()
    expect(denied.error?.status).toBe(401)
    const anon = await fetch(`${project.origin}/auth/v1/admin/users`, {
      headers: { apikey: project.anonKey, authorization: `Bearer ${token}` },
    })
    expect(anon.status).toBe(403)
  })
})

describe('the legacy mode', () => {
  it('signs user tokens with the shared secret and publishes no key', async () => {
    const legacy = await testProject('select 1', { signing: 'HS256' })
    try {
      const { token, id, client } = await legacy.user('old@example.com')
      expect(decodeProtectedHeader(token).alg).toBe('HS256')
      expect((await client.auth.getUser()).data.user?.id).toBe(id)
      const response = await fetch(`${legacy.origin}/auth/v1/.well-known/jwks.json`)
      expect(await response.json()).toEqual({ keys: [] })
      const foreign = await project.client(token).rpc('me')
      expect(foreign).toMatchObject({ status: 401, error: { code: 'PGRST301' } })
    } finally {
      await legacy.close()
    }
  })
})
