import { createHash, createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createSignatureVerifier } from '../../shared/adapters/qstash/signature.ts'
import { JOB_RESULT_BODY_BYTES } from '../../shared/contract/job.ts'
import { jobToken, sha256Hex } from '../../shared/engine/job-token.ts'
import { SECRET } from '../engine/harness.ts'
import { qstashSignature, sweepHeaders } from '../tenancy/callers.ts'
import {
  API_URL,
  type DoorWorld,
  doorWorld,
  FILE_SHA256,
  PARKED_STEP,
  SIGNING_KEYS,
  SWEEP_SECRET,
} from '../tenancy/world.ts'
import { batch } from './batch.ts'
import { base64url, flips, noise, truncations } from './forgeries.ts'

const STEP = process.env.TEST_FULL === '1' ? 1 : 3
/** Published by the vendor for its development server; a receiver in dev mode takes signatures of these. */
const DEV_KEYS = ['sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r', 'sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs']

let world: DoorWorld
let tried = 0
beforeAll(async () => {
  world = await doorWorld()
})
afterAll(async () => {
  await world.close()
  console.log(`auth fuzz, signatures, job tokens and tickets: ${tried} tried`)
})

const post = async (
  path: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string>,
  method = 'POST',
) =>
  world.apps.step.request(path, { method, headers: { 'content-type': 'application/json', ...headers }, body })

interface Message {
  signature?: string
  body?: string
  headers?: Record<string, string>
}

