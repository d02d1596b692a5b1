import { mkdir } from 'node:fs/promises'
import { Hono } from 'hono'
import { cors } from 'hono/cors'
import type { JWK } from 'jose'
import pg from 'pg'
import { access } from './access.ts'
import { authRoutes } from './auth/routes.ts'
import { loadKeys } from './keys.ts'
import { catalogReader } from './rest/catalog.ts'
import { restRoutes } from './rest/routes.ts'
import { openDisk } from './storage/disk.ts'
import { storageRoutes } from './storage/routes.ts'
import { signer } from './storage/sign-token.ts'
import { apiKey, type Signing, tokens } from './tokens.ts'

export interface SupabaseOptions {
  /** URL of a login role (authenticator, supabase_auth_admin, supabase_storage_admin) on the project's database. */
  databaseUrl(role: string): string
  /** Directory of the stored objects. */
  storageDir: string
  /** File of the signing keys; made when it is not there. */
  keysFile: string
  /** Where clients reach this, e.g. `http://localhost:8000`: the issuer of tokens is `<origin>/auth/v1`. */
  origin: string
  /** How user tokens are signed. HS256 is the legacy mode of hosted projects, whose JWKS is empty. Default ES256. */
  signing?: Signing
  /** Rows a read answers at most. Default 1,000, as hosted. */
  maxRows?: number
  /** Bytes of a REST body. Default 8 MiB. */
  maxBodyBytes?: number
  /** Bytes of an object. Default 50 MiB, as hosted. */
  maxFileBytes?: number
}

/** A stand-in for one Supabase project: `/rest/v1`, `/auth/v1`, `/storage/v1`. For development, on loopback only. */
export interface Supabase {
  app: Hono
  fetch(request: Request): Response | Promise<Response>
  anonKey: string
  serviceRoleKey: string
  /** A token for a database role of ours (agent_api, agent_step, …) that was granted to authenticator. ES256. */
  mintRoleToken(claims: { role: string } & Record<string, unknown>, lifetimeSeconds?: number): Promise<string>
  jwks: { keys: JWK[] }
  issuer: string
  close(): Promise<void>
}

const ROLE_TOKEN_SECONDS = 365 * 24 * 3600
const CONNECT_TIMEOUT_MS = 5000
// Above every statement_timeout of the roles: it only catches a database that stopped answering at all.
const QUERY_TIMEOUT_MS = 60_000

export async function createSupabase(options: SupabaseOptions): Promise<Supabase> {
  const keys = await loadKeys(options.keysFile)
  const signing = options.signing ?? 'ES256'
  const issuer = `${options.origin}/auth/v1`
  const minting = tokens(keys, issuer, signing)
  const [anonKey, serviceRoleKey] = await Promise.all([apiKey(keys, 'anon'), apiKey(keys, 'service_role')])
  const gate = access(minting, [anonKey, serviceRoleKey])
  await mkdir(options.storageDir, { recursive: true })
  const disk = await openDisk(options.storageDir)
  const jwks = { keys: signing === 'ES256' ? [keys.publicJwk] : [] }
  const pools = {
    rest: openPool(options.databaseUrl('authenticator'), 20),
    auth: openPool(options.databaseUrl('supabase_auth_admin'), 5),
    storage: openPool(options.databaseUrl('supabase_storage_admin'), 10),
  }

  const app = new Hono()
  // A body that is refused is not read to its end, and node-server then cuts the connection half a second later: nobody may send
  // another request on it.
  app.use('*', async (c, next) => {
    await next()
    if (c.res.status === 413 || c.res.status === 400) c.header('connection', 'close')
  })
  // Reflecting any origin is what hosted projects do: the token, not the origin, is the right to read. No cookies.
  app.use(
    '*',
    cors({ origin: (origin) => origin, allowMethods: METHODS, exposeHeaders: EXPOSED, maxAge: 3600 }),
  )
  app.route(
    '/rest/v1',
    restRoutes({
      pool: pools.rest,
      catalog: catalogReader(pools.rest, 'public'),
      schema: 'public',
      maxRows: options.maxRows ?? 1000,
      access: gate,
      maxBodyBytes: options.maxBodyBytes ?? 8 * 1024 * 1024,
    }),
  )
  app.route('/auth/v1', authRoutes({ pool: pools.auth, tokens: minting, access: gate, jwks }))
  app.route(
    '/storage/v1',
    storageRoutes({
      pool: pools.storage,
      disk,
      access: gate,
      signer: signer(keys.storageSecret),
      maxFileBytes: options.maxFileBytes ?? 50 * 1024 * 1024,
    }),
  )
  return {
    app,
    fetch: (request) => app.fetch(request),
    anonKey,
    serviceRoleKey,
    mintRoleToken: (claims, lifetimeSeconds = ROLE_TOKEN_SECONDS) =>
      minting.sign({ iss: issuer, ...claims }, { lifetimeSeconds, signing: 'ES256' }),
    jwks,
    issuer,
    close: async () => {
      await Promise.all(Object.values(pools).map((pool) => pool.end()))
    },
  }
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const EXPOSED = [
  'content-range',
  'content-length',
  'content-disposition',
  'etag',
  'link',
  'preference-applied',
  'x-total-count',
  'x-supabase-api-version',
  'x-sb-error-code',
]

function openPool(connectionString: string, max: number): pg.Pool {
  const pool = new pg.Pool({
    connectionString,
    max,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    idleTimeoutMillis: 10_000,
    allowExitOnIdle: true,
  })
  // An idle connection that breaks (the database restarted) is replaced by the next request; unheard it would end us.
  pool.on('error', () => {})
  return pool
}
