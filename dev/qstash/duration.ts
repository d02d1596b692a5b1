const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of `50s`, `1d10h30m` or a bare number (seconds); null when it is neither. */
export function parseDurationMs(text: string): number | null {
  const value = text.trim()
  if (/^\d{1,12}(\.\d{1,6})?$/.test(value)) return Number(value) * 1000
  if (value.length > 64 || !/^(\d{1,12}(\.\d{1,6})?(ms|s|m|h|d))+$/.test(value)) return null
  let total = 0
  for (const [, amount, unit] of value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    total += Number(amount) * (UNIT_MS[unit ?? ''] ?? Number.NaN)
  }
  return Number.isFinite(total) ? total : null
}
