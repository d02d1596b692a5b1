import { request } from 'node:http'
import type { Exchange } from './exchange.ts'

export interface Asked {
  method: string
  /** With its query. */
  path: string
  headers: Record<string, string>
  body?: string | Uint8Array
  /** Bytes that the request says it has and never sends. */
  withheldBytes?: number
}

/** Under load a machine is slow; what is not answered by then is not answered. */
const PATIENCE_MS = 30_000

/** One request on a connection of its own, which may be left half sent: what fetch does not do. */
export function ask(
  origin: string,
  { method, path, headers, body, withheldBytes }: Asked,
): Promise<Exchange> {
  const bytes = body === undefined ? undefined : Buffer.from(body)
  const length = (bytes?.length ?? 0) + (withheldBytes ?? 0)
  return new Promise((resolve, reject) => {
    const asked = request(origin + path, {
      method,
      agent: false,
      headers: { ...headers, ...(length === 0 ? {} : { 'content-length': String(length) }) },
      timeout: PATIENCE_MS,
    })
    asked.on('timeout', () => asked.destroy(new Error(`${method} ${path} was not answered`)))
    asked.on('error', reject)
    asked.on('response', async (answer) => {
      const chunks: Buffer[] = []
      try {
        for await (const chunk of answer) chunks.push(chunk)
      } catch (error) {
        reject(error)
        return
      }
      const type = (answer.headers['content-type'] ?? '').split(';', 1)[0]?.trim() ?? ''
      resolve({
        method,
        path: path.split('?', 1)[0] ?? '',
        status: answer.statusCode ?? 0,
        type,
        text: type === 'text/event-stream' ? null : Buffer.concat(chunks).toString('utf8'),
        headers: new Headers(
          Object.entries(answer.headers).flatMap(([name, value]): [string, string][] =>
            typeof value === 'string' ? [[name, value]] : [],
          ),
        ),
      })
      asked.destroy()
    })
    if (withheldBytes === undefined) {
      asked.end(bytes)
      return
    }
    asked.flushHeaders()
    if (bytes !== undefined) asked.write(bytes)
  })
}
