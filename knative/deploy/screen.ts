/** What an operator sees: lines with the seconds since the start, without anything secret. */
export interface Screen {
  line(text: string): void
  /** Values that must never show; whatever a line holds of them is replaced. */
  hide(values: Iterable<string>): void
}

/** Shorter ones would blot out ordinary words; none of ours is that short. */
const MIN_HIDDEN_CHARACTERS = 8

export function createScreen(
  write: (text: string) => void,
  now: () => number = () => performance.now(),
): Screen {
  const started = now()
  const hidden = new Set<string>()
  return {
    hide(values) {
      for (const value of values) if (value.length >= MIN_HIDDEN_CHARACTERS) hidden.add(value)
    },
    line(text) {
      let shown = text
      for (const value of hidden) shown = shown.replaceAll(value, '[hidden]')
      write(`${((now() - started) / 1000).toFixed(1).padStart(6)} s  ${shown}\n`)
    },
  }
}
