import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { TrustedIssuer } from '../../core/issuer.ts'
import { createIdentity } from './identity.ts'

const SUB = '11111111-2222-4333-8444-555555555555'
const TENANT = '99999999-2222-4333-8444-555555555555'
const SECRET = 'a-legacy-secret-of-forty-characters-long'
const ISSUER = 'https://front.example.com/auth/v1'

type Keys = Awaited<ReturnType<typeof generateKeyPair>>
let keys: Keys
let other: Keys
let server: Server
let published: JWK[]
let fails = false
let asked = 0

beforeAll(async () => {
  keys = await generateKeyPair('ES256')
  other = await generateKeyPair('ES256')
  server = createServer((_request, response) => {
    asked += 1
    response.writeHead(fails ? 500 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ keys: published }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterAll(() => new Promise((resolve) => server.close(resolve)))
beforeEach(async () => {
  published = [{ ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'ES256' }]
  fails = false
  asked = 0
})

function row(changes: Partial<TrustedIssuer> = {}): TrustedIssuer {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
  return {
    issuer: ISSUER,
    audience: 'authenticated',
    userIdFrom: 'sub',
    tenantClaim: 'org',
    projectUrl: 'https://front.example.com',
    projectKey: 'pk',
    keys: { kind: 'jwks', url, algorithms: ['ES256', 'RS256', 'EdDSA'] },
    ...changes,
  }
}
const legacy = (until = Date.now() + 1000_000) => row({ keys: { kind: 'hs256', secret: SECRET, until } })

interface Token {
  claims?: Record<string, unknown>
  header?: Record<string, unknown>
  key?: Keys['privateKey'] | Uint8Array
}
function token({ claims = {}, header = {}, key = keys.privateKey }: Token = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const all = {
    iss: ISSUER,
    aud: 'authenticated',
    role: 'authenticated',
    sub: SUB,
    iat: now,
    exp: now + 600,
    ...claims,
  }
  return new SignJWT(all).setProtectedHeader({ alg: 'ES256', kid: 'k1', ...header }).sign(key)
}
const hs = (more: Token = {}) =>
  token({
    ...more,
    header: { alg: 'HS256', kid: undefined, ...more.header },
    key: new TextEncoder().encode(SECRET),
  })
const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('identity', () => {
  it('takes a user of a trusted issuer', async () => {
    const accessToken = await token({
      claims: { app_metadata: { org: TENANT }, user_metadata: { org: SUB } },
    })
    expect(await createIdentity([row()]).verify(accessToken)).toEqual({
      issuer: ISSUER,
      sub: SUB,
      tenant_id: TENANT,
      user_id_from: 'sub',
      key_id: 'k1',
      accessToken,
      expiresAt: expect.any(Number),
      projectUrl: 'https://front.example.com',
      projectKey: 'pk',
    })
    expect(
      (await createIdentity([row()]).verify(await token({ claims: { user_metadata: { org: SUB } } })))
        .tenant_id,
    ).toBeNull()
  })

  it('takes legacy HS256 only as a row of its own and until its end', async () => {
    expect(await createIdentity([row(), legacy()]).verify(await hs())).toMatchObject({
      sub: SUB,
      key_id: 'HS256',
    })
    await expect(createIdentity([row()]).verify(await hs())).rejects.toMatchObject({ code: 'unauthorized' })
    await expect(createIdentity([legacy(Date.now() - 1)]).verify(await hs())).rejects.toMatchObject({
      code: 'unauthorized',
    })
  })

  it('refuses every bad token with the same answer, and takes a good one beside them', async () => {
    const identity = createIdentity([row(), legacy()])
    const now = Math.floor(Date.now() / 1000)
    const good = await token()
    const [head = '', body = '', signature = ''] = good.split('.')
    const publicKeyAsSecret = new TextEncoder().encode(JSON.stringify(published[0]))
    const bad: Record<string, string> = {
      empty: '',
      noise: 'x.y.z',
      'two parts': `${head}.${body}`,
      huge: `${head}.${body}.${'A'.repeat(9000)}`,
      'altered body': `${head}.${b64({ iss: ISSUER, aud: 'authenticated', role: 'authenticated', sub: TENANT, exp: now + 600 })}.${signature}`,
      'alg none': `${b64({ alg: 'none' })}.${body}.`,
      'alg None': `${b64({ alg: 'None' })}.${body}.`,
      'no signature': `${head}.${body}.`,
      'other key': await token({ key: other.privateKey }),
      'no kid': await token({ header: { kid: undefined } }),
      'unknown kid': await token({ header: { kid: 'k2' }, key: other.privateKey }),
      'key confusion': await token({ header: { alg: 'HS256' }, key: publicKeyAsSecret }),
      'wrong secret': await token({
        header: { alg: 'HS256' },
        key: new TextEncoder().encode('x'.repeat(40)),
      }),
      'embedded key': await token({
        header: { jwk: await exportJWK(other.publicKey) },
        key: other.privateKey,
      }),
      'unknown issuer': await token({ claims: { iss: 'https://evil.example.com' } }),
      'no issuer': await token({ claims: { iss: undefined } }),
      'wrong audience': await token({ claims: { aud: 'anon' } }),
      expired: await token({ claims: { exp: now - 60 } }),
      'not yet': await token({ claims: { nbf: now + 60 } }),
      'no end': await token({ claims: { exp: undefined } }),
      'anon key': await hs({ claims: { role: 'anon', sub: undefined } }),
      'service key': await hs({ claims: { role: 'service_role' } }),
      'no role': await token({ claims: { role: undefined } }),
      'no sub': await token({ claims: { sub: undefined } }),
      'odd sub': await token({ claims: { sub: 'admin' } }),
    }
    for (const [name, accessToken] of Object.entries(bad)) {
      const error = await identity.verify(accessToken).catch((reason: unknown) => reason)
      expect([name, error]).toMatchObject([name, { code: 'unauthorized', message: 'Unauthorized' }])
    }
    expect((await identity.verify(good)).sub).toBe(SUB)
    expect((await identity.verify(await token({ claims: { exp: now - 2 } }))).sub).toBe(SUB)
  })

  it('follows a rotation: an unknown kid is looked up once the keys are old enough, both keys work meanwhile', async () => {
    published.push({ ...(await exportJWK(other.publicKey)), kid: 'k2', alg: 'ES256' })
    const identity = createIdentity([row()])
    expect((await identity.verify(await token())).sub).toBe(SUB)
    expect((await identity.verify(await token({ header: { kid: 'k2' }, key: other.privateKey }))).sub).toBe(
      SUB,
    )
    expect(asked).toBe(1)
  })

  it('is unavailable, not unauthorized, without keys, and does not ask again at once', async () => {
    let now = Date.now()
    const identity = createIdentity([row()], { now: () => now })
    fails = true
    for (let n = 0; n < 5; n += 1) {
      await expect(identity.verify(await token())).rejects.toMatchObject({
        code: 'unavailable',
        retryAfterSeconds: 3,
      })
    }
    expect(asked).toBe(1)
    fails = false
    now += 3001
    expect((await identity.verify(await token())).sub).toBe(SUB)
  })
})
