import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { testConfig } from '../../shared/config/test-config.ts'
import { EventReader } from '../../shared/engine/event-reader.ts'
import { ALICE, caller, listen, testIdentity } from '../test-kit.ts'
import { open, setup, tell } from '../told-run.ts'
import { Connections } from './connections.ts'
import { logsApp } from './routes.ts'
import { type Frame, read } from './sse-reader.ts'

const AUTH = { authorization: 'Bearer alice' }

const events = (frames: Frame[]) =>
  frames.flatMap((frame) => (frame.event === undefined ? [] : [frame.event]))
const stored = (frames: Frame[]) => frames.filter((frame) => frame.id !== undefined)

describe('polling', () => {
  it('pages without loss or repeat, by cursor and by the time of the last row', async () => {
    const { alice, store, run_id } = await setup()
    for (let n = 0; n < 10; n += 1) store.addLog(run_id, 'info', `line ${n}`, {})
    const all = (await alice.get(`/agent/logs?run_id=${run_id}`)).body.logs as {
      seq: number
      created_at: string
      content: string
      message: string
    }[]
    expect(all).toHaveLength(11)
    for (const log of all) expect(log.content).toBe(log.message)
    for (const cursor of ['next_cursor', 'created_at'] as const) {
      const seen: number[] = []
      let since = ''
      for (;;) {
        const { body } = await alice.get(`/functions/v1/agent-logs?run_id=${run_id}&limit=3&since=${since}`)
        const logs = body.logs as typeof all
        seen.push(...logs.map((log) => log.seq))
        expect(body.count).toBe(logs.length)
        // Unencoded, as old callers do: a + of the zone arrives as a space.
        since = cursor === 'next_cursor' ? String(body.next_cursor) : (logs.at(-1)?.created_at ?? '')
        if (body.has_more !== true) break
      }
      expect(seen).toEqual(all.map((log) => log.seq))
    }
  })

  it('keeps the place when there is nothing new, and clamps nonsense', async () => {
    const { alice, run_id } = await setup()
    expect((await alice.get(`/?run_id=${run_id}&since=1`)).body).toMatchObject({
      logs: [],
      count: 0,
      has_more: false,
      next_cursor: '1',
    })
    for (const limit of ['0', '-1', 'abc', '99999', ''])
      expect((await alice.get(`/?run_id=${run_id}&limit=${limit}`)).status).toBe(200)
    expect((await alice.get(`/?run_id=${run_id}&since=undefined&mode=`)).status).toBe(200)
    expect(await alice.get(`/?run_id=${run_id}&since=yesterday`)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    })
    expect(await alice.get('/agent/logs')).toMatchObject({
      status: 400,
      body: { error: 'run_id is required' },
    })
    expect(await alice.get('/agent/logs?run_id=nope')).toMatchObject({
      status: 404,
      body: { error: 'Run not found' },
    })
  })
})

