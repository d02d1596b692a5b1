import { afterEach, beforeEach, expect, test } from 'vitest'
import { detectConfinement } from './detect-confinement.ts'
import { FakeDoor, sha256 } from './testing/fake-door.ts'
import { assertNothingLeft, runTo, startRunner } from './testing/start-runner.ts'

const { confinement } = await detectConfinement()
const variant = { confinement, asUser: false }
let door = new FakeDoor()
beforeEach(async () => {
  door = new FakeDoor()
  await door.listen()
})
afterEach(() => door.close())

const echo = (options?: Parameters<FakeDoor['add']>[1]) =>
  door.add({ name: 'shell', input: { command: 'echo hi; echo out > outputs/o' } }, options)

test('a blob with other bytes is asked for again, then refused by name', async () => {
  const job = echo({ files: { 'inputs/data.csv': 'right' } })
  job.blobs.set(sha256('right'), Buffer.from('wrong'))
  const result = await runTo(door, job, variant)
  expect(result.outcome).toMatchObject({
    kind: 'refused',
    reason: expect.stringMatching(/"inputs\/data.csv".*another hash/),
  })
  expect(result.files).toEqual({ put: [], removed: [] })
})

test('a blob that is gone is refused, one that is damaged once is not', async () => {
  const gone = echo({ files: { a: 'x' } })
  gone.blobs.clear()
  expect((await runTo(door, gone, variant)).outcome).toMatchObject({
    kind: 'refused',
    reason: expect.stringContaining('404'),
  })

  let damaged = 0
  door.intercept = (_request, response, path) => {
    if (!path.startsWith('blob/') || damaged > 0) return false
    damaged += 1
    response.writeHead(200).end('not it')
    return true
  }
  const job = door.add({ name: 'shell', input: { command: 'cat a' } }, { files: { a: 'not me' } })
  expect(await runTo(door, job, variant)).toMatchObject({
    outcome: { kind: 'exited', exit_code: 0 },
    stdout: 'not me',
  })
})

test('an endless blob is cut off', async () => {
  let sent = 0
  door.intercept = (_request, response, path) => {
    if (!path.startsWith('blob/')) return false
    const write = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536))) sent += 65_536
      if (!response.destroyed) response.once('drain', write)
    }
    response.writeHead(200)
    write()
    return true
  }
  const result = await runTo(door, echo({ files: { a: 'x' } }), variant)
  expect(result.outcome).toMatchObject({
    kind: 'refused',
    reason: expect.stringContaining('more than 1 bytes'),
  })
  expect(sent).toBeLessThan(50_000_000)
})

test('errors, dropped connections and "not yet" are tried again until they pass', async () => {
  const faults = new Map<string, number>()
  door.intercept = (_request, response, path) => {
    const key = path.split('/')[0] ?? ''
    const count = faults.get(key) ?? 0
    if (key === 'output' || count >= 2) return false
    faults.set(key, count + 1)
    if (count === 0) response.destroy()
    else response.writeHead(503, { 'retry-after': '0.1' }).end('{}')
    return true
  }
  const job = echo({ files: { a: 'x' } })
  const result = await runTo(door, job, variant)
  expect(result).toMatchObject({
    outcome: { kind: 'exited', exit_code: 0 },
    files: { put: [{ path: 'outputs/o' }] },
  })
  expect([...faults]).toEqual([
    ['start', 2],
    ['blob', 2],
    ['result', 2],
  ])
  expect(job.results).toHaveLength(1)
})

test('a result whose answer is lost is sent again, the same', async () => {
  let lost = 0
  door.intercept = (request, response, path) => {
    if (path !== 'result' || lost > 0) return false
    lost += 1
    // Taken, and the answer never arrives.
    request.resume().once('end', () => response.destroy())
    return true
  }
  expect((await runTo(door, echo(), variant)).stdout).toBe('hi\n')
  expect(lost).toBe(1)
})

test('a job that is over ends quietly; a wrong token ends with an error and runs nothing', async () => {
  const over = echo()
  await runTo(door, over, variant)
  const again = await startRunner(door, over, variant)
  expect((await again.ended).code).toBe(0)
  await assertNothingLeft(again.workRoot)
  expect(over.starts).toBe(1)

  const wrong = await startRunner(door, echo(), variant, { token: 'wrong-token-value' })
  const end = await wrong.ended
  expect(end.code).toBe(1)
  expect(end.stderr).toContain('401')
  expect(end.stderr).not.toContain('wrong-token-value')
  await assertNothingLeft(wrong.workRoot)
})

test('a result that the door will never take is reported as refused', async () => {
  let first = true
  door.intercept = (_request, response, path) => {
    if (path !== 'result' || !first) return false
    first = false
    response.writeHead(413).end('{"code":"body_too_large"}')
    return true
  }
  const result = await runTo(door, echo(), variant)
  expect(result.outcome).toMatchObject({ kind: 'refused', reason: expect.stringContaining('413') })
})

test('a manifest that leads out of the workspace, or is too big, is refused before anything is fetched', async () => {
  const start =
    (files: unknown) => (_request: unknown, response: import('node:http').ServerResponse, path: string) => {
      if (path !== 'start') return false
      const { tool, limits } = echo()
      response
        .writeHead(200)
        .end(JSON.stringify({ tool, files, limits, watched: false, idempotency_key: 'k' }))
      return true
    }
  const file = { sha256: sha256('x'), size: 1, mode: 0o644 }
  const manifests: [unknown, RegExp][] = [
    [[{ ...file, path: '../evil' }], /\.\./],
    [[{ ...file, path: '/etc/passwd' }], /absolute/],
    [[{ ...file, path: 'a\nb' }], /control/],
    [[{ ...file, path: 'a', size: 1e12 }], /bytes/],
    [
      [
        { ...file, path: 'a' },
        { ...file, path: 'a/b' },
      ],
      /file and a folder/,
    ],
    [[{ ...file, path: 'a', sha256: '../../x' }], /sha256/],
    ['nothing', /files/],
  ]
  for (const [files, reason] of manifests) {
    door.intercept = start(files)
    expect((await runTo(door, echo(), variant)).outcome).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(reason),
    })
  }
})

test('output is sent in order while it appears, and a cancel seen in its answer stops the tool', async () => {
  const job = door.add(
    { name: 'shell', input: { command: 'for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.3; done; sleep 100' } },
    { watched: true },
  )
  const runner = await startRunner(door, job, variant)
  const text = () =>
    job.outputs
      .flat()
      .map((chunk) => chunk.content)
      .join('')
  await expect.poll(text, { timeout: 20_000 }).toContain('6\n')
  expect(job.outputs.length).toBeGreaterThan(1)
  job.cancelled = true
  expect((await runner.ended).code).toBe(0)
  expect('1\n2\n3\n4\n5\n6\n7\n8\n'.startsWith(text())).toBe(true)
  expect(job.results).toEqual([])
  await assertNothingLeft(runner.workRoot)
})

test('a door that is away for good: the runner gives up at the deadline', async () => {
  door.intercept = (_request, response) => {
    response.writeHead(500).end()
    return true
  }
  const runner = await startRunner(door, echo(), variant, {
    deadline_at: new Date(Date.now() + 2000).toISOString(),
  })
  expect((await runner.ended).code).toBe(1)
  await assertNothingLeft(runner.workRoot)
})
