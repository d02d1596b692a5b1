import { afterAll, beforeAll, it } from 'vitest'
import { type DoorWorld, doorWorld } from '../tenancy/world.ts'
import { batch } from './batch.ts'
import { flips, noise, truncations } from './forgeries.ts'
import { type TokenCases, tokenCases } from './token-cases.ts'

/** With TEST_FULL every door gets every flipped bit, not one in seven. */
const STEP = process.env.TEST_FULL === '1' ? 1 : 7

let world: DoorWorld
let cases: TokenCases
let tried = 0

beforeAll(async () => {
  world = await doorWorld()
  cases = await tokenCases(world)
})
afterAll(async () => {
  await world.close()
  console.log(`auth fuzz, user tokens: ${tried} tried at eight doors`)
})

interface Door {
  app: 'execute' | 'status' | 'logs'
  path: string
  body?: unknown
}
const DOORS: Record<string, Door> = {
  execute: { app: 'execute', path: '/agent/execute', body: { action: 'pause', tag: 'no-such-tag' } },
  'execute of the first generation': {
    app: 'execute',
    path: '/functions/v1/agent-execute',
    body: { action: 'pause', tag: 'no-such-tag' },
  },
  runs: { app: 'execute', path: '/agent/runs?limit=1' },
}

const send = async ({ app, path, body }: Door, headers: Record<string, string>) =>
  world.apps[app].request(path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })

/** Base64url has several spellings of the last bits of a part: another spelling of the same bytes is the same token. */
const isOther = (token: string) => {
  const bytes = (text: string) =>
    text
      .split('.')
      .map((part) => Buffer.from(part, 'base64url').toString('hex'))
      .join('.')
  return bytes(token) !== bytes(cases.right)
}

it.each(Object.keys(DOORS))('%s lets in users and nobody else', async (name) => {
  const door = DOORS[name]
  if (door === undefined) throw new Error('no such door')
  const spoiled = [
    ...[...flips(cases.right, { step: STEP })].filter(([, token]) => isOther(token)),
    ...truncations(cases.right, { step: STEP }),
    ...noise(cases.right),
  ]
  tried += await batch(name, {
    send: (token: string) => send(door, { authorization: `Bearer ${token}` }),
    forged: [...cases.forged, ...spoiled],
    accepted: cases.accepted,
    state: () => world.traces(world.people.alice),
  })
})

it('status, logs, streams and tickets: every class of forgery about a run of somebody, users about their own', async () => {
  const { alice } = world.people
  const doors: Record<string, Door> = {
    status: { app: 'status', path: '/agent/status', body: { run_id: alice.runId } },
    'stream-ticket': { app: 'logs', path: '/agent/stream-ticket', body: { run_id: alice.runId } },
    logs: { app: 'logs', path: `/agent/logs?run_id=${alice.runId}` },
    'plain stream': { app: 'logs', path: `/agent/logs?run_id=${alice.runId}&mode=stream` },
    'named stream': { app: 'logs', path: `/agent/run/${alice.runId}/stream` },
  }
  for (const [name, door] of Object.entries(doors)) {
    tried += await batch(name, {
      send: (token: string) => send(door, { authorization: `Bearer ${token}` }),
      forged: cases.forged,
      accepted: [['alice', alice.token]],
      state: () => world.traces(alice),
    })
  }
})

it('only the Authorization header carries a token, once, as Bearer', async () => {
  const { right } = cases
  const door = { app: 'execute', path: '/agent/runs?limit=1' } as const
  const wrong: [string, Record<string, string>][] = [
    ['nothing', {}],
    ['the token alone', { authorization: right }],
    ['Basic', { authorization: `Basic ${right}` }],
    ['Basic of the token', { authorization: `Basic ${Buffer.from(`x:${right}`).toString('base64')}` }],
    ['Token', { authorization: `Token ${right}` }],
    ['Bearer without a space', { authorization: `Bearer${right}` }],
    ['Bearer with a colon', { authorization: `Bearer: ${right}` }],
    ['Bearer alone', { authorization: 'Bearer' }],
    ['Bearer and a space', { authorization: 'Bearer ' }],
    ['two words', { authorization: `Bearer ${right} x` }],
    ['two headers, the right one first', { authorization: `Bearer ${right}, Bearer x` }],
    ['two headers, the right one last', { authorization: `Bearer x, Bearer ${right}` }],
    ['the same header twice', { authorization: `Bearer ${right}, Bearer ${right}` }],
    ['Bearer twice', { authorization: `Bearer Bearer ${right}` }],
    ['apikey', { apikey: right }],
    ['a cookie', { cookie: `sb-access-token=${right}` }],
    ['another header', { 'x-authorization': `Bearer ${right}`, 'proxy-authorization': `Bearer ${right}` }],
    ['a forwarded user', { 'x-forwarded-user': world.people.alice.sub, 'x-user-id': world.people.alice.sub }],
    [
      'claims by hand',
      { 'x-jwt-claims': JSON.stringify({ sub: world.people.alice.sub, role: 'authenticated' }) },
    ],
  ]
  tried += await batch('header', {
    send: (headers: Record<string, string>) => send(door, headers),
    forged: wrong,
    accepted: [
      ['as it should be', { authorization: `Bearer ${right}` }],
      ['in small letters', { authorization: `bearer ${right}` }],
      ['with spaces around', { authorization: `BEARER   ${right}  ` }],
    ],
  })
  const { alice } = world.people
  tried += await batch('query', {
    send: (query: string) => send({ app: 'logs', path: `/agent/run/${alice.runId}/stream?${query}` }, {}),
    forged: [
      ['token', `token=${alice.token}`],
      ['access_token', `access_token=${alice.token}`],
      ['apikey', `apikey=${alice.token}`],
      ['authorization', `authorization=Bearer%20${alice.token}`],
    ],
    accepted: [['a ticket', `ticket=${alice.ticket}`]],
  })
})
