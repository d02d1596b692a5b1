import { readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ScriptedModel, startScriptedModel } from '../../dev/model/start-scripted-model.ts'
import { detectConfinement } from '../../shared/runner/detect-confinement.ts'
import { ROOT, type SystemStack, systemStack, type User, upload } from '../system/kit.ts'

/** What no function, no tool and no reader has any business with; looked for wherever something is written down or sent. */
const secrets = new Map<string, string>()
/** Everything that left the services: where, and what. */
const seen: [where: string, text: string][] = []

let system: SystemStack
let user: User
let model: Recorder

interface Recorder {
  url: string
  /** The next request is answered by a provider that repeats the key it was sent, as some do. */
  failNext(): void
  close(): Promise<void>
}

const LOOK_AROUND = 'Look around for secrets.'

/** What a tool can reach: without a sandbox only its own environment is worth the question, as its user's processes are open to it. */
async function lookAround(): Promise<string> {
  const { confinement } = await detectConfinement()
  const own = 'echo LOOKED; env; set'
  return confinement === 'none'
    ? own
    : `${own}; cat /proc/*/environ /proc/*/cmdline; cat /etc/passwd; ls -la / ~ /tmp; find / -name '*.json' -size -9k 2>/dev/null | head -50 | xargs cat`
}

/** A turn of the provider's stream that calls one tool. */
function toolCall(name: string, input: unknown): string {
  const usage = { input_tokens: 1, output_tokens: 1 }
  const events: Record<string, unknown>[] = [
    {
      type: 'message_start',
      message: {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        model: 'scripted',
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage,
      },
    },
    {
      type: 'content_block_start',
      index: 0,
      content_block: { type: 'tool_use', id: 'toolu_look', name, input: {} },
    },
    {
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'input_json_delta', partial_json: JSON.stringify(input) },
    },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'tool_use', stop_sequence: null }, usage },
    { type: 'message_stop' },
  ]
  return events.map((event) => `event: ${String(event.type)}\ndata: ${JSON.stringify(event)}\n\n`).join('')
}

