/** The parts of the `Prefer` header that the development face knows. */
export interface Preferences {
  representation: 'full' | 'minimal'
  count: boolean
  resolution: 'merge' | 'ignore' | null
  missingDefault: boolean
  rollback: boolean
  maxAffected: number | null
  /** What goes into `Preference-Applied`. */
  applied: string[]
}

export function parsePreferences(header: string | undefined): Preferences {
  const given = new Set((header ?? '').split(',').map((part) => part.trim()))
  const has = (name: string) => given.has(name)
  const affected = [...given].find((part) => /^max-affected=\d{1,9}$/.test(part))
  return {
    representation: has('return=representation') ? 'full' : 'minimal',
    // Planned and estimated counts are exact here, which they may be.
    count: has('count=exact') || has('count=planned') || has('count=estimated'),
    resolution: has('resolution=merge-duplicates')
      ? 'merge'
      : has('resolution=ignore-duplicates')
        ? 'ignore'
        : null,
    missingDefault: has('missing=default'),
    rollback: has('tx=rollback'),
    maxAffected: has('handling=strict') && affected !== undefined ? Number(affected.split('=')[1]) : null,
    applied: [...given].filter((part) => /^(return|count|resolution|missing|tx)=/.test(part)),
  }
}
