import { type ClientRequest, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'

export interface DeliveryResult {
  /** 0 when there was no answer. */
  status: number
  header: Record<string, string[]>
  body: Buffer
  /** Why there was no answer. */
  error: string | null
}

/** The part of an answer that is kept (for callbacks and dead letters); the rest is read and dropped. */
const MAX_KEPT_BYTES = 256 * 1024
/** An answer longer than this is cut off: a target that never stops talking must not hold a slot. */
const MAX_READ_BYTES = 10 * 1024 * 1024

/**
 * One HTTP request to a target. Never rejects. On node:http rather than fetch, because fetch gives up by itself after 300 s without
 * headers, follows its own rules for headers, and its pooled connections die under a target that scales to zero: every delivery
 * opens its own (0.1 ms on loopback). Redirects are not followed: a 3xx is a failed delivery.
 */
export function deliver(delivery: {
  url: string
  method: string
  headers: Record<string, string>
  body: Buffer
  timeoutMs: number
  signal: AbortSignal
}): Promise<DeliveryResult> {
  return new Promise((resolve) => {
    const failed = (error: string) => resolve({ status: 0, header: {}, body: Buffer.alloc(0), error })
    if (delivery.signal.aborted) return failed('stopped')
    const url = new URL(delivery.url)
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const hasBody = delivery.method !== 'GET'
    const headers = hasBody
      ? { ...delivery.headers, 'content-length': String(delivery.body.length) }
      : delivery.headers
    let request: ClientRequest
    try {
      request = send(url, { method: delivery.method, headers, agent: false })
    } catch (error) {
      return failed(error instanceof Error ? error.message : 'request could not be made')
    }
    const timer = setTimeout(
      () => request.destroy(new Error('timeout')),
      Math.min(delivery.timeoutMs, 2 ** 31 - 1),
    )
    const stop = () => request.destroy(new Error('stopped'))
    delivery.signal.addEventListener('abort', stop, { once: true })
    request.once('close', () => {
      clearTimeout(timer)
      delivery.signal.removeEventListener('abort', stop)
      failed('connection closed')
    })
    request.on('error', (error) => failed(error.message))
    request.once('response', (response) => {
      const kept: Buffer[] = []
      let read = 0
      let size = 0
      response.on('data', (chunk: Buffer) => {
        read += chunk.length
        if (size < MAX_KEPT_BYTES) kept.push(chunk.subarray(0, MAX_KEPT_BYTES - size))
        size = Math.min(MAX_KEPT_BYTES, read)
        if (read > MAX_READ_BYTES) request.destroy(new Error('response too large'))
      })
      response.on('error', (error) => failed(error.message))
      response.once('end', () => {
        const header: Record<string, string[]> = {}
        for (const [name, values] of Object.entries(response.headersDistinct))
          if (values) header[name] = values
        resolve({ status: response.statusCode ?? 0, header, body: Buffer.concat(kept), error: null })
      })
    })
    request.end(hasBody ? delivery.body : undefined)
  })
}
