import { describe, expect, it } from 'vitest'
import { testConfig } from '../../shared/config/test-config.ts'
import { AppError } from '../../shared/core/errors.ts'
import { ALICE, caller, ORIGIN, testIdentity, testPorts } from '../test-kit.ts'
import { executeApp } from './routes.ts'

const GHOST = '0f0f0f0f-0000-4000-8000-000000000000'

function setup(options: Parameters<typeof testPorts>[0] = {}, env: Record<string, string> = {}) {
  const ports = testPorts(options)
  const app = executeApp(testConfig('execute', env), ports)
  return { app, ports, alice: caller(app), bob: caller(app, 'bob') }
}

function expectError(
  answer: { status: number; body: Record<string, unknown> },
  status: number,
  code: string,
  text?: string,
) {
  expect(answer).toMatchObject({ status, body: { success: false, code } })
  const { error, detail, message, request_id } = answer.body
  expect([detail, message]).toEqual([error, error])
  expect(request_id).toEqual(expect.any(String))
  if (text !== undefined) expect(error).toBe(text)
}

describe('create', () => {
  it('answers 201 in the shape of generation A on every URL', async () => {
    const { alice, ports } = setup()
    for (const path of [
      '/',
      '/agent/execute',
      '/functions/v1/agent-execute',
      '/functions/v1/agent-execute-phase2',
    ]) {
      const { status, body } = await alice.post(path, { action: 'create', prompt: 'Hello' })
      expect(status).toBe(201)
      const { run_id } = body
      expect(body).toEqual({
        success: true,
        run_id,
        status: 'queued',
        message: expect.any(String),
        task: { id: run_id, run_id, prompt: 'Hello', status: 'queued', created_at: expect.any(String) },
      })
    }
    expect(ports.published).toHaveLength(4)
  })

  it('takes a body without action as the newest callers send it', async () => {
    const { alice, ports } = setup()
    const { status, body } = await alice.post('/agent/execute', {
      prompt: 'Hi',
      taskType: 'research',
      mode: 'agentic',
      privacyTier: 'high',
      connectors: ['gmail'],
      templateId: 7,
      memoryContext: { likes: 'tea' },
      thinkingLevel: 'deep',
      unknown_key: { a: 1 },
    })
    expect(status).toBe(201)
    const kept = ports.store.runs.get(String(body.run_id))
    expect(kept?.run).toMatchObject({
      mode: 'custom',
      metadata: {
        mode_requested: 'agentic',
        task_type: 'research',
        privacyTier: 'high',
        connectors: ['gmail'],
        templateId: 7,
        thinkingLevel: 'deep',
      },
    })
    expect(kept?.input.memory_context).toBe('{"likes":"tea"}')
  })

  it('keeps a run at created with auto_start false', async () => {
    const { alice, ports } = setup()
    expect(await alice.post('/', { prompt: 'x', auto_start: false })).toMatchObject({
      status: 201,
      body: { status: 'created' },
    })
    expect(ports.published).toEqual([])
  })

  it.each([
    { prompt: '' },
    { prompt: ' \n' },
    { action: 'create' },
    { prompt: null },
    { prompt: 5 },
    { action: 'create', prompt: ['x'] },
  ])('refuses %j', async (body) => {
    const { alice, ports } = setup()
    expectError(await alice.post('/', body), 400, 'prompt_required', 'Prompt is required')
    expect(ports.store.runs.size).toBe(0)
  })

  it('refuses what is too long with the documented errors', async () => {
    const { alice, ports } = setup()
    expectError(await alice.post('/', { prompt: 'x'.repeat(100_001) }), 400, 'invalid_request')
    expectError(await alice.post('/', { prompt: 'x'.repeat(1_000_000) }), 413, 'body_too_large')
    expect((await alice.post('/', { prompt: 'é'.repeat(100_000) })).status).toBe(201)
    expect(ports.store.runs.size).toBe(1)
  })

  it('answers 402 without credit', async () => {
    const { alice, ports } = setup()
    ports.store.credits.set(ALICE, 0)
    expectError(await alice.post('/', { prompt: 'x' }), 402, 'insufficient_credits', 'Insufficient credits')
  })

  it('is still 201 when QStash is down', async () => {
    const { alice, ports } = setup()
    ports.failScheduler(new Error('429'))
    expect((await alice.post('/', { prompt: 'x' })).status).toBe(201)
    expect(ports.log.lines).toContainEqual(expect.objectContaining({ level: 'warn', count: 1 }))
  })

  it('repairs text that Postgres refuses', async () => {
    const { alice, ports } = setup()
    const { status, body } = await alice.post('/', '{"prompt":"a\\u0000b\\ud800c"}')
    expect(status).toBe(201)
    expect(ports.store.runs.get(String(body.run_id))?.run.prompt).toBe('a\uFFFDb\uFFFDc')
  })
})

