import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface OriginServer {
  port: number
  /** Answers 503 until this is called. */
  serve(listener: RequestListener): void
  /** Lets no new connection in and cuts those that are open. */
  close(): Promise<void>
}

/** Idle connections outlive every client's own limit: none is closed at the moment it is used again. */
const KEEP_OPEN = { keepAliveTimeout: 600_000 }

/** The port is another program's. The message says what to do. */
export class PortInUseError extends Error {
  constructor(port: number) {
    super(
      `Port ${port} of localhost is in use: stop the program that has it, or choose another with --port (0 picks a free one).`,
    )
    this.name = 'PortInUseError'
  }
}

/**
 * Listens on loopback only, on 127.0.0.1 and, where there is one, ::1: `localhost` may mean either, and another program behind half of
 * the name would be a puzzle. Done before anything else is started, so that a port in use is said at once.
 */
export async function listenOnLocalhost(wanted: number): Promise<OriginServer> {
  let current: RequestListener = (_, res) => {
    res
      .writeHead(503, { 'retry-after': '1', 'content-type': 'application/json' })
      .end('{"error":"The stack is starting"}')
  }
  const listener: RequestListener = (req, res) => current(req, res)
  for (let attempt = 0; ; attempt++) {
    const four = createServer(KEEP_OPEN, listener)
    const port = await listen(four, wanted, '127.0.0.1')
    const six = createServer(KEEP_OPEN, listener)
    try {
      await listen(six, port, '::1')
    } catch (error) {
      if (error instanceof PortInUseError) {
        four.close()
        if (wanted !== 0 || attempt >= 20) throw error
        continue
      }
      // no IPv6 here: nothing of that name to mistake us for
    }
    const servers = [four, six].filter((server) => server.listening)
    return {
      port,
      serve: (next) => {
        current = next
      },
      async close() {
        await Promise.all(
          servers.map(async (server) => {
            const closed = new Promise<void>((resolve) => server.close(() => resolve()))
            server.closeAllConnections()
            await closed
          }),
        )
      },
    }
  }
}

function listen(server: Server, port: number, host: string): Promise<number> {
  // A stream or a large upload may take longer than Node's five minutes for a request.
  server.requestTimeout = 0
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') reject(new PortInUseError(port))
      else if (error.code === 'EACCES')
        reject(
          new Error(
            `Port ${port} needs more rights than this user has: choose one from 1024 up with --port.`,
          ),
        )
      else reject(error)
    })
    server.listen({ port, host, exclusive: true, ipv6Only: host === '::1' }, () =>
      resolve((server.address() as AddressInfo).port),
    )
  })
}
