import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Query } from '../transact.ts'
import { AuthError } from './errors.ts'
import { hashPassword } from './passwords.ts'

/** A row of auth.users as far as this face reads it. */
export interface UserRow {
  id: string
  email: string | null
  encrypted_password: string | null
  email_confirmed_at: Date | null
  last_sign_in_at: Date | null
  raw_app_meta_data: Record<string, unknown> | null
  raw_user_meta_data: Record<string, unknown> | null
  role: string | null
  created_at: Date
  updated_at: Date
  banned_until: Date | null
}

const MIN_PASSWORD_CHARACTERS = 6
// As bcrypt's limit in GoTrue.
const MAX_PASSWORD_BYTES = 72

const metadata = z.record(z.string(), z.unknown())

export const newUser = z.object({
  id: z.uuid().optional(),
  email: z.string().optional(),
  password: z.string().optional(),
  data: metadata.nullish(),
  user_metadata: metadata.nullish(),
  app_metadata: metadata.nullish(),
  email_confirm: z.boolean().optional(),
  role: z.string().optional(),
})

export type NewUser = z.infer<typeof newUser>

export function checkEmail(email: string): string {
  const normal = email.trim().toLowerCase()
  if (normal.length <= 255 && /^[^\s@"<>()]+@[^\s@.]+(\.[^\s@.]+)*$/.test(normal)) return normal
  throw new AuthError(400, 'validation_failed', 'Unable to validate email address: invalid format')
}

export function checkPassword(password: string): string {
  if (password.length < MIN_PASSWORD_CHARACTERS) {
    const message = `Password should be at least ${MIN_PASSWORD_CHARACTERS} characters.`
    throw new AuthError(422, 'weak_password', message, { weak_password: { reasons: ['length'] } })
  }
  if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES) {
    throw new AuthError(
      400,
      'validation_failed',
      `Password cannot be longer than ${MAX_PASSWORD_BYTES} characters`,
    )
  }
  return password
}

/** Makes a confirmed user (there is no mail here). @throws AuthError user_already_exists */
export async function insertUser(
  query: Query,
  user: NewUser,
  code: 'user_already_exists' | 'email_exists',
): Promise<UserRow> {
  const email = checkEmail(user.email ?? '')
  const password = user.password === undefined ? null : await hashPassword(checkPassword(user.password))
  const { rows } = await query<UserRow>(
    `insert into auth.users (id, instance_id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data)
     values ($1, '00000000-0000-0000-0000-000000000000', 'authenticated', $2, $3, $4, now(), $5, $6)
     on conflict do nothing
     returning *`,
    [
      user.id ?? randomUUID(),
      user.role ?? 'authenticated',
      email,
      password,
      JSON.stringify({ provider: 'email', providers: ['email'], ...user.app_metadata }),
      JSON.stringify({ ...(user.data ?? user.user_metadata), email, email_verified: true }),
    ],
  )
  const [row] = rows
  if (row !== undefined) return row
  const message =
    code === 'user_already_exists'
      ? 'User already registered'
      : 'A user with this email address has already been registered'
  throw new AuthError(422, code, message)
}

export async function findUser(
  query: Query,
  by: { id: string } | { email: string },
): Promise<UserRow | null> {
  const [column, value] = 'id' in by ? ['id', by.id] : ['email', by.email.trim().toLowerCase()]
  const { rows } = await query<UserRow>(`select * from auth.users where ${column} = $1`, [value])
  return rows[0] ?? null
}

/** Changes what is given; a metadata key set to null is removed, as GoTrue does. */
export async function updateUser(
  query: Query,
  id: string,
  change: NewUser,
  allowAppMetadata: boolean,
): Promise<UserRow | null> {
  const password = change.password === undefined ? null : await hashPassword(checkPassword(change.password))
  const userMetadata = change.data ?? change.user_metadata ?? {}
  const appMetadata = allowAppMetadata ? (change.app_metadata ?? {}) : {}
  const { rows } = await query<UserRow>(
    `update auth.users set
       email = coalesce($2, email),
       encrypted_password = coalesce($3, encrypted_password),
       raw_user_meta_data = jsonb_strip_nulls(coalesce(raw_user_meta_data, '{}') || $4::jsonb),
       raw_app_meta_data = jsonb_strip_nulls(coalesce(raw_app_meta_data, '{}') || $5::jsonb),
       updated_at = now()
     where id = $1 returning *`,
    [
      id,
      change.email === undefined ? null : checkEmail(change.email),
      password,
      JSON.stringify(userMetadata),
      JSON.stringify(appMetadata),
    ],
  )
  return rows[0] ?? null
}

/** What clients see of a user. */
export function userBody(row: UserRow): Record<string, unknown> {
  const iso = (date: Date | null) => date?.toISOString()
  const identity = {
    identity_id: row.id,
    id: row.id,
    user_id: row.id,
    identity_data: { email: row.email, email_verified: true, phone_verified: false, sub: row.id },
    provider: 'email',
    last_sign_in_at: iso(row.last_sign_in_at),
    created_at: iso(row.created_at),
    updated_at: iso(row.updated_at),
    email: row.email,
  }
  return {
    id: row.id,
    aud: 'authenticated',
    role: row.role ?? 'authenticated',
    email: row.email,
    email_confirmed_at: iso(row.email_confirmed_at),
    confirmed_at: iso(row.email_confirmed_at),
    phone: '',
    last_sign_in_at: iso(row.last_sign_in_at),
    app_metadata: row.raw_app_meta_data ?? {},
    user_metadata: row.raw_user_meta_data ?? {},
    identities: [identity],
    created_at: iso(row.created_at),
    updated_at: iso(row.updated_at),
    is_anonymous: false,
  }
}