describe('idempotency', () => {
  it('gives a repeat the first answer, reads no attachment again, and refuses another body', async () => {
    const { alice, bob, ports } = setup({ objects: { 'agent-inputs/u/a.txt': 'A' } })
    const body = { prompt: 'x', attachments: [{ bucket: 'agent-inputs', path: 'u/a.txt' }] }
    const key = { 'idempotency-key': 'k 1' }
    const first = await alice.post('/', body, key)
    ports.store.addStatus(String(first.body.run_id), 'executing')
    const again = await alice.post('/', { attachments: body.attachments, prompt: 'x' }, key)
    expect(again.status).toBe(201)
    expect(again.body).toEqual(first.body)
    expect(ports.reads).toHaveLength(1)
    expect(ports.published).toHaveLength(1)
    expectError(await alice.post('/', { prompt: 'y' }, key), 409, 'idempotency_conflict')
    expect((await bob.post('/', { prompt: 'y' }, key)).status).toBe(201)
  })

  it.each(['', 'x'.repeat(256), 'ümlaut'])('refuses the key %j', async (key) => {
    const { alice } = setup()
    expectError(await alice.post('/', { prompt: 'x' }, { 'idempotency-key': key }), 400, 'invalid_request')
  })
})

describe('limits', () => {
  const ATTACHED = { prompt: 'x', attachments: [{ bucket: 'agent-inputs', path: 'u/a.txt' }] }
  const objects = { 'agent-inputs/u/a.txt': 'a' }

  it('credit and open runs are looked at before an attachment is read', async () => {
    const poor = setup({ objects })
    poor.ports.store.credits.set(ALICE, 4)
    expectError(await poor.alice.post('/', ATTACHED), 402, 'insufficient_credits', 'Insufficient credits')
    const busy = setup({ objects }, { MAX_OPEN_RUNS_PER_USER: '1' })
    const { body } = await busy.alice.post('/', { prompt: 'x' })
    const refused = await busy.alice.post('/', ATTACHED)
    expectError(refused, 429, 'too_many_runs')
    expect([refused.headers.get('retry-after'), refused.body.error]).toEqual([
      '30',
      expect.stringContaining('stop one'),
    ])
    expect([...poor.ports.reads, ...busy.ports.reads]).toEqual([])
    await busy.alice.post('/agent/cancel', { run_id: body.run_id })
    expect((await busy.alice.post('/', ATTACHED)).status).toBe(201)
  })

  it('new runs, changes and reads are counted apart, for each user, also when they are refused', async () => {
    const { alice, bob, ports } = setup(
      {},
      { RATE_CREATES_PER_MINUTE: '2', RATE_WRITES_PER_MINUTE: '6', RATE_READS_PER_MINUTE: '1' },
    )
    const create = () => alice.post('/', { prompt: 'x' })
    const { body } = await create()
    expect((await create()).status).toBe(201)
    const refused = await create()
    expectError(refused, 429, 'rate_limited')
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(refused.body.error).toMatch(
      /^Too many new runs: 2 a minute are allowed for you\. Try again in \d+ s$/,
    )
    for (const action of ['retry', 'fork'])
      expectError(await alice.post('/', { action, run_id: body.run_id, from_step: 0 }), 429, 'rate_limited')
    expect((await alice.post('/agent/cancel', { run_id: body.run_id })).status).toBe(200)
    // nonsense costs as much as anything else
    expectError(await alice.post('/', '{', {}), 429, 'rate_limited')
    expect((await alice.get('/agent/runs')).status).toBe(200)
    expectError(await alice.get('/agent/runs'), 429, 'rate_limited')
    expect((await bob.post('/', { prompt: 'x' })).status).toBe(201)
    expect(ports.store.calls.filter((name) => name === 'createRun')).toHaveLength(3)
  })

  it('a browser can read why it was refused', async () => {
    const { alice } = setup({}, { RATE_WRITES_PER_MINUTE: '1' })
    await alice.post('/', { prompt: 'x' }, { origin: ORIGIN })
    const { status, headers } = await alice.post('/', { prompt: 'x' }, { origin: ORIGIN })
    expect([status, headers.get('access-control-allow-origin')]).toEqual([429, ORIGIN])
    expect(headers.get('access-control-expose-headers')).toContain('retry-after')
  })
})

