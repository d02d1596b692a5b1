import type { HttpBindings } from '@hono/node-server'
import type { Context, Hono } from 'hono'
import type { Caller } from '../ports/identity.ts'
import type { Log } from '../ports/log.ts'

/** What the middleware of createApp() puts into a request's context. */
export interface AppEnv {
  /** Present under node-server, absent when a test calls `app.request()`. */
  Bindings: Partial<HttpBindings>
  Variables: {
    requestId: string
    log: Log
    caller: Caller
  }
}
export type App = Hono<AppEnv>
export type AppContext = Context<AppEnv>
