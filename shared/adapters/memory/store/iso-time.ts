/** Microseconds since 1970 as Postgres writes them into JSON. */
export function isoTime(time: number): string {
  const milliseconds = Math.floor(time / 1000)
  const rest = String(time - milliseconds * 1000).padStart(3, '0')
  return `${new Date(milliseconds).toISOString().slice(0, -1)}${rest}+00:00`
}

export function isoTimeOrNull(time: number | null): string | null {
  return time === null ? null : isoTime(time)
}

/** The other way; Date would drop the microseconds. */
export function microseconds(iso: string): number {
  const fraction = /\.(\d+)/.exec(iso)?.[1] ?? ''
  const whole = Date.parse(iso.replace(/\.\d+/, ''))
  return whole * 1000 + Number(fraction.padEnd(6, '0').slice(0, 6))
}