/** The scripted model behind a server that keeps what it is asked, and can be told to answer with the key it was shown. */
async function recordingModel(): Promise<Recorder> {
  const scripted: ScriptedModel = await startScriptedModel({ tokensPerSecond: Number.POSITIVE_INFINITY })
  let fails = false
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString()
    seen.push(['a prompt', body])
    if (fails) {
      fails = false
      const message = `invalid x-api-key: ${String(request.headers['x-api-key'])}`
      response.writeHead(500, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ type: 'error', error: { type: 'api_error', message } }))
      return
    }
    if (
      body.includes(LOOK_AROUND) &&
      body.includes('"name":"shell"') &&
      !body.includes('"tool_result"') &&
      !body.includes('submit_plan')
    ) {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(toolCall('shell', { command: await lookAround() }))
      return
    }
    const answer = await fetch(`${scripted.url}${request.url}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': 'x', 'anthropic-version': '2023-06-01' },
      body,
    })
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
    for await (const chunk of answer.body ?? []) response.write(chunk)
    response.end()
  }
  const server: Server = createServer((request, response) => void handle(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    failNext() {
      fails = true
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await scripted.close()
    },
  }
}

const PLANTED = {
  ANTHROPIC_API_KEY: 'sk-ant-canary-0123456789-of-the-model',
  AWS_SECRET_ACCESS_KEY: 'canary-of-the-cloud-0123456789',
  GITHUB_TOKEN: 'ghp_canaryOfAConnector0123456789',
  SLACK_BOT_TOKEN: 'xoxb-canary-of-a-connector-0123456789',
  DATABASE_URL: 'postgres://canary:canary-of-the-database@127.0.0.1:9/canary',
}
const plantedBefore: Record<string, string | undefined> = {}

beforeAll(async () => {
  for (const [name, value] of Object.entries(PLANTED)) secrets.set(name, value)
  // in the environment of the process that starts the stack too, as an operator's shell would have them
  for (const name of ['AWS_SECRET_ACCESS_KEY', 'GITHUB_TOKEN', 'SLACK_BOT_TOKEN'] as const) {
    plantedBefore[name] = process.env[name]
    process.env[name] = PLANTED[name]
  }
  model = await recordingModel()
  system = await systemStack({
    unsafeTools: true,
    settings: {
      ...PLANTED,
      ANTHROPIC_BASE_URL: model.url,
      LOG_LEVEL: 'trace',
      STEP_LEASE_SECONDS: '3',
      ALLOW_TOKEN_IN_QUERY: 'true',
    },
  })
  // the stack's own secrets are as good as planted ones: random, and known to nobody else
  const own = JSON.parse(readFileSync(join(system.dir, 'secrets.json'), 'utf8')) as Record<string, string>
  for (const [name, value] of Object.entries(own)) if (name !== 'issuerOrigin') secrets.set(name, value)
  const keys = JSON.parse(readFileSync(join(system.dir, 'keys.json'), 'utf8')) as Record<string, unknown>
  secrets.set('legacy_secret', String(keys.legacy_secret))
  secrets.set('storage_secret', String(keys.storage_secret))
  secrets.set('private_jwk.d', String((keys.private_jwk as { d: string }).d))
  const { supabase, postgres } = system.stack()
  secrets.set('SUPABASE_SERVICE_ROLE_KEY', supabase.serviceRoleKey)
  for (const role of ['postgres', 'authenticator', 'agent_api_login', 'agent_step_login'])
    secrets.set(`password of ${role}`, postgres.password(role))
  user = await system.user('canary')
  secrets.set("the user's token", user.token)
  const { data } = await user.supabase.auth.getSession()
  secrets.set("the user's refresh token", data.session?.refresh_token ?? '')
})
afterAll(async () => {
  for (const [name, value] of Object.entries(plantedBefore)) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
  await system.close()
  await model.close()
})

/** A call of our own functions; headers and body of the answer are kept. */
async function ask(path: string, init: RequestInit & { token?: string | null } = {}): Promise<string> {
  const { token = user.token, ...rest } = init
  const answer = await fetch(`${system.stack().origin}${path}`, {
    ...rest,
    headers: {
      'content-type': 'application/json',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(rest.headers as Record<string, string>),
    },
  })
  const body = await answer.text()
  seen.push([`the answer of ${path.slice(0, 40)}`, `${JSON.stringify([...answer.headers])}\n${body}`])
  return body
}
const post = (path: string, body: unknown, more: RequestInit & { token?: string | null } = {}) =>
  ask(path, { method: 'POST', body: JSON.stringify(body), ...more })

async function untilFinal(runId: string): Promise<string> {
  for (let n = 0; n < 300; n += 1) {
    const { run } = JSON.parse(await post('/agent/status', { run_id: runId })) as { run: { status: string } }
    if (['completed', 'failed', 'cancelled', 'timeout'].includes(run.status)) return run.status
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  throw new Error('the run does not end')
}
const create = async (body: Record<string, unknown>) =>
  (JSON.parse(await post('/agent/execute', { action: 'create', ...body })) as { run_id: string }).run_id

it('secrets of the environment, of users and of connectors stand nowhere else', async () => {
  const lock = await upload(
    user,
    'package-lock.json',
    new Uint8Array(readFileSync(join(ROOT, 'package-lock.json'))),
  )
  // the demo, with a provider that repeats its key in an error on the way
  const demo = await create({
    prompt: 'What is in this file?',
    attachments: [lock],
    connector_ids: ['github', 'slack'],
  })
  model.failNext()
  const stream = ask(`/agent/run/${demo}/stream?resume=true`)
  expect(await untilFinal(demo)).toBe('completed')
  await stream

  // a tool that looks for whatever it can reach
  const tool = await create({ prompt: LOOK_AROUND })
  await untilFinal(tool)
  const looked = await post('/agent/status', { run_id: tool })
  expect(looked).toContain('LOOKED')

  // refusals and faults, each with something secret in its hand
  const { ticket } = JSON.parse(
    await (
      await fetch(`${system.stack().origin}/agent/stream-ticket`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${user.token}` },
        body: JSON.stringify({ run_id: demo }),
      })
    ).text(),
  ) as { ticket: string }
  secrets.set('a stream ticket', ticket)
  const forged = `${user.token.slice(0, -8)}AAAAAAAA`
  secrets.set('a token that is nearly right', forged)
  await ask(`/agent/run/${demo}/stream?ticket=${ticket}`, { token: null })
  await ask(`/agent/run/${demo}/stream?token=${user.token}`, { token: null })
  await ask(`/agent/run/${demo}/stream?token=${forged}`, { token: null })
  await ask(`/agent/run/${demo}/stream?ticket=${ticket}x`, { token: null })
  await ask(`/agent/runs?apikey=${forged}`, { token: forged })
  await post('/agent/status', { run_id: demo }, { token: forged })
  await post('/agent/execute', { action: 'nothing' })
  await ask('/agent/execute', { method: 'POST', body: '{' })
  await post('/agent/step', { run_id: demo, step_number: 0 }, { headers: { 'upstash-signature': forged } })
  await post('/agent/step/sweep', {}, { headers: { 'x-agent-timestamp': '1', 'x-agent-signature': forged } })
  await post(`/agent/step/job/${demo}/2/start`, {}, { token: forged })
  for (const path of ['/health', '/ready', '/docs', '/openapi.json', '/agent/nothing']) await ask(path)
  await post('/agent/execute', {
    action: 'create',
    prompt: 'x',
    attachments: [{ bucket: 'agent-inputs', path: `${user.id}/missing` }],
  })
  system.stack().setRedisAvailable(false)
  await ask(`/agent/run/${demo}/stream?resume=true`)
  system.stack().setRedisAvailable(true)

  collectFiles(join(system.dir, 'logs'))
  collectFiles(join(system.dir, 'jobs'))
  seen.push(['what QStash holds', readFileSync(join(system.dir, 'qstash.json'), 'utf8')])
  await collectRows()
  await collectRedis()

  const places = new Set(seen.map(([where]) => where.split(' ').slice(0, 2).join(' ')))
  for (const place of [
    'a prompt',
    'the answer',
    'log step.log',
    'table public.agent_steps',
    'table private.runs',
    'what QStash',
    'what Redis',
  ])
    expect(
      [...places].some((one) => place.startsWith(one) || one.startsWith(place)),
      place,
    ).toBe(true)
  // the control: what has to be there is found by the same search
  expect(found('What is in this file?').length).toBeGreaterThan(2)

  const leaks = [...secrets].flatMap(([name, value]) => {
    expect([name, value.length >= 12]).toEqual([name, true])
    return found(value).map((where) => `${name} in ${where}`)
  })
  expect(leaks).toEqual([])
  const bytes = seen.reduce((sum, [, text]) => sum + text.length, 0)
  console.log(
    `canaries: ${secrets.size} secrets, looked for in ${seen.length} places of ${Math.round(bytes / 1024)} KiB`,
  )
}, 180_000)

