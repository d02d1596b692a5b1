import { AppError } from '../../shared/core/errors.ts'
import type { StopReason } from '../../shared/engine/stream-run.ts'

/** A place for another stream: some end every second. */
const RETRY_SECONDS = 5

/**
 * The open streams of this process: so many at most, and of one user. They are here to be ended: all at shutdown, an older one of a
 * ticket when a newer one comes.
 */
export class Connections {
  #most: number
  #mostOfUser: number
  #open = new Set<AbortController>()
  #byUser = new Map<string, number>()
  #byTicket = new Map<string, { number: number; controller: AbortController }>()
  #draining: boolean = false

  constructor({ most = Number.POSITIVE_INFINITY, mostOfUser = Number.POSITIVE_INFINITY } = {}) {
    this.#most = most
    this.#mostOfUser = mostOfUser
  }

  get size(): number {
    return this.#open.size
  }

  /** @throws AppError unavailable (another process has room), too_many_streams */
  open(user: string): AbortController {
    const ofUser = this.#byUser.get(user) ?? 0
    if (this.#open.size >= this.#most)
      throw new AppError('unavailable', 'This instance holds as many streams as it can: try again', {
        retryAfterSeconds: RETRY_SECONDS,
      })
    if (ofUser >= this.#mostOfUser) throw this.tooMany()
    const controller = new AbortController()
    this.#open.add(controller)
    this.#byUser.set(user, ofUser + 1)
    const close = () => {
      this.#open.delete(controller)
      const left = (this.#byUser.get(user) ?? 1) - 1
      if (left > 0) this.#byUser.set(user, left)
      else this.#byUser.delete(user)
    }
    controller.signal.addEventListener('abort', close, { once: true })
    if (this.#draining) controller.abort('drain' satisfies StopReason)
    return controller
  }

  tooMany(): AppError {
    return new AppError(
      'too_many_streams',
      `You have ${this.#mostOfUser} streams open, which is the most that are allowed: close one, or poll`,
      { retryAfterSeconds: RETRY_SECONDS },
    )
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
