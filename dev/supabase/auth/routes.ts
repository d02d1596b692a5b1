import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { z } from 'zod'
import { AccessError, bearerToken } from '../access.ts'
import { TokenError, type Tokens } from '../tokens.ts'
import { type Query, transact } from '../transact.ts'
import { adminRoutes } from './admin.ts'
import type { AuthOptions } from './auth-options.ts'
import { AuthError, authErrorResponse } from './errors.ts'
import { verifyPassword } from './passwords.ts'
import { readBody } from './read-body.ts'
import { checkBan, endSessions, refreshSession, startSession } from './sessions.ts'
import { findUser, insertUser, newUser, type UserRow, updateUser, userBody } from './users.ts'

const MAX_BODY_BYTES = 1024 * 1024
const credentials = z.object({ email: z.string(), password: z.string() })

/** `/auth/v1`: the subset of GoTrue that unmodified supabase-js programs use. A development part: it sends no mail. */
export function authRoutes(options: AuthOptions): Hono {
  const { pool, tokens, access } = options
  const app = new Hono()
  const asAuth = <T>(work: (query: Query) => Promise<T>) => transact(pool, { caller: null }, work)

  app.onError((error, c) => {
    if (error instanceof AccessError) return error.restResponse()
    return authErrorResponse(error, c.req.header('x-supabase-api-version') ?? null)
  })
  app.get('/.well-known/jwks.json', (c) =>
    c.json(options.jwks, 200, { 'cache-control': 'public, max-age=60' }),
  )
  app.get('/health', (c) =>
    c.json({ version: 'local', name: 'GoTrue', description: 'development Auth face' }),
  )
  app.use('*', async (c, next) => {
    access.checkKey(c.req.raw)
    await next()
  })
  app.use(
    '*',
    bodyLimit({
      maxSize: MAX_BODY_BYTES,
      onError: () => {
        throw new AuthError(413, 'request_too_large', `The body is larger than ${MAX_BODY_BYTES} bytes`)
      },
    }),
  )

  app.get('/settings', (c) => c.json(SETTINGS))

  app.post('/signup', async (c) => {
    const body = await readBody(c, newUser)
    if (body.email === undefined && body.password === undefined) {
      throw new AuthError(422, 'anonymous_provider_disabled', 'Anonymous sign-ins are disabled')
    }
    if (body.password === undefined || body.password === '') {
      throw new AuthError(400, 'validation_failed', 'Signup requires a valid password')
    }
    // What only an administrator may choose is left out.
    const { email, password, data } = body
    const session = await asAuth(async (query) => {
      const user = await insertUser(query, { email, password, data }, 'user_already_exists')
      return await startSession(query, tokens, user)
    })
    return c.json(session)
  })

  app.post('/token', async (c) => {
    const grant = c.req.query('grant_type')
    if (grant === 'password')
      return c.json(await passwordGrant(asAuth, tokens, await readBody(c, credentials)))
    if (grant === 'refresh_token') {
      const body = await readBody(c, z.object({ refresh_token: z.string() }))
      const session = await asAuth((query) => refreshSession(query, tokens, body.refresh_token))
      if (session !== null) return c.json(session)
      throw new AuthError(400, 'refresh_token_already_used', 'Invalid Refresh Token: Already Used')
    }
    throw new AuthError(400, 'validation_failed', 'unsupported_grant_type')
  })

  app.get('/user', async (c) => c.json(userBody((await signedIn(options, c)).user)))

  app.put('/user', async (c) => {
    const { user } = await signedIn(options, c)
    const { email, password, data } = await readBody(c, newUser)
    const updated = await asAuth((query) => updateUser(query, user.id, { email, password, data }, false))
    if (updated === null) throw new AuthError(404, 'user_not_found', 'User not found')
    return c.json(userBody(updated))
  })

  app.post('/logout', async (c) => {
    const { user, sessionId } = await signedIn(options, c)
    await asAuth((query) => endSessions(query, { id: user.id, sessionId }, c.req.query('scope') ?? 'global'))
    return c.body(null, 204)
  })

  app.route('/admin', adminRoutes(options))
  app.notFound((c) =>
    authErrorResponse(
      new AuthError(404, 'not_found', 'Not part of the development Auth face'),
      c.req.header('x-supabase-api-version') ?? null,
    ),
  )
  return app
}

async function passwordGrant(
  asAuth: <T>(work: (query: Query) => Promise<T>) => Promise<T>,
  tokens: Tokens,
  given: z.infer<typeof credentials>,
): Promise<Record<string, unknown>> {
  const user = await asAuth((query) => findUser(query, { email: given.email }))
  // Outside a transaction: no connection is held for the 50 ms of the hash.
  const right = await verifyPassword(given.password, user?.encrypted_password ?? null)
  if (user === null || !right) throw new AuthError(400, 'invalid_credentials', 'Invalid login credentials')
  checkBan(user)
  return await asAuth((query) => startSession(query, tokens, user))
}

interface SignedIn {
  user: UserRow
  sessionId: string
}

async function signedIn(options: AuthOptions, c: Context): Promise<SignedIn> {
  const token = bearerToken(c.req.raw)
  if (token === null)
    throw new AuthError(401, 'no_authorization', 'This endpoint requires a valid Bearer token')
  const { claims } = await options.tokens.verify(token).catch((error: Error) => {
    const reason =
      error instanceof TokenError && error.reason === 'expired' ? 'token is expired' : 'signature is invalid'
    throw new AuthError(403, 'bad_jwt', `invalid JWT: unable to parse or verify signature, ${reason}`)
  })
  const subject = z.uuid().safeParse(claims.sub)
  if (!subject.success) throw new AuthError(403, 'bad_jwt', 'invalid claim: missing sub claim')
  const sessionId = z.uuid().safeParse(claims.session_id).data
  return await transact(options.pool, { caller: null }, async (query) => {
    const user = await findUser(query, { id: subject.data })
    if (user === null) throw new AuthError(403, 'user_not_found', 'User from sub claim in JWT does not exist')
    const found = await query('select from auth.sessions where id = $1 and user_id = $2', [
      sessionId ?? null,
      user.id,
    ])
    if (sessionId === undefined || found.rowCount === 0) {
      throw new AuthError(403, 'session_not_found', 'Session from session_id claim in JWT does not exist')
    }
    return { user, sessionId }
  })
}

const SETTINGS = {
  external: { email: true, phone: false, anonymous_users: false },
  disable_signup: false,
  mailer_autoconfirm: true,
  phone_autoconfirm: false,
  sms_provider: '',
  saml_enabled: false,
}
