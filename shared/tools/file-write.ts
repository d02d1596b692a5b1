import { createHash } from 'node:crypto'
import * as z from 'zod'
import type { Tool } from './tool.ts'
import { cleanPath, filePath } from './workspace-path-input.ts'

/** `{filepath, content}` → `{filepath, size}` */
export const fileWriteTool: Tool = {
  kind: 'inline',
  name: 'file_write',
  toolType: 'file_write',
  purpose: 'writes a text file into the workspace',
  description:
    'Writes a text file of the workspace, replacing it when it exists. Under outputs/ it is handed to the user.',
  input: z.object({ filepath: filePath, content: z.string().max(1_000_000) }),
  async run(input, { workspace, blobs, owner }) {
    const path = cleanPath(input['filepath'] as string)
    const fault = await folderFault(path, workspace)
    if (fault !== undefined) return { output: { error: 'conflict' }, text: fault, isError: true }
    const bytes = new TextEncoder().encode(input['content'] as string)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    await blobs.put(owner, sha256, bytes)
    return {
      output: { filepath: path, size: bytes.length },
      text: `Wrote ${path} (${bytes.length} bytes).`,
      isError: false,
      put: [{ path, sha256, size: bytes.length, mode: 0o644 }],
    }
  },
}

/** A file cannot stand where a folder is, nor below a file: the workspace could not be laid out on a disk any more. */
async function folderFault(
  path: string,
  workspace: Parameters<Extract<Tool, { kind: 'inline' }>['run']>[1]['workspace'],
) {
  if ((await workspace.list(path, 1)).length > 0) return `${path} is a folder of the workspace.`
  const parts = path.split('/')
  for (let n = 1; n < parts.length; n++) {
    const parent = parts.slice(0, n).join('/')
    if ((await workspace.find(parent)) !== undefined)
      return `${parent} is a file, so ${path} cannot be written.`
  }
  return undefined
}
