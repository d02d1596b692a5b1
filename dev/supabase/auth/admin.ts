import { type Context, Hono } from 'hono'
import { z } from 'zod'
import { bearerToken } from '../access.ts'
import { TokenError } from '../tokens.ts'
import { transact } from '../transact.ts'
import type { AuthOptions } from './auth-options.ts'
import { AuthError } from './errors.ts'
import { readBody } from './read-body.ts'
import { findUser, insertUser, newUser, type UserRow, updateUser, userBody } from './users.ts'

const MAX_PER_PAGE = 1000

/** `/auth/v1/admin/users`, for service_role tokens only. */
export function adminRoutes(options: AuthOptions): Hono {
  const { pool } = options
  const app = new Hono()
  app.use('*', async (c, next) => {
    await checkAdmin(options, c)
    await next()
  })

  app.post('/users', async (c) => {
    const body = await readBody(c, newUser)
    return c.json(
      userBody(await transact(pool, { caller: null }, (query) => insertUser(query, body, 'email_exists'))),
    )
  })

  app.get('/users', async (c) => {
    const page = positive(c.req.query('page'), 1)
    const perPage = Math.min(positive(c.req.query('per_page'), 50), MAX_PER_PAGE)
    const { users, total } = await transact(pool, { caller: null, readOnly: true }, async (query) => {
      const listed = await query<UserRow>(
        'select * from auth.users order by created_at desc, id limit $1 offset $2',
        [perPage, (page - 1) * perPage],
      )
      const counted = await query<{ count: number }>('select count(*)::int as count from auth.users')
      return { users: listed.rows, total: counted.rows[0]?.count ?? 0 }
    })
    c.header('x-total-count', String(total))
    const last = Math.max(1, Math.ceil(total / perPage))
    const links = [`</admin/users?page=${last}&per_page=${perPage}>; rel="last"`]
    if (page < last) links.unshift(`</admin/users?page=${page + 1}&per_page=${perPage}>; rel="next"`)
    c.header('link', links.join(', '))
    return c.json({ users: users.map(userBody), aud: 'authenticated' })
  })

  app.get('/users/:id', async (c) => {
    const user = await transact(pool, { caller: null }, (query) => findUser(query, { id: userId(c) }))
    return c.json(userBody(existing(user)))
  })

  app.put('/users/:id', async (c) => {
    const body = await readBody(c, newUser)
    const user = await transact(pool, { caller: null }, (query) => updateUser(query, userId(c), body, true))
    return c.json(userBody(existing(user)))
  })

  app.delete('/users/:id', async (c) => {
    const { rowCount } = await transact(pool, { caller: null }, (query) =>
      query('delete from auth.users where id = $1', [userId(c)]),
    )
    if (rowCount === 0) existing(null)
    return c.json({})
  })
  return app
}

async function checkAdmin(options: AuthOptions, c: Context): Promise<void> {
  const token = bearerToken(c.req.raw)
  if (token === null)
    throw new AuthError(401, 'no_authorization', 'This endpoint requires a valid Bearer token')
  const { role } = await options.tokens.verify(token).catch((error: Error) => {
    if (!(error instanceof TokenError)) throw error
    throw new AuthError(403, 'bad_jwt', 'invalid JWT: unable to parse or verify signature')
  })
  if (role !== 'service_role') throw new AuthError(403, 'not_admin', 'User not allowed')
}

function userId(c: Context): string {
  const id = z.uuid().safeParse(c.req.param('id'))
  if (id.success) return id.data
  throw new AuthError(404, 'validation_failed', 'user_id must be an UUID')
}

function existing(user: UserRow | null): UserRow {
  if (user === null) throw new AuthError(404, 'user_not_found', 'User not found')
  return user
}

function positive(text: string | undefined, fallback: number): number {
  const value = Number(text)
  return Number.isSafeInteger(value) && value > 0 ? value : fallback
}