describe('QStash', () => {
  const now = () => Math.floor(Date.now() / 1000)
  /** A JWT of any header, claims and key, as a forger would make it. */
  const sign = (claims: Record<string, unknown>, header: unknown, key: string, hash = 'sha256') => {
    const text = `${base64url(header)}.${base64url(claims)}`
    return `${text}.${createHmac(hash, key).update(text).digest('base64url')}`
  }

  it.each(['/agent/step', '/agent/step/failure'])(
    '%s takes what QStash signed for it and nothing else',
    async (path) => {
      const { alice } = world.people
      const body = JSON.stringify({ run_id: alice.runId, step_number: 0 })
      const url = `${API_URL}${path}`
      const hash = (text: string) => createHash('sha256').update(text).digest('base64url')
      const claims = {
        iss: 'Upstash',
        sub: url,
        iat: now(),
        nbf: now() - 1,
        exp: now() + 300,
        jti: 'j',
        body: hash(body),
      }
      const head = { alg: 'HS256', typ: 'JWT' }
      const with_ = (more: Record<string, unknown>, header: unknown = head, key = SIGNING_KEYS.current) =>
        sign({ ...claims, ...more }, header, key)
      const right = with_({})
      const forged: [string, Message][] = [
        ['no signature', {}],
        ['an empty one', { signature: '' }],
      ]
      const add = (name: string, signature: string, more: Message = {}) =>
        void forged.push([name, { signature, ...more }])

      for (const key of [
        ...DEV_KEYS,
        '',
        'sig_',
        SIGNING_KEYS.current.toUpperCase(),
        `${SIGNING_KEYS.current} `,
        SWEEP_SECRET,
        SECRET,
      ])
        add(`key ${key}`, with_({}, head, key))
      for (const sub of [
        undefined,
        null,
        '',
        API_URL,
        `${url}/`,
        `${url}?`,
        `${url}#`,
        url.replace('https', 'http'),
        url.toUpperCase(),
        'https://evil.example/agent/step',
        `${API_URL}/agent/step/sweep`,
        [url],
        { url },
        '/agent/step',
        path === '/agent/step' ? `${API_URL}/agent/step/failure` : `${API_URL}/agent/step`,
      ])
        add(`sub ${JSON.stringify(sub)}`, with_({ sub }))
      for (const iss of [undefined, null, '', 'upstash', 'Upstash ', ['Upstash'], 1])
        add(`iss ${JSON.stringify(iss)}`, with_({ iss }))
      for (const exp of [undefined, null, now() - 6, 0, -1, String(now() + 300), [now() + 300], true])
        add(`exp ${JSON.stringify(exp)}`, with_({ exp }))
      for (const nbf of [undefined, null, now() + 60, 1e12, String(now()), []])
        add(`nbf ${JSON.stringify(nbf)}`, with_({ nbf }))
      for (const claim of [
        undefined,
        null,
        '',
        1,
        true,
        [hash(body)],
        hash(''),
        hash(`${body} `),
        hash(body).toLowerCase(),
        sha256Hex(body),
        body,
      ])
        add(`body ${JSON.stringify(claim)}`, with_({ body: claim }))
      for (const alg of [
        'none',
        'None',
        'HS384',
        'HS512',
        'RS256',
        'ES256',
        '',
        null,
        ['HS256'],
        undefined,
      ]) {
        add(`alg ${JSON.stringify(alg)}`, with_({}, { ...head, alg }))
        add(`alg ${JSON.stringify(alg)}, unsigned`, `${base64url({ ...head, alg })}.${base64url(claims)}.`)
      }
      add('HS512, truly', sign(claims, { alg: 'HS512' }, SIGNING_KEYS.current, 'sha512'))
      for (const crit of [['exp'], [], 'x', null])
        add(`crit ${JSON.stringify(crit)}`, with_({}, { ...head, crit }))
      add('for the other address', await qstashSignature(body, `${API_URL}/agent/step/other`))
      add('two headers', `${right}, ${right}`)
      add('another region', with_({}, head, DEV_KEYS[0]), {
        headers: { 'upstash-region': 'EU_CENTRAL_1' },
      })
      for (let at = 0; at < body.length; at += STEP)
        add(`byte ${at} of the body changed`, right, { body: `${body.slice(0, at)}~${body.slice(at + 1)}` })
      add('a space behind the body', right, { body: `${body} ` })
      add('the body written otherwise', right, {
        body: JSON.stringify({ step_number: 0, run_id: alice.runId }),
      })
      add('an empty body', right, { body: '' })
      for (const [name, signature] of [
        ...flips(right, { step: STEP }),
        ...truncations(right, { step: STEP }),
        ...noise(right),
      ])
        if (!signature.startsWith(`${right}=`)) add(name, signature)

      const before = await world.traces(alice)
      // what would make the vendor's receiver take other keys
      const switches = {
        QSTASH_DEV: 'true',
        QSTASH_REGION: 'EU_CENTRAL_1',
        EU_CENTRAL_1_QSTASH_CURRENT_SIGNING_KEY: DEV_KEYS[0] ?? '',
      }
      Object.assign(process.env, switches)
      try {
        tried += await batch(path, {
          send: (message: Message) =>
            post(path, message.body ?? body, {
              ...message.headers,
              ...(message.signature === undefined ? {} : { 'upstash-signature': message.signature }),
            }),
          forged,
          accepted: [
            ['the current key', { signature: right }],
            ['the next key', { signature: with_({}, head, SIGNING_KEYS.next) }],
            ['the same message again', { signature: right }],
            ['a padded hash', { signature: with_({ body: `${hash(body)}=` }) }],
          ],
        })
      } finally {
        for (const name of Object.keys(switches)) delete process.env[name]
      }
      expect(await world.traces(alice)).toBe(before)
    },
  )

  it('keys rolled once are taken without a deploy, rolled twice not until one', async () => {
    const url = `${API_URL}/agent/step`
    const deployed = createSignatureVerifier({ currentKey: 'sig_1', nextKey: 'sig_2' })
    const redeployed = createSignatureVerifier({ currentKey: 'sig_2', nextKey: 'sig_3' })
    const verify = async (verifier: typeof deployed, key: string) =>
      verifier.verify({ signature: await qstashSignature('{}', url, key), rawBody: '{}', url })
    expect(await verify(deployed, 'sig_1')).toBe(true)
    expect(await verify(deployed, 'sig_2')).toBe(true) // rolled once: the next key signs now
    expect(await verify(deployed, 'sig_3')).toBe(false) // rolled twice: a key that this deploy has never heard of
    expect(await verify(redeployed, 'sig_3')).toBe(true)
    expect(await verify(redeployed, 'sig_1')).toBe(false) // withdrawn
    tried += 5
  })
})

