import { expect, test } from 'vitest'
import { checkForm, normalize } from './check-form.ts'
import { checkSettings } from './check-value.ts'
import { childEnv } from './kubectl.ts'
import { createScreen } from './screen.ts'
import { FUNCTIONS, requiredKeys, SECRET_NAMES, secretsByFunction } from './secret-table.ts'
import { parseSecretsOptions } from './secrets-options.ts'

const settings = {
  PUBLIC_BASE_URL: 'https://api.swissbrain.ai',
  SUPABASE_URL: 'https://abcdefgh.supabase.co',
  UPSTASH_REDIS_REST_URL: 'https://eu1-redis.upstash.io',
  QSTASH_URL: 'https://qstash.upstash.io',
  ALLOWED_ORIGINS: 'https://app.swissbrain.ai',
}

test('settings that are ready have no fault; a local stack is one too', () => {
  expect(checkSettings(settings)).toEqual([])
  const near = { PUBLIC_BASE_URL: 'http://localhost:8080', SUPABASE_URL: 'http://10.90.0.1:54321' }
  expect(checkSettings({ ...settings, ...near, QSTASH_URL: 'http://10.90.0.1:8081' })).toEqual([])
})

test.each([
  ['PUBLIC_BASE_URL', 'http://api.swissbrain.ai', 'must be https'],
  ['PUBLIC_BASE_URL', 'http://localhost:8080', 'cannot be reached by QStash'],
  ['PUBLIC_BASE_URL', 'https://api.swissbrain.ai/agent', 'without a path'],
  ['SUPABASE_URL', 'http://abcdefgh.supabase.co', 'must be https'],
  ['SUPABASE_URL', 'https://project.example.com', 'still an example'],
  ['SUPABASE_URL', 'https://project.supabase.co', 'still an example'],
  ['SUPABASE_URL', 'CHANGE_ME', 'is no address'],
  ['UPSTASH_REDIS_REST_URL', '', 'is missing'],
])('%s as "%s": %s', (name, value, fault) => {
  expect(checkSettings({ ...settings, [name]: value }).join()).toContain(`${name}`)
  expect(checkSettings({ ...settings, [name]: value }).join()).toContain(fault)
})

test('what a value looks like is judged before it is sent, and never repeated', () => {
  expect(checkForm('UPSTASH_REDIS_REST_TOKEN', 'AYAgASQgN')).toBeNull()
  expect(checkForm('AGENT_SECRET', '$(rm -rf /)')).toContain('spaces')
  expect(checkForm('AGENT_SECRET', 'canary')).not.toContain('canary')
  expect(checkForm('QSTASH_TOKEN', 'canary\ncanary')).not.toContain('canary')
  expect(checkForm('SUPABASE_ANON_KEY', 'sb_secret_canary')).toContain('service_role')
  expect(checkForm('DATABASE_URL', 'postgresql://postgres.abc:canary@h/db')).toContain(
    'is of the role postgres',
  )
  expect(normalize('TRUSTED_ISSUERS', ' [\n {"issuer": "x"} ]\n')).toBe('[{"issuer":"x"}]')
  expect(normalize('QSTASH_TOKEN', 'a\r\n')).toBe('a')
})

test('every value is somebody’s, and no function holds what it does not need', () => {
  const all = Object.fromEntries(SECRET_NAMES.map((name) => [name, name]))
  const secrets = secretsByFunction(all)
  for (const name of FUNCTIONS)
    expect(Object.keys(secrets.get(name) ?? {})).toEqual(requiredKeys(name, { withDatabaseUrl: true }))
  const holders = (key: string) => FUNCTIONS.filter((name) => secrets.get(name)?.[key] !== undefined)
  expect(holders('ANTHROPIC_API_KEY')).toEqual(['agent-step'])
  expect(holders('QSTASH_CURRENT_SIGNING_KEY')).toEqual(['agent-step'])
  expect(holders('TRUSTED_ISSUERS')).toEqual(['agent-execute', 'agent-status', 'agent-logs'])
  expect(holders('QSTASH_TOKEN')).not.toContain('agent-logs')
  expect(secrets.get('agent-door')?.SUPABASE_ROLE_TOKEN).toBe('DOOR_SUPABASE_ROLE_TOKEN')
  expect(requiredKeys('agent-step', { withDatabaseUrl: false })).not.toContain('DATABASE_URL')
})

test('children get none of it, the screen shows none of it, options take none of it', () => {
  const env = childEnv({
    PATH: '/bin',
    QSTASH_TOKEN: 'canary',
    SUPABASE_SIGNING_KEY: 'canary',
    MIGRATION_DATABASE_URL: 'canary',
  })
  expect(env).toEqual({ PATH: '/bin' })
  let shown = ''
  const screen = createScreen((text) => {
    shown += text
  })
  screen.hide(['canary-canary', 'short'])
  screen.line('a canary-canary and a short one')
  expect(shown).toContain('a [hidden] and a short one')
  expect(() => parseSecretsOptions(['--qstash-token', 'canary'])).toThrow(/^(?!.*canary)/)
  expect(() => parseSecretsOptions(['--rotate', 'canary'])).toThrow(/^(?!.*canary)/)
})
