import { connect, createServer, type Socket } from 'node:net'
import type { Counts } from './counts.ts'

/**
 * What happens to the next COMMIT. `reply_swallowed`: the server commits, the client never hears of it. `in_flight`: the connection
 * breaks right behind the message. `never_sent`: it breaks in front of it, and the server rolls back.
 */
export type Cut = 'reply_swallowed' | 'in_flight' | 'never_sent'
export const CUTS: readonly Cut[] = ['reply_swallowed', 'in_flight', 'never_sent']

export interface CommitProxy {
  /** A database address that leads through here. */
  route(url: string): string
  /** Cuts one of the next commits in this way; null takes it back. */
  arm(cut: Cut | null): void
  close(): Promise<void>
}

/** A simple query (message `Q`) whose whole text is `commit`. */
const COMMIT = Buffer.from('Q\0\0\0\x0bcommit\0', 'latin1')
/** A command completion that says COMMIT: the transaction is on disk. */
const COMMITTED = Buffer.from('COMMIT\0', 'latin1')

/** Stands between the REST face and Postgres, counts commits and cuts connections while one is on its way. */
export async function startCommitProxy(counts: Counts): Promise<CommitProxy> {
  const sockets = new Set<Socket>()
  let targetPort = 0
  let armed: Cut | null = null

  const server = createServer((client) => {
    const database = connect(targetPort, '127.0.0.1')
    const drop = () => {
      client.destroy()
      database.destroy()
    }
    for (const socket of [client, database]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', drop)
      socket.on('close', () => {
        sockets.delete(socket)
        drop()
      })
    }
    let swallowing = false
    client.on('data', (chunk) => {
      if (armed !== null && chunk.includes(COMMIT)) {
        const cut = armed
        armed = null
        if (cut === 'never_sent') {
          counts.add('commit.never_sent')
          return drop()
        }
        if (cut === 'in_flight') {
          counts.add('commit.in_flight')
          database.write(chunk, () => drop())
          return
        }
        swallowing = true
      }
      database.write(chunk)
    })
    database.on('data', (chunk) => {
      const committed = chunk.includes(COMMITTED)
      if (committed) counts.add('commits')
      if (swallowing && committed) {
        counts.add('commit.reply_swallowed')
        return drop()
      }
      client.write(chunk)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  return {
    route(url) {
      const routed = new URL(url)
      targetPort = Number(routed.port)
      routed.port = String(port)
      return routed.href
    },
    arm(cut) {
      armed = cut
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
