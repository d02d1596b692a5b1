import type { Field } from './profile.ts'

/** Names at least this alike are taken for the same word misspelt: licence/license is 0.86, category/country 0.5. */
const ALIKE = 0.6

/**
 * The field to use instead of a guess that is not there: the most alike name, else the one that divides the records best.
 * `names` come from the error text, `fields` from the profile.
 */
export function closestField(
  guess: string,
  names: readonly string[],
  fields: readonly Field[],
): string | undefined {
  const [alike] = names
    .map((name) => ({ name, likeness: likeness(guess.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => b.likeness - a.likeness)
  if (alike !== undefined && alike.likeness >= ALIKE) return alike.name
  const [best] = fields.filter(({ name }) => names.includes(name)).sort((a, b) => unfitness(a) - unfitness(b))
  return best?.name ?? names[0]
}

/** A field divides well when it is text, mostly there, and has between 2 and 30 different values. */
function unfitness({ type, present, distinct, records }: Field): number {
  const few = distinct < 2 ? 4 : 0
  const many = distinct > 30 ? 2 + distinct / records : 0
  const kind = { text: 0, flag: 0.5, number: 1 }[type as string] ?? 3
  return few + many + kind + 2 * (1 - present / records)
}

function likeness(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return 1 - (row[b.length] ?? 0) / Math.max(a.length, b.length, 1)
}