describe('named stream', () => {
  it('tells a finished run in order and completes', async () => {
    const env = await setup()
    tell(env)
    const reading = await read(env.named, AUTH)
    expect(await reading.end).toBe('clean')
    expect(reading.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    const frames = reading.frames().filter((frame) => frame.event !== undefined)
    for (const frame of frames) expect(frame.data.type).toBe(frame.event)
    expect(events(frames)).toEqual([
      'status',
      'status',
      'status',
      'status',
      'step',
      'thinking',
      'message',
      'step',
      'step',
      'tool_call',
      'terminal',
      'terminal',
      'step',
      'tool_result',
      'step',
      'tool_call',
      'step',
      'tool_result',
      'phase',
      'progress',
      'status',
      'heartbeat',
      'artifact',
      'output',
      'message',
      'status',
      'complete',
    ])
    const of = (name: string) => frames.filter((frame) => frame.event === name).map((frame) => frame.data)
    expect(of('complete')).toEqual([
      { type: 'complete', status: 'completed', message: 'Run completed', result: 'The answer is 42.' },
    ])
    expect(of('terminal')).toMatchObject([
      { content: 'out\n', stream: 'stdout' },
      { content: 'err\n', stream: 'stderr' },
    ])
    expect(of('tool_result')).toMatchObject([
      { success: true, error: null, duration_ms: 5 },
      { success: false, error: 'KeyError' },
    ])
    expect(of('step').map((data) => (data.step as { status: string }).status)).toEqual([
      'running',
      'completed',
      'running',
      'completed',
      'running',
      'failed',
    ])
    expect(of('step')[2]?.step).toMatchObject({ tool_output: null, duration_ms: null })
    expect(of('output')[0]).toMatchObject({
      file_name: 'chart.svg',
      mime_type: 'image/svg+xml',
      output: { type: 'image', url: 'https://s/old' },
    })
    const shown = of('status').map((data) => Number(data.progress))
    expect(shown).toEqual([...shown].sort((a, b) => a - b))
    expect(shown.filter((progress) => progress === 100)).toHaveLength(1)
    const calls = of('tool_call').map((data) => data.step_id)
    expect(of('tool_result').map((data) => data.step_id)).toEqual(calls)
  })

  it('goes on exactly after every id, by header and by query', async () => {
    const env = await setup()
    tell(env)
    const whole = stored((await finished(env.named)).frames())
    for (const [index, { id = '' }] of whole.entries()) {
      const [url, headers] =
        index % 2 ? [env.named, { 'last-event-id': id }] : [`${env.named}?last_event_id=${id}`, {}]
      const reading = await finished(url, headers)
      if (index === whole.length - 1) expect([reading.status, reading.text()]).toEqual([204, ''])
      else expect(stored(reading.frames())).toEqual(whole.slice(index + 1))
    }
  })

  it.each(['failed', 'cancelled', 'timeout'] as const)(
    'ends a %s run with error and without complete',
    async (status) => {
      const env = await setup()
      env.store.end(env.run_id, status, { error_message: 'No luck', error_code: 'STEP_LIMIT' })
      const reading = await finished(env.named.replace(/run\/(.*)\/stream/, 'stream/$1'))
      expect(events(reading.frames())).toEqual(['status', 'status', 'error'])
      expect(reading.frames().at(-1)?.data).toEqual({
        type: 'error',
        message: 'No luck',
        code: 'STEP_LIMIT',
        status,
      })
    },
  )

  it('gives every tool_call its tool_result when the run ends under it', async () => {
    const env = await setup()
    const step = env.store.addStep(env.run_id, {})
    env.store.changeStep(step, { status: 'running' })
    env.store.end(env.run_id, 'cancelled', {})
    const { data } = (await finished(env.named)).frames().find((frame) => frame.event === 'tool_result') ?? {}
    expect(data).toMatchObject({ step_id: step.id, success: false })
  })

  it('shows rows and text live; a stored text replaces what was shown, and is not shown twice', async () => {
    const env = await setup()
    const { store, run_id, ports } = env
    store.addStatus(run_id, 'executing')
    const reading = await read(env.named, AUTH)
    await reading.until((frame) => frame.data.status === 'executing')
    expect(await ports.cache.hasFlag(`watch:${run_id}`)).toBe(true)
    const step = store.addStep(run_id, {})
    const send = (...messages: object[]) =>
      ports.cache.publish(
        `run:${run_id}`,
        messages.map((message) => JSON.stringify(message)),
      )
    store.changeStep(step, { status: 'running' })
    await send({ t: 'rows', seq: 3 })
    await reading.until((frame) => frame.event === 'tool_call')
    await send(
      { t: 'terminal', step_id: step.id, stream: 'stdout', content: 'one\n' },
      { t: 'nonsense' },
      { t: 'message_delta', message_id: 'm', content: 'Th' },
    )
    await reading.until((frame) => frame.event === 'message_delta')
    store.changeStep(step, { status: 'completed', tool_output: { stdout: 'one\ntwo\n', stderr: '' } })
    await send({ t: 'rows', seq: 4 }, { t: 'terminal', step_id: step.id, stream: 'stdout', content: 'late' })
    await reading.until((frame) => frame.event === 'tool_result')
    await send({ t: 'terminal', step_id: step.id, stream: 'stdout', content: 'later' })
    store.end(run_id, 'completed', {})
    await send({ t: 'rows', seq: 5 })
    expect(await reading.end).toBe('clean')
    const live = reading.frames().filter((frame) => frame.event === 'terminal' && frame.id === undefined)
    const shown = reading
      .frames()
      .flatMap((frame) =>
        frame.event === 'terminal' && frame.data.content !== 'late' ? [frame.data.content] : [],
      )
    expect(live.length).toBeGreaterThan(0)
    expect(shown.join('')).toBe('one\ntwo\n')
    expect(stored(reading.frames()).map((frame) => Math.floor(Number(frame.id)))).toEqual([
      1, 2, 3, 3, 4, 4, 4, 5, 5,
    ])
  })

  it('tells the same rows with the cache down', async () => {
    const env = await setup()
    env.ports.cache.setAvailable(false)
    const reading = await read(env.named, AUTH)
    await reading.until((frame) => frame.id === '1')
    tell(env)
    await reading.end
    env.ports.cache.setAvailable(true)
    expect(stored(reading.frames())).toEqual(stored((await finished(env.named)).frames()))
  })

  it('beats while nothing happens', async () => {
    const { named, run_id } = await setup({ STREAM_HEARTBEAT_SECONDS: '1' })
    const reading = await read(named, AUTH)
    const beat = await reading.until((frame) => frame.event === 'heartbeat')
    expect(beat).toMatchObject({ id: undefined, data: { timestamp: expect.any(String) } })
    reading.close()
    expect(run_id).toEqual(expect.any(String))
  })

  it.each([
    ['', 'broken'],
    ['?resume=true', 'clean'],
  ])('ends itself before the platform does: %j is %s', async (query, how) => {
    const { named } = await setup({ STREAM_MAX_SECONDS: '1' })
    const reading = await read(named + query, AUTH)
    expect(reading.frames().concat(await reading.until((frame) => frame.retry !== undefined))[0]?.retry).toBe(
      '1000',
    )
    expect(await reading.end).toBe(how)
    expect(events(reading.frames())).not.toContain('error')
    // and says so
    expect(reading.frames().at(-1)).toMatchObject({
      event: 'interrupted',
      id: undefined,
      data: { type: 'interrupted', reason: 'time_limit' },
    })
  })

  it('ends with the token, by a name of its own', async () => {
    const { named } = await setup({}, testIdentity({ expiresInSeconds: 1 }))
    const reading = await read(named, AUTH)
    expect(await reading.end).toBe('broken')
    expect(reading.frames().at(-1)).toMatchObject({ event: 'expired', data: { code: 'unauthorized' } })
  })

  it('lets an idle reader go when asked to', async () => {
    const { store, run_id, named } = await setup({ IDLE_END_SECONDS: '1' })
    store.addStatus(run_id, 'waiting_user')
    const reading = await read(`${named}?idle=end`, AUTH)
    expect(await reading.end).toBe('clean')
    expect(reading.frames().at(-1)?.retry).toBe('60000')
  }, 10_000)
})

describe('mode=stream', () => {
  it('sends connected, rows and complete, without names, whatever the end was', async () => {
    const env = await setup()
    tell(env, 'failed')
    const url = `${env.base}/functions/v1/agent-logs-phase2?run_id=${env.run_id}&mode=stream`
    const reading = await finished(url)
    const frames = reading.frames().filter((frame) => frame.data.type !== undefined)
    expect(events(frames)).toEqual([])
    expect(frames.map((frame) => frame.data.type)).toEqual([
      'connected',
      ...Array(frames.length - 2).fill('log'),
      'complete',
    ])
    expect(frames.at(-1)?.data).toEqual({ type: 'complete', status: 'failed' })
    const whole = stored(frames)
    for (const [index, { id = '' }] of whole.entries()) {
      const again = await finished(url, { 'last-event-id': id })
      if (index === whole.length - 1) expect(again.status).toBe(204)
      else expect(stored(again.frames())).toEqual(whole.slice(index + 1))
    }
    const since = (frames.map((frame) => frame.data.data)[3] as { created_at: string }).created_at
    expect(stored((await finished(`${url}&since=${since}`)).frames())[0]?.id).toBe('4')
  })

  it('ends cleanly before the platform does, and says so where old readers do not look', async () => {
    const { base, run_id } = await setup({ STREAM_MAX_SECONDS: '1' })
    const reading = await read(`${base}/agent/logs?run_id=${run_id}&mode=stream`, AUTH)
    expect(await reading.end).toBe('clean')
    expect(reading.text()).toMatch(/\n\n: interrupted time_limit, come back with the last id\n\n$/)
  })

  it('ends with the token, by an error of its own', async () => {
    const { base, run_id } = await setup({}, testIdentity({ expiresInSeconds: 1 }))
    const reading = await read(`${base}/agent/logs?run_id=${run_id}&mode=stream`, AUTH)
    expect(await reading.end).toBe('clean')
    expect(reading.frames().at(-1)?.data).toEqual({ type: 'error', message: 'The access token has expired' })
  })
})

describe('who may read', () => {
  it('answers as the other functions do before a stream is a stream', async () => {
    const { base, named, run_id } = await setup()
    for (const url of [named, `${base}/agent/logs?mode=stream&run_id=${run_id}`]) {
      for (const [headers, status] of [
        [{}, 401],
        [{ authorization: 'Bearer x' }, 401],
        [{ authorization: 'Bearer bob' }, 404],
      ] as const) {
        const reading = await read(url, headers)
        await reading.end
        expect([reading.status, reading.headers['content-type']]).toEqual([status, 'application/json'])
        expect(JSON.parse(reading.text())).toMatchObject({
          code: status === 401 ? 'unauthorized' : 'run_not_found',
        })
      }
    }
    const { status } = await fetch(named, { method: 'HEAD', headers: AUTH })
    expect(status).toBe(405)
  })

  it('takes a token from the query only where that is allowed, says so once, and logs no query', async () => {
    const closed = await setup()
    expect((await read(`${closed.named}?token=alice`)).status).toBe(401)
    const env = await setup({ ALLOW_TOKEN_IN_QUERY: 'true' })
    tell(env)
    for (let n = 0; n < 2; n += 1)
      expect((await finished(`${env.named}?token=alice`, {}, false)).status).toBe(200)
    expect(env.ports.log.lines.filter((line) => line.level === 'warn')).toHaveLength(1)
    expect(JSON.stringify(env.ports.log.lines)).not.toContain('token=')
  })

  it('gives tickets for own runs, for one run each, until the end was delivered', async () => {
    const env = await setup()
    const other = await env.store.createRun({
      principal: { issuer: 'i', sub: ALICE, tenant_id: null, user_id_from: 'sub' },
      prompt: 'p',
      mode: 'chat',
      project_id: null,
      connector_ids: [],
      metadata: {},
      memory_context: null,
      tags: [],
      attachments: [],
      files: [],
      auto_start: true,
      limits: { max_steps: 1, timeout_seconds: 1 },
      opening_credits: 100,
      idempotency: null,
      warnings: [],
    })
    const { status, body } = await env.alice.post('/agent/stream-ticket', { run_id: env.run_id })
    expect([status, body]).toEqual([
      200,
      { success: true, ticket: expect.stringMatching(/^[\w-]{43}$/), expires_in: 60 },
    ])
    expect(await caller(env.app, 'bob').post('/agent/stream-ticket', { run_id: env.run_id })).toMatchObject({
      status: 404,
    })
    expect(JSON.stringify([...env.store.tickets])).not.toContain(body.ticket)
    expect((await read(`${env.base}/agent/run/${other.run.id}/stream?ticket=${body.ticket}`)).status).toBe(
      401,
    )
    expect((await read(`${env.named}?ticket=${'x'.repeat(43)}`)).status).toBe(401)
    tell(env)
    const first = await finished(`${env.named}?ticket=${body.ticket}`, {}, false)
    expect(events(first.frames()).at(-1)).toBe('complete')
    const last = stored(first.frames()).at(-1)?.id ?? ''
    for (const headers of [{}, { 'last-event-id': last }]) {
      expect((await finished(`${env.named}?ticket=${body.ticket}`, headers, false)).status).toBe(204)
    }
  })

  it.each([true, false])(
    'ends the older connection of a ticket when a newer one comes (cache up: %s)',
    async (up) => {
      const env = await setup()
      const { ticket } = (await env.alice.post('/agent/stream-ticket', { run_id: env.run_id })).body
      env.ports.cache.setAvailable(up)
      const older = await read(`${env.named}?ticket=${ticket}`)
      await older.until((frame) => frame.id === '1')
      const newer = await read(`${env.named}?ticket=${ticket}`)
      expect(await older.end).toBe('clean')
      await newer.until((frame) => frame.id === '1')
      tell(env)
      expect(await newer.end).toBe('clean')
    },
  )
})

describe('many readers', () => {
  it('of one run share one subscription and their reads', async () => {
    const env = await setup()
    let subscriptions = 0
    const { subscribe } = env.ports.cache
    env.ports.cache.subscribe = (...args) => {
      subscriptions += 1
      return subscribe(...args)
    }
    const first = await read(env.named, AUTH)
    await first.until((frame) => frame.id === '1')
    const readings = await Promise.all(Array.from({ length: 30 }, () => read(env.named, AUTH)))
    await Promise.all(readings.map((reading) => reading.until((frame) => frame.id === '1')))
    expect(subscriptions).toBe(1)
    const before = env.store.calls.length
    env.store.addStatus(env.run_id, 'executing')
    await env.ports.cache.publish(`run:${env.run_id}`, [JSON.stringify({ t: 'rows', seq: 2 })])
    await Promise.all(readings.map((reading) => reading.until((frame) => frame.id === '2')))
    // one read for all, and perhaps a poll whose time had come
    expect(env.store.calls.length - before).toBeLessThanOrEqual(3)
    for (const reading of [first, ...readings]) reading.close()
    await expect.poll(() => env.ports.connections.size).toBe(0)
  })

  it('reads of many runs wait for their turn, and every one gets it', async () => {
    const env = await setup()
    let reading = 0
    let most = 0
    const { readEvents } = env.store
    env.store.readEvents = async (input) => {
      reading += 1
      most = Math.max(most, reading)
      await wait(5)
      reading -= 1
      return readEvents.call(env.store, input)
    }
    const pages = new EventReader(env.store)
    const principal = { issuer: 'i', sub: ALICE, tenant_id: null, user_id_from: 'sub' as const }
    const asked = Array.from({ length: 100 }, (_, after_seq) =>
      pages.read({ principal, run_id: env.run_id, after_seq, limit: 10 }),
    )
    const strangers = Array.from({ length: 10 }, (_, n) =>
      pages.read({ principal: { ...principal, sub: `x${n}` }, run_id: env.run_id, after_seq: 0, limit: 10 }),
    )
    const settled = await Promise.allSettled([...asked, ...strangers])
    expect(settled.map(({ status }) => status)).toEqual([
      ...Array(100).fill('fulfilled'),
      ...Array(10).fill('rejected'),
    ])
    expect(most).toBe(16)
    // a revoked key must not get what another key of the same user may still read
    const otherKey = { ...principal, key_id: 'other' }
    const twice = [principal, otherKey].map((who) =>
      pages.read({ principal: who, run_id: env.run_id, after_seq: 0, limit: 5 }),
    )
    expect(twice[0]).not.toBe(twice[1])
    await Promise.all(twice)
  })

  it('a user holds so many streams, over all processes, and polls beyond', async () => {
    const env = await setup({ MAX_STREAMS_PER_USER: '3' })
    const connections = new Connections({ most: 2000, mostOfUser: 3 })
    const second = await listen(
      logsApp(testConfig('logs', { MAX_STREAMS_PER_USER: '3' }), { ...env.ports, connections }),
      () => connections.drain(),
    )
    open.push(second)
    const other = env.named.replace(String(env.running.port), String(second.port))
    const refusedAt = async (url: string) => {
      const refused = await read(url, AUTH)
      await refused.end
      expect([refused.status, refused.headers['retry-after']]).toEqual([429, '5'])
      expect(JSON.parse(refused.text())).toMatchObject({
        code: 'too_many_streams',
        error: 'You have 3 streams open, which is the most that are allowed: close one, or poll',
      })
    }
    const held = [await read(env.named, AUTH), await read(env.named, AUTH), await read(other, AUTH)]
    for (const reading of held) await reading.until((frame) => frame.id === '1')
    await refusedAt(env.named)
    await refusedAt(other)
    expect((await env.alice.get(`/agent/logs?run_id=${env.run_id}`)).status).toBe(200)
    held.pop()?.close()
    await expect.poll(() => connections.size).toBe(0)
    const again = await read(env.named, AUTH)
    await again.until((frame) => frame.id === '1')
    // with the cache away each process keeps the number by itself
    env.ports.cache.setAvailable(false)
    await refusedAt(env.named)
    const alone = await read(other, AUTH)
    await alone.until((frame) => frame.id === '1')
    for (const reading of [...held, again, alone]) reading.close()
    await expect.poll(() => env.ports.connections.size + connections.size).toBe(0)
  })

  it('a process holds so many streams, and sends others elsewhere', async () => {
    const env = await setup({ MAX_STREAMS: '2' })
    const held = [await read(env.named, AUTH), await read(env.named, AUTH)]
    const refused = await read(env.named, AUTH)
    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '5'])
    for (const reading of held) reading.close()
    await expect.poll(() => env.ports.connections.size).toBe(0)
    expect((await read(env.named, AUTH)).status).toBe(200)
  })

  it('a user opens so many streams a minute, by token and by ticket', async () => {
    const env = await setup({ RATE_STREAMS_PER_MINUTE: '3' })
    const { ticket } = (await env.alice.post('/agent/stream-ticket', { run_id: env.run_id })).body
    tell(env)
    expect((await finished(env.named)).status).toBe(200)
    expect((await finished(env.named)).status).toBe(200)
    const byTicket = `${env.named}?ticket=${ticket}`
    // another issuer than the token's, as a ticket's principal is the stored one
    expect((await finished(byTicket, {}, false)).status).toBe(200)
    expect((await finished(env.named)).status).toBe(429)
  })
})

