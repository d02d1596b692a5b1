import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const preload = fileURLToPath(new URL('./exit-with-parent.mjs', import.meta.url))

test('a process ends when the pipe from its parent closes, and not before', async () => {
  const child = spawn(
    process.execPath,
    ['--import', preload, '-e', 'setInterval(() => console.log("tick"), 20)'],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  await once(child.stdout, 'data')
  expect(child.exitCode).toBeNull()
  child.stdin.end()
  expect(await once(child, 'exit')).toEqual([null, 'SIGTERM'])
})

test('a process that ignores SIGTERM is ended after the grace period', async () => {
  const child = spawn(
    process.execPath,
    [
      '--import',
      preload,
      '-e',
      'process.on("SIGTERM", () => {}); setInterval(() => console.log("tick"), 20)',
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  await once(child.stdout, 'data')
  child.stdout.destroy()
  child.stdin.end()
  expect(await once(child, 'exit')).toEqual([1, null])
}, 15_000)

test('the pipe alone does not keep a process up', async () => {
  const child = spawn(process.execPath, ['--import', preload, '-e', '0'], {
    stdio: ['pipe', 'inherit', 'inherit'],
  })
  expect(await once(child, 'exit')).toEqual([0, null])
})
