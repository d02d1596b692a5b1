import { createHash, randomBytes, randomUUID } from 'node:crypto'
import type { Tokens } from '../tokens.ts'
import type { Query } from '../transact.ts'
import { AuthError } from './errors.ts'
import { findUser, type UserRow, userBody } from './users.ts'

/** Seconds a user's access token is valid, as on hosted projects. */
export const ACCESS_TOKEN_SECONDS = 3600
// Two tabs may refresh at the same moment: the second use of a token within this time is not a theft.
const REUSE_INTERVAL_SECONDS = 10

function hash(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

async function insertRefreshToken(
  query: Query,
  session: { id: string; userId: string; parent: string | null },
): Promise<string> {
  const token = randomBytes(24).toString('base64url')
  await query(
    'insert into auth.refresh_tokens (token, user_id, session_id, parent) values ($1, $2, $3, $4)',
    [hash(token), session.userId, session.id, session.parent],
  )
  return token
}

export async function startSession(
  query: Query,
  tokens: Tokens,
  user: UserRow,
): Promise<Record<string, unknown>> {
  const id = randomUUID()
  await query('insert into auth.sessions (id, user_id) values ($1, $2)', [id, user.id])
  await query('update auth.users set last_sign_in_at = now() where id = $1', [user.id])
  const refreshToken = await insertRefreshToken(query, { id, userId: user.id, parent: null })
  return await sessionBody(
    tokens,
    { ...user, last_sign_in_at: new Date() },
    { id, createdAt: new Date(), refreshToken },
  )
}

async function sessionBody(
  tokens: Tokens,
  user: UserRow,
  session: { id: string; createdAt: Date; refreshToken: string },
): Promise<Record<string, unknown>> {
  const accessToken = await tokens.sign(
    {
      iss: tokens.issuer,
      sub: user.id,
      aud: 'authenticated',
      role: user.role ?? 'authenticated',
      email: user.email ?? '',
      phone: '',
      app_metadata: user.raw_app_meta_data ?? {},
      user_metadata: user.raw_user_meta_data ?? {},
      session_id: session.id,
      aal: 'aal1',
      amr: [{ method: 'password', timestamp: Math.floor(session.createdAt.getTime() / 1000) }],
      is_anonymous: false,
    },
    { lifetimeSeconds: ACCESS_TOKEN_SECONDS },
  )
  return {
    access_token: accessToken,
    token_type: 'bearer',
    expires_in: ACCESS_TOKEN_SECONDS,
    expires_at: Math.floor(Date.now() / 1000) + ACCESS_TOKEN_SECONDS,
    refresh_token: session.refreshToken,
    user: userBody(user),
  }
}

interface RefreshRow {
  token: string
  user_id: string
  session_id: string
  revoked: boolean
  used_seconds_ago: number
  session_created_at: Date
}

/**
 * Exchanges a refresh token. Answers null when the token was used before (after the reuse interval): the caller must then
 * commit, because the whole session has been ended, and answer `refresh_token_already_used`.
 */
export async function refreshSession(
  query: Query,
  tokens: Tokens,
  refreshToken: string,
): Promise<Record<string, unknown> | null> {
  const { rows } = await query<RefreshRow>(
    `select t.token, t.user_id, t.session_id, t.revoked, s.created_at as session_created_at,
       extract(epoch from clock_timestamp() - t.updated_at)::float8 as used_seconds_ago
     from auth.refresh_tokens t join auth.sessions s on s.id = t.session_id
     where t.token = $1 for update of t, s`,
    [hash(refreshToken)],
  )
  const [row] = rows
  if (row === undefined) {
    throw new AuthError(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found')
  }
  if (row.revoked && row.used_seconds_ago > REUSE_INTERVAL_SECONDS) {
    await query('delete from auth.sessions where id = $1', [row.session_id])
    return null
  }
  const user = await findUser(query, { id: row.user_id })
  if (user === null)
    throw new AuthError(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found')
  checkBan(user)
  if (!row.revoked) {
    await query(
      'update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp() where token = $1',
      [row.token],
    )
  }
  await query('update auth.sessions set updated_at = now() where id = $1', [row.session_id])
  const next = await insertRefreshToken(query, { id: row.session_id, userId: row.user_id, parent: row.token })
  return await sessionBody(tokens, user, {
    id: row.session_id,
    createdAt: row.session_created_at,
    refreshToken: next,
  })
}

export function checkBan(user: UserRow): void {
  if (user.banned_until !== null && user.banned_until.getTime() > Date.now()) {
    throw new AuthError(400, 'user_banned', 'User is banned')
  }
}

export async function endSessions(
  query: Query,
  user: { id: string; sessionId: string },
  scope: string,
): Promise<void> {
  if (scope === 'local') {
    await query('delete from auth.sessions where id = $1 and user_id = $2', [user.sessionId, user.id])
  } else if (scope === 'others') {
    await query('delete from auth.sessions where user_id = $1 and id <> $2', [user.id, user.sessionId])
  } else {
    await query('delete from auth.sessions where user_id = $1', [user.id])
  }
}
