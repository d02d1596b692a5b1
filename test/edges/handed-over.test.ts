import { afterAll, beforeAll, expect, it } from 'vitest'
import type { User } from '../system/kit.ts'
import { type EdgeStack, edgeStack, runToEnd } from './kit.ts'
import { say, shell } from './provider.ts'

let edge: EdgeStack
let user: User

beforeAll(async () => {
  edge = await edgeStack()
  user = await edge.user('handed-over')
})
afterAll(async () => {
  expect(await edge.violations()).toEqual([])
  await edge.close()
})

it('a file under outputs/ is handed over when its call ends with exit code 0', async () => {
  edge.provider.play('plain-file', [
    { blocks: [shell('echo good > outputs/report.txt')] },
    { blocks: [say('Done.')] },
  ])
  const { run, artifacts } = await runToEnd(user, { prompt: 'plain-file' })
  expect(run.status).toBe('completed')
  expect(artifacts.map(({ filename }) => filename)).toEqual(['report.txt'])
})
