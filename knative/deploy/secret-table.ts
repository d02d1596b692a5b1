/** What is secret in an installation, and which function gets it under which name. A function holds nothing that it does not need. */
export const FUNCTIONS = ['agent-execute', 'agent-status', 'agent-logs', 'agent-step', 'agent-door'] as const
export type FunctionName = (typeof FUNCTIONS)[number]

export interface SecretValue {
  purpose: string
  /** Functions that get it, and the key in their Secret when it is another than its name. */
  of: readonly FunctionName[]
  as?: string
  /** `made`: ours, made when nobody gives one. `signed`: a role's token, signed when a signing key is given. `fetched`: its service tells it. */
  origin?: 'made' | 'signed' | 'fetched'
  /** Database role that it must be of. */
  role?: string
  optional?: boolean
}

const front = ['agent-execute', 'agent-status', 'agent-logs'] as const

/** In the order in which they are asked for: what a check needs comes before it. */
export const SECRETS = {
  SUPABASE_ANON_KEY: { purpose: 'anon or publishable key of the data project', of: FUNCTIONS },
  SUPABASE_ROLE_TOKEN: {
    purpose: 'token of the database role agent_api',
    of: front,
    origin: 'signed',
    role: 'agent_api',
  },
  STEP_SUPABASE_ROLE_TOKEN: {
    purpose: 'token of the database role agent_step',
    of: ['agent-step'],
    as: 'SUPABASE_ROLE_TOKEN',
    origin: 'signed',
    role: 'agent_step',
  },
  DOOR_SUPABASE_ROLE_TOKEN: {
    purpose: 'token of the database role agent_door',
    of: ['agent-door'],
    as: 'SUPABASE_ROLE_TOKEN',
    origin: 'signed',
    role: 'agent_door',
  },
  TRUSTED_ISSUERS: { purpose: 'whose users may call (JSON, one line)', of: front },
  UPSTASH_REDIS_REST_TOKEN: { purpose: 'token of Upstash Redis', of: FUNCTIONS },
  QSTASH_TOKEN: { purpose: 'token of QStash', of: ['agent-execute', 'agent-step', 'agent-door'] },
  QSTASH_CURRENT_SIGNING_KEY: {
    purpose: 'signing key of QStash',
    of: ['agent-step'],
    origin: 'fetched',
  },
  QSTASH_NEXT_SIGNING_KEY: {
    purpose: 'signing key of QStash after its next roll',
    of: ['agent-step'],
    origin: 'fetched',
  },
  ANTHROPIC_API_KEY: { purpose: 'key of the model', of: ['agent-step'] },
  AGENT_SECRET: {
    purpose: 'derives job tokens and receipts',
    of: ['agent-step', 'agent-door'],
    origin: 'made',
  },
  SWEEP_SECRET: { purpose: "signs the sweeper's call", of: ['agent-step'], origin: 'made' },
  DATABASE_URL: {
    purpose: 'with STORE=postgres: login role in agent_api',
    of: front,
    role: 'agent_api',
    optional: true,
  },
  STEP_DATABASE_URL: {
    purpose: 'with STORE=postgres: login role in agent_step',
    of: ['agent-step'],
    as: 'DATABASE_URL',
    role: 'agent_step',
    optional: true,
  },
  DOOR_DATABASE_URL: {
    purpose: 'with STORE=postgres: login role in agent_door',
    of: ['agent-door'],
    as: 'DATABASE_URL',
    role: 'agent_door',
    optional: true,
  },
} as const satisfies Record<string, SecretValue>

export type SecretName = keyof typeof SECRETS
export const SECRET_NAMES = Object.keys(SECRETS) as SecretName[]
export type Values = Partial<Record<SecretName, string>>

export function secretOf(name: SecretName): SecretValue {
  return SECRETS[name]
}

/** Never stored in the cluster; read from the environment, from a file, or asked for. */
export const PASSING_NAMES = ['SUPABASE_SIGNING_KEY', 'MIGRATION_DATABASE_URL'] as const

/** The Secret of each function: key → value. */
export function secretsByFunction(values: Values): Map<FunctionName, Record<string, string>> {
  const made = new Map<FunctionName, Record<string, string>>(FUNCTIONS.map((name) => [name, {}]))
  for (const name of SECRET_NAMES) {
    const value = values[name]
    if (value === undefined) continue
    const { of, as } = secretOf(name)
    for (const target of of) Object.assign(made.get(target) ?? {}, { [as ?? name]: value })
  }
  return made
}

/** Keys that the Secret of a function must have. */
export function requiredKeys(
  target: FunctionName,
  { withDatabaseUrl }: { withDatabaseUrl: boolean },
): string[] {
  return SECRET_NAMES.filter((name) => {
    const { of, optional } = secretOf(name)
    return of.includes(target) && (optional !== true || withDatabaseUrl)
  }).map((name) => secretOf(name).as ?? name)
}
