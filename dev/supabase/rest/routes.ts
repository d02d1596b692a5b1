import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { type Access, AccessError } from '../access.ts'
import { errorResponse, RestError } from './errors.ts'
import { handleCall, handleTable, type RestFace, type RestRequest } from './handle.ts'
import type { RestAnswer } from './respond.ts'

export interface RestOptions extends RestFace {
  access: Access
  /** Bytes of a request body. */
  maxBodyBytes: number
}

const TABLE_METHODS = ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE']
const CALL_METHODS = ['GET', 'HEAD', 'POST']

/** `/rest/v1`: the subset of PostgREST that unmodified supabase-js programs use. A development part. */
export function restRoutes(options: RestOptions): Hono {
  const app = new Hono()
  app.use(
    '*',
    bodyLimit({
      maxSize: options.maxBodyBytes,
      onError: () => {
        const message = `The body is larger than ${options.maxBodyBytes} bytes`
        return toResponse(errorResponse(new RestError(413, 'PGRST102', message), true), 'GET')
      },
    }),
  )
  app.all('/rpc/:name', (c) => answer(options, c, CALL_METHODS, handleCall))
  app.all('/:name', (c) => answer(options, c, TABLE_METHODS, handleTable))
  app.notFound((c) => {
    const error = new RestError(404, 'PGRST125', 'Invalid path specified in request URL')
    return toResponse(errorResponse(error, true), c.req.method)
  })
  return app
}

type Handler = (face: RestFace, name: string, request: RestRequest) => Promise<RestAnswer>

async function answer(
  options: RestOptions,
  c: Context,
  methods: string[],
  handler: Handler,
): Promise<Response> {
  const { method } = c.req
  let authenticated = true
  try {
    const caller = await options.access.caller(c.req.raw)
    authenticated = caller.role !== 'anon'
    if (!methods.includes(method)) throw new RestError(405, 'PGRST117', `Unsupported HTTP method: ${method}`)
    const url = new URL(c.req.url)
    checkProfile(options.schema, c.req.raw.headers)
    const answered = await handler(options, c.req.param('name') ?? '', {
      method,
      params: url.searchParams,
      headers: c.req.raw.headers,
      body: method === 'GET' || method === 'HEAD' ? '' : await c.req.text(),
      caller,
      facts: { method, path: url.pathname, headers: Object.fromEntries(c.req.raw.headers) },
    })
    return new Response(method === 'HEAD' ? null : answered.body, answered)
  } catch (error) {
    if (error instanceof AccessError) return error.restResponse()
    return toResponse(errorResponse(error, authenticated), method)
  }
}

function checkProfile(schema: string, headers: Headers): void {
  for (const name of ['accept-profile', 'content-profile']) {
    const asked = headers.get(name)
    if (asked !== null && asked !== schema) {
      throw new RestError(
        406,
        'PGRST106',
        `Invalid schema: ${asked.slice(0, 64)}`,
        null,
        `Only the following schemas are exposed: ${schema}`,
      )
    }
  }
}

function toResponse(error: ReturnType<typeof errorResponse>, method: string): Response {
  const headers = { 'content-type': 'application/json; charset=utf-8', ...error.headers }
  return new Response(method === 'HEAD' ? null : JSON.stringify(error.body), {
    status: error.status,
    headers,
  })
}
