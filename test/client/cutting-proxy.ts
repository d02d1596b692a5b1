import { connect, createServer, type Socket } from 'node:net'

export interface CuttingProxy {
  url: string
  /** Connections that were cut. */
  cuts(): number
  connections(): number
  close(): Promise<void>
}

/** A TCP proxy that resets each connection after `bytes()` bytes of the answer, wherever that is: in a header, a chunk's mark, a letter. */
export async function startCuttingProxy(targetPort: number, bytes: () => number): Promise<CuttingProxy> {
  const open = new Set<Socket>()
  let cuts = 0
  let connections = 0
  const server = createServer((client) => {
    connections += 1
    const upstream = connect(targetPort, '127.0.0.1')
    let left = bytes()
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        open.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream)
    upstream.on('data', (chunk) => {
      if (chunk.length < left) {
        left -= chunk.length
        client.write(chunk)
        return
      }
      cuts += 1
      upstream.removeAllListeners('data')
      client.write(chunk.subarray(0, left), () => client.resetAndDestroy())
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    cuts: () => cuts,
    connections: () => connections,
    close() {
      for (const socket of open) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
