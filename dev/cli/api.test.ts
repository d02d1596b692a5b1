import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { post } from './api.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

async function answering(answers: readonly [number, object][]) {
  let asked = 0
  const server = createServer((_, res) => {
    const [status, body] = answers[Math.min(asked++, answers.length - 1)] ?? [500, {}]
    res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => server.close())
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const api = { origin, token: async () => 'token', signal: AbortSignal.timeout(10_000) }
  return { api, asked: () => asked }
}

test('goes on through what passes', async () => {
  const { api, asked } = await answering([
    [503, { error: 'execute did not start within 100 ms' }],
    [502, {}],
    [200, { ok: true }],
  ])
  expect(await post(api, '/x', {})).toEqual({ ok: true })
  expect(asked()).toBe(3)
})

test('gives up on a refusal at once, and on a function that cannot start after a few times', async () => {
  const refused = await answering([[400, { error: 'Prompt is required' }]])
  await expect(post(refused.api, '/x', {})).rejects.toMatchObject({
    status: 400,
    message: 'Prompt is required',
  })
  expect(refused.asked()).toBe(1)
  const broken = await answering([
    [503, { error: 'execute keeps failing to start: it exited with status 1' }],
  ])
  await expect(post(broken.api, '/x', {})).rejects.toThrow('keeps failing to start')
  expect(broken.asked()).toBe(3)
})