describe('attachments', () => {
  it('copies objects under inputs/ with harmless, unique names', async () => {
    const { alice, ports } = setup({
      objects: { 'b/u/data.csv': 'one', 'b/v/data.csv': 'two', 'b/u/..\\.hidden': 'three' },
    })
    const { body } = await alice.post('/', {
      prompt: 'x',
      attachments: [
        { bucket: 'b', path: 'u/data.csv' },
        { bucket: 'b', path: 'v/data.csv' },
        { bucket: 'b', path: 'u/..\\.hidden' },
      ],
    })
    const kept = ports.store.runs.get(String(body.run_id))
    expect(kept?.input.files.map(({ path, size }) => [path, size])).toEqual([
      ['inputs/data.csv', 3],
      ['inputs/data (2).csv', 3],
      ['inputs/hidden', 5],
    ])
    for (const file of kept?.input.files ?? []) expect(ports.stored.has(`${ALICE} ${file.sha256}`)).toBe(true)
  })

  it("refuses somebody else's object and writes nothing", async () => {
    const { alice, ports } = setup()
    expectError(
      await alice.post('/', { prompt: 'x', attachments: [{ bucket: 'agent-inputs', path: 'bob/a' }] }),
      400,
      'invalid_attachment',
    )
    expect(ports.store.runs.size).toBe(0)
  })

  it('takes a URL of trusted Storage, warns about every other, never answers 400', async () => {
    const { alice, ports } = setup({ objects: { 'files/my doc.pdf': 'pdf' } })
    const { status, body } = await alice.post('/', {
      prompt: 'x',
      attachments: [
        {
          name: 'Doc.pdf',
          url: 'https://p.example.com/storage/v1/object/sign/files/my%20doc.pdf?token=t',
          type: 'application/pdf',
        },
        { name: 'x', url: 'https://evil.example.com/storage/v1/object/public/files/x', type: 't' },
        { name: 'x', url: 'https://p.example.com@evil.example.com/storage/v1/object/public/files/x' },
        { name: 'gone', url: 'https://p.example.com/storage/v1/object/public/files/gone' },
        { name: 'x', url: 'not a url' },
        'nonsense',
        null,
      ],
    })
    expect(status).toBe(201)
    const kept = ports.store.runs.get(String(body.run_id))
    expect(kept?.input.files.map((file) => file.path)).toEqual(['inputs/Doc.pdf'])
    expect(kept?.input.warnings).toHaveLength(6)
    expect(kept?.logs.filter((log) => log.log_type === 'warning')).toHaveLength(6)
    expect(ports.reads.map(({ bucket, path }) => `${bucket}/${path}`)).toEqual([
      'files/my doc.pdf',
      'files/gone',
    ])
  })

  it('keeps the limits', async () => {
    const { alice } = setup(
      { objects: { 'b/1': '12345', 'b/2': '67890' } },
      { MAX_ATTACHMENTS: '1', MAX_ATTACHMENT_BYTES: '5', MAX_ATTACHMENTS_BYTES: '8' },
    )
    const two = [
      { bucket: 'b', path: '1' },
      { bucket: 'b', path: '2' },
    ]
    expectError(await alice.post('/', { prompt: 'x', attachments: two }), 400, 'invalid_attachment')
    const total = setup({ objects: { 'b/1': '12345', 'b/2': '67890' } }, { MAX_ATTACHMENTS_BYTES: '8' })
    expectError(await total.alice.post('/', { prompt: 'x', attachments: two }), 400, 'invalid_attachment')
  })
})

