import { FAULTS, type Fault } from './faults.ts'
import { VERBS, type Verb } from './verbs.ts'
import type { WorldResult } from './world.ts'

/** What many worlds add up to. */
export class Report {
  readonly counts = new Map<Fault, number>()
  readonly verbs = new Map<Verb, number>()
  readonly statuses = new Map<string, number>()
  readonly codes = new Map<string, number>()
  readonly broken: { seed: bigint; what: string; detail: string }[] = []
  worlds = 0
  runs = 0
  steps = 0
  events = 0
  virtual_ms = 0
  #first: bigint | undefined
  #last: bigint | undefined
  #hash = 0

  add(world: WorldResult): void {
    this.#first ??= world.seed
    this.#last = world.seed
    this.worlds += 1
    this.runs += world.statuses.length
    this.steps += world.steps
    this.events += world.events
    this.virtual_ms += world.virtual_ms
    for (const status of world.statuses) this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
    for (const code of world.codes) this.codes.set(code, (this.codes.get(code) ?? 0) + 1)
    for (const [fault, count] of world.faults) this.counts.set(fault, (this.counts.get(fault) ?? 0) + count)
    for (const [verb, count] of world.verbs) this.verbs.set(verb, (this.verbs.get(verb) ?? 0) + count)
    for (const { what, detail } of world.violations) this.broken.push({ seed: world.seed, what, detail })
    for (const letter of world.hash) this.#hash = (Math.imul(this.#hash, 31) + letter.charCodeAt(0)) | 0
  }

  /** Of all histories, in order of seeds. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0')
  }

  /** Faults that never happened and verbs that never succeeded: about them the report says nothing. */
  get missing(): (Fault | Verb)[] {
    return [
      ...FAULTS.filter((fault) => !this.counts.has(fault)),
      ...VERBS.filter((verb) => !this.verbs.get(verb)),
    ]
  }

  text(seconds: number): string {
    const share = (count: number) => `${((100 * count) / Math.max(1, this.runs)).toFixed(1)} %`
    const faults = FAULTS.map(
      (fault) => `  ${fault.padEnd(30)}${String(this.counts.get(fault) ?? 0).padStart(10)}`,
    )
    const half = Math.ceil(faults.length / 2)
    const table = faults.slice(0, half).map((left, n) => `${left}${faults[half + n] ?? ''}`)
    return [
      'Deterministic simulation of the engine',
      `  seeds ${this.#first} to ${this.#last} (${this.worlds} worlds), hash of all histories ${this.hash}`,
      `  runs ${this.runs}, steps ended ${this.steps}, events ${this.events}, virtual time ${(this.virtual_ms / 86_400_000).toFixed(0)} days`,
      `  real time ${seconds.toFixed(1)} s, ${(this.runs / seconds).toFixed(0)} runs a second`,
      `Runs by end: ${[...this.statuses].map(([status, count]) => `${status} ${count} (${share(count)})`).join(', ')}`,
      `Codes of runs that did not complete: ${[...this.codes].map(([code, count]) => `${code} ${count}`).join(', ')}`,
      'Faults by id',
      ...table,
      `Verbs carried out: ${VERBS.map((verb) => `${verb} ${this.verbs.get(verb) ?? 0}`).join(', ')}`,
      `Fault kinds and verbs that did not occur: ${this.missing.join(', ') || 'none'}`,
      `Violations: ${this.broken.length}`,
      ...this.broken.slice(0, 10).map(({ seed, what, detail }) => `  seed ${seed}: ${what}: ${detail}`),
    ].join('\n')
  }
}
