import * as z from 'zod'
import { AppError } from '../core/errors.ts'
import type { Tool } from './tool.ts'
import { cleanPath, filePath } from './workspace-path-input.ts'

/** More text than this is read in pieces with code or shell. */
const MAX_READ_BYTES = 64 * 1024

/** `{filepath}` → `{filepath, content, size, truncated}` */
export const fileReadTool: Tool = {
  kind: 'inline',
  name: 'file_read',
  toolType: 'file_read',
  purpose: 'shows a text file of the workspace',
  description: `Returns a text file of the workspace, its first ${MAX_READ_BYTES / 1024} KB at most. For more, or for binary files, use code.`,
  input: z.object({ filepath: filePath }),
  async run(input, { workspace, blobs, owner }) {
    const path = cleanPath(input['filepath'] as string)
    const file = await workspace.find(path)
    if (file === undefined) {
      const some = await workspace.list('', 50)
      const text =
        some.length === 0
          ? 'The workspace is empty.'
          : `The workspace has: ${some.map((f) => f.path).join(', ')}`
      return { output: { error: 'not_found' }, text: `There is no file ${path}. ${text}`, isError: true }
    }
    let bytes: Uint8Array
    try {
      bytes = await blobs.get(owner, file.sha256)
    } catch (error) {
      // loud, and the run goes on: the model can do without a file, but must know that it is gone
      if (error instanceof AppError && error.code === 'not_found')
        return { output: { error: 'lost' }, text: error.message, isError: true }
      throw error
    }
    const head = bytes.subarray(0, MAX_READ_BYTES)
    const truncated = head.length < bytes.length
    let content: string
    try {
      // a cut in the middle of a character is no fault of the file
      content = new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: truncated })
    } catch {
      return {
        output: { error: 'binary', size: file.size },
        text: `${path} is not text (${file.size} bytes). Use code to work on it.`,
        isError: true,
      }
    }
    if (content.includes('\0')) {
      return {
        output: { error: 'binary', size: file.size },
        text: `${path} is not text (${file.size} bytes). Use code to work on it.`,
        isError: true,
      }
    }
    const note = truncated ? `\n[… the first ${head.length} of ${file.size} bytes]` : ''
    return {
      output: { filepath: path, content, size: file.size, truncated },
      text: content + note,
      isError: false,
    }
  },
}
