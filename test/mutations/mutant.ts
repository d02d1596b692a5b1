export interface Mutant {
  /** Stays the same while the text around it does: target, kind, text and which of several alike. */
  id: string
  /** The function, constraint, or module that is changed. */
  target: string
  kind: string
  line: number
  text: string
  by: string
  /** Statements for the database, or the whole text of the module. */
  apply: string
  /** A statement that takes it back; without one the database is made anew. */
  undo?: string
}

/** Names each mutant by what it changes; of several alike the first has no number. */
export function named(mutants: readonly Mutant[]): Mutant[] {
  const counts = new Map<string, number>()
  return mutants.map((mutant) => {
    const base = `${mutant.target}: ${mutant.kind}: ${mutant.text}${mutant.kind === 'always' || mutant.kind === 'never' ? '' : ` → ${mutant.by}`}`
    const count = (counts.get(base) ?? 0) + 1
    counts.set(base, count)
    return { ...mutant, id: count === 1 ? base : `${base} #${count}` }
  })
}
