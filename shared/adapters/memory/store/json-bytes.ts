/** Bytes of a value as Postgres prints jsonb: with a space behind every comma and colon. */
export function jsonBytes(value: unknown): number {
  if (Array.isArray(value)) {
    return (
      2 + value.reduce<number>((sum, item) => sum + jsonBytes(item), 0) + 2 * Math.max(0, value.length - 1)
    )
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined)
    const inner = entries.reduce((sum, [key, item]) => sum + jsonBytes(key) + 2 + jsonBytes(item), 0)
    return 2 + inner + 2 * Math.max(0, entries.length - 1)
  }
  return Buffer.byteLength(JSON.stringify(value) ?? 'null')
}
