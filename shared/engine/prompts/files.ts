/** A file of the workspace as the model is told about it. */
export interface ListedFile {
  /** Relative POSIX path, e.g. `inputs/report.csv`. */
  path: string
  sizeBytes: number
}

/** More than this many files are counted, not listed: a listing is sent with every request of the run. */
const MAX_LISTED_FILES = 100

/** One file a line, `path (n bytes)`: also read back by programs, so the form is fixed. */
export function listFiles(files: readonly ListedFile[]): string {
  const lines = files
    .slice(0, MAX_LISTED_FILES)
    .map(({ path, sizeBytes }) => `${oneLine(path)} (${sizeBytes} bytes)`)
  const more = files.length - lines.length
  return [...lines, ...(more > 0 ? [`… and ${more} more; file_list shows them`] : [])].join('\n')
}

/** A file's name is the user's: a line break in it must not start a line of ours. */
function oneLine(path: string): string {
  return path.replace(/\p{Cc}+/gu, ' ')
}