it('the sweep takes a fresh signature of its secret over the body', async () => {
  const at = Math.floor(Date.now() / 1000)
  const right = sweepHeaders('{}')
  const signature = right['x-agent-signature']
  type Call = [headers: Record<string, string>, body?: string]
  const forged: [string, Call][] = [
    ['nothing', [{}]],
    ['no timestamp', [{ 'x-agent-signature': signature }]],
    ['no signature', [{ 'x-agent-timestamp': right['x-agent-timestamp'] }]],
    ['another secret', [sweepHeaders('{}', SECRET)]],
    ['an empty secret', [sweepHeaders('{}', '')]],
    ['another body', [right, '{ }']],
    ['no body', [right, '']],
    ['capitals', [{ ...right, 'x-agent-signature': signature.toUpperCase() }]],
  ]
  for (const seconds of [-100_000, -301, 302, 100_000])
    forged.push([`${seconds} s`, [sweepHeaders('{}', SWEEP_SECRET, at + seconds)]])
  for (const timestamp of [
    '',
    '-1',
    '1e9',
    'NaN',
    `${at}.0`,
    ` ${at}x`,
    `0x${at.toString(16)}`,
    '9'.repeat(20),
  ])
    forged.push([
      `timestamp ${timestamp}`,
      [{ 'x-agent-timestamp': timestamp, 'x-agent-signature': signature }],
    ])
  for (const [name, changed] of [...flips(signature), ...truncations(signature), ...noise(signature)])
    if (changed !== signature) forged.push([name, [{ ...right, 'x-agent-signature': changed }]])
  tried += await batch('sweep', {
    send: ([headers, body = '{}']: Call) => post('/agent/step/sweep', body, headers),
    forged,
    accepted: [
      ['now', [right]],
      ['a clock that is late', [sweepHeaders('{}', SWEEP_SECRET, at - 290)]],
    ],
  })
})

describe('jobs', () => {
  const result = JSON.stringify({
    outcome: { kind: 'exited', exit_code: 0 },
    stdout: 'x',
    stderr: '',
    truncated: false,
    duration_ms: 1,
    files: { put: [], removed: [] },
  })

  it('every path of the door takes the token of its own job and nothing else', async () => {
    const { alice, bob, twin } = world.people
    const base = (person: { runId: string }, step = PARKED_STEP) => `/agent/step/job/${person.runId}/${step}`
    const paths: [path: string, method: string, body: string][] = [
      ['start', 'POST', '{}'],
      ['output', 'POST', '{"chunks":[]}'],
      [`blob/${FILE_SHA256}`, 'PUT', 'secret of its owner'],
      ['result', 'POST', result],
    ]
    const id = { runId: alice.runId, stepNumber: PARKED_STEP }
    const forged: [string, { at: string; authorization?: string }][] = []
    const add = (name: string, token: string, at = base(alice)) =>
      void forged.push([name, { at, authorization: `Bearer ${token}` }])
    forged.push(['nothing', { at: base(alice) }])
    forged.push(['Basic', { at: base(alice), authorization: `Basic ${alice.jobToken}` }])
    forged.push(['no scheme', { at: base(alice), authorization: alice.jobToken }])
    add("another run's token", bob.jobToken)
    add("a twin's token", twin.jobToken)
    add('the token at another run', alice.jobToken, base(bob))
    add('the token at another step', alice.jobToken, base(alice, 0))
    add('the token at a step that does not exist', alice.jobToken, base(alice, 99))
    add('the token at no run', alice.jobToken, base({ runId: '00000000-0000-4000-8000-0000000000ff' }))
    add('what the database keeps of it', sha256Hex(alice.jobToken))
    add('the token of the next epoch', jobToken(SECRET, id, 1))
    add('another secret', jobToken(`${SECRET}!`, id, 0))
    add("its user's token", alice.token)
    add('a ticket', alice.ticket)
    for (const [name, token] of [
      ...flips(alice.jobToken, { step: STEP }),
      ...truncations(alice.jobToken, { step: STEP }),
      ...noise(alice.jobToken),
    ])
      if (token !== alice.jobToken) add(name, token)
    const before = [await world.traces(alice), await world.traces(bob)]
    for (const [path, method, body] of paths) {
      tried += await batch(`job ${path}`, {
        send: ({ at, authorization }: { at: string; authorization?: string }) =>
          post(
            `${at}/${path}`,
            method === 'PUT' ? new TextEncoder().encode(body) : body,
            authorization === undefined ? {} : { authorization },
            method,
          ),
        forged,
        accepted: [],
      })
    }
    expect([await world.traces(alice), await world.traces(bob)]).toEqual(before)
    for (const [path, method, body] of paths) {
      tried += await batch(`job ${path}`, {
        send: (authorization: string) =>
          post(
            `${base(alice)}/${path}`,
            method === 'PUT' ? new TextEncoder().encode(body) : body,
            { authorization },
            method,
          ),
        forged: [['nothing', '']],
        accepted: [['its own token', `Bearer ${alice.jobToken}`]],
      })
    }
  })

  it('a result counts once: a repeat gets the first answer, another body or a late one changes nothing', async () => {
    const { alice, bob } = world.people
    const at = (person: { runId: string }) => `/agent/step/job/${person.runId}/${PARKED_STEP}`
    const own = { authorization: `Bearer ${alice.jobToken}` }
    const before = await world.traces(alice)
    expect((await post(`${at(alice)}/result`, result, own)).status).toBe(200)
    expect((await post(`${at(alice)}/result`, result.replace('"x"', '"y"'), own)).status).toBe(409)
    expect((await post(`${at(alice)}/result`, result.replace('0', '1'), own)).status).toBe(409)
    expect((await post(`${at(alice)}/start`, '{}', own)).status).toBe(409)
    expect(
      (await post(`${at(alice)}/result`, `{"x":"${'x'.repeat(JOB_RESULT_BODY_BYTES)}"}`, own)).status,
    ).toBe(413)
    expect(await world.traces(alice)).toBe(before)
    // expired: its run has ended under it
    await world.e.front.cancelRun({ principal: bob.principal, run_id: bob.runId })
    const ended = await world.traces(bob)
    for (const body of [result, result.replace('"x"', '"y"')])
      expect(
        (await post(`${at(bob)}/result`, body, { authorization: `Bearer ${bob.jobToken}` })).status,
      ).toBe(409)
    expect(await world.traces(bob)).toBe(ended)
    tried += 7
  })
})

