import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { jobWorkspacePath } from '../contract/job.ts'
import { workspacePathFault } from '../contract/workspace-path.ts'
import { scanWorkspace } from './scan-workspace.ts'
import { TEST_LIMITS } from './testing/fake-door.ts'

let outside = ''
let workspace = ''
beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), 'workspace-test-'))
  workspace = join(outside, 'workspace')
  await writeFile(join(outside, 'secret'), 'secret')
  make('mkdir -p workspace/outputs')
})
afterEach(async () => {
  make('chmod -R u+rwx . && rm -rf ./*')
  await rm(outside, { recursive: true, force: true })
})
function make(script: string): void {
  execFileSync('bash', ['-c', script], { cwd: outside })
}
const scan = (limits = {}) => scanWorkspace(workspace, { ...TEST_LIMITS, ...limits })

test.each([
  ['a link out', 'ln -s ../../secret outputs/x', /"outputs\/x" is a symbolic link that leads out/],
  ['an absolute link', 'ln -s /etc/passwd outputs/x', /leads out/],
  ['a link to a folder outside', 'ln -s /etc outputs/x', /leads out/],
  ['a link through a folder link', 'ln -s ../.. outputs/up; ln -s up/secret outputs/x', /leads out/],
  ['a dangling link', 'ln -s nothing outputs/x', /leads nowhere/],
  ['a loop', 'ln -s y outputs/x; ln -s x outputs/y', /leads nowhere/],
  ['a link to a folder', 'mkdir d; ln -s ../d outputs/x', /not a file/],
  ['a pipe', 'mkfifo outputs/x', /not a regular file/],
  [
    'a socket',
    `${process.execPath} -e "require('net').createServer().listen('outputs/s',()=>process.kill(process.pid,9))" 2>/dev/null || true`,
    /not a regular file/,
  ],
  ['a hard link from outside', 'ln ../secret outputs/x', /hard link/],
  ['a newline in a name', "touch $'outputs/a\\nb'", /control character/],
  ['a name that is not UTF-8', "touch $'outputs/\\xff'", /not UTF-8/],
  ['two Unicode forms of a name', "touch $'outputs/\\xc3\\xa9' $'outputs/e\\xcc\\x81'", /Unicode forms/],
  [
    'a path that is too long',
    'd=$(printf "%0200d" 0); mkdir -p outputs/$d/$d/$d; touch outputs/$d/$d/$d/x',
    /512 are allowed/,
  ],
  ['a huge sparse file', 'truncate -s 1T outputs/x', /allowed for a file/],
  ['deep folders', 'cd outputs; for i in $(seq 70); do mkdir d; cd d; done; touch x', /deep/],
])('refuses %s', async (_name, script, reason) => {
  make(`export LC_ALL=C.UTF-8; cd workspace; ${script}`)
  await expect(scan()).rejects.toThrow(reason)
})

test('refuses too many and too much, each by its limit', async () => {
  make('cd workspace; for i in 1 2 3; do head -c 1000 /dev/zero > f$i; done')
  await expect(scan({ workspace_files: 2 })).rejects.toThrow('2 files allowed')
  await expect(scan({ workspace_bytes: 2500 })).rejects.toThrow('2500 bytes allowed')
  await expect(scan({ file_bytes: 999 })).rejects.toThrow('999 are allowed')
  expect(await scan({ workspace_files: 3, workspace_bytes: 3000, file_bytes: 1000 })).toHaveLength(3)
})

test('keeps links and hard links inside as files, reads what lost its rights, skips noise', async () => {
  make(`export LC_ALL=C.UTF-8; cd workspace; echo abc > a; ln -s a link; ln a hard; mkdir closed; echo z > closed/z; chmod 0 closed
    mkdir -p p/__pycache__ node_modules/.cache .cache; touch p/__pycache__/x node_modules/.cache/y .cache/kept; touch $'e\\xcc\\x81'; chmod +x a`)
  const files = await scan()
  expect(new Set(files.map(({ path, size, mode }) => `${path} ${size} ${mode.toString(8)}`))).toEqual(
    new Set(['.cache/kept 0 644', 'a 4 755', 'closed/z 2 644', 'hard 4 755', 'link 4 755', '\u00e9 0 644']),
  )
})

test('the schema of a path and the rule without zod are one', () => {
  for (const path of [
    'a',
    'a/b.txt',
    'é',
    '',
    '/a',
    'a//b',
    './a',
    'a/..',
    '..',
    'a\0',
    'a\n',
    'e\u0301',
    '\ud800',
    'x'.repeat(256),
    'é/'.repeat(300),
  ]) {
    expect([path, jobWorkspacePath.safeParse(path).success]).toEqual([
      path,
      workspacePathFault(path) === undefined,
    ])
  }
  expect(['a', 'a/b.txt', 'é'].map(workspacePathFault)).toEqual([undefined, undefined, undefined])
})
