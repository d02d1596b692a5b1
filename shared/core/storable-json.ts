/**
 * Postgres refuses U+0000 and half surrogate pairs in jsonb, and a very deep value exhausts its parser's stack; models can write
 * all three. Text is repaired (each such character becomes U+FFFD), other values are checked.
 */
export const MAX_JSON_DEPTH = 64

export function storableText(text: string): string {
  return text.replaceAll('\0', '\uFFFD').toWellFormed()
}

/** The value with its texts repaired; undefined when it is nested deeper than MAX_JSON_DEPTH. */
export function storableJson(value: unknown, depth = 0): unknown {
  if (depth > MAX_JSON_DEPTH) return undefined
  if (typeof value === 'string') return storableText(value)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    const items = value.map((item) => storableJson(item, depth + 1))
    return items.includes(undefined) ? undefined : items
  }
  const entries = Object.entries(value).map(
    ([key, item]) => [storableText(key), storableJson(item, depth + 1)] as const,
  )
  return entries.some(([, item]) => item === undefined) ? undefined : Object.fromEntries(entries)
}
