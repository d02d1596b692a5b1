import assert from 'node:assert/strict'
import { type Answer, assertError, call, execute, idleRun, status, urlOf } from '../call.ts'
import type { Case, World } from '../installation.ts'

const RUN = '0f0f0f0f-0000-4000-8000-00000000000f'
const ALLOWED = [
  'authorization',
  'apikey',
  'x-client-info',
  'content-type',
  'x-region',
  'last-event-id',
  'idempotency-key',
  'traceparent',
]
const PROCESSES = ['alone', 'all-in-one']
const EXPOSED = ['x-request-id', 'retry-after']

interface Door {
  path: string
  method: 'GET' | 'POST'
  allow: string
}

function doors(world: World): Door[] {
  const post = (path: string): Door => ({ path, method: 'POST', allow: 'POST, OPTIONS' })
  const get = (path: string, allow = 'GET, HEAD, OPTIONS'): Door => ({ path, method: 'GET', allow })
  const api = [
    post('/agent/cancel'),
    post('/agent/stream-ticket'),
    get('/agent/runs'),
    get(`/agent/run/${RUN}/stream`, 'GET, OPTIONS'),
    get(`/agent/stream/${RUN}`, 'GET, OPTIONS'),
  ]
  return [
    ...world.paths.execute.map(post),
    ...world.paths.status.map(post),
    ...world.paths.logs.map((path) => get(path)),
    ...(world.features.has('api') ? api : []),
  ]
}

function ask(
  world: World,
  { path, method }: Door,
  how: { as?: string | null; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const url = method === 'GET' ? `${path}?run_id=${RUN}` : path
  return call(world, url, {
    ...how,
    method,
    ...(method === 'POST' ? { body: { run_id: RUN, action: 'stop' } } : {}),
  })
}

function list(header: string | null): string[] {
  return (header ?? '').split(',').map((item) => item.trim().toLowerCase())
}

/** As a browser sends it: no credentials, the headers that the call will have. */
function preflight(
  world: World,
  path: string,
  origin: string,
  method: string,
  headers: string,
): Promise<Response> {
  return world.fetch(urlOf(world, path), {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': method,
      'access-control-request-headers': headers,
      'sec-fetch-mode': 'cors',
    },
  })
}

