import * as z from 'zod'
import { workspacePathFault } from '../contract/workspace-path.ts'

/** A path as models write it: `./x` and `x/` mean `x`. The empty string is the workspace itself. */
export function cleanPath(path: string): string {
  return path
    .normalize('NFC')
    .replace(/^(\.\/+)+/, '')
    .replace(/\/+$/, '')
    .replace(/^\.$/, '')
}

export const filePath = z
  .string()
  .max(512)
  .refine(
    (path) => workspacePathFault(cleanPath(path)) === undefined,
    'must be a relative path inside the workspace, such as outputs/table.csv',
  )

export const folderPath = z
  .string()
  .max(512)
  .refine(
    (path) => cleanPath(path) === '' || workspacePathFault(cleanPath(path)) === undefined,
    'must be a folder inside the workspace, such as inputs, or "." for all of it',
  )
