import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { fetchKeys } from './fetch-keys.ts'
import { createPublishedKeys } from './published-keys.ts'

const MINUTE = 60_000
const URL_OF_KEYS = new URL('https://front.example.com/jwks')
let first: JWK
let second: JWK

beforeAll(async () => {
  const make = async (kid: string) => ({
    ...(await exportJWK((await generateKeyPair('ES256')).publicKey)),
    kid,
    alg: 'ES256',
  })
  ;[first, second] = await Promise.all([make('k1'), make('k2')])
})

/** An issuer in the hands of the test: its clock, what it publishes, whether it answers. */
function issuer() {
  const state = { now: 1_000_000, published: [first], fails: false, asked: 0, delay: undefined as unknown }
  const find = createPublishedKeys(URL_OF_KEYS, {
    now: () => state.now,
    fetch: async () => {
      state.asked += 1
      await state.delay
      if (state.fails) throw new Error('connection refused')
      return { keys: state.published }
    },
  })
  const key = (kid?: string) =>
    Promise.resolve(
      find({ alg: 'ES256', ...(kid && { kid }) } as JWTHeaderParameters, { payload: '', signature: '' }),
    )
  return { state, key, warm: () => find.warm() }
}
const UNAVAILABLE = { code: 'unavailable', retryAfterSeconds: 3 }
const NO_KEY = { code: 'ERR_JWKS_NO_MATCHING_KEY' }

describe('published keys', () => {
  it('a thousand who come at once make one fetch, when it works and when it fails', async () => {
    const { state, key } = issuer()
    const { promise, resolve } = Promise.withResolvers<void>()
    state.delay = promise
    const waiting = Array.from({ length: 1000 }, () => key('k1'))
    resolve()
    await Promise.all(waiting)
    expect(state.asked).toBe(1)

    const dead = issuer()
    dead.state.fails = true
    const refused = await Promise.allSettled(Array.from({ length: 1000 }, () => dead.key('k1')))
    expect(new Set(refused.map(({ status }) => status))).toEqual(new Set(['rejected']))
    expect(dead.state.asked).toBe(1)
  })

  it('warmed at the start the first token finds them; a start without the issuer costs the first token nothing but its own fetch', async () => {
    const { state, key, warm } = issuer()
    await warm()
    await key('k1')
    expect(state.asked).toBe(1)

    const dead = issuer()
    dead.state.fails = true
    await dead.warm()
    dead.state.fails = false
    await dead.key('k1')
    expect(dead.state.asked).toBe(2)
  })

  it('recovers three seconds after a failure, and asks no sooner', async () => {
    const { state, key } = issuer()
    state.fails = true
    await expect(key('k1')).rejects.toMatchObject(UNAVAILABLE)
    state.fails = false
    state.now += 2999
    await expect(key('k1')).rejects.toMatchObject(UNAVAILABLE)
    expect(state.asked).toBe(1)
    state.now += 1
    await key('k1')
    expect(state.asked).toBe(2)
  })

  it('keys that are known go on for an hour while their issuer is away; unknown ones are "unavailable", not refused', async () => {
    const { state, key } = issuer()
    await key('k1')
    state.fails = true
    for (let minute = 1; minute < 60; minute += 1) {
      state.now += MINUTE
      await key('k1')
      await expect(key('k2')).rejects.toMatchObject(UNAVAILABLE)
    }
    state.now += MINUTE
    await expect(key('k1')).rejects.toMatchObject(UNAVAILABLE)
  })

  it('a rotation signs nobody out: standby, in use, previous, revoked, step by step', async () => {
    const { state, key } = issuer()
    await key('k1')
    state.published = [first, second] // standby: nobody has been told yet
    state.now += 9 * MINUTE
    await key('k1')
    expect(state.asked).toBe(1)
    await key('k2') // rotated: the first token of the new key makes one fetch
    await key('k1') // tokens of the previous key are good until they run out
    expect(state.asked).toBe(2)
    state.published = [second] // revoked
    state.now += 10 * MINUTE
    await expect(key('k1')).rejects.toMatchObject(NO_KEY)
    await key('k2')
  })

  it('made-up kids make one fetch in half a minute', async () => {
    const { state, key } = issuer()
    await key('k1')
    state.now += 30_000
    for (let n = 0; n < 500; n += 1) await expect(key(`made-up-${n}`)).rejects.toMatchObject(NO_KEY)
    expect(state.asked).toBe(2)
    state.now += 29_999
    await expect(key('made-up')).rejects.toMatchObject(NO_KEY)
    expect(state.asked).toBe(2)
  })

  it('a token without kid has no key: it could not be taken out of service', async () => {
    const { state, key } = issuer()
    await expect(key()).rejects.toMatchObject(NO_KEY)
    expect(state.asked).toBe(0)
  })

  it('a project that signs symmetrically publishes no keys: tokens are refused, not "unavailable"', async () => {
    const { state, key } = issuer()
    state.published = []
    await expect(key('k1')).rejects.toMatchObject(NO_KEY)
    expect(state.asked).toBe(1)
  })
})

describe('fetching keys', () => {
  let server: Server
  let answer: { status: number; body: string; headers?: Record<string, string> }
  beforeAll(async () => {
    server = createServer((_request, response) => {
      response.writeHead(answer.status, answer.headers ?? {})
      response.end(answer.body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  beforeEach(() => {
    answer = { status: 200, body: JSON.stringify({ keys: [first] }) }
  })
  afterAll(() => new Promise((resolve) => server.close(resolve)))
  const url = () => new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)

  it('takes a key set', async () => {
    expect(await fetchKeys(url())).toEqual({ keys: [first] })
  })

  it.each([
    ['an error', { status: 500, body: '{}' }],
    ['a redirect, even to a key set', { status: 302, body: '', headers: { location: '/elsewhere' } }],
    ['no JSON', { status: 200, body: '<html>' }],
    ['ten megabytes', { status: 200, body: `{"keys":[],"x":"${'x'.repeat(10_000_000)}"}` }],
    ['another shape', { status: 200, body: '{"keys":{}}' }],
    ['null', { status: 200, body: 'null' }],
  ])('%s is as good as no answer', async (_name, given) => {
    answer = given
    const find = createPublishedKeys(url(), { now: Date.now })
    await expect(
      Promise.resolve(find({ alg: 'ES256', kid: 'k1' }, { payload: '', signature: '' })),
    ).rejects.toMatchObject(UNAVAILABLE)
  })
})
