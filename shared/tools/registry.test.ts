import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { WorkspaceFile } from '../ports/store.ts'
import { TOOLS, toolDefinitions, toolInputFault } from './registry.ts'
import type { InlineContext } from './tool.ts'

function context(files: Record<string, Uint8Array | string>): InlineContext {
  const bytes = new Map<string, Uint8Array>()
  const entries: WorkspaceFile[] = Object.entries(files).map(([path, content]) => {
    const data = typeof content === 'string' ? new TextEncoder().encode(content) : content
    const sha256 = createHash('sha256').update(data).digest('hex')
    bytes.set(sha256, data)
    return { path, sha256, size: data.length, mode: 0o644 }
  })
  return {
    owner: 'owner',
    newId: () => 'id',
    blobs: {
      put: async (_owner, sha256, data) => {
        bytes.set(sha256, data)
      },
      get: async (_owner, sha256) => bytes.get(sha256) ?? new Uint8Array(),
    },
    workspace: {
      find: async (path) => entries.find((file) => file.path === path),
      list: async (folder, limit) =>
        entries.filter(({ path }) => folder === '' || path.startsWith(`${folder}/`)).slice(0, limit),
    },
  }
}

function run(name: string, input: Record<string, unknown>, files: Record<string, Uint8Array | string> = {}) {
  const tool = TOOLS.get(name)
  if (tool?.kind !== 'inline') throw new Error(`${name} is not inline`)
  return tool.run(input, context(files))
}

describe('definitions', () => {
  it('are objects with a description, in a fixed order', () => {
    const names = toolDefinitions().map(({ name, inputSchema, description }) => {
      expect(inputSchema).toMatchObject({ type: 'object' })
      expect(description.length).toBeGreaterThan(20)
      return name
    })
    expect(names).toEqual([
      'code',
      'shell',
      'file_read',
      'file_write',
      'file_list',
      'message',
      'advance_phase',
      'ask_user',
    ])
  })

  it.each([
    ['shell', { command: '' }],
    ['shell', { command: 'ls', working_dir: '../..' }],
    ['code', { language: 'cobol', code: 'x' }],
    ['code', { language: 'bash', code: 'x', timeout: -1 }],
    ['file_read', { filepath: '/etc/passwd' }],
    ['file_read', { filepath: 'a/../../b' }],
    ['file_write', { filepath: 'a\nb', content: '' }],
    ['file_write', { filepath: 'x'.repeat(600), content: '' }],
    ['file_write', { filepath: 'a' }],
    ['message', { message: 7 }],
    ['message', null],
    ['unknown', {}],
  ])('%s refuses %j', (name, input) => {
    expect(toolInputFault(name, input)).toEqual(expect.any(String))
  })
})

describe('file tools', () => {
  it('read text, say what is there when a file is not, and refuse what is no text', async () => {
    expect(await run('file_read', { filepath: './a.txt' }, { 'a.txt': 'hello' })).toMatchObject({
      text: 'hello',
      isError: false,
    })
    expect(await run('file_read', { filepath: 'b.txt' }, { 'a.txt': 'hello' })).toMatchObject({
      isError: true,
      text: expect.stringContaining('a.txt'),
    })
    expect(await run('file_read', { filepath: 'x' }, { x: new Uint8Array([0xff, 0xfe, 0]) })).toMatchObject({
      isError: true,
    })
  })

  it('read the first 64 KB, also when the cut is inside a character', async () => {
    const result = await run('file_read', { filepath: 'x' }, { x: `a${'é'.repeat(40_000)}` })
    expect(result).toMatchObject({ isError: false, output: { truncated: true } })
    expect(result.text).not.toContain('\uFFFD')
  })

  it('write a blob under its hash, not over a folder nor below a file', async () => {
    expect(await run('file_write', { filepath: 'outputs/a.txt', content: 'é' })).toMatchObject({
      isError: false,
      put: [{ path: 'outputs/a.txt', size: 2, sha256: createHash('sha256').update('é').digest('hex') }],
    })
    expect(await run('file_write', { filepath: 'd', content: '' }, { 'd/x': '' })).toMatchObject({
      isError: true,
    })
    expect(await run('file_write', { filepath: 'x/y', content: '' }, { x: '' })).toMatchObject({
      isError: true,
    })
  })

  it('list a folder', async () => {
    expect(await run('file_list', { dirpath: 'in' }, { 'in/a': '1', 'in/b': '22', c: '' })).toMatchObject({
      output: {
        files: [
          { path: 'in/a', size: 1 },
          { path: 'in/b', size: 2 },
        ],
        truncated: false,
      },
    })
    expect((await run('file_list', {}, { c: '' })).text).toBe('c (0 bytes)')
  })
})
