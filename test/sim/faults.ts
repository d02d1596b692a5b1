import type { Random } from './random.ts'

/** Every kind of fault that a world can meet, by id. A report in which one of them did not occur has proved nothing about it. */
export const FAULTS = [
  'store.rejected',
  'store.done_but_timeout',
  'store.done_after_timeout',
  'store.outage',
  'crash.before_call',
  'crash.after_call',
  'crash.in_flight',
  'publish.rejected',
  'publish.accepted_but_timeout',
  'publish.partly_accepted',
  'delivery.lost',
  'delivery.duplicate',
  'delivery.late',
  'delivery.shuffled',
  'delivery.deduplicated',
  'delivery.dead_letter',
  'delivery.timeout',
  'sweeper.late',
  'cache.down',
  'cache.flushed',
  'model.rate_limited',
  'model.rate_limited_no_hint',
  'model.overloaded',
  'model.cut',
  'model.silence',
  'model.malformed_input',
  'model.unknown_tool',
  'model.refusal',
  'model.max_tokens',
  'model.pause_turn',
  'model.unknown_stop',
  'model.empty',
  'model.invalid_plan',
  'model.spend_cap',
  'job.never_starts',
  'job.dies',
  'job.hangs',
  'job.callback_lost',
  'job.callback_twice',
  'job.other_body',
  'job.forged',
  'job.callback_early',
  'job.two_pods',
  'job.after_removal',
  'sandbox.rejected',
  'sandbox.done_but_timeout',
  'blobs.rejected',
  'call.no_slot',
  'blobs.done_but_timeout',
  'objects.rejected',
  'objects.done_but_timeout',
  'objects.busy',
  'pod.clock_skew',
  'pod.key_rotated',
  'user.cancel',
  'user.pause',
  'user.silent',
  'user.intruder',
  'user.repeat',
  'user.fork',
  'user.retry_step',
  'user.delete',
  'user.bulk',
  'user.returns',
] as const
export type Fault = (typeof FAULTS)[number]

/** Which faults are on in a world and how often: each seed draws its own swarm, so that rare combinations stand out of the noise. */
export class Faults {
  readonly counts = new Map<Fault, number>()
  readonly #rates = new Map<Fault, number>()
  readonly #random: Random
  /** The end phase: faults stop, everything has to finish. */
  stopped = false

  constructor(random: Random) {
    this.#random = random
    // one world in ten has none, so that the rest can be compared with it
    if (random.chance(0.1)) return
    for (const fault of FAULTS) {
      if (random.chance(0.5)) continue
      // from rare to frequent
      this.#rates.set(fault, 0.005 * 60 ** random.fraction())
    }
  }

  /** Whether the fault strikes now; counted. */
  strikes(fault: Fault, weight = 1): boolean {
    if (this.stopped || !this.#random.chance((this.#rates.get(fault) ?? 0) * weight)) return false
    this.happened(fault)
    return true
  }

  happened(fault: Fault): void {
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1)
  }
}
