import { randomBytes } from 'node:crypto'
import { normalize } from './check-form.ts'
import { readSigningKeys } from './check-services.ts'
import { checkValue, isRequired } from './check-value.ts'
import type { Settings } from './found.ts'
import { Refusal } from './refusal.ts'
import { signRoleToken } from './role-token.ts'
import type { Screen } from './screen.ts'
import { SECRET_NAMES, type SecretName, secretOf, type Values } from './secret-table.ts'

/** A person mistypes; a script that answers wrong for ever should end. */
const MAX_ASKS = 3

export interface Source {
  /** Values that are given without asking. */
  given: Readonly<Record<string, string | undefined>>
  /** Asks a person; undefined where nobody can be asked. */
  ask?: (question: string) => Promise<string>
}

export interface Collecting {
  settings: Settings
  stored: Values
  source: Source
  screen: Screen
  /** Gets a new value even if there is one. */
  rotate?: SecretName | undefined
}

/** Every value, given, kept, asked for or made; not checked yet but for what was asked for. */
export async function collectValues(options: Collecting): Promise<Values> {
  const { settings, stored, source, screen, rotate } = options
  const values: Values = {}
  const renewed = renewedBy(rotate)
  for (const name of SECRET_NAMES) {
    const kept = renewed.has(name) ? undefined : stored[name]
    const value = rotate === undefined || renewed.has(name) ? await obtain(name, kept, values, options) : kept
    if (value === undefined || value === '') continue
    values[name] = value
    screen.hide([value])
  }
  if (rotate !== undefined && values[rotate] === undefined && isRequired(rotate, settings))
    throw new Refusal(
      `${rotate} needs a new value: ${source.ask ? 'type one' : 'set it in the environment'}.`,
    )
  return values
}

/** Given, else asked for, else kept, else made. */
async function obtain(
  name: SecretName,
  kept: string | undefined,
  values: Values,
  options: Collecting,
): Promise<string | undefined> {
  const known = giveOr(options.source, name) ?? (await askFor(name, kept, values, options)) ?? kept
  if (known !== undefined) return known
  const made = await make(name, values, options)
  if (made !== undefined) options.screen.line(`${name} ${secretOf(name).origin ?? ''}`)
  return made
}

/** QStash rolls both of its keys at once. */
function renewedBy(rotate: SecretName | undefined): ReadonlySet<SecretName> {
  const pair: SecretName[] = ['QSTASH_CURRENT_SIGNING_KEY', 'QSTASH_NEXT_SIGNING_KEY']
  return new Set(rotate === undefined ? [] : pair.includes(rotate) ? pair : [rotate])
}

function giveOr({ given }: Source, name: SecretName): string | undefined {
  const value = given[name]
  return value === undefined || value.trim() === '' ? undefined : normalize(name, value)
}

/** Undefined: Enter was pressed, or there is nobody to ask. */
async function askFor(
  name: SecretName,
  kept: string | undefined,
  values: Values,
  { settings, source, screen }: Collecting,
): Promise<string | undefined> {
  const { ask } = source
  const { purpose } = secretOf(name)
  // what nobody needs is not asked for; what its service tells is not typed
  if (ask === undefined || !isRequired(name, settings) || secretOf(name).origin === 'fetched')
    return undefined
  for (let times = 0; times < MAX_ASKS; times++) {
    const value = normalize(name, await ask(`${name}, ${purpose}${enterMeans(name, kept)}: `))
    if (value === '') {
      if (kept !== undefined || secretOf(name).origin !== undefined) return undefined
      screen.line(`${name} is needed.`)
      continue
    }
    screen.hide([value])
    const { problem, note } = await checkValue(name, value, { settings, values })
    if (problem === undefined) {
      screen.line(`✓ ${name}${note === undefined ? '' : `: ${note}`}`)
      return value
    }
    screen.line(`✗ ${name} ${problem}`)
  }
  throw new Refusal(`${name} was not right ${MAX_ASKS} times; nothing was stored.`)
}

function enterMeans(name: SecretName, kept: string | undefined): string {
  if (kept !== undefined) return ' [set; Enter keeps it]'
  const { origin } = secretOf(name)
  if (origin === 'made') return ' [Enter makes one]'
  return origin === 'signed' ? " [Enter signs one with the project's key]" : ''
}

async function make(
  name: SecretName,
  values: Values,
  { settings, source, screen }: Collecting,
): Promise<string | undefined> {
  const { origin, role = '' } = secretOf(name)
  if (origin === 'made') return randomBytes(32).toString('base64url')
  if (origin === 'fetched') {
    const keys = await readSigningKeys(values.QSTASH_TOKEN ?? '', settings.QSTASH_URL ?? '')
    if ('problem' in keys) return undefined
    return name === 'QSTASH_CURRENT_SIGNING_KEY' ? keys.current : keys.next
  }
  if (origin !== 'signed') return undefined
  const key = await signingKey(source, screen)
  return key === undefined ? undefined : signRoleToken(key, role, settings.SUPABASE_URL ?? '')
}

/** Asked for once, kept in memory for the three tokens. */
async function signingKey(source: Source, screen: Screen): Promise<string | undefined> {
  const given = source.given.SUPABASE_SIGNING_KEY?.trim()
  if (given !== undefined && given !== '') {
    screen.hide([given])
    return given
  }
  if (source.ask === undefined) return undefined
  const answer = (
    await source.ask('SUPABASE_SIGNING_KEY, private JWK or JWT secret of the project (not stored): ')
  ).trim()
  if (answer === '') return undefined
  source.given = { ...source.given, SUPABASE_SIGNING_KEY: answer }
  screen.hide([answer])
  return answer
}
