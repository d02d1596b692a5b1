import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Loose } from './call.ts'

const START_MS = 60_000

export interface Browser {
  /** Opens a page and answers once `expression` (in the page) is truthy, with its value and every address that was asked for. */
  visit(url: string, expression: string): Promise<{ value: Loose; requested: string[] }>
  close(): Promise<void>
}

/** A real browser without a window, spoken to over its DevTools socket. */
export async function startChromium(path: string): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'agent-functions-chromium-'))
  const child = spawn(
    path,
    [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
      'about:blank',
    ],
    { stdio: 'ignore', detached: true },
  )
  const gone = new Promise<void>((done) => child.once('exit', () => done()))
  const close = async () => {
    killGroup(child)
    await gone
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
  try {
    const port = await portOf(join(profile, 'DevToolsActivePort'), child)
    return { visit: (url, expression) => visit(port, url, expression), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Its helpers are processes of their own. */
function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // gone already
  }
}

async function portOf(file: string, child: ChildProcess): Promise<number> {
  const end = Date.now() + START_MS
  for (;;) {
    const port = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : 0
    if (port > 0) return port
    if (child.exitCode !== null || Date.now() > end) throw new Error('Chromium does not start')
    await new Promise((done) => setTimeout(done, 50))
  }
}

async function visit(
  port: number,
  url: string,
  expression: string,
): Promise<{ value: Loose; requested: string[] }> {
  const target = (await (
    await fetch(`http://127.0.0.1:${port}/json/new?about:blank`, { method: 'PUT' })
  ).json()) as Loose
  const socket = new WebSocket(target.webSocketDebuggerUrl)
  await new Promise((done, failed) => {
    socket.addEventListener('open', done)
    socket.addEventListener('error', failed)
  })
  const requested: string[] = []
  const waiting = new Map<number, (result: Loose) => void>()
  let last = 0
  socket.addEventListener('message', ({ data }) => {
    const { id, method, params, result } = JSON.parse(String(data))
    if (method === 'Network.requestWillBeSent') requested.push(params.request.url)
    waiting.get(id)?.(result)
  })
  const send = (method: string, params: Record<string, unknown> = {}) => {
    last += 1
    const id = last
    return new Promise<Loose>((done) => {
      waiting.set(id, done)
      socket.send(JSON.stringify({ id, method, params }))
    })
  }
  try {
    await send('Network.enable')
    await send('Page.navigate', { url })
    const end = Date.now() + START_MS
    for (;;) {
      const { result } = await send('Runtime.evaluate', {
        expression,
        awaitPromise: true,
        returnByValue: true,
      })
      if (result?.value) return { value: result.value, requested }
      if (Date.now() > end) throw new Error(`${url} does not come to ${expression}: ${result?.description}`)
      await new Promise((done) => setTimeout(done, 100))
    }
  } finally {
    socket.close()
  }
}
