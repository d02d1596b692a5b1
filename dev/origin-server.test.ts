import { expect, test } from 'vitest'
import { listenOnLocalhost, PortInUseError } from './origin-server.ts'

test('answers 503 until it has something to serve, then that, and gives the port back', async () => {
  const server = await listenOnLocalhost(0)
  const url = `http://127.0.0.1:${server.port}`
  expect((await fetch(url)).status).toBe(503)
  server.serve((_, res) => res.end('ready'))
  expect(await (await fetch(url)).text()).toBe('ready')
  expect(await (await fetch(`http://localhost:${server.port}`)).text()).toBe('ready')
  await expect(listenOnLocalhost(server.port)).rejects.toThrow(PortInUseError)
  await expect(listenOnLocalhost(server.port)).rejects.toThrow(/is in use: .*--port/)
  await server.close()
  const again = await listenOnLocalhost(server.port)
  await again.close()
})
