const ISO =
  /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)([Zz]|[+ -]\d{2}(?::?\d{2})?)?)?$/

/**
 * An ISO 8601 time as Postgres reads it, to the microsecond, or null. Accepts what old callers send: a `+` that a query string
 * turned into a space, no zone (then UTC), a bare date.
 */
export function isoTime(text: string): string | null {
  const match = ISO.exec(text.trim())
  if (match === null) return null
  const [, date = '', time = '00:00:00', zone = 'Z'] = match
  const normal = `${date}T${time.length === 5 ? `${time}:00` : time}${zoneOf(zone)}`
  return Number.isNaN(Date.parse(normal)) || !isDay(date) || !isZone(normal) ? null : normal
}

function zoneOf(zone: string): string {
  if (zone === 'Z' || zone === 'z') return 'Z'
  const digits = zone.replace(/\D/g, '').padEnd(4, '0')
  return `${zone.startsWith('-') ? '-' : '+'}${digits.slice(0, 2)}:${digits.slice(2)}`
}

/** Date.parse takes 31 February for 3 March and knows a year 0; Postgres refuses both. */
function isDay(date: string): boolean {
  return !date.startsWith('0000') && new Date(date).toISOString().startsWith(date)
}

/** Postgres knows no zone beyond 15:59. */
function isZone(time: string): boolean {
  return Number(/[+-](\d{2}):\d{2}$/.exec(time)?.[1] ?? 0) < 16
}
