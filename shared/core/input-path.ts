/** Names longer than this in UTF-8 bytes are cut: file systems allow 255, and a number may be added. */
const MAX_NAME_BYTES = 200
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what has to go
const UNSAFE = /[\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069\\:*?"<>|]/g

/** Path below `inputs/` for an attachment: its last segment made harmless, with a number when the name is taken. */
export function inputPath(name: string, isTaken: (path: string) => boolean): string {
  const last =
    name
      .normalize('NFC')
      .toWellFormed()
      .split(/[\\/]/)
      .findLast((segment) => segment.trim() !== '') ?? ''
  const clean = last
    .replace(UNSAFE, '_')
    .replace(/^[.\s]+/, '')
    .trim()
  const dot = clean.lastIndexOf('.')
  const extension = dot > 0 && clean.length - dot <= 20 ? clean.slice(dot) : ''
  const stem =
    cut(clean.slice(0, clean.length - extension.length), MAX_NAME_BYTES - byteLength(extension)) || 'file'
  for (let number = 1; ; number += 1) {
    const path = `inputs/${stem}${number === 1 ? '' : ` (${number})`}${extension}`
    if (!isTaken(path)) return path
  }
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).byteLength
}

function cut(text: string, maxBytes: number): string {
  let kept = ''
  let bytes = 0
  for (const character of text) {
    bytes += byteLength(character)
    if (bytes > maxBytes) break
    kept += character
  }
  return kept.trimEnd()
}
