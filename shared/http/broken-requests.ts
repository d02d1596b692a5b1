import { randomUUID } from 'node:crypto'
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ErrorBody } from '../contract/error.ts'
import { ERROR_STATUS, type ErrorCode } from '../core/errors.ts'

/** What the HTTP parser gave up on never reaches an app: answered here in the same words as every other error. */
export function answerBrokenRequests(server: Server, { headerBytes }: { headerBytes: number }): void {
  const texts: Readonly<Record<string, readonly [ErrorCode, string]>> = {
    HPE_HEADER_OVERFLOW: [
      'headers_too_large',
      `Request headers are larger than ${headerBytes} bytes: send fewer and shorter ones`,
    ],
    // of a chunked body: what stands beside the sizes of its chunks
    HPE_CHUNK_EXTENSIONS_OVERFLOW: ['body_too_large', 'Chunk extensions are too long: send none'],
    ERR_HTTP_REQUEST_TIMEOUT: [
      'request_timeout',
      'The request did not arrive in time: send it again, without pauses',
    ],
  }
  const newest = new WeakMap<Duplex, { request: IncomingMessage; response: ServerResponse }>()
  server.on('request', (request, response) => void newest.set(request.socket, { request, response }))
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const [code, text] = texts[error.code ?? ''] ?? ['invalid_request', 'Not a valid HTTP request']
    if (!socket.writable || error.code === 'ECONNRESET' || isAnswered(newest.get(socket))) socket.destroy()
    else socket.end(answerOf(code, text), () => socket.destroy())
  })
}

/** An answer to the broken request has begun or is out: a second one would be taken for the answer to the next request. */
function isAnswered(newest: { request: IncomingMessage; response: ServerResponse } | undefined): boolean {
  if (newest === undefined) return false
  const { request, response } = newest
  return response.headersSent && !(request.complete && response.writableFinished)
}

function answerOf(code: ErrorCode, text: string): string {
  const status = ERROR_STATUS[code]
  const fields: ErrorBody = {
    success: false,
    error: text,
    detail: text,
    message: text,
    code,
    request_id: randomUUID(),
  }
  const body = JSON.stringify(fields)
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    'x-content-type-options: nosniff',
    `x-request-id: ${fields.request_id}`,
    'connection: close',
    '',
    body,
  ].join('\r\n')
}
