import { mkdir, writeFile } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import { cleanText } from './clean-text.ts'
import type { Json } from './follow-run.ts'

/** Downloads the artifacts of a run by their signed URLs into `dir`; the answer lists the files. One that fails is told to `warn`. */
export async function saveArtifacts(
  artifacts: readonly Json[],
  dir: string,
  warn: (line: string) => void,
): Promise<string[]> {
  const saved: string[] = []
  for (const artifact of artifacts) {
    const url = artifact.download_url ?? artifact.signed_url ?? artifact.public_url
    const name = freeName(safeName(String(artifact.filename ?? artifact.file_name ?? 'artifact')), saved)
    try {
      const answer = await fetch(String(url), { signal: AbortSignal.timeout(60_000) })
      if (!answer.ok) throw new Error(`status ${answer.status}`)
      await mkdir(dir, { recursive: true })
      await writeFile(join(dir, name), answer.body ?? '')
      saved.push(join(dir, name))
    } catch (error) {
      warn(`${name} could not be downloaded: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return saved
}

/** The name comes from the agent: it must stay in its folder and be harmless to list. */
export function safeName(name: string): string {
  const last = basename(cleanText(name).replaceAll(/[\n\t\\]/g, '_')).replace(/^\.+/, '_')
  return last.slice(-200) || 'artifact'
}

function freeName(name: string, saved: readonly string[]): string {
  const taken = new Set(saved.map((path) => basename(path)))
  const extension = extname(name)
  for (let n = 1; ; n++) {
    const candidate = n === 1 ? name : `${name.slice(0, name.length - extension.length)}-${n}${extension}`
    if (!taken.has(candidate)) return candidate
  }
}
