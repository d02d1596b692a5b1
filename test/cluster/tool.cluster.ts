import { afterAll, beforeAll, expect, test } from 'vitest'
import { figure } from './figure.ts'
import { SandboxWorld, until } from './sandbox-world.ts'

/** What programs take for granted on a machine, and find in a tool's pod. */
const world = new SandboxWorld()
const sandbox = world.sandbox()
beforeAll(() => world.open())
afterAll(() => world.close())

async function shell(command: string) {
  const made = world.door.add({ name: 'shell', input: { command } })
  await sandbox.create(world.spec(made))
  return await until(async () => made.results[0], 'the result', 110)
}

test('the user has a name, and what the name says is so', async () => {
  const { outcome, stdout, stderr } = await shell(
    `whoami; id -gn; node -p 'require("os").userInfo().homedir'; python3 -c 'import getpass, pwd, os; print(getpass.getuser(), pwd.getpwuid(os.getuid()).pw_dir)'; echo ~tool; echo $HOME; git config --global user.name x && git config user.name`,
  )
  expect([outcome, stderr]).toEqual([{ kind: 'exited', exit_code: 0 }, ''])
  expect(stdout).toBe('tool\ntool\n/tmp/home\ntool /tmp/home\n/tmp/home\n/tmp/home\nx\n')
}, 150_000)

test('1,000 processes that their parents leave behind end without a trace', async () => {
  const { outcome, stdout, stderr } = await shell(
    `for i in $(seq 1000); do (true &); done; sleep 1; echo "zombies: $(grep -l '^State:.Z' /proc/[0-9]*/status | wc -l)"`,
  )
  figure('1,000 orphans', { said: stdout.trim() })
  expect([outcome, stdout, stderr]).toEqual([{ kind: 'exited', exit_code: 0 }, 'zombies: 0\n', ''])
}, 150_000)

test('how a tool ended is told apart as before: its status, a signal, its time', async () => {
  expect((await shell('exit 3')).outcome).toEqual({ kind: 'exited', exit_code: 3 })
  expect((await shell('kill -SEGV $$')).outcome).toEqual({ kind: 'killed', signal: 'SIGSEGV' })
  expect((await shell('kill -9 $PPID; sleep 20')).outcome).toEqual({ kind: 'killed', signal: 'SIGKILL' })
}, 200_000)
