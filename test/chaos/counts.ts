/** How often each thing happened, by id. */
export class Counts {
  readonly #counts = new Map<string, number>()

  add(id: string, times = 1): void {
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + times)
  }

  of(id: string): number {
    return this.#counts.get(id) ?? 0
  }

  entries(): [string, number][] {
    return [...this.#counts].toSorted(([a], [b]) => a.localeCompare(b))
  }
}
