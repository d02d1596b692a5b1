import { createServer } from 'node:net'

/**
 * Below the kernel's ephemeral range (32768 and up on Linux), so that no outgoing connection takes the port between our test and
 * the child's bind. Each process starts somewhere else, so that several stacks and test files rarely try the same one.
 */
const FIRST = 20_000
const COUNT = 12_000
let next = Math.floor(Math.random() * COUNT)

/** A port of 127.0.0.1 that is free now and that this process has not given out lately. The taker must still cope with EADDRINUSE. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = FIRST + next
    next = (next + 1) % COUNT
    if (await canListen(port)) return port
  }
  throw new Error('No free port between 20000 and 32000 on 127.0.0.1')
}

export function canListen(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)))
  })
}
