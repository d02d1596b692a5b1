import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { Agent, createServer } from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { freePort } from '../../dev/free-port.ts'
import { forward } from '../../dev/gateway/forward.ts'

const FUNCTIONS = resolve(import.meta.dirname, '../../supabase/functions')
const START_MS = 30_000

export interface Forwarders {
  origin: string
  close(): Promise<void>
}

/** The Deno of the lockfile; undefined where npm has none for this machine. */
export function denoBinary(): string | undefined {
  try {
    const name = `@deno/${process.platform}-${process.arch}${process.platform === 'linux' ? '-glibc' : ''}`
    const path = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'deno')
    return existsSync(path) ? path : undefined
  } catch {
    return undefined
  }
}

export function forwarderNames(): string[] {
  return readdirSync(FUNCTIONS).filter((name) => !name.startsWith('_'))
}

/**
 * The project's Edge Functions of supabase/functions in real Deno processes behind one origin, as hosted Supabase runs them: each for
 * itself, and seeing its own name as the path.
 */
export async function startForwarders(
  deno: string,
  env: { API_URL?: string },
  names: readonly string[] = forwarderNames(),
): Promise<Forwarders> {
  const cache = mkdtempSync(join(tmpdir(), 'agent-functions-deno-'))
  const children: ChildProcess[] = []
  const agent = new Agent({ keepAlive: true })
  const ports = new Map(
    await Promise.all(
      names.map(async (name) => {
        const port = await freePort()
        const child = spawn(
          deno,
          [
            'run',
            '--quiet',
            '--no-config',
            '--no-lock',
            '--cached-only',
            '--allow-net',
            '--allow-env=API_URL',
            join(FUNCTIONS, name, 'index.ts'),
          ],
          {
            env: {
              DENO_DIR: cache,
              DENO_NO_UPDATE_CHECK: '1',
              DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${port}`,
              NO_COLOR: '1',
              ...env,
            },
            stdio: ['ignore', 'ignore', 'pipe'],
          },
        )
        children.push(child)
        let said = ''
        child.stderr?.on('data', (chunk) => {
          said = (said + String(chunk)).slice(-2000)
        })
        await untilListening(port, child, () => said)
        return [name, port] as const
      }),
    ),
  )
  const router = createServer((req, res) => {
    const match = /^\/functions\/v1(\/([\w-]+).*)$/.exec(req.url ?? '')
    const port = ports.get(match?.[2] ?? '')
    if (port === undefined) {
      res.writeHead(404).end()
      return
    }
    req.url = match?.[1] ?? '/'
    void forward(req, res, { port, agent }).then((outcome) => {
      if (outcome === 'refused' || outcome === 'unreachable') res.writeHead(502).end()
    })
  })
  await new Promise<void>((done) => router.listen(0, '127.0.0.1', done))
  return {
    origin: `http://127.0.0.1:${(router.address() as AddressInfo).port}`,
    async close() {
      router.closeAllConnections()
      await new Promise((done) => router.close(done))
      agent.destroy()
      await Promise.all(
        children.map(async (child) => {
          const gone = new Promise((done) => child.once('exit', done))
          if (child.exitCode === null && child.kill('SIGKILL')) await gone
        }),
      )
      rmSync(cache, { recursive: true, force: true })
    },
  }
}

async function untilListening(port: number, child: ChildProcess, said: () => string): Promise<void> {
  const end = Date.now() + START_MS
  while (!(await accepts(port))) {
    if (child.exitCode !== null || Date.now() > end) throw new Error(`Deno does not listen: ${said()}`)
    await new Promise((done) => setTimeout(done, 30))
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => done(true)).once('error', () => done(false))
    socket.once('connect', () => socket.destroy())
  })
}