export const httpCases: Case[] = [
  {
    name: 'without a user’s token every door is 401: none, nonsense, the anon key, Basic',
    async run(world) {
      for (const door of doors(world)) {
        const tries = [
          await ask(world, door, { as: null }),
          await ask(world, door, { as: 'nonsense' }),
          await ask(world, door, { as: world.anonKey }),
          await ask(world, door, { as: null, headers: { authorization: 'Basic YTpi' } }),
          await ask(world, door, { as: null, headers: { apikey: world.anonKey } }),
        ]
        for (const answer of tries) {
          assertError(answer, 401, 'unauthorized', 'Unauthorized')
          assert.equal(answer.headers.get('www-authenticate'), 'Bearer')
        }
      }
    },
  },
  {
    name: 'the service-role key is no user',
    needs: ['local'],
    async run(world) {
      for (const door of doors(world))
        assertError(
          await ask(world, door, { as: world.hooks?.serviceRoleKey ?? '' }),
          401,
          'unauthorized',
          'Unauthorized',
        )
    },
  },
  {
    name: 'what supabase-js sends besides is taken: apikey, x-client-info, x-region, lower-case bearer',
    async run(world) {
      const run_id = await idleRun(world)
      const headers = {
        authorization: `bearer ${world.alice.token}`,
        apikey: world.anonKey,
        'x-client-info': 'supabase-js-web/2.39.0',
        'x-region': 'eu-central-1',
      }
      assert.equal((await status(world, { run_id }, { as: null, headers })).status, 200)
    },
  },
  {
    name: 'another verb is 405 with Allow, on every door',
    async run(world) {
      for (const { path, method, allow } of doors(world)) {
        for (const verb of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD'].filter(
          (name) => name !== method,
        )) {
          if (verb === 'HEAD' && allow.includes('HEAD')) continue
          const answer = await call(world, path, { method: verb })
          assert.equal(answer.headers.get('allow'), allow, `${verb} ${path}`)
          if (verb === 'HEAD') assert.deepEqual([answer.status, answer.text], [405, ''])
          else assertError(answer, 405, 'method_not_allowed', 'Method not allowed')
        }
      }
    },
  },
  {
    name: 'probes and documents take GET only',
    needs: ['api'],
    async run(world) {
      for (const path of [
        '/health',
        '/health/liveness',
        '/ready',
        '/health/readiness',
        '/openapi.json',
        '/docs',
        '/docs/start.js',
      ]) {
        // Those of the platform are asked at the process, not at the shared host.
        if (path.startsWith('/health/') && !PROCESSES.includes(world.name)) continue
        assert.equal((await call(world, path, { as: null })).status, 200, path)
        const answer = await call(world, path, { method: 'POST', as: null })
        assertError(answer, 405, 'method_not_allowed')
        assert.equal(answer.headers.get('allow'), 'GET, HEAD, OPTIONS')
      }
      assertError(await call(world, '/docs/none.js', { as: null }), 404, 'not_found')
    },
  },
  {
    name: 'HEAD is GET without a body',
    async run(world) {
      const run_id = await idleRun(world)
      const paths = [
        ...world.paths.logs.map((path) => `${path}?run_id=${run_id}`),
        ...(world.features.has('api') ? ['/agent/runs', '/health'] : []),
      ]
      for (const path of paths) {
        const answer = await call(world, path, { method: 'HEAD' })
        assert.deepEqual([answer.status, answer.text], [200, ''], path)
      }
    },
  },
  {
    name: 'bodies: JSON of any JSON type, else 415; broken 400; not an object 400; none 400; huge 413',
    async run(world) {
      const run_id = await idleRun(world)
      const send = (type: string | null, body: string | Uint8Array) =>
        call(world, world.paths.status[0] ?? '', {
          method: 'POST',
          body,
          headers: type === null ? {} : { 'content-type': type },
        })
      const good = JSON.stringify({ run_id })
      for (const type of [
        'application/json',
        'application/json; charset=utf-8',
        'APPLICATION/JSON',
        'application/vnd.api+json',
      ])
        assert.equal((await send(type, good)).status, 200, type)
      assert.equal((await send(null, new TextEncoder().encode(good))).status, 200, 'without a type')
      for (const type of [
        'text/plain',
        'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=x',
        'application/xml',
      ])
        assertError(await send(type, good), 415, 'unsupported_media_type')
      for (const { path, method } of doors(world).filter((door) => door.method === 'POST')) {
        const answer = await call(world, path, {
          method,
          body: good,
          headers: { 'content-type': 'text/plain' },
        })
        assertError(answer, 415, 'unsupported_media_type')
        assertError(
          await call(world, path, { method, body: {} }),
          400,
          path.includes('execute') || path === world.paths.execute.at(-1)
            ? 'unknown_action'
            : 'run_id_required',
        )
      }
      for (const body of ['', '{', '{"run_id":', 'undefined'])
        assertError(await send('application/json', body), 400, 'invalid_json')
      assertError(
        await send('application/json', Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)),
        400,
        'invalid_json',
      )
      for (const body of ['null', '[]', '"x"', '5'])
        assertError(await send('application/json', body), 400, 'invalid_request')
      for (const { path, method } of doors(world).filter((door) => door.method === 'POST')) {
        const answer = await call(world, path, {
          method,
          body: JSON.stringify({ prompt: 'x'.repeat(1_500_000) }),
          headers: { 'content-type': 'application/json' },
        })
        assertError(answer, 413, 'body_too_large')
      }
    },
  },
  {
    name: 'every answer has a request id: the caller’s own where it is sane, and in the error body',
    async run(world) {
      const own = `contract-${crypto.randomUUID()}`
      for (const door of doors(world)) {
        const kept = await ask(world, door, { headers: { 'x-request-id': own } })
        assert.equal(kept.headers.get('x-request-id'), own, door.path)
        if (kept.status >= 400) assert.equal(kept.body.request_id, own)
        const replaced = await ask(world, door, { headers: { 'x-request-id': 'no good' } })
        assert.match(replaced.headers.get('x-request-id') ?? '', /^[\w-]{36}$/)
      }
    },
  },
  {
    name: 'answers are not stored by caches and not sniffed',
    async run(world) {
      const run_id = await idleRun(world)
      const { headers } = await status(world, { run_id })
      assert.equal(headers.get('cache-control'), 'no-store')
      assert.equal(headers.get('x-content-type-options'), 'nosniff')
      assert.equal(headers.get('set-cookie'), null)
    },
  },
  {
    name: 'errors of execute say success: false, those of the others do not say true',
    async run(world) {
      assert.equal((await execute(world, { action: 'x' })).body.success, false)
      assert.notEqual((await status(world, {})).body.success, true)
    },
  },
  {
    name: 'preflights: the exact origin, credentials, exactly the headers old callers send; no body, no token needed',
    needs: ['cors'],
    async run(world) {
      const origin = world.allowedOrigin ?? ''
      for (const { path, method } of doors(world)) {
        const answer = await preflight(
          world,
          path,
          origin,
          method,
          'apikey,authorization,content-type,x-client-info',
        )
        const { headers } = answer
        assert.ok(answer.status === 204 || answer.status === 200, `${answer.status} ${path}`)
        assert.equal(await answer.text(), '')
        assert.equal(headers.get('access-control-allow-origin'), origin)
        assert.equal(headers.get('access-control-allow-credentials'), 'true')
        assert.deepEqual(new Set(list(headers.get('access-control-allow-headers'))), new Set(ALLOWED))
        assert.ok(list(headers.get('access-control-allow-methods')).includes(method.toLowerCase()))
        assert.ok(list(headers.get('vary')).includes('origin'))
      }
    },
  },
  {
    name: 'answers and errors name the exact origin, expose x-request-id and retry-after, and are never *',
    needs: ['cors'],
    async run(world) {
      const origin = world.allowedOrigin ?? ''
      for (const door of doors(world)) {
        for (const as of [undefined, null]) {
          const { headers } = await ask(world, door, {
            headers: { origin },
            ...(as === undefined ? {} : { as }),
          })
          assert.equal(headers.get('access-control-allow-origin'), origin, door.path)
          assert.equal(headers.get('access-control-allow-credentials'), 'true')
          assert.deepEqual(new Set(list(headers.get('access-control-expose-headers'))), new Set(EXPOSED))
          assert.ok(list(headers.get('vary')).includes('origin'))
        }
        const without = await ask(world, door)
        assert.equal(without.headers.get('access-control-allow-origin'), null)
      }
    },
  },
  {
    name: 'an origin that is not on the list gets no CORS header, on preflights and answers',
    needs: ['refused-origin'],
    async run(world) {
      for (const origin of [world.refusedOrigin ?? '', 'null', `${world.allowedOrigin}.evil.example.com`]) {
        for (const door of doors(world)) {
          const first = await preflight(world, door.path, origin, door.method, 'authorization')
          await first.text()
          const { headers } = await ask(world, door, { headers: { origin } })
          for (const seen of [first.headers, headers]) {
            assert.equal(seen.get('access-control-allow-origin'), null, `${origin} at ${door.path}`)
            assert.equal(seen.get('access-control-allow-credentials'), null)
          }
        }
      }
    },
  },
  {
    name: 'probes: health and ready with version and service, under every name they have',
    needs: ['api'],
    async run(world) {
      for (const base of new Set([...world.probes])) {
        const health = await (await world.fetch(`${base.url}/health`)).json()
        assert.deepEqual(health, { status: 'healthy', version: health.version, service: base.service })
        assert.match(health.version, /^\d+\.\d+\.\d+/)
        const ready = await world.fetch(`${base.url}/ready`)
        assert.equal(ready.status, 200)
        assert.deepEqual(await ready.json(), { ...health, status: 'ready' })
      }
    },
  },
  {
    name: 'the documents: OpenAPI 3.1 and a page for it that names no other origin',
    needs: ['api'],
    async run(world) {
      for (const { url } of world.probes) {
        const document = await (await world.fetch(`${url}/openapi.json`)).json()
        assert.match(document.openapi, /^3\.1\./)
        const page = await world.fetch(`${url}/docs`)
        const html = await page.text()
        assert.equal(page.status, 200)
        assert.doesNotMatch(html, /https?:|\/\/[a-z]/)
        assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/)
        for (const [, path = ''] of html.matchAll(/(?:src|href)="(\/[^"]+)"/g)) {
          const asset = await world.fetch(url + path)
          assert.equal(asset.status, 200, path)
          assert.ok((await asset.text()).length > 20)
        }
      }
    },
  },
  {
    name: 'what is not there is 404, below the path of a function with the body of every error, readable for a page',
    needs: ['api'],
    async run(world) {
      const origin = world.allowedOrigin
      const ask404 = (path: string) => call(world, path, origin === null ? {} : { headers: { origin } })
      const assertOurs = (answer: Answer) => {
        assertError(answer, 404, 'not_found')
        if (origin !== null) assert.equal(answer.headers.get('access-control-allow-origin'), origin)
      }
      for (const path of ['/agent/execute/nothing', '/agent/status/nothing', '/agent/logs/nothing'])
        assertOurs(await ask404(path))
      for (const path of ['/agent/nothing', '/agent/executes', '/functions/v1/agent-none', '/admin']) {
        const answer = await ask404(path)
        // A gateway answers itself what belongs to no function, in its own words: nothing should be woken for it.
        const isGateways = world.hooks === null && !answer.headers.has('x-request-id')
        if (isGateways) assert.equal(answer.status, 404, path)
        else assertOurs(answer)
      }
      assert.equal((await call(world, '/agent/runs/')).status, 200, 'a slash at the end')
    },
  },
]
