/** Random numbers from a 64-bit seed (splitmix64 fills the state of an sfc32): the only source of chance in a simulated world. */
export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: bigint) {
    const [high, low] = [splitmix(seed), splitmix(seed + 0x9e37_79b9_7f4a_7c15n)]
    this.#a = Number(high & 0xffff_ffffn) | 0
    this.#b = Number(high >> 32n) | 0
    this.#c = Number(low & 0xffff_ffffn) | 0
    for (let n = 0; n < 12; n++) this.bits()
  }

  /** 32 bits. */
  bits(): number {
    const t = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t
    return t >>> 0
  }

  /** From 0 up to but not including 1. */
  fraction(): number {
    return this.bits() / 0x1_0000_0000
  }

  chance(probability: number): boolean {
    return probability > 0 && this.fraction() < probability
  }

  /** An integer, both ends included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.fraction() * (high - low + 1))
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[Math.floor(this.fraction() * items.length)] ?? items[0]
  }

  uuid(): string {
    const hex = [this.bits(), this.bits(), this.bits(), this.bits()]
      .map((word) => word.toString(16).padStart(8, '0'))
      .join('')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`
  }
}

function splitmix(seed: bigint): bigint {
  const mask = 0xffff_ffff_ffff_ffffn
  let z = (seed + 0x9e37_79b9_7f4a_7c15n) & mask
  z = ((z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n) & mask
  z = ((z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn) & mask
  return z ^ (z >> 31n)
}