describe('verbs', () => {
  async function made(env = setup()) {
    const { body } = await env.alice.post('/', { prompt: 'x', auto_start: false })
    return { ...env, run_id: String(body.run_id) }
  }

  it('starts, and answers 200 with the current status to create-then-start callers', async () => {
    const { alice, ports, run_id } = await made()
    expect(await alice.post('/', { action: 'start', run_id })).toMatchObject({
      status: 200,
      body: { success: true, run_id, status: 'queued' },
    })
    ports.store.addStatus(run_id, 'executing')
    expect(await alice.post('/', { action: 'start', run_id })).toMatchObject({
      status: 200,
      body: { status: 'executing' },
    })
    ports.store.end(run_id, 'completed', {})
    expectError(
      await alice.post('/', { action: 'start', run_id }),
      400,
      'invalid_state',
      'Cannot start run in status: completed',
    )
  })

  it('stops at once, tells streams and steps, and only once', async () => {
    const { alice, ports, run_id } = await made()
    expect(await alice.post('/agent/cancel', { run_id })).toMatchObject({
      status: 200,
      body: { success: true, run_id, status: 'cancelled' },
    })
    expect(await ports.cache.hasFlag(`cancel:${run_id}`)).toBe(true)
    expectError(
      await alice.post('/', { action: 'stop', run_id }),
      400,
      'invalid_state',
      'Cannot cancel run in status: cancelled',
    )
  })

  it('retries what did not complete as a new run', async () => {
    const { alice, ports, run_id } = await made()
    await alice.post('/', { action: 'stop', run_id })
    const retried = await alice.post('/', { action: 'retry', run_id })
    expect(retried).toMatchObject({
      status: 201,
      body: { success: true, status: 'queued', task: { prompt: 'x' } },
    })
    expect(retried.body.run_id).not.toBe(run_id)
    expect(ports.store.runs.get(String(retried.body.run_id))?.run.metadata).toMatchObject({
      retry_of: run_id,
    })
  })

  it('pauses and resumes; resume answers executing and keeps the input', async () => {
    const { alice, ports, run_id } = await made()
    expectError(
      await alice.post('/', { action: 'resume', run_id }),
      400,
      'invalid_state',
      'Cannot resume run in status: created',
    )
    await alice.post('/', { action: 'start', run_id })
    expect(await alice.post('/', { action: 'pause', run_id })).toMatchObject({
      status: 200,
      body: { status: 'paused' },
    })
    const resumed = await alice.post('/', { action: 'resume', run_id, user_input: 'go' })
    expect(resumed).toMatchObject({ status: 200, body: { run_id, status: 'executing' } })
    expect(ports.store.runs.get(run_id)?.messages.at(-1)).toMatchObject({ role: 'user', content: 'go' })
  })

  it('allows and denies the calls that a run asks about, and knows no others', async () => {
    const { alice, bob, ports, run_id } = await made()
    await alice.post('/', { action: 'start', run_id })
    const open = (approval_id: string) => ({
      approval_id,
      step_number: 2,
      step_id: GHOST,
      tool_name: 'shell',
      tool_input: { command: 'ls' },
      asked_at: '2026-01-01T00:00:00.000000Z',
    })
    const [first, second] = [crypto.randomUUID(), crypto.randomUUID()]
    ports.store.runs.get(run_id)?.approvals.push(open(first), open(second))
    ports.store.addStatus(run_id, 'waiting_user')
    const answer = (action: string, approval_id: unknown, more = {}) =>
      alice.post('/', { action, run_id, approval_id, ...more })
    for (const approval_id of [GHOST, 'x', '', `${first}'`])
      expectError(await answer('approve', approval_id), 404, 'not_found', 'Approval not found')
    for (const approval_id of [undefined, null, 7, { id: first }])
      expectError(await answer('approve', approval_id), 400, 'invalid_request')
    expectError(await answer('deny', first, { message: 'x'.repeat(100_001) }), 400, 'invalid_request')
    expectError(
      await bob.post('/', { action: 'approve', run_id, approval_id: first }),
      404,
      'run_not_found',
      'Run not found',
    )
    expect(await answer('approve', first)).toMatchObject({
      status: 200,
      body: { success: true, run_id, status: 'waiting_user', message: 'Call allowed' },
    })
    expect(await answer('deny', second, { message: 'not today' })).toMatchObject({
      status: 200,
      body: { success: true, run_id, status: 'executing', message: 'Call denied' },
    })
    expect(ports.store.runs.get(run_id)?.logs.at(-2)).toMatchObject({
      metadata: { data: { approval_id: second, approved: false, message: 'not today' } },
    })
  })

  it.each(['start', 'stop', 'retry', 'resume', 'pause'])(
    '%s: a foreign run is not found, like one that is not there',
    async (action) => {
      const { bob, ports, run_id } = await made()
      const before = JSON.stringify([...ports.store.runs])
      const foreign = await bob.post('/', { action, run_id })
      const ghost = await bob.post('/', { action, run_id: GHOST })
      expectError(foreign, 404, 'run_not_found', 'Run not found')
      expect({ ...ghost.body, request_id: 0 }).toEqual({ ...foreign.body, request_id: 0 })
      expectError(await bob.post('/', { action, run_id: 'x' }), 404, 'run_not_found')
      expectError(await bob.post('/', { action }), 400, 'run_id_required', 'run_id is required')
      expect(JSON.stringify([...ports.store.runs])).toBe(before)
    },
  )

  it.each([
    [{ action: 'rewind', run_id: GHOST }, 'Unknown action: rewind'],
    [{ action: 'Delete' }, 'Unknown action: Delete'],
    [{ action: '__proto__' }, 'Unknown action: __proto__'],
    [{ action: 5 }, 'Unknown action: 5'],
    [{}, 'Unknown action: undefined'],
  ])('does not know %j', async (body, text) => {
    const { alice } = setup()
    expectError(await alice.post('/', body), 400, 'unknown_action', text)
  })
})

