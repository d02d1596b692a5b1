import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isSweepSignature } from '../../functions/step/sweep-signature.ts'
import { knative } from './rendered.ts'

const SECRET = 's'.repeat(32)

/** Runs the sweeper's program against a database that has `due` things to publish, and a step function that answers `status`. */
async function sweep(due: unknown, status = 200): Promise<{ code: unknown; asked: string[] }> {
  const asked: string[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (part: Buffer) => {
      body += part.toString()
    })
    request.on('end', () => {
      const { url = '', headers } = request
      const given = (name: string) => String(headers[name] ?? '')
      if (url.startsWith('/rest/')) {
        const known = given('apikey') === 'anon' && given('authorization') === 'Bearer role'
        asked.push(`${request.method} ${url} ${known}`)
        // as PostgREST: a function is found by the names of its arguments
        if (!Object.hasOwn(JSON.parse(body), 'p')) response.writeHead(404)
        response.end(JSON.stringify({ due }))
        return
      }
      const signed = { timestamp: given('x-agent-timestamp'), body, signature: given('x-agent-signature') }
      asked.push(`${request.method} ${url} ${isSweepSignature(SECRET, signed, Date.now() / 1000)}`)
      response.writeHead(status).end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  const child = spawn(process.execPath, [join(knative, 'components/sweeper-cronjob/sweep.mjs')], {
    env: {
      SUPABASE_URL: origin,
      PUBLIC_BASE_URL: origin,
      SUPABASE_ANON_KEY: 'anon',
      SUPABASE_ROLE_TOKEN: 'role',
      SWEEP_SECRET: SECRET,
    },
    stdio: 'ignore',
  })
  const [code] = await once(child, 'exit')
  server.close()
  return { code, asked }
}

const database = 'POST /rest/v1/rpc/agent_sweep true'
const step = 'POST /agent/step/sweep true'

test('nothing due: the step function is left asleep', async () => {
  expect(await sweep(0)).toEqual({ code: 0, asked: [database] })
})

test('something due: the step function is called, signed as it wants it', async () => {
  expect(await sweep(3)).toEqual({ code: 0, asked: [database, step] })
})

test('a refusal, or a database that does not say, ends the job as failed', async () => {
  expect(await sweep(3, 503)).toEqual({ code: 1, asked: [database, step] })
  expect(await sweep(undefined)).toEqual({ code: 1, asked: [database] })
})
