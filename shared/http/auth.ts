import type { MiddlewareHandler } from 'hono'
import { AppError } from '../core/errors.ts'
import type { Identity } from '../ports/identity.ts'
import type { AppContext, AppEnv } from './env.ts'

/** Puts the verified caller into the context; without a valid user's token the request ends with 401. */
export function requireCaller(identity: Identity): MiddlewareHandler<AppEnv> {
  return async (context, next) => {
    const token = bearerToken(context)
    if (token === null) throw new AppError('unauthorized', 'Unauthorized')
    context.set('caller', await identity.verify(token))
    await next()
  }
}

/** The token of `Authorization: Bearer <token>`, whatever the case of the scheme; null without one. */
export function bearerToken(context: AppContext): string | null {
  const match = /^bearer +([\w.~+/=-]+) *$/i.exec(context.req.header('authorization') ?? '')
  return match?.[1] ?? null
}
