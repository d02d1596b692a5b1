import { type ExecFileException, execFile } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const here = import.meta.dirname
let root: string

/** A clone with nothing installed, and an npm that writes down how often it was asked. */
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'bootstrap-'))
  mkdirSync(join(root, 'dev/cli'), { recursive: true })
  for (const name of ['bootstrap.mjs', 'lock.mjs', 'cli/help.txt'])
    cpSync(join(here, name), join(root, 'dev', name))
  const lock = {
    packages: {
      '': { name: 'x' },
      'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' },
      'node_modules/other-platform': { version: '1.0.0', integrity: 'sha512-b', optional: true },
    },
  }
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify(lock))
  writeFileSync(
    join(root, 'dev/start.ts'),
    'const args: string[] = process.argv.slice(2)\nconsole.log(JSON.stringify({ args }))\nprocess.exit(args.length)',
  )
  npm(`
    fs.appendFileSync('asked', process.argv.slice(2).join(' ') + '\\n')
    await new Promise((done) => setTimeout(done, 300))
    const { packages } = JSON.parse(fs.readFileSync('package-lock.json'))
    delete packages['node_modules/other-platform']
    delete packages['']
    fs.mkdirSync('node_modules', { recursive: true })
    fs.writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages }))`)
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function npm(script: string) {
  writeFileSync(join(root, 'npm-cli.mjs'), `import fs from 'node:fs'\n${script}`)
}

function bootstrap(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const env = { PATH: process.env.PATH, npm_execpath: join(root, 'npm-cli.mjs') }
  return new Promise((done) => {
    execFile(
      process.execPath,
      [join(root, 'dev/bootstrap.mjs'), ...args],
      { env },
      (error: ExecFileException | null, stdout, stderr) =>
        done({ status: error ? Number(error.code) : 0, stdout, stderr }),
    )
  })
}

const asked = () =>
  existsSync(join(root, 'asked')) ? readFileSync(join(root, 'asked'), 'utf8').trim().split('\n') : []

test('installs once, hands arguments over and the exit status back', async () => {
  const first = await bootstrap('start', 'a', '--b')
  expect(first).toMatchObject({ status: 2, stdout: '{"args":["a","--b"]}\n' })
  expect(first.stderr).toMatch(/^Installing .*\nInstalled in \d+ s\.\n$/)
  expect(asked()).toEqual([expect.stringMatching(/^ci --ignore-scripts --no-audit --no-fund/)])
  expect(await bootstrap('start')).toEqual({ status: 0, stdout: '{"args":[]}\n', stderr: '' })
  expect(asked()).toHaveLength(1)
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8')
  writeFileSync(join(root, 'package-lock.json'), lock.replace('sha512-a', 'sha512-new'))
  await bootstrap('start')
  expect(asked()).toHaveLength(2)
})

test('two at once install once', async () => {
  const both = await Promise.all([bootstrap('start'), bootstrap('start')])
  expect(both.map(({ status }) => status)).toEqual([0, 0])
  expect(asked()).toHaveLength(1)
  expect(both.map(({ stderr }) => stderr).join('')).toMatch(/Process \d+ is installing the packages; waiting/)
})

test('--help needs nothing', async () => {
  const { status, stdout } = await bootstrap('start', '--help')
  expect(status).toBe(0)
  expect(stdout).toMatch(/^Usage: npm start/)
  expect(asked()).toEqual([])
})

test.each([
  ['npm error code ECONNREFUSED', /^Installing.*\nThe npm registry cannot be reached: /],
  ['npm error code ENOSPC\nnpm error nospc', /\nThere is no disk space left for /],
  [
    'npm error code EINTEGRITY\nnpm error bad sum',
    /\nnpm ci failed \(1\); the last it said:\nnpm error code EINTEGRITY\nnpm error bad sum\n$/,
  ],
])('an installation that fails with %j says what to do', async (output, message) => {
  npm(`process.stderr.write(${JSON.stringify(output)}); process.exitCode = 1`)
  const { status, stderr } = await bootstrap('start')
  expect(status).toBe(1)
  expect(stderr).toMatch(message)
  expect(stderr).not.toMatch(/at .*bootstrap/)
})

test.skipIf(process.getuid?.() === 0)('a folder of somebody else is refused with a sentence', async () => {
  chmodSync(root, 0o555)
  const { status, stderr } = await bootstrap('start')
  chmodSync(root, 0o755)
  expect([status, stderr]).toEqual([1, expect.stringMatching(/is not writable for this user/)])
})

test('runs on the Node of the lockfile', async () => {
  await bootstrap('start')
  const folder = `node_modules/node-${process.platform}-${process.arch}/bin`
  mkdirSync(join(root, folder), { recursive: true })
  symlinkSync(resolve(process.execPath), join(root, folder, 'node'))
  writeFileSync(join(root, 'dev/start.ts'), 'console.log(process.execArgv, process.argv0)')
  expect((await bootstrap('start')).stdout).toContain(folder)
})

test('a signal reaches the program, and its end ours', async () => {
  await bootstrap('start')
  writeFileSync(
    join(root, 'dev/start.ts'),
    "process.on('SIGTERM', () => process.exit(7)); process.kill(process.ppid, 'SIGTERM'); setInterval(() => {}, 9)",
  )
  expect((await bootstrap('start')).status).toBe(7)
})
