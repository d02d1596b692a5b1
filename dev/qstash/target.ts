import type { Context } from 'hono'
import { BadRequest } from './options.ts'

/** What node-server adds to a request; absent when the app is called as a function. */
export type Bindings = { incoming?: { url?: string; socket?: { remoteAddress?: string } } }
export type AppContext = Context<{ Bindings: Bindings }>

export interface Target {
  /** The part after the marker, as sent: `https://host/a//b?x=1`. */
  rest: string
  /** `upstash-…` options that came in the query, by lower-case name. */
  query: Map<string, string>
}

/**
 * The destination behind `marker` (such as `/v2/publish/`) in the raw request target. Taken from there and not from a route
 * parameter, because a destination holds `//`, its own query and escapes that must reach the signature unchanged.
 */
export function readTarget(c: AppContext, marker: string): Target {
  const raw = rawTarget(c)
  const at = raw.indexOf(marker)
  if (at < 0) throw new BadRequest('invalid destination')
  const tail = raw.slice(at + marker.length)
  const mark = tail.indexOf('?')
  const query = new Map<string, string>()
  if (mark < 0) return { rest: tail, query }
  const kept = tail
    .slice(mark + 1)
    .split('&')
    .filter((pair) => {
      const [name = '', value = ''] = splitOnce(pair, '=')
      if (!/^(upstash-[a-z-]+|qstash_token)$/.test(name)) return true
      if (name !== 'qstash_token') query.set(name, decodeQuery(value))
      return false
    })
  const path = tail.slice(0, mark)
  return { rest: kept.length > 0 ? `${path}?${kept.join('&')}` : path, query }
}

function rawTarget(c: AppContext): string {
  const incoming = c.env?.incoming?.url
  if (incoming !== undefined) return incoming
  // Request.url is absolute: cut off scheme and host.
  return c.req.raw.url.replace(/^[a-z]+:\/\/[^/?#]*/i, '')
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function decodeQuery(value: string): string {
  try {
    return decodeURIComponent(value.replaceAll('+', ' '))
  } catch {
    throw new BadRequest('invalid escape in query')
  }
}