describe('two processes', () => {
  it('end the older connection of a ticket over the cache', async () => {
    const env = await setup()
    const connections = new Connections({ most: 2000, mostOfUser: 50 })
    const second = await listen(logsApp(testConfig('logs'), { ...env.ports, connections }), () =>
      connections.drain(),
    )
    open.push(second)
    const { ticket } = (await env.alice.post('/agent/stream-ticket', { run_id: env.run_id })).body
    const older = await read(`${env.named}?ticket=${ticket}`)
    await older.until((frame) => frame.id === '1')
    const newer = await read(
      `http://127.0.0.1:${second.port}/agent/run/${env.run_id}/stream?ticket=${ticket}`,
    )
    expect(await older.end).toBe('clean')
    expect(older.frames().at(-1)?.retry).toBe('60000')
    await newer.until((frame) => frame.id === '1')
    newer.close()
  })
})

describe('readers and servers that go away', () => {
  it('lets go of everything when a reader leaves', async () => {
    const { named, ports, store } = await setup()
    const reading = await read(named, AUTH)
    await reading.until((frame) => frame.id === '1')
    reading.close()
    await wait(100)
    const before = store.calls.length
    await wait(2500)
    expect(store.calls.length).toBe(before)
    expect(ports.log.lines).toContainEqual(expect.objectContaining({ outcome: 'gone', text: 'stream ended' }))
  }, 10_000)

  it('drops a reader that never reads', async () => {
    const env = await setup({ SLOW_READER_SECONDS: '1' })
    for (let n = 0; n < 400; n += 1) env.store.addLog(env.run_id, 'info', 'x'.repeat(100_000), {})
    let rows = 0
    const { readEvents } = env.store
    env.store.readEvents = async (input) => {
      const page = await readEvents.call(env.store, input)
      rows += page.events.length
      return page
    }
    const socket = connect(env.running.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.pause()
    socket.write(
      `GET /agent/logs?mode=stream&run_id=${env.run_id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\n\r\n`,
    )
    await expect
      .poll(() => env.ports.log.lines.find((line) => line.text === 'stream ended')?.outcome, {
        timeout: 8000,
      })
      .toBe('slow')
    // at most a small page beyond what its socket takes
    expect(env.store.calls.filter((name) => name === 'readEvents').length).toBeLessThan(5)
    expect(rows).toBeLessThanOrEqual(60)
    socket.destroy()
  }, 15_000)

  it('ends streams and exits within the bound at shutdown', async () => {
    const { named, running } = await setup()
    const reading = await read(`${named}?resume=true`, AUTH)
    await reading.until((frame) => frame.id === '1')
    const started = performance.now()
    await running.close()
    expect(await reading.end).toBe('clean')
    expect(performance.now() - started).toBeLessThan(1500)
  })
})

/** A stream of a finished run, read to its end. */
async function finished(url: string, headers: Record<string, string> = {}, signedIn = true) {
  const reading = await read(url, signedIn ? { ...AUTH, ...headers } : headers)
  await reading.end
  return reading
}
