import { parseArgs } from 'node:util'

/** What the user gave is not enough or makes no sense; the message says what to give. */
export class UsageError extends Error {}

export type Credentials =
  | { kind: 'token'; token: string }
  | { kind: 'password'; email: string; password: string }

export interface Options {
  url: string
  supabaseUrl: string
  anonKey: string
  /** Null: both sign up. */
  users: [Credentials, Credentials] | null
  functionsUrl: string | null
  origin: string | null
  refusedOrigin: string | null
  runs: boolean
  only: string
}

type Env = Readonly<Record<string, string | undefined>>

const text = { type: 'string' } as const
const flag = { type: 'boolean', default: false } as const

/** Null: the help was asked for. @throws UsageError */
export function parseOptions(argv: readonly string[], env: Env): Options | null {
  let values: ReturnType<typeof parse>
  try {
    values = parse(argv)
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
  if (values.help) return null
  return {
    url: originOf('--url', values.url ?? env.API_URL, 'origin of the API, e.g. https://api.example.com'),
    supabaseUrl: originOf(
      '--supabase-url',
      values['supabase-url'] ?? env.SUPABASE_URL,
      'project in which the users sign in',
    ),
    anonKey: required(
      '--anon-key',
      values['anon-key'] ?? env.SUPABASE_ANON_KEY,
      'publishable key of that project',
    ),
    users: values['sign-up'] ? null : [first(values, env), second(values, env)],
    functionsUrl: optionalOrigin('--functions-url', values['functions-url']),
    origin: optionalOrigin('--origin', values.origin),
    refusedOrigin: optionalOrigin('--refused-origin', values['refused-origin']),
    runs: !values['no-runs'],
    only: values.only ?? '',
  }
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    options: {
      url: text,
      'supabase-url': text,
      'anon-key': text,
      token: text,
      email: text,
      password: text,
      'other-token': text,
      'other-email': text,
      'other-password': text,
      'functions-url': text,
      origin: text,
      'refused-origin': text,
      only: text,
      'sign-up': flag,
      'no-runs': flag,
      help: { type: 'boolean', short: 'h', default: false },
    },
  }).values
}

function first(values: ReturnType<typeof parse>, env: Env): Credentials {
  return credentials(
    '',
    values.token ?? env.CONTRACT_TOKEN,
    values.email ?? env.CONTRACT_EMAIL,
    values.password ?? env.CONTRACT_PASSWORD,
  )
}

function second(values: ReturnType<typeof parse>, env: Env): Credentials {
  return credentials(
    'other-',
    values['other-token'] ?? env.CONTRACT_OTHER_TOKEN,
    values['other-email'] ?? env.CONTRACT_OTHER_EMAIL,
    values['other-password'] ?? env.CONTRACT_OTHER_PASSWORD,
  )
}

function credentials(prefix: string, token?: string, email?: string, password?: string): Credentials {
  if (token) return { kind: 'token', token }
  if (email && password) return { kind: 'password', email, password }
  const whose = prefix === '' ? 'The first user' : 'The second user, to whom nothing of the first may show,'
  throw new UsageError(
    `${whose} is missing: give --${prefix}email and --${prefix}password, or --${prefix}token, or --sign-up for two new ones.`,
  )
}

function required(name: string, value: string | undefined, purpose: string): string {
  if (value === undefined || value.trim() === '') throw new UsageError(`${name} is missing: ${purpose}.`)
  return value.trim()
}

function originOf(name: string, given: string | undefined, purpose: string): string {
  const value = required(name, given, purpose).replace(/\/+$/, '')
  if (!URL.canParse(value) || new URL(value).origin !== value)
    throw new UsageError(
      `${name} ${value} is not an origin: give scheme and host only, e.g. https://api.example.com.`,
    )
  return value
}

function optionalOrigin(name: string, given: string | undefined): string | null {
  return given === undefined ? null : originOf(name, given, '')
}
