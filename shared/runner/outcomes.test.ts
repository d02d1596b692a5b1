import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findExecutable } from './places.ts'
import { FakeDoor, sha256 } from './testing/fake-door.ts'
import { runTo, workingVariants } from './testing/start-runner.ts'

const { variants, skipped } = await workingVariants()
const door = new FakeDoor()
beforeAll(() => door.listen())
afterAll(() => door.close())

for (const reason of skipped) test.skip(reason, () => undefined)
const python = findExecutable('python3') !== undefined

/** What depends on the confinement runs in each; the rest in the best one and, with TEST_FULL=1, in all. */
const full = process.env.TEST_FULL === '1'

describe.each(variants)('a job in $confinement (ordinary user: $asUser)', (variant) => {
  const once = full || variant === variants[0] ? test : () => undefined
  const shell = async (
    command: string,
    options: Parameters<FakeDoor['add']>[1] & { timeout?: number } = {},
  ) =>
    await runTo(
      door,
      door.add({ name: 'shell', input: { command, timeout: options.timeout } }, options),
      variant,
    )
  const code = async (language: string, text: string, options: Parameters<FakeDoor['add']>[1] = {}) =>
    await runTo(door, door.add({ name: 'code', input: { language, code: text } }, options), variant)

  test('reports output, status, new, changed and removed files', async () => {
    const job = door.add(
      {
        name: 'shell',
        input: {
          command:
            'cat inputs/in.txt; echo oops >&2; rm gone; echo new > outputs/out.txt; echo x >> same; touch touched; exit 3',
        },
      },
      { files: { 'inputs/in.txt': 'hello\n', gone: 'g', same: 's', touched: 't' } },
    )
    const result = await runTo(door, job, variant)
    expect(result).toMatchObject({
      outcome: { kind: 'exited', exit_code: 3 },
      stdout: 'hello\n',
      stderr: 'oops\n',
      truncated: false,
    })
    expect(result.files.removed).toEqual(['gone'])
    expect(
      result.files.put.map(({ path, sha256: hash, size, mode }) => ({ path, hash, size, mode })),
    ).toEqual([
      { path: 'outputs/out.txt', hash: sha256('new\n'), size: 4, mode: 0o644 },
      { path: 'same', hash: sha256('sx\n'), size: 3, mode: 0o644 },
    ])
    expect(job.uploaded.get(sha256('new\n'))?.toString()).toBe('new\n')
  })

  once('a changed mode alone is a change; an equal rewrite and noise are none', async () => {
    const result = await shell(
      'chmod +x run.sh; cp same copy; mv copy same; mkdir -p a/__pycache__; touch a/__pycache__/x',
      {
        files: { 'run.sh': 'echo', same: 'same' },
      },
    )
    expect(result.files).toMatchObject({ put: [{ path: 'run.sh', mode: 0o755, size: 4 }], removed: [] })
  })

  test('javascript: module and CommonJS at once, files by relative name', async () => {
    const result = await code(
      'javascript',
      `import { readFile } from 'node:fs/promises'
       const path = require('path'); const own = require('./lib.cjs'); const other = await import('./other.mjs')
       if (require.main === module) console.log(path.basename(await readFile('inputs/a.txt', 'utf8')), own.x, other.y)
       console.log(process.cwd() === __dirname, process.argv.length, require('fs').readFileSync(0).length)`,
      {
        files: {
          'inputs/a.txt': 'p/q',
          'lib.cjs': 'module.exports={x:1}',
          'other.mjs': 'export const y = 2',
        },
      },
    )
    expect(result).toMatchObject({
      outcome: { kind: 'exited', exit_code: 0 },
      stdout: 'q 1 2\ntrue 2 0\n',
      stderr: '',
    })
    expect(result.files).toEqual({ put: [], removed: [] })
  })

  once('typescript with types, an enum and top-level await', async () => {
    const result = await code(
      'typescript',
      'enum A { X = 7 }\nconst a: Promise<A> = Promise.resolve(A.X)\nconsole.log(await a as number)',
    )
    expect(result).toMatchObject({ outcome: { kind: 'exited', exit_code: 0 }, stdout: '7\n', stderr: '' })
  })

  once('an error of a program names its line and the workspace, not the host', async () => {
    const result = await code('javascript', 'const rows = {}\nrows.list.map(String)')
    expect(result.outcome).toEqual({ kind: 'exited', exit_code: 1 })
    expect(result.stderr).toContain(':2')
    expect(result.stderr).toContain("Cannot read properties of undefined (reading 'map')")
  })

  ;(python ? test : test.skip)(
    'python finds modules of the workspace and leaves none of its own',
    async () => {
      const result = await code(
        'python',
        'import lib, sys, json\nprint(json.dumps([lib.x, len(sys.argv)]))\nopen("outputs/é.txt","w").write("ü")',
        {
          files: { 'lib.py': 'x = 5' },
        },
      )
      expect(result).toMatchObject({ outcome: { kind: 'exited', exit_code: 0 }, stdout: '[5, 1]\n' })
      expect(result.files.put.map((file) => file.path)).toEqual(['outputs/é.txt'])
    },
  )

  test('bash, and a working directory below the workspace', async () => {
    expect(await code('bash', '[[ abc == a* ]] && echo 3')).toMatchObject({ stdout: '3\n' })
    const job = door.add(
      { name: 'shell', input: { command: 'ls', working_dir: 'inputs' } },
      { files: { 'inputs/z': '' } },
    )
    expect(await runTo(door, job, variant)).toMatchObject({
      outcome: { kind: 'exited', exit_code: 0 },
      stdout: 'z\n',
    })
  })

  test('the environment is clean, input is closed, HOME and TMPDIR are writable', async () => {
    const result = await shell(
      'env | cut -d= -f1 | sort | tr "\\n" " "; cat; touch "$HOME/a" "$TMPDIR/b" && echo ok',
    )
    expect(result.stdout.replace('SHLVL ', '')).toBe('HOME LANG LOGNAME PATH PWD TMPDIR USER _ ok\n')
    expect(result.files.put).toEqual([])
  })

  once('refuses unknown tools, languages, missing interpreters and bad folders with a sentence', async () => {
    const outcomes = [
      (await code('cobol', 'x')).outcome,
      (await code('python', ' ')).outcome,
      (await runTo(door, door.add({ name: 'message', input: {} }), variant)).outcome,
      (
        await runTo(
          door,
          door.add({ name: 'shell', input: { command: 'ls', working_dir: '../..' } }),
          variant,
        )
      ).outcome,
      (
        await runTo(
          door,
          door.add({ name: 'shell', input: { command: 'ls', working_dir: 'nowhere' } }),
          variant,
        )
      ).outcome,
    ]
    expect(
      outcomes.map((outcome) => (outcome.kind === 'refused' ? outcome.reason.slice(0, 40) : outcome)),
    ).toEqual(
      [
        'the language "cobol" is unknown; javascri',
        "the tool's input has no code",
        'the tool "message" does not run as a job;',
        'working_dir leads out of the workspace',
        'working_dir is not a folder of the works',
      ].map((text) => text.slice(0, 40)),
    )
    if (!findExecutable('ruby')) {
      const { outcome } = await code('ruby', 'puts 1')
      expect(outcome).toMatchObject({
        kind: 'refused',
        reason: expect.stringMatching(/^there is no ruby .* javascript, typescript.* do$/),
      })
    }
  })

  test('stops at the timeout of the input and keeps what was there', async () => {
    const result = await shell('echo before; echo partial > outputs/p; sleep 60 & sleep 60', { timeout: 2 })
    expect(result).toMatchObject({
      outcome: { kind: 'timeout' },
      stdout: 'before\n',
      files: { put: [{ path: 'outputs/p' }] },
    })
    expect(result.duration_ms).toBeLessThan(8000)
  })

  once('clamps the timeout to the limit', async () => {
    const result = await shell('sleep 60', { timeout: 9999, limits: { timeout_seconds: 0.5 } })
    expect(result.outcome).toEqual({ kind: 'timeout' })
  })

  test('a tool that is killed says so', async () => {
    expect((await shell('kill -9 $$')).outcome).toEqual({ kind: 'killed', signal: 'SIGKILL' })
    expect(
      (await code('javascript', 'process.kill(process.pid, "SIGTERM"); setTimeout(() => {}, 9999)')).outcome,
    ).toEqual({
      kind: 'killed',
      signal: 'SIGTERM',
    })
  })

  test('too much memory: node by its heap, anything by the watchdog', async () => {
    const limits = { memory_bytes: 128 * 1024 * 1024 }
    const heap = await code(
      'javascript',
      'const a = []; for (;;) a.push(new Array(1000).fill(Math.random()))',
      { limits },
    )
    expect(heap.outcome).toEqual({ kind: 'out_of_memory' })
    const buffers = await code(
      'javascript',
      'const a = []; setInterval(() => a.push(Buffer.alloc(8e6, 1)), 20)',
      { limits },
    )
    expect(buffers.outcome).toEqual({ kind: 'out_of_memory' })
  })

  once('keeps head and tail of long output', async () => {
    const result = await shell('echo first; for i in $(seq 40000); do echo "line $i é"; done; echo last', {
      limits: { output_bytes: 8192 },
    })
    expect(result.outcome).toEqual({ kind: 'exited', exit_code: 0 })
    expect(result.truncated).toBe(true)
    expect(result.stdout).toMatch(
      /^first\nline 1 é\n[\s\S]*\n\[… \d+ bytes left out …\]\n[\s\S]*line 40000 é\nlast\n$/,
    )
    expect(result.stdout.length).toBeLessThan(8192 + 100)
  })

  once('stops an output flood', async () => {
    const result = await shell('yes flood; echo never', { limits: { output_bytes: 4096 } })
    expect(result.outcome).toEqual({ kind: 'output_limit' })
    expect(result.stdout.length).toBeLessThan(4200)
  })

  once('stops a disk flood', async () => {
    const files = await shell('i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > f$i || break; done', {
      limits: { workspace_files: 5000 },
    })
    expect(files.outcome).toMatchObject({ kind: 'refused', reason: expect.stringContaining('bytes allowed') })
    const single = await shell('head -c 20000000 /dev/zero > big; echo done')
    expect(single).toMatchObject({ stdout: 'done\n', outcome: { kind: 'exited' } })
    expect(single.files.put).toMatchObject([{ path: 'big', size: 8 * 1024 * 1024 }])
  })

  test('a background child, even in its own session, does not outlive the tool', async () => {
    const result = await shell('setsid sleep 300 >/dev/null 2>&1 & sleep 300 >/dev/null 2>&1 & echo started')
    expect(result).toMatchObject({ outcome: { kind: 'exited', exit_code: 0 }, stdout: 'started\n' })
  })

  test('standard output and error can be opened again by name', async () => {
    const result = await shell('echo err > /dev/stderr; echo out | tee /dev/stderr > /proc/self/fd/1')
    expect(result).toMatchObject({ stdout: 'out\n', stderr: 'err\nout\n' })
  })

  once('binary output and NUL become storable text', async () => {
    const result = await shell("printf 'a\\000b\\377c'")
    expect(result.stdout).toBe('a\uFFFDb\uFFFDc')
  })
})
