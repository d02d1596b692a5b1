import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { watchOver } from './watchdog.ts'

const module = fileURLToPath(new URL('./watchdog.ts', import.meta.url))

test('a process that outlives ours is stopped', async () => {
  const watched = spawn('/bin/sleep', ['60'])
  const owner = execFile(process.execPath, [
    '--input-type=module',
    '-e',
    `import { watchOver } from ${JSON.stringify(module)}; watchOver(${watched.pid}); console.log('on'); setInterval(() => {}, 1000)`,
  ])
  if (owner.stdout) await once(owner.stdout, 'data')
  await sleep(200)
  expect(watched.exitCode ?? watched.signalCode).toBeNull()
  owner.kill('SIGKILL')
  expect(await once(watched, 'exit')).toEqual([null, 'SIGINT'])
})

test('a dismissed watchdog leaves the process alone', async () => {
  const watched = spawn('/bin/sleep', ['60'])
  const watchdog = watchOver(watched.pid ?? 0)
  await sleep(200)
  watchdog.dismiss()
  await sleep(300)
  expect(watched.exitCode ?? watched.signalCode).toBeNull()
  watched.kill('SIGKILL')
})
