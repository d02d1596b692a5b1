import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createRun, type Snapshot, type User, untilStatus } from '../system/kit.ts'
import { type DoorCall, followDoor } from './door-calls.ts'
import { figure } from './figure.ts'
import { install } from './installation.ts'
import { commandsPrompt } from './model.ts'
import { shellOutputs } from './tool-shell.ts'
import { newUser } from './user.ts'

/** The workspace between two tool jobs of a run, each in a pod of its own. */
const COMMANDS = [
  'mkdir -p data outputs; for i in $(seq 20); do echo "file $i" > data/$i; done; cat data/1',
  'ls data | wc -l; cat data/7; echo changed > data/7; rm data/8; cp data/1 data/copy; echo new > outputs/new.txt',
  'cat data/7 outputs/new.txt data/copy; ls data | wc -l',
  'ln -s /etc/hostname outputs/link; echo lost > outputs/lost.txt',
  'mkfifo outputs/pipe',
  'ls outputs',
]
let door: Awaited<ReturnType<typeof followDoor>>
let snapshot: Snapshot
let calls: DoorCall[]

beforeAll(async () => {
  await install()
  door = await followDoor()
  const user: User = await newUser('workspace')
  const runId = await createRun(user, { prompt: commandsPrompt(COMMANDS) })
  snapshot = await untilStatus(user, runId, 'completed', 240_000)
  const results = () => door.of(runId).filter(({ path }) => path.endsWith('/result')).length
  await vi.waitFor(() => expect(results()).toBe(COMMANDS.length), { timeout: 10_000 })
  calls = door.of(runId)
}, 600_000)
afterAll(() => door?.stop())

/** Hashes that the nth job fetched or brought, in its order of jobs. */
function blobs(n: number, method: string): string[] {
  const step = (path: string) => Number(path.split('/')[5])
  const steps = [...new Set(calls.map(({ path }) => step(path)))].toSorted((a, b) => a - b)
  return calls
    .filter((call) => call.method === method && call.path.includes('/blob/') && step(call.path) === steps[n])
    .map(({ path }) => path.split('/').at(-1) ?? '')
}

test('what one job wrote the next one has', () => {
  expect(shellOutputs(snapshot).slice(0, 3)).toEqual([
    'file 1\n',
    '20\nfile 7\n',
    'changed\nnew\nfile 1\n20\n',
  ])
})

test('a job brings what it changed and nothing else; the next, in a new pod, fetches what there is', () => {
  const put = COMMANDS.map((_, n) => blobs(n, 'PUT').length)
  const get = COMMANDS.map((_, n) => blobs(n, 'GET').length)
  figure('files of a run of six tool jobs', {
    'brought by each': put.join(' '),
    'fetched by each': get.join(' '),
  })
  // the second: a changed file, a new one, and a copy, for whose bytes it has to have a receipt of its own
  expect(put).toEqual([20, 3, 0, 0, 0, 0])
  expect(get).toEqual([0, 20, 21, 21, 21, 21])
})

test('a link out of the workspace and a pipe are refused in words, and what the call wrote is not kept', () => {
  const [, , , link, pipe, last] = snapshot.steps.filter(({ tool_name }) => tool_name === 'shell')
  for (const [step, words] of [
    [link, /"outputs\/link" is a symbolic link that leads out of the workspace/],
    [pipe, /"outputs\/pipe" is not a regular file/],
  ] as const) {
    figure('refused', {
      status: step?.status ?? '',
      code: step?.error_code ?? '',
      says: step?.error_message ?? '',
    })
    expect([step?.status, step?.error_code]).toEqual(['failed', 'TOOL_REFUSED'])
    expect(step?.error_message).toMatch(words)
  }
  expect(last?.tool_output).toMatchObject({ stdout: 'new.txt\n' })
})
