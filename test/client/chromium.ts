import { spawn } from 'node:child_process'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
/** A loaded machine takes 10 s to start a browser. */
const PAGE_MS = 90_000

/** Path of a Chromium: `CHROMIUM_PATH`, or the first in PATH; undefined where there is none. */
export function findChromium(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const candidates = folders.flatMap((folder) => NAMES.map((name) => join(folder, name)))
  return [process.env.CHROMIUM_PATH ?? '', ...candidates].find((path) => path !== '' && canExecute(path))
}

function canExecute(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Opens a page that is served from an origin of its own, with `files` beside it, and resolves with what its module script exports as
 * `done` (a promise of something that JSON can hold). Rejects when the script fails.
 */
export async function inBrowser<T>(
  chromium: string,
  { script, files }: { script: string; files: Readonly<Record<string, string>> },
): Promise<{ origin: string; result: T }> {
  const page = `<!doctype html><meta charset="utf-8"><script type="module">
    const tell = (body) => fetch('/done', { method: 'POST', body: JSON.stringify(body) })
    try {
      const { done } = await import('/script.js')
      await tell({ result: await done })
    } catch (error) {
      await tell({ error: String(error?.stack ?? error) })
    }
  </script>`
  const served = new Map([
    ['/', page],
    ['/script.js', script],
    ...Object.entries(files).map(([name, text]): [string, string] => [`/${name}`, text]),
  ])
  const told = Promise.withResolvers<{ result?: T; error?: string }>()
  const server = createServer((req, res) => {
    if (req.method === 'POST') {
      let body = ''
      req.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk
      })
      req.on('end', () => {
        res.writeHead(204).end()
        told.resolve(JSON.parse(body) as { result?: T; error?: string })
      })
      return
    }
    const text = served.get(req.url ?? '')
    const type = req.url === '/' ? 'text/html' : 'text/javascript'
    res.writeHead(text === undefined ? 404 : 200, { 'content-type': `${type}; charset=utf-8` }).end(text)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'))
  const browser = spawn(
    chromium,
    [
      '--headless=new',
      '--no-sandbox', // as root in a container there is none to be had; the page is ours
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--no-first-run',
      `--user-data-dir=${profile}`,
      origin,
    ],
    { stdio: 'ignore', env: { ...process.env, HOME: profile } },
  )
  const gone = new Promise<void>((resolve) => {
    browser.on('error', () => resolve())
    browser.on('exit', () => resolve())
  })
  let timer: NodeJS.Timeout | undefined
  try {
    const answer = await Promise.race([
      told.promise,
      gone.then(() => ({ error: 'the browser ended before the page was done' })),
      new Promise<{ error: string }>((resolve) => {
        timer = setTimeout(resolve, PAGE_MS, { error: 'the page was not done in time' })
      }),
    ])
    if ('error' in answer && answer.error !== undefined) throw new Error(answer.error)
    return { origin, result: (answer as { result: T }).result }
  } finally {
    clearTimeout(timer)
    browser.kill('SIGTERM')
    const killed = setTimeout(() => browser.kill('SIGKILL'), 5000)
    await gone
    clearTimeout(killed)
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
}
