import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { safeName, saveArtifacts } from './save-artifacts.ts'

test.each([
  ['outputs/chart.svg', 'chart.svg'],
  ['../../etc/passwd', 'passwd'],
  ['..', '_'],
  ['.bashrc', '_bashrc'],
  ['a\u001B[2J\nb.csv', 'a_b.csv'],
  [String.raw`..\x`, '__x'],
  ['', 'artifact'],
])('%j is saved as %j', (name, safe) => {
  expect(safeName(name)).toBe(safe)
})

test('saves every file under its own name, and goes on after one that fails', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'artifacts-'))
  const server = createServer((req, res) =>
    req.url === '/gone' ? res.writeHead(404).end() : res.end(`bytes of ${req.url}`),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const warnings: string[] = []
  const artifacts = [
    { filename: 'a.csv', download_url: `${base}/1` },
    { filename: 'gone.csv', download_url: `${base}/gone` },
    { filename: 'outputs/a.csv', signed_url: `${base}/2` },
  ]
  const saved = await saveArtifacts(artifacts, join(dir, 'run'), (line) => warnings.push(line))
  expect(saved).toEqual([join(dir, 'run/a.csv'), join(dir, 'run/a-2.csv')])
  expect(saved.map((path) => readFileSync(path, 'utf8'))).toEqual(['bytes of /1', 'bytes of /2'])
  expect(warnings).toEqual(['gone.csv could not be downloaded: status 404'])
  server.close()
  rmSync(dir, { recursive: true })
})