describe('own runs', () => {
  it('pages newest first without loss or repeat, own runs only', async () => {
    const { alice, bob } = setup()
    const ids: unknown[] = []
    for (let n = 0; n < 5; n += 1) ids.unshift((await alice.post('/', { prompt: `p${n}` })).body.run_id)
    await bob.post('/', { prompt: 'b' })
    const seen: unknown[] = []
    let before = ''
    for (let page = 0; page < 3; page += 1) {
      const { body } = await alice.get(`/agent/runs?limit=2&before=${encodeURIComponent(before)}`)
      seen.push(...(body.runs as { id: string }[]).map((run) => run.id))
      expect(body.has_more).toBe(page < 2)
      before = String(body.next_cursor ?? '')
    }
    expect(seen).toEqual(ids)
    expectError(await alice.get('/agent/runs?status=bogus'), 400, 'invalid_request')
    expectError(await alice.get('/agent/runs?before=bogus'), 400, 'invalid_request')
  })
})

describe('hostile bodies', () => {
  const invalid = new Uint8Array([0x7b, 0x22, 0x70, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d])
  it.each([
    ['broken JSON', '{"prompt":', 'invalid_json'],
    ['an empty body', '', 'invalid_json'],
    ['broken UTF-8', invalid, 'invalid_json'],
    ['an array', '[1]', 'invalid_request'],
    ['null', 'null', 'invalid_request'],
    ['a string', '"prompt"', 'invalid_request'],
    ['a deep object', `{"prompt":"x","params":${'{"a":'.repeat(100)}1${'}'.repeat(100)}}`, 'invalid_request'],
    ['an extreme depth', `{"prompt":"x","params":${'['.repeat(200_000)}${']'.repeat(200_000)}}`, undefined],
    ['wrong types', '{"prompt":"x","connector_ids":"a"}', 'invalid_request'],
  ])('%s is 400', async (_name, body, code) => {
    const { alice, ports } = setup()
    const answer = await alice.post('/', body)
    expect(answer.status).toBe(400)
    if (code !== undefined) expectError(answer, 400, code)
    expect(ports.store.runs.size).toBe(0)
  })

  it('drops prototype keys', async () => {
    const { alice, ports } = setup()
    const { status, body } = await alice.post(
      '/',
      '{"prompt":"x","__proto__":{"mode":"code"},"params":{"__proto__":{"polluted":1},"constructor":{"a":1}}}',
    )
    expect(status).toBe(201)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    const { run } = ports.store.runs.get(String(body.run_id)) ?? {}
    expect(run?.mode).toBe('chat')
    expect(JSON.stringify(run?.metadata)).toBe('{"params":{"constructor":{"a":1}}}')
  })

  it('refuses other content types with 415 and takes a charset', async () => {
    const { alice } = setup()
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/jsonp',
    ]) {
      expectError(
        await alice.post('/', { prompt: 'x' }, { 'content-type': type }),
        415,
        'unsupported_media_type',
      )
    }
    expect(
      (await alice.post('/', { prompt: 'x' }, { 'content-type': 'Application/JSON; charset=UTF-8' })).status,
    ).toBe(201)
  })
})

