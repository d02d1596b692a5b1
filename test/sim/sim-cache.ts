import type { Cache } from '../../shared/ports/cache.ts'
import { callPort, type Surroundings } from './call-port.ts'
import type { Process } from './kernel.ts'

/** Flags and live messages that may be lost: the cache goes down, comes back, or comes back empty. */
export class SimCache {
  readonly #around: Surroundings
  readonly #flags = new Map<string, number>()
  #down_until_ms = 0

  constructor(around: Surroundings) {
    this.#around = around
  }

  for(process: Process): Cache {
    const { kernel, random, faults } = this.#around
    const up = () => {
      if (faults.strikes('cache.down', 0.2))
        this.#down_until_ms = kernel.now_ms + random.between(1000, 120_000)
      if (faults.strikes('cache.flushed', 0.2)) this.#flags.clear()
      return faults.stopped || kernel.now_ms >= this.#down_until_ms
    }
    return {
      // nobody reads along in the simulation: what is sent is lost, as it may be
      publish: async () => void up(),
      async *subscribe() {},
      setFlag: (name, ttlSeconds) =>
        callPort(this.#around, process, 'cache.setFlag', () => {
          if (up()) this.#flags.set(name, kernel.now_ms + ttlSeconds * 1000)
        }),
      hasFlag: (name) =>
        callPort(
          this.#around,
          process,
          'cache.hasFlag',
          () => up() && (this.#flags.get(name) ?? 0) > kernel.now_ms,
        ),
      // limits are kept by what stands before the engine, which is not simulated
      addCounts: async () => null,
      enter: async () => null,
      leave: async () => {},
      forget: (names) =>
        callPort(this.#around, process, 'cache.forget', () => {
          if (up()) for (const name of names) this.#flags.delete(name)
        }),
    }
  }
}