it("tickets open their own run's stream, within their time, and nothing else", async () => {
  const { alice, bob, twin } = world.people
  const shown = (ticket: string, runId = alice.runId, more = '') =>
    `/agent/run/${runId}/stream?ticket=${encodeURIComponent(ticket)}${more}`
  const issue = async (ticket: string) => {
    await world.e.front.issueTicket({
      principal: alice.principal,
      run_id: alice.runId,
      ticket_sha256: sha256Hex(ticket),
      expires_at: new Date(Date.now() + 60_000).toISOString(),
    })
    return ticket
  }
  const late = await issue('a ticket that is used too late for the first time')
  const over = await issue('a ticket whose token would have run out since')
  await world.project.sql(
    `update private.stream_tickets set use_before = now() - interval '1 second' where ticket_sha256 = $1`,
    [sha256Hex(late)],
  )
  await world.project.sql(
    `update private.stream_tickets set connection = 1, expires_at = now() where ticket_sha256 = $1`,
    [sha256Hex(over)],
  )
  const forged: [string, string][] = [
    ['none', `/agent/run/${alice.runId}/stream`],
    ['an empty one', shown('')],
    ['for another run', shown(alice.ticket, bob.runId)],
    ['for no run', shown(alice.ticket, '00000000-0000-4000-8000-0000000000ff')],
    ["another run's", shown(bob.ticket)],
    ["a twin's", shown(twin.ticket)],
    ['its hash', shown(sha256Hex(alice.ticket))],
    ['first used after its minute', shown(late)],
    ['after the end of its token', shown(over)],
    ["its user's token", shown(alice.token)],
    ['as a bearer', `/agent/run/${alice.runId}/stream?token=${alice.ticket}`],
  ]
  for (const [name, ticket] of [...flips(alice.ticket), ...truncations(alice.ticket), ...noise(alice.ticket)])
    forged.push([name, shown(ticket)])
  tried += await batch('ticket', {
    send: async (path: string) => world.apps.logs.request(path),
    forged,
    accepted: [
      ['its own', shown(alice.ticket)],
      ['again, as EventSource reconnects', shown(alice.ticket)],
      ['on the plain stream', `/agent/logs?run_id=${alice.runId}&mode=stream&ticket=${alice.ticket}`],
    ],
  })
})