/** As it is, and as JSON, addresses and base64 would have it. */
function found(value: string): string[] {
  const forms = [
    value,
    encodeURIComponent(value),
    JSON.stringify(value).slice(1, -1),
    Buffer.from(value).toString('base64').replace(/=+$/, ''),
  ]
  return seen.filter(([, text]) => forms.some((form) => text.includes(form))).map(([where]) => where)
}

function collectFiles(dir: string): void {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name)
    if (statSync(path).isDirectory()) collectFiles(path)
    else seen.push([`${dir.endsWith('logs') ? 'log' : 'file'} ${name}`, readFileSync(path, 'latin1')])
  }
}

/** Every row of every table of ours and of Storage; the schema auth is where Supabase itself keeps sessions. */
async function collectRows(): Promise<void> {
  const tables = await system.query<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('public', 'private', 'storage')`,
  )
  for (const { name } of tables) {
    const rows = await system.query<{ row: string }>(`select to_jsonb(t)::text as row from ${name} t`)
    seen.push([`table ${name}`, rows.map(({ row }) => row).join('\n')])
  }
}

async function collectRedis(): Promise<void> {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = system.stack().env
  const command = async (...args: string[]) => {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify(args),
    })
    return ((await answer.json()) as { result?: unknown }).result
  }
  const keys = (await command('KEYS', '*')) as string[]
  const values: Record<string, readonly string[]> = {
    string: ['GET'],
    hash: ['HGETALL'],
    list: ['LRANGE', '0', '-1'],
    set: ['SMEMBERS'],
    zset: ['ZRANGE', '0', '-1'],
    stream: ['XRANGE', '-', '+'],
  }
  const all: unknown[] = []
  for (const key of keys) {
    const [name = 'GET', ...rest] = values[String(await command('TYPE', key))] ?? []
    all.push(key, await command(name, key, ...rest))
  }
  seen.push(['what Redis holds', JSON.stringify(all)])
}
