import type { StopReason } from '../../shared/engine/stream-run.ts'

/** The open streams of this process, to end them: all at shutdown, an older one of a ticket when a newer one comes. */
export class Connections {
  #open = new Set<AbortController>()
  #byTicket = new Map<string, { number: number; controller: AbortController }>()
  #draining: boolean = false

  open(): AbortController {
    const controller = new AbortController()
    this.#open.add(controller)
    controller.signal.addEventListener('abort', () => this.#open.delete(controller), { once: true })
    if (this.#draining) controller.abort('drain' satisfies StopReason)
    return controller
  }

  /** The newest connection of a ticket; the one before it ends. */
  hold(ticket: string, number: number, controller: AbortController): void {
    const older = this.#byTicket.get(ticket)
    if (older !== undefined && older.number > number) {
      controller.abort('replaced' satisfies StopReason)
      return
    }
    this.#byTicket.set(ticket, { number, controller })
    older?.controller.abort('replaced' satisfies StopReason)
    controller.signal.addEventListener(
      'abort',
      () => {
        if (this.#byTicket.get(ticket)?.controller === controller) this.#byTicket.delete(ticket)
      },
      { once: true },
    )
  }

  drain(): void {
    this.#draining = true
    for (const controller of this.#open) controller.abort('drain' satisfies StopReason)
  }
}