describe('the door', () => {
  it.each([null, 'mallory', 'anon'])('answers token %j with the same 401', async (token) => {
    const { app } = setup()
    const answer = await caller(app, token).post('/agent/execute', { prompt: 'x' })
    expectError(answer, 401, 'unauthorized', 'Unauthorized')
    expect(answer.headers.get('www-authenticate')).toBe('Bearer')
  })

  it('answers 503 with Retry-After when keys or the database are away', async () => {
    const { app, alice, ports } = setup()
    const keys = await caller(app, 'keys-away').post('/', { prompt: 'x' })
    expectError(keys, 503, 'unavailable')
    expect(keys.headers.get('retry-after')).toBe('3')
    ports.store.fault = new AppError('unavailable', 'The database does not answer')
    expect((await alice.post('/', { prompt: 'x' })).headers.get('retry-after')).toBe('2')
  })

  it('shows no internals of an unexpected error, but logs it', async () => {
    const { alice, ports } = setup()
    ports.store.fault = new Error('password=hunter2')
    const answer = await alice.post('/', { prompt: 'x' })
    expectError(answer, 500, 'internal')
    expect(JSON.stringify(answer.body)).not.toContain('hunter2')
    const { request_id } = answer.body
    expect(ports.log.lines).toContainEqual(expect.objectContaining({ level: 'error', request_id }))
  })

  it('answers 404 and 405 in the same body', async () => {
    const { alice } = setup()
    expectError(await alice.post('/nowhere', {}), 404, 'not_found')
    const get = await alice.get('/agent/execute')
    expectError(get, 405, 'method_not_allowed')
    expect(get.headers.get('allow')).toBe('POST, OPTIONS')
  })

  it('has no short path behind one entry', async () => {
    const ports = testPorts({ identity: testIdentity() })
    const app = executeApp({ ...testConfig('execute'), mounted: true }, ports)
    expectError(await caller(app).post('/', { prompt: 'x' }), 404, 'not_found')
    expect((await caller(app).post('/agent/execute', { prompt: 'x' })).status).toBe(201)
  })
})

describe('browsers', () => {
  const preflight = (origin: string) => ({
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,x-client-info',
    },
  })

  it('lets an allowed origin through, exactly', async () => {
    const { app } = setup()
    const answer = await app.request('/functions/v1/agent-execute', preflight(ORIGIN))
    expect(answer.status).toBe(204)
    const allowed = answer.headers.get('access-control-allow-headers')?.split(', ')
    expect(new Set(allowed)).toEqual(
      new Set([
        'authorization',
        'apikey',
        'x-client-info',
        'content-type',
        'x-region',
        'last-event-id',
        'idempotency-key',
        'traceparent',
      ]),
    )
    expect(answer.headers.get('access-control-allow-origin')).toBe(ORIGIN)
    expect(answer.headers.get('access-control-allow-credentials')).toBe('true')
    expect(answer.headers.get('vary')).toBe('Origin')
  })

  it.each(['https://evil.example.com', 'https://app.example.com.evil.com', 'null', 'http://app.example.com'])(
    'tells %s nothing',
    async (origin) => {
      const { app, alice } = setup()
      const answer = await app.request('/agent/execute', preflight(origin))
      expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
      const { headers } = await alice.post('/agent/execute', { prompt: 'x' }, { origin })
      expect(headers.get('access-control-allow-origin')).toBeNull()
      expect(headers.get('vary')).toBe('Origin')
    },
  )

  it('names the origin on answers and errors, and never *', async () => {
    const { alice } = setup({}, { ALLOWED_ORIGINS: '*' })
    for (const body of [{ prompt: 'x' }, {}]) {
      const { headers } = await alice.post('/', body, { origin: 'http://localhost:5173' })
      expect(headers.get('access-control-allow-origin')).toBe('http://localhost:5173')
      expect(headers.get('access-control-expose-headers')).toBe('x-request-id, retry-after')
      expect(headers.get('x-request-id')).toEqual(expect.any(String))
    }
  })

  it('keeps a sane request id and replaces every other', async () => {
    const { alice } = setup()
    expect((await alice.post('/', {}, { 'x-request-id': 'req-12345678' })).body.request_id).toBe(
      'req-12345678',
    )
    expect(
      (await alice.post('/', {}, { 'x-request-id': '<script>alert(1)</script>' })).body.request_id,
    ).toMatch(/^[0-9a-f-]{36}$/)
  })
})
