import { createHash, createHmac } from 'node:crypto'
import { Receiver } from '@upstash/qstash'
import { type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createSignatureVerifier } from './signature.ts'

const keys = { currentKey: 'sig_current', nextKey: 'sig_next' }
const url = 'http://localhost:8000/agent/step'
const rawBody = '{"run_id":"r","step_number":1}'
const verifier = createSignatureVerifier({ ...keys, clockToleranceSeconds: 5 })
const nowSeconds = () => Math.floor(Date.now() / 1000)
const hash = (body: string) => createHash('sha256').update(body).digest('base64url')

const sign = (given: JWTPayload = {}, key = keys.currentKey, alg = 'HS256') =>
  new SignJWT({
    iss: 'Upstash',
    sub: url,
    iat: nowSeconds(),
    nbf: 0,
    exp: nowSeconds() + 300,
    jti: 'jwt_1',
    body: hash(rawBody),
    ...given,
  })
    .setProtectedHeader({ alg, typ: 'JWT' })
    .sign(new TextEncoder().encode(key))

/** What a library does not make: any header over any claims, with a MAC that is right. */
const signWith = async (header: unknown, claims?: string) => {
  const given =
    claims === undefined ? (await sign()).split('.')[1] : Buffer.from(claims).toString('base64url')
  const signed = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${given}`
  return `${signed}.${createHmac('sha256', keys.currentKey).update(signed).digest('base64url')}`
}

const verify = async (signature: string, given = {}) =>
  await verifier.verify({ signature, rawBody, url, ...given })

describe('signature verifier', () => {
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  test('accepts the current key, the next key, padding and an empty body', async () => {
    expect(await verify(await sign())).toBe(true)
    expect(await verify(await sign({}, keys.nextKey))).toBe(true)
    expect(await verify(await sign({ body: `${hash(rawBody)}=` }))).toBe(true)
    expect(await verify(await sign({ body: hash('') }), { rawBody: '' })).toBe(true)
    expect(await verify(await sign({ exp: nowSeconds() - 3 }))).toBe(true)
    expect(await verify(await sign({ nbf: nowSeconds() + 3 }))).toBe(true)
    expect(await verify(await signWith({ alg: 'HS256' }))).toBe(true)
  })

  // Everything here would let somebody start a step who may not.
  const refused: [string, () => Promise<string>, object?][] = [
    ['no signature', async () => ''],
    ['no token', async () => 'a.b.c'],
    ['a token of megabytes', async () => 'a'.repeat(2_000_000)],
    ['another key', () => sign({}, 'sig_other')],
    ['the public development key', () => sign({}, 'sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r')],
    ['another algorithm of the same key', () => sign({}, keys.currentKey, 'HS512')],
    [
      'no algorithm',
      async () =>
        new UnsecuredJWT({
          iss: 'Upstash',
          sub: url,
          body: hash(rawBody),
          nbf: 0,
          iat: nowSeconds(),
          exp: nowSeconds() + 9,
        }).encode(),
    ],
    ['an extension it calls critical', () => signWith({ alg: 'HS256', crit: ['b64'], b64: false })],
    ['four parts', async () => `${await sign()}.x`],
    ['a header that is no object', () => signWith(null)],
    ['claims that are no object', () => signWith({ alg: 'HS256' }, 'null')],
    ['times that are text', () => sign({ iat: '1' as unknown as number })],
    ['another issuer', () => sign({ iss: 'upstash' })],
    ['another address', () => sign({ sub: 'http://localhost:8000/agent/step/sweep' })],
    ['an address with a slash more', () => sign({ sub: `${url}/` })],
    ['no address', () => sign({ sub: undefined as unknown as string })],
    ['expired', () => sign({ exp: nowSeconds() - 60 })],
    ['never expiring', () => sign({ exp: undefined as unknown as number })],
    ['of the future', () => sign({ nbf: nowSeconds() + 60 })],
    ['no body', () => sign({ body: undefined })],
    ['a body that is no text', () => sign({ body: [hash(rawBody)] })],
    ['an empty body claim', () => sign({ body: '' })],
    ['the hash of another body', () => sign({ body: hash(`${rawBody} `) })],
    ['an altered body', () => sign(), { rawBody: rawBody.replace('1', '2') }],
    ['a body written anew', () => sign(), { rawBody: JSON.stringify(JSON.parse(rawBody), null, 1) }],
    ['checked for another address', () => sign(), { url: 'http://localhost:8000/agent/other' }],
    ['checked for no address', () => sign({ sub: '' }), { url: '' }],
    ['an altered signature', async () => `${(await sign()).slice(0, -2)}xx`],
    ['two signatures', async () => `${await sign()}, ${await sign()}`],
  ]
  test.each(refused)('refuses: %s', async (_name, make, given = {}) => {
    expect(await verify(await make(), given)).toBe(false)
  })

  test('agrees with the SDK on what both can check', async () => {
    const receiver = new Receiver({
      currentSigningKey: keys.currentKey,
      nextSigningKey: keys.nextKey,
      devMode: false,
    })
    const theirs = (signature: string, given = {}) =>
      receiver.verify({ signature, body: rawBody, url, clockTolerance: 5, ...given }).catch(() => false)
    for (const make of [
      () => sign(),
      () => sign({}, keys.nextKey),
      () => sign({}, 'no'),
      () => sign({ sub: 'x' }),
      () => sign({ exp: 1 }),
    ]) {
      const signature = await make()
      expect(await verify(signature)).toBe(await theirs(signature))
    }
  })

  test('QSTASH_DEV and QSTASH_REGION in the environment change nothing', async () => {
    vi.stubEnv('QSTASH_DEV', 'true')
    vi.stubEnv('QSTASH_REGION', 'US_EAST_1')
    vi.stubEnv('US_EAST_1_QSTASH_CURRENT_SIGNING_KEY', 'sig_evil')
    vi.stubEnv('US_EAST_1_QSTASH_NEXT_SIGNING_KEY', 'sig_evil')
    const fresh = createSignatureVerifier(keys)
    expect(await fresh.verify({ signature: await sign(), rawBody, url })).toBe(true)
    for (const key of ['sig_evil', 'sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r', 'sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs']) {
      expect(await fresh.verify({ signature: await sign({}, key), rawBody, url })).toBe(false)
    }
  })

  test('rolling the keys once needs no downtime, twice without a deploy locks out', async () => {
    const rolledOnce = createSignatureVerifier({ currentKey: keys.nextKey, nextKey: 'sig_third' })
    expect(await rolledOnce.verify({ signature: await sign({}, keys.nextKey), rawBody, url })).toBe(true)
    expect(await verify(await sign({}, 'sig_third'))).toBe(false)
  })

  test('is not made with an empty key', () => {
    expect(() => createSignatureVerifier({ currentKey: '', nextKey: 'x' })).toThrow('both signing keys')
    expect(() => createSignatureVerifier({ currentKey: 'x', nextKey: '' })).toThrow('both signing keys')
  })
})
