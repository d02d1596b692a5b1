import { globMatcher } from './arguments.ts'

interface Subscriber {
  /** Channel or pattern as given. */
  name: string
  matches: (channel: string) => boolean
  isPattern: boolean
  send: (line: string) => void
  end: () => void
}

export interface PubSub {
  /** How many received it. */
  publish(channel: string, message: string): number
  /** An endless text/event-stream; refused with null when there are too many. */
  open(names: string[], isPattern: boolean): ReadableStream<Uint8Array> | null
  close(): void
}

/** What may wait for a reader that does not read; then it is cut off, and has to catch up by other means. */
const MAX_BUFFERED_BYTES = 4 * 1024 * 1024
const MAX_SUBSCRIBERS = 1000

export function createPubSub(): PubSub {
  const subscribers = new Set<Subscriber>()
  const encoder = new TextEncoder()

  return {
    publish(channel, message) {
      let receivers = 0
      for (const subscriber of [...subscribers]) {
        if (!subscriber.matches(channel)) continue
        receivers += 1
        subscriber.send(
          subscriber.isPattern
            ? `pmessage,${subscriber.name},${channel},${message}`
            : `message,${channel},${message}`,
        )
      }
      return receivers
    },
    open(names, isPattern) {
      if (subscribers.size + names.length > MAX_SUBSCRIBERS) return null
      const own: Subscriber[] = []
      const leave = () => {
        for (const subscriber of own) subscribers.delete(subscriber)
      }
      return new ReadableStream<Uint8Array>(
        {
          start(controller) {
            const send = (line: string) => {
              if ((controller.desiredSize ?? 0) <= 0) {
                leave()
                controller.error(new Error('subscriber too slow'))
                return
              }
              controller.enqueue(encoder.encode(`data: ${line}\n\n`))
            }
            const end = () => {
              leave()
              controller.close()
            }
            names.forEach((name, index) => {
              const matches = isPattern ? globMatcher(name) : (channel: string) => channel === name
              const subscriber = { name, matches, isPattern, send, end }
              own.push(subscriber)
              subscribers.add(subscriber)
              send(`${isPattern ? 'psubscribe' : 'subscribe'},${name},${index + 1}`)
            })
          },
          cancel: leave,
        },
        new ByteLengthQueuingStrategy({ highWaterMark: MAX_BUFFERED_BYTES }),
      )
    },
    close() {
      // `end` takes all subscribers of its connection out of the set, which the loop allows.
      for (const subscriber of subscribers) subscriber.end()
    },
  }
}
