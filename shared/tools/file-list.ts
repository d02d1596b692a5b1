import * as z from 'zod'
import type { Tool } from './tool.ts'
import { cleanPath, folderPath } from './workspace-path-input.ts'

const MAX_LISTED = 500

/** `{dirpath}` → `{dirpath, files: [{path, size}], truncated}`; stored with tool_type `file_read`, told apart by its name. */
export const fileListTool: Tool = {
  kind: 'inline',
  name: 'file_list',
  toolType: 'file_read',
  purpose: 'lists the files of the workspace',
  description: `Lists the files below a folder of the workspace with their sizes, at most ${MAX_LISTED}. "." is all of it.`,
  input: z.object({ dirpath: folderPath.default('.') }),
  async run(input, { workspace }) {
    const folder = cleanPath((input['dirpath'] as string | undefined) ?? '.')
    const found = await workspace.list(folder, MAX_LISTED + 1)
    const files = found.slice(0, MAX_LISTED).map(({ path, size }) => ({ path, size }))
    const truncated = found.length > MAX_LISTED
    const lines = files.map(({ path, size }) => `${path} (${size} bytes)`)
    const text = lines.length === 0 ? 'No files.' : lines.join('\n') + (truncated ? '\n… and more' : '')
    return { output: { dirpath: folder === '' ? '.' : folder, files, truncated }, text, isError: false }
  },
}
