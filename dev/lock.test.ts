import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { describeProcess, isAlive, LockedError, takeLock, waitForLock } from './lock.mjs'

const fixture = fileURLToPath(new URL('./gateway/fixtures/hold-lock.mjs', import.meta.url))
let path: string
beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), 'lock-')), 'sub/lock')
})
afterEach(() => rmSync(dirname(dirname(path)), { recursive: true }))

test('a live holder keeps others out and is named', () => {
  const lock = takeLock(path)
  expect(() => takeLock(path)).toThrow(LockedError)
  expect(() => takeLock(path)).toThrow(
    expect.objectContaining({ holder: expect.objectContaining({ pid: process.pid }) }),
  )
  lock.release()
  lock.release()
  takeLock(path).release()
  expect(readdirSync(dirname(path))).toEqual([])
})

test('a killed process leaves a lock that is taken over', async () => {
  const child = fork(fixture, [path])
  await once(child, 'message')
  expect(() => takeLock(path)).toThrow(LockedError)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(existsSync(path)).toBe(true)
  takeLock(path).release()
})

test.each([
  ['its pid was given to another process', { ...describeProcess(process.pid), started: '1' }],
  ['the machine was started again', { ...describeProcess(process.pid), boot: 'another' }],
  ['its process is gone', { pid: 2 ** 22 + 7, started: null, boot: null }],
])('a lock is stale when %s', (_, holder) => {
  expect(isAlive(holder)).toBe(false)
  takeLock(path).release()
  writeFileSync(path, JSON.stringify(holder))
  takeLock(path).release()
})

test('a file that is no lock is taken over', () => {
  takeLock(path).release()
  writeFileSync(path, 'half a li')
  takeLock(path).release()
})

test('a lock that was taken over is not released by its old holder', () => {
  const lock = takeLock(path)
  writeFileSync(path, 'another')
  lock.release()
  expect(readFileSync(path, 'utf8')).toBe('another')
})

test('waits for the holder, and not for ever', async () => {
  const lock = takeLock(path)
  const waited: number[] = []
  const next = waitForLock(path, { maxWaitMs: 5_000, onWait: ({ pid }) => waited.push(pid) })
  setTimeout(() => lock.release(), 150)
  ;(await next).release()
  expect(waited).toEqual([process.pid])
  const again = takeLock(path)
  await expect(waitForLock(path, { maxWaitMs: 100 })).rejects.toThrow(LockedError)
  again.release()
})

test('of many who find a dead lock at once one gets it', async () => {
  takeLock(path).release()
  writeFileSync(path, JSON.stringify({ pid: 2 ** 22 + 7, started: null, boot: null }))
  const children = Array.from({ length: 6 }, () => fork(fixture, [path]))
  const said = await Promise.all(children.map(async (child) => (await once(child, 'message'))[0] as string))
  for (const child of children) child.kill('SIGKILL')
  expect(said.toSorted()).toEqual(['locked', 'locked', 'locked', 'locked', 'locked', 'taken'])
}, 15_000)
