/** One line of a report: what was measured, with its unit in its name. */
export function figure(what: string, values: Readonly<Record<string, number | string>>): void {
  const shown = Object.entries(values).map(([name, value]) =>
    typeof value === 'number'
      ? `${name} ${Number.isInteger(value) ? value : value.toFixed(2)}`
      : `${name} ${value}`,
  )
  process.stdout.write(`figure · ${what}: ${shown.join(' · ')}\n`)
}

export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}
