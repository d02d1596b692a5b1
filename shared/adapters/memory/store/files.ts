import type { WorkspaceFile } from '../../../ports/store.ts'
import type { RunTables } from './tables.ts'

/** Files that stand now, by path. */
export function currentFiles(
  { files }: RunTables,
  { paths, under, limit }: { paths: string[] | null; under: string | null; limit: number },
): WorkspaceFile[] {
  return files
    .filter(
      ({ path, to_step }) =>
        to_step === null &&
        (paths === null || paths.includes(path)) &&
        (under === null || path.startsWith(under)),
    )
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .slice(0, limit)
    .map(({ path, sha256, size, mode }) => ({ path, sha256, size, mode }))
}
