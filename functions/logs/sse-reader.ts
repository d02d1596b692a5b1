import { get, type IncomingMessage } from 'node:http'

export interface Frame {
  id: string | undefined
  event: string | undefined
  retry: string | undefined
  comment: boolean
  data: Record<string, unknown>
}

/** Frames of an SSE text; an unfinished one at its end is left out. */
export function parseFrames(text: string): Frame[] {
  return text
    .split('\n\n')
    .slice(0, -1)
    .map((block) => {
      const field = (name: string) =>
        block
          .split('\n')
          .find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2)
      return {
        id: field('id'),
        event: field('event'),
        retry: field('retry'),
        comment: block.startsWith(':'),
        data: JSON.parse(field('data') ?? '{}') as Record<string, unknown>,
      }
    })
}

export interface Reading {
  status: number
  headers: IncomingMessage['headers']
  frames: () => Frame[]
  text: () => string
  /** Resolves when a frame fits. */
  until(fits: (frame: Frame) => boolean): Promise<Frame>
  /** Resolves with how the answer ended. */
  end: Promise<'clean' | 'broken'>
  close(): void
}

/** Reads an event stream over a real socket, as far as it goes. */
export function read(url: string, headers: Record<string, string> = {}): Promise<Reading> {
  return new Promise((resolve, reject) => {
    const request = get(url, { headers, agent: false }, (response) => {
      let text = ''
      const waiting = new Set<() => void>()
      const frames = () => parseFrames(text)
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        for (const check of waiting) check()
      })
      response.on('error', () => {})
      const end = new Promise<'clean' | 'broken'>((settle) => {
        response.on('close', () => settle(response.complete ? 'clean' : 'broken'))
      })
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        frames,
        text: () => text,
        end,
        until: (fits) =>
          new Promise((found, missed) => {
            const check = () => {
              const frame = frames().find(fits)
              if (frame === undefined) return
              waiting.delete(check)
              found(frame)
            }
            waiting.add(check)
            check()
            end.then(() => missed(new Error(`stream ended without it: ${text.slice(-500)}`)), missed)
          }),
        close: () => request.destroy(),
      })
    })
    request.on('error', reject)
  })
}
