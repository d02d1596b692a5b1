import { execFileSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem } from 'node:os'
import type { Interval } from './statistics.ts'

export interface Row {
  what: string
  /** As the product promises it; null for what is only reported. */
  target: string | null
  result: string
  /** null: nothing was promised. */
  reached: boolean | null
}

export interface CaseReport {
  rows: Row[]
  /** Paragraphs or lists of Markdown under the table: how it was measured, where the time goes. */
  notes: string[]
}

export function ratioText({ value, low, high }: Interval, unit = '×'): string {
  return `${value.toFixed(2)} ${unit} [${low.toFixed(2)}, ${high.toFixed(2)}]`
}

export function table(rows: readonly Row[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const word = { true: 'yes', false: '**no**', null: '–' }
  return [
    line(['what', 'target', 'result', 'reached']),
    line(['---', '---', '---', '---']),
    ...rows.map(({ what, target, result, reached }) =>
      line([what, target ?? 'reported', result, word[`${reached}`]]),
    ),
  ].join('\n')
}

/** With the load of the last five minutes: much above one busy core, and other work took part in what was measured. */
export function machine(): string {
  const [cpu] = cpus()
  const gigabytes = Math.round(totalmem() / 1024 ** 3)
  return `${cpus().length} × ${cpu?.model.trim() ?? 'unknown processor'}, ${gigabytes} GB, ${process.platform} ${release()}, Node ${process.versions.node}, load average ${loadavg()[1]?.toFixed(0)}`
}

/** The commit that was measured; `-dirty` when the tree had changes. */
export function revision(root: string): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd: root, encoding: 'utf8' }).trim()
  } catch {
    return 'no repository'
  }
}
