import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Box } from './box.ts'
import { collectChanges } from './collect-changes.ts'
import { FRAME_BYTES, FrameReader, frame, outputFrames } from './frames.ts'
import { jobDirectories, placesIn } from './places.ts'
import { readFileStream } from './read-file-stream.ts'
import { type RemoteOptions, remoteExecute } from './remote-execute.ts'
import { TEST_LIMITS } from './testing/fake-door.ts'

const EXECUTOR = new URL('executor.ts', import.meta.url).pathname
let root = ''
let socket = ''
const children: ChildProcess[] = []
beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'pod-test-')))
  socket = join(root, 'runner.sock')
  for (const folder of ['workspace', 'program', 'tmp']) await mkdir(join(root, folder))
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await rm(root, { recursive: true, force: true })
})

function startExecutor(): ChildProcess {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', EXECUTOR, socket], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { PATH: process.env['PATH'] ?? '', TOOL_PROXY_URL: 'http://proxy:3128' },
  })
  children.push(child)
  return child
}

function options(command: string, changes: Partial<RemoteOptions> = {}): RemoteOptions {
  const directories = jobDirectories(root)
  const places = placesIn('pod', directories)
  const box: Box = {
    directories,
    places,
    argv: ['/bin/sh', '-c', command],
    cwd: directories.workspace,
    env: { PATH: places.path, HOME: places.home, TMPDIR: `${places.temporary}/` },
    memoryBytes: 256 * 1024 * 1024,
    fileBytes: 1024 * 1024,
    temporaryBytes: 1024 * 1024,
    processes: 4096,
    openFiles: 256,
    identity: undefined,
  }
  const { signal } = new AbortController()
  return {
    box,
    stdin: undefined,
    timeoutSeconds: 10,
    outputBytes: 64 * 1024,
    signal,
    socket,
    onOutput() {},
    ...changes,
  }
}

/** An executor that the tool has taken over: it says these bytes as soon as it was asked. */
async function hostile(bytes: Buffer | 'nothing', changes: Partial<RemoteOptions> = {}) {
  const running = remoteExecute(options('true', { graceSeconds: 0.3, ...changes }))
  const dial = (): void => {
    const other = connect({ path: socket, allowHalfOpen: true })
    other.on('error', () => setTimeout(dial, 10))
    other.once('data', () => bytes !== 'nothing' && other.write(bytes))
  }
  dial()
  return await running
}

test('a program runs in the executor with its input, its proxy and its limits, and its output arrives in order', async () => {
  startExecutor()
  await writeFile(join(root, 'program', 'in'), 'given')
  const parts: string[] = []
  const done = await remoteExecute(
    options(
      'cat; echo " $HTTPS_PROXY"; echo oops > /dev/stderr; grep -o "processes *4096" /proc/self/limits; exit 3',
      {
        stdin: join(root, 'program', 'in'),
        onOutput: (stream, bytes) => parts.push(`${stream} ${bytes.toString()}`),
      },
    ),
  )
  expect(done.outcome).toEqual({ kind: 'exited', exit_code: 3 })
  expect(done.stdout).toMatch(/^given http:\/\/proxy:3128\nprocesses +4096\n$/)
  expect(done.stderr).toBe('oops\n')
  expect(parts.join('')).toContain('given')
})

test('time, flood and cancelling stop it and all it started', async () => {
  const mark = `sleep 98${process.pid}`
  const cancel = new AbortController()
  for (const [command, changes, outcome] of [
    [`${mark} & ${mark}`, { timeoutSeconds: 0.5 }, { kind: 'timeout' }],
    ['yes', { floodBytes: 1_000_000 }, { kind: 'output_limit' }],
    [
      `echo on; ${mark}`,
      { signal: cancel.signal, onOutput: () => cancel.abort() },
      { kind: 'killed', signal: 'SIGKILL' },
    ],
  ] as const) {
    const child = startExecutor()
    const ended = new Promise((resolve) => child.once('exit', resolve))
    expect((await remoteExecute(options(command, changes))).outcome).toEqual(outcome)
    await ended
  }
  const left = spawn('pgrep', ['-f', mark], { stdio: ['ignore', 'pipe', 'ignore'] })
  expect(await text(left.stdout)).toBe('')
})

test('a fault of the executor is told, and one that dies is taken for out of memory', async () => {
  startExecutor()
  await expect(remoteExecute(options('true', { stdin: '/nowhere' }))).rejects.toThrow('ENOENT')
  const child = startExecutor()
  const onOutput = (): boolean => child.kill('SIGKILL')
  expect((await remoteExecute(options('echo on; exec sleep 1000', { onOutput }))).outcome).toEqual({
    kind: 'out_of_memory',
  })
})

