/** A Supabase project whose Storage objects may be named by URL. */
export interface StorageProject {
  /** Base URL without trailing slash. */
  url: string
  key: string | null
}

const OBJECT = /^\/storage\/v1\/object\/(?:(?:public|sign|authenticated)\/)?([^/]+)\/(.+)$/

/** The Storage object that a URL of a trusted project names; null for every other URL. Nothing is ever fetched from the URL itself. */
export function storageObjectOf(
  text: string,
  projects: readonly StorageProject[],
): { project: StorageProject; object: { bucket: string; path: string } } | null {
  if (!URL.canParse(text)) return null
  const url = new URL(text)
  if (url.username !== '' || url.password !== '') return null
  for (const project of projects) {
    const base = new URL(project.url)
    const prefix = base.pathname.replace(/\/+$/, '')
    if (url.origin !== base.origin || !url.pathname.startsWith(prefix)) continue
    const match = OBJECT.exec(url.pathname.slice(prefix.length))
    const object = match && decodeObject(match[1] ?? '', match[2] ?? '')
    if (object) return { project, object }
  }
  return null
}

function decodeObject(bucket: string, path: string): { bucket: string; path: string } | null {
  try {
    return { bucket: decodeURIComponent(bucket), path: decodeURIComponent(path) }
  } catch {
    return null
  }
}
