import pg from 'pg'
import { type Answer, askService, field } from './ask-service.ts'
import type { CheckContext, Found } from './found.ts'

/** Below this a token is renewed now rather than forgotten. */
const NEAR_END_DAYS = 30

export async function checkAnonKey(key: string, { settings }: CheckContext): Promise<Found> {
  return checkProject(settings.SUPABASE_URL ?? '', key)
}

/** Auth of a project knows its publishable keys. */
export async function checkProject(project: string, key: string): Promise<Found> {
  const answer = await askService(`${project}/auth/v1/settings`, { headers: { apikey: key } })
  if ('unreachable' in answer) return { problem: `${project} cannot be reached (${answer.unreachable})` }
  if (answer.status === 200) return {}
  return { problem: `${project} refuses it (${answer.status}): copy it from the project's API settings` }
}

/** As the function itself does: it may call agent_ready, is of the role, and row security binds it. */
export async function checkRoleToken(
  token: string,
  role: string,
  { settings, values }: CheckContext,
): Promise<Found> {
  const project = settings.SUPABASE_URL ?? ''
  const answer = await askService(`${project}/rest/v1/rpc/agent_ready`, {
    method: 'POST',
    headers: {
      apikey: values.SUPABASE_ANON_KEY ?? '',
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
    },
    body: '{"p":{}}',
  })
  if ('unreachable' in answer) return { problem: `${project} cannot be reached (${answer.unreachable})` }
  if (answer.status === 200) {
    const problem = faultOf(answer.json, role)
    return problem === null ? nearEnd(token) : { problem }
  }
  return { problem: refusal(answer, project, role) }
}

function refusal({ status, json }: Answer, project: string, role: string): string {
  const code = field(json, 'code')
  if (status === 404)
    return `${project} has no function agent_ready: apply the migrations first (./deploy.sh --only-migrate)`
  // 42501: may not call; 22023: authenticator may not become this role; PGRST301 and 401: signature or time
  if (code === '42501') return `its role may not call agent_ready: it must be of ${role}`
  if (code === '22023')
    return `${project} has no role as it names: apply the migrations first (./deploy.sh --only-migrate)`
  return `${project} refuses it (${status}): it must be a token of ${role}, signed by a key of this project, and not run out`
}

function faultOf(ready: unknown, role: string): string | null {
  if (field(ready, 'bypass_rls') !== false)
    return 'its role can step around row security: no function may hold it'
  const actual = field(ready, 'role')
  return actual === role ? null : `is of the role ${String(actual)}, not ${role}`
}

function nearEnd(token: string): Found {
  const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()
  const exp = field(JSON.parse(payload), 'exp')
  if (typeof exp !== 'number') return { note: 'never runs out: one with an end is safer' }
  const days = Math.floor((exp * 1000 - Date.now()) / 86_400_000)
  return days < NEAR_END_DAYS ? { note: `runs out in ${days} days: rotate it` } : {}
}

/** A login role that is a member of `role` and of nothing that row security does not bind. */
export async function checkDatabaseUrl(url: string, role: string): Promise<Found> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 10_000,
    query_timeout: 10_000,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query<{ ready: unknown; member: boolean }>(
      `select public.agent_ready('{}') as ready, pg_catalog.pg_has_role(current_user, $1, 'MEMBER') as member`,
      [role],
    )
    if (field(rows[0]?.ready, 'bypass_rls') !== false)
      return { problem: 'its role can step around row security: no function may hold it' }
    return rows[0]?.member === true
      ? {}
      : { problem: `its role is no member of ${role} (docs/store-postgres.md)` }
  } catch (error) {
    // the code alone: a message may repeat the user or the address
    const code =
      typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'no answer'
    return { problem: `the database refuses it or cannot be reached (${code})` }
  } finally {
    await client.end().catch(() => {})
  }
}
