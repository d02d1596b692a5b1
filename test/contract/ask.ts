import { request } from 'node:http'
import { connect } from 'node:net'
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

/** A request that stops amid its headers; the answer ends with the connection. */
export function askHalf(origin: string, { method, path }: Pick<Asked, 'method' | 'path'>): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(origin)
    const socket = connect(Number(port), hostname)
    let said = ''
    socket.setEncoding('utf8').setTimeout(PATIENCE_MS, () => socket.destroy(new Error(`${path}: no answer`)))
    socket.on('error', reject)
    socket.on('data', (text: string) => {
      said += text
    })
    socket.on('close', () => {
      const [head = '', text = ''] = said.split('\r\n\r\n', 2)
      const [line = '', ...fields] = head.split('\r\n')
      const headers = new Headers(
        fields.map((field): [string, string] => [
          field.split(': ', 1)[0] ?? '',
          field.replace(/^[^:]*: /, ''),
        ]),
      )
      resolve({
        method,
        path: path.split('?', 1)[0] ?? '',
        status: Number(line.split(' ')[1]),
        type: headers.get('content-type') ?? '',
        text,
        headers,
      })
    })
    socket.write(`${method} ${path} HTTP/1.1\r\nhost: x\r\nx-unfinished: `)
  })
}
