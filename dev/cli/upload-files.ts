import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, extname } from 'node:path'
import type { DemoUser } from './demo-user.ts'

export interface Attachment {
  bucket: string
  path: string
}

const BUCKET = 'agent-inputs'
const TYPES: Record<string, string> = {
  '.csv': 'text/csv',
  '.html': 'text/html',
  '.jpg': 'image/jpeg',
  '.json': 'application/json',
  '.md': 'text/markdown',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain',
}

/** Uploads files as a front end does: with supabase-js, into the user's own folder. Rejects with one sentence for the user. */
export async function uploadFiles(user: DemoUser, paths: readonly string[]): Promise<Attachment[]> {
  const folder = `${user.userId}/${randomUUID()}`
  const attachments: Attachment[] = []
  for (const path of paths) {
    // Storage takes these characters in keys; others get a harmless one, so that any file can be given.
    const name = basename(path).replaceAll(/[^\w.\- ]/g, '_')
    const key = freeKey(folder, name, attachments)
    const bytes = await readInput(path)
    const contentType = TYPES[extname(path).toLowerCase()] ?? 'application/octet-stream'
    const { error } = await user.supabase.storage.from(BUCKET).upload(key, bytes, { contentType })
    if (error) throw new Error(`${path} could not be uploaded: ${error.message}`)
    attachments.push({ bucket: BUCKET, path: key })
  }
  return attachments
}

/** Files of one name from several folders each get their own key; the agent finds them as `x.csv` and `x (2).csv`. */
export function freeKey(folder: string, name: string, taken: readonly Attachment[]): string {
  for (let n = 1; ; n++) {
    const key = n === 1 ? `${folder}/${name}` : `${folder}/${n}/${name}`
    if (!taken.some(({ path }) => path === key)) return key
  }
}

/** Rejects with one sentence when the file cannot be read; used before anything is started, too. */
export async function readInput(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const reason =
      code === 'ENOENT'
        ? 'does not exist'
        : code === 'EISDIR'
          ? 'is a folder; give a file'
          : `cannot be read (${String(code)})`
    throw new Error(`--file ${path}: ${reason}.`)
  }
}
