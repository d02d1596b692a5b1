import { createHash, createHmac } from 'node:crypto'
import { SignJWT } from 'jose'
import type { Door } from './expectations.ts'
import { API_URL, type DoorWorld, type Person, SIGNING_KEYS, SWEEP_SECRET } from './world.ts'

export interface Credentials {
  headers: Record<string, string>
  query: string
}
/** A way to ask: what it shows at the door, given the path and body that it is for. */
export interface Caller {
  name: string
  /** Whose run the caller may see, where it is anybody's. */
  person: Person | null
  opens: readonly Door[]
  show(request: { path: string; body: string }): Credentials | Promise<Credentials>
}

/** QStash's signature over a body for one of our addresses. */
export async function qstashSignature(
  body: string,
  url: string,
  key = SIGNING_KEYS.current,
): Promise<string> {
  return new SignJWT({ body: createHash('sha256').update(body).digest('base64url') })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuer('Upstash')
    .setSubject(url)
    .setIssuedAt()
    .setNotBefore(0)
    .setExpirationTime('5m')
    .sign(new TextEncoder().encode(key))
}

export function sweepHeaders(body: string, secret = SWEEP_SECRET, at = Math.floor(Date.now() / 1000)) {
  return {
    'x-agent-timestamp': String(at),
    'x-agent-signature': createHmac('sha256', secret).update(`${at}.${body}`).digest('hex'),
  }
}

export async function callersOf(world: DoorWorld): Promise<Caller[]> {
  const { alice, bob, twin } = world.people
  const bearer = (name: string, token: string, more: Partial<Caller> = {}): Caller => ({
    name,
    person: null,
    opens: [],
    show: () => ({ headers: { authorization: `Bearer ${token}` }, query: '' }),
    ...more,
  })
  const ticketOf = (name: string, person: Person): Caller => ({
    name,
    person,
    opens: ['stream'],
    show: () => ({ headers: {}, query: `ticket=${person.ticket}` }),
  })
  const user = { opens: ['user', 'stream'] as const }
  const untrusted = await world.other.sign(alice.sub, { iss: 'https://unknown.example.test/auth/v1' })
  return [
    { name: 'nobody', person: null, opens: [], show: () => ({ headers: {}, query: '' }) },
    bearer('anon key', world.project.anonKey),
    bearer('service key', world.project.serviceRoleKey),
    bearer(
      'token of agent_api',
      await world.project.mintRoleToken({ role: 'agent_api', sub: alice.sub, aud: 'authenticated' }),
    ),
    bearer(
      'token of agent_step',
      await world.project.mintRoleToken({ role: 'agent_step', sub: alice.sub, aud: 'authenticated' }),
    ),
    bearer('an unknown issuer', untrusted),
    bearer('alice', alice.token, { person: alice, ...user }),
    bearer('bob', bob.token, { person: bob, ...user }),
    bearer('twin', twin.token, { person: twin, ...user }),
    ticketOf("alice's ticket", alice),
    ticketOf("bob's ticket", bob),
    bearer("alice's job", alice.jobToken, { person: alice, opens: ['job'] }),
    bearer("bob's job", bob.jobToken, { person: bob, opens: ['job'] }),
    {
      name: 'QStash',
      person: null,
      opens: ['qstash'],
      show: async ({ path, body }) => ({
        headers: {
          'upstash-signature': await qstashSignature(
            body,
            `${API_URL}${path === '/' ? '/agent/step' : path}`,
          ),
        },
        query: '',
      }),
    },
    {
      name: 'sweeper',
      person: null,
      opens: ['sweep'],
      show: ({ body }) => ({ headers: sweepHeaders(body), query: '' }),
    },
  ]
}
