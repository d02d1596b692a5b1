import { checkForm } from './check-form.ts'
import {
  checkIssuers,
  checkModelKey,
  checkQStashToken,
  checkRedisToken,
  checkSigningKey,
} from './check-services.ts'
import { checkAnonKey, checkDatabaseUrl, checkRoleToken } from './check-supabase.ts'
import type { CheckContext, Found, Settings } from './found.ts'
import { SECRET_NAMES, type SecretName, secretOf } from './secret-table.ts'

type Check = (value: string, context: CheckContext) => Promise<Found>

const role = (name: SecretName) => secretOf(name).role ?? ''

const CHECKS: Record<SecretName, Check> = {
  SUPABASE_ANON_KEY: checkAnonKey,
  SUPABASE_ROLE_TOKEN: (value, context) => checkRoleToken(value, role('SUPABASE_ROLE_TOKEN'), context),
  STEP_SUPABASE_ROLE_TOKEN: (value, context) =>
    checkRoleToken(value, role('STEP_SUPABASE_ROLE_TOKEN'), context),
  DOOR_SUPABASE_ROLE_TOKEN: (value, context) =>
    checkRoleToken(value, role('DOOR_SUPABASE_ROLE_TOKEN'), context),
  TRUSTED_ISSUERS: checkIssuers,
  UPSTASH_REDIS_REST_TOKEN: checkRedisToken,
  QSTASH_TOKEN: checkQStashToken,
  QSTASH_CURRENT_SIGNING_KEY: (value, context) => checkSigningKey('current', value, context),
  QSTASH_NEXT_SIGNING_KEY: (value, context) => checkSigningKey('next', value, context),
  ANTHROPIC_API_KEY: checkModelKey,
  AGENT_SECRET: async () => ({}),
  SWEEP_SECRET: async (value, { values }) =>
    value === values.AGENT_SECRET ? { problem: 'is the same as AGENT_SECRET: each guards another door' } : {},
  DATABASE_URL: (value) => checkDatabaseUrl(value, role('DATABASE_URL')),
  STEP_DATABASE_URL: (value) => checkDatabaseUrl(value, role('STEP_DATABASE_URL')),
  DOOR_DATABASE_URL: (value) => checkDatabaseUrl(value, role('DOOR_DATABASE_URL')),
}

/** Checks one value, first as it stands, then by its real service. */
export async function checkValue(name: SecretName, value: string, context: CheckContext): Promise<Found> {
  const problem = checkForm(name, value)
  return problem === null ? CHECKS[name](value, context) : { problem }
}

/** Checks everything that is there; what is required and is not there is a problem. */
export async function checkAll(context: CheckContext): Promise<{ name: SecretName; found: Found }[]> {
  const wanted = SECRET_NAMES.filter(
    (name) => context.values[name] !== undefined || isRequired(name, context.settings),
  )
  return Promise.all(
    wanted.map(async (name) => {
      const value = context.values[name]
      return {
        name,
        found: value === undefined ? { problem: 'is missing' } : await checkValue(name, value, context),
      }
    }),
  )
}

export function isRequired(name: SecretName, settings: Settings): boolean {
  return secretOf(name).optional !== true || settings.STORE === 'postgres'
}

const NEEDED = [
  'PUBLIC_BASE_URL',
  'SUPABASE_URL',
  'UPSTASH_REDIS_REST_URL',
  'QSTASH_URL',
  'ALLOWED_ORIGINS',
] as const

/** What is wrong with the settings that are not secret. */
export function checkSettings(settings: Settings): string[] {
  const faults: string[] = []
  for (const name of NEEDED) {
    const value = settings[name]
    if (!value) faults.push(`${name} is missing`)
    else if (name !== 'ALLOWED_ORIGINS' && !URL.canParse(value)) faults.push(`${name} is no address`)
    else if (/CHANGE[-_]?ME|[./@]example\.(com|org)|YOUR[-_]|\/\/(project|database)\./i.test(value))
      faults.push(`${name} is still an example`)
  }
  if (faults.length > 0) return faults
  for (const name of NEEDED.slice(0, 4)) {
    const url = new URL(settings[name] ?? '')
    if (url.protocol !== 'https:' && !isNear(url.hostname))
      faults.push(`${name} must be https: credentials travel to it`)
  }
  // QStash of the vendor calls from outside; only the local one can reach a near address
  const [publicUrl, qstash] = [new URL(settings.PUBLIC_BASE_URL ?? ''), new URL(settings.QSTASH_URL ?? '')]
  if (!isNear(qstash.hostname) && isNear(publicUrl.hostname))
    faults.push(`PUBLIC_BASE_URL ${publicUrl.origin} cannot be reached by QStash at ${qstash.hostname}`)
  if (publicUrl.pathname !== '/') faults.push('PUBLIC_BASE_URL must be an origin, without a path')
  return faults
}

/** Loopback and private addresses: those of a local stack or a test cluster. */
function isNear(host: string): boolean {
  return (
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    host.endsWith('.svc.cluster.local') ||
    /^(127|10|192\.168|172\.(1[6-9]|2\d|3[01]))\./.test(host)
  )
}