test('an executor that never comes, or never ends, holds nobody up', async () => {
  await expect(remoteExecute(options('true', { startSeconds: 0.2 }))).rejects.toThrow('did not start')
  expect((await hostile('nothing', { timeoutSeconds: 0.1 })).outcome).toEqual({ kind: 'timeout' })
})

test.each([
  ['an endless frame', Buffer.from([0xff, 0xff, 0xff, 0xff, 1]), /a frame of 4294967295 bytes/],
  ['an empty frame', Buffer.from([0, 0, 0, 0, 1]), /a frame of 0 bytes/],
  ['an unknown kind', Buffer.from([0, 0, 0, 1, 77]), /unknown kind/],
  ['a request', frame('request', '{}'), /a request/],
  ['no JSON', frame('end', 'x'), /must not/],
  ['null', frame('end', 'null'), /no outcome/],
  ['a word that only the runner may say', frame('end', '{"kind":"refused","reason":"x"}'), /unknown outcome/],
  ['a status that is none', frame('end', '{"kind":"exited","exit_code":"0"}'), /unknown outcome/],
  ['a signal that is none', frame('end', '{"kind":"killed","signal":"SIG\\u0000"}'), /unknown outcome/],
  ['a fault without end', frame('fault', 'f'.repeat(5000)), /^f{500}$/],
])('hostile: %s is refused', async (_name, bytes, message) => {
  await expect(hostile(bytes)).rejects.toThrow(message)
})

test('hostile: a flood is bounded, and what comes after the end is not read', async () => {
  const flood = Buffer.concat([...outputFrames('stdout', Buffer.alloc(3_000_000, 'x'))])
  const done = await hostile(flood, { floodBytes: 1_000_000 })
  expect(done.outcome).toEqual({ kind: 'output_limit' })
  expect(done.stdout.length).toBeLessThan(66_000)
  const extra = Buffer.concat([frame('end', '{"kind":"exited","exit_code":0}'), frame('end', 'x')])
  expect((await hostile(extra)).outcome).toEqual({ kind: 'exited', exit_code: 0 })
})

test('frames are the same however they are cut', () => {
  const bytes = Buffer.concat([
    ...outputFrames('stdout', Buffer.alloc(FRAME_BYTES + 5, 'a')),
    frame('end', ''),
  ])
  for (const size of [1, 7, FRAME_BYTES]) {
    const reader = new FrameReader()
    const found: string[] = []
    for (let at = 0; at < bytes.length; at += size)
      for (const { kind, payload } of reader.add(bytes.subarray(at, at + size)))
        found.push(`${kind} ${payload.length}`)
    expect(found).toEqual([`stdout ${FRAME_BYTES}`, 'stdout 5', 'end 0'])
  }
  expect(() => frame('stdout', Buffer.alloc(FRAME_BYTES + 1))).toThrow('bytes')
})

test('a folder that is swapped for a link while files are read gives nothing away', async () => {
  const workspace = join(root, 'workspace')
  await mkdir(join(workspace, 'd'))
  await writeFile(join(workspace, 'd', 'environ'), 'mine')
  expect(await text(await readFileStream(join(workspace, 'd', 'environ')))).toBe('mine')
  await rename(join(workspace, 'd'), join(root, 'away'))
  for (const target of ['/proc/self', join(root, 'away')]) {
    await symlink(target, join(workspace, 'd'))
    await expect(readFileStream(join(workspace, 'd', 'environ'))).rejects.toThrow('swapped')
    await rm(join(workspace, 'd'))
  }
})

test('a tool that outlives its end and swaps folders all the time gets no byte from outside', async () => {
  const workspace = join(root, 'workspace')
  await mkdir(join(workspace, 'd'))
  await writeFile(join(workspace, 'd', 'environ'), 'mine')
  const swap = spawn(
    'bash',
    ['-c', 'while :; do mv -T d e; ln -s /proc/$PPID d; rm d; mv -T e d; done 2>/dev/null'],
    { cwd: workspace, stdio: 'ignore' },
  )
  children.push(swap)
  const sent: string[] = []
  const ends = { kept: 0, refused: 0 }
  const door = {
    putBlob: async ({ path }: { path: string }) => {
      sent.push(await text(await readFileStream(path)))
      return 'receipt'
    },
  }
  const { signal } = new AbortController()
  for (let round = 0; round < 150; round += 1) {
    await collectChanges({ door, workspace, restored: new Map(), limits: TEST_LIMITS, signal }).then(
      () => (ends.kept += 1),
      () => (ends.refused += 1),
    )
  }
  swap.kill('SIGKILL')
  expect(sent.filter((content) => content !== 'mine')).toEqual([])
  expect(ends.refused).toBeGreaterThan(0)
})
