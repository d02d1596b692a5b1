import { describe, expect, it } from 'vitest'
import { ConfigError } from '../core/config-error.ts'
import { readConfig } from './read-config.ts'
import { readTarget } from './read-target.ts'
import { testConfig } from './test-config.ts'

function faultsOf(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  throw new Error('no fault was found')
}

describe('readConfig', () => {
  it('has documented defaults, and is frozen', () => {
    const config = testConfig('execute')
    expect(config).toMatchObject({
      runTimeoutSeconds: 3600,
      runMaxSteps: 200,
      openingCredits: 10_000,
      maxAttachments: 20,
      maxAttachmentBytes: 52_428_800,
    })
    expect(testConfig('logs')).toMatchObject({
      streamMaxSeconds: 280,
      streamHeartbeatSeconds: 15,
      idleEndSeconds: 60,
      allowTokenInQuery: false,
    })
    expect(Object.isFrozen(config)).toBe(true)
    expect(config.issuers[0]).toMatchObject({
      audience: 'authenticated',
      keys: { kind: 'jwks', url: 'https://p.example.com/auth/v1/.well-known/jwks.json' },
    })
  })

  it('says every missing and wrong setting at once, with what it is for and without its value', () => {
    const text = faultsOf(() =>
      readConfig('step', {
        PORT: '99999',
        SUPABASE_URL: 'hunter2',
        SWEEP_SECRET: 'too-short-secret',
        AGENT_MODEL: ' ',
      }),
    )
    for (const name of [
      'PORT',
      'SUPABASE_URL',
      'SUPABASE_ROLE_TOKEN',
      'QSTASH_TOKEN',
      'ANTHROPIC_API_KEY',
      'SWEEP_SECRET',
      'AGENT_SECRET',
      'SANDBOX_URL',
    ]) {
      expect(text).toMatch(new RegExp(`^ {2}${name} .+: .+`, 'm'))
    }
    expect(text).not.toMatch(/hunter2|too-short-secret|AGENT_MODEL/)
  })

  it('asks for what the chosen sandbox needs, and for nothing of the other', () => {
    const daemon = { SANDBOX_URL: '', SANDBOX_TOKEN: '' }
    expect(faultsOf(() => testConfig('step', daemon))).toMatch(
      /SANDBOX_URL is missing.*\n.*SANDBOX_TOKEN is missing/,
    )
    const kubernetes = { ...daemon, SANDBOX: 'kubernetes' }
    expect(faultsOf(() => testConfig('step', kubernetes))).toContain('TOOL_IMAGE is missing')
    expect(testConfig('step', { ...kubernetes, TOOL_IMAGE: 'tools:1' })).toMatchObject({
      sandboxNamespace: 'agents-sandbox',
      toolHostUsers: true,
      jobStartSeconds: 300,
    })
    expect(faultsOf(() => testConfig('step', { DOOR_ADDRESS: 'door.example' }))).toContain(
      'must be an IP address',
    )
  })

  it.each([
    [{ issuer: 'i', user_id: 'sub', hs256_secret: 'x'.repeat(40) }, 'until'],
    [{ issuer: 'i', user_id: 'sub', hs256_secret: 'hunter2hunter2', until: '2030-01-01' }, 'hs256_secret'],
    [{ issuer: 'i', user_id: 'sub', algorithms: ['HS256'] }, 'algorithms'],
    [{ issuer: 'i', user_id: 'sub', algorithms: ['none'] }, 'algorithms'],
    [
      {
        issuer: 'i',
        user_id: 'sub',
        jwks_url: 'https://i/j',
        hs256_secret: 'x'.repeat(40),
        until: '2030-01-01',
      },
      'row each',
    ],
    [{ issuer: 'i' }, 'user_id'],
  ])('refuses the issuer %j', (row, word) => {
    const text = faultsOf(() => testConfig('status', { TRUSTED_ISSUERS: JSON.stringify([row]) }))
    expect(text).toContain('TRUSTED_ISSUERS')
    expect(text).toContain(word)
    expect(text).not.toContain('hunter2')
  })

  it('refuses issuers that would make one person of two, or two ways for one issuer', () => {
    const rows = (...ways: [string, string][]) =>
      JSON.stringify(ways.map(([issuer, user_id]) => ({ issuer, user_id, jwks_url: `https://${issuer}/j` })))
    const faults = (text: string) => faultsOf(() => testConfig('status', { TRUSTED_ISSUERS: text }))
    expect(faults(rows(['a', 'sub'], ['b', 'sub']))).toContain('only one issuer may have user_id "sub"')
    expect(faults(rows(['a', 'sub'], ['a', 'new']))).toContain('the rows of one issuer need the same user_id')
    expect(
      testConfig('status', { TRUSTED_ISSUERS: rows(['a', 'sub'], ['b', 'new'], ['a', 'sub']) }).issuers,
    ).toHaveLength(3)
  })

  it('refuses a key that can step around row security, wherever a narrow one belongs, and does not repeat it', () => {
    const token = (role: string) =>
      `e30.${Buffer.from(JSON.stringify({ role, iss: 'supabase' })).toString('base64url')}.hunter2`
    const refused: [string, string][] = [
      ['SUPABASE_ROLE_TOKEN', token('service_role')],
      ['SUPABASE_ROLE_TOKEN', token('supabase_admin')],
      ['SUPABASE_ROLE_TOKEN', 'sb_secret_hunter2'],
      ['SUPABASE_ANON_KEY', token('service_role')],
      ['SUPABASE_ANON_KEY', 'sb_secret_hunter2'],
      ['DATABASE_URL', 'postgres://postgres:hunter2@db.example.com/postgres'],
      ['DATABASE_URL', 'postgres://postgres.abcdefgh:hunter2@pooler.example.com:6543/postgres'],
      ['DATABASE_URL', 'postgres://service_role:hunter2@db.example.com/postgres'],
    ]
    for (const [name, value] of refused) {
      const text = faultsOf(() => testConfig('status', { [name]: value }))
      expect(text).toMatch(new RegExp(`${name} is of the role \\w+, which can step around row security: .+`))
      expect(text).not.toContain('hunter2')
    }
    const issuer = { issuer: 'i', user_id: 'sub', project_key: token('service_role') }
    const text = faultsOf(() => testConfig('status', { TRUSTED_ISSUERS: JSON.stringify([issuer]) }))
    expect(text).toContain('not a service key')
    expect(
      testConfig('status', { SUPABASE_ROLE_TOKEN: token('agent_api'), SUPABASE_ANON_KEY: token('anon') }),
    ).toBeTruthy()
  })

  it.each(['*.example.com', 'https://a.example.com/path', 'a.example.com'])(
    'refuses the origin %s',
    (origin) => {
      expect(
        faultsOf(() => testConfig('logs', { ALLOWED_ORIGINS: `https://ok.example.com, ${origin}` })),
      ).toContain('ALLOWED_ORIGINS')
    },
  )

  it('wants a connection string for the store postgres, and says nothing of it', () => {
    expect(testConfig('status').store).toBe('supabase')
    expect(faultsOf(() => testConfig('status', { STORE: 'postgres' }))).toContain('DATABASE_URL is missing')
    const DATABASE_URL = 'postgresql://me:hunter2@db.example.com:6543/postgres'
    expect(testConfig('status', { STORE: 'postgres', DATABASE_URL })).toMatchObject({
      store: 'postgres',
      databaseUrl: DATABASE_URL,
    })
    const text = faultsOf(() => testConfig('status', { DATABASE_URL: 'hunter2://x', STORE: 'mysql' }))
    expect(text).toMatch(/DATABASE_URL .+postgres:/)
    expect(text).toContain('STORE ')
    expect(text).not.toContain('hunter2')
  })

  it('reads the tools that need an approval, and refuses what is no tool', () => {
    expect(testConfig('step').approvalTools).toEqual([])
    expect(testConfig('step', { APPROVAL_TOOLS: ' shell, file_list,' }).approvalTools).toEqual([
      'shell',
      'file_list',
    ])
    expect(faultsOf(() => testConfig('step', { APPROVAL_TOOLS: 'shell,rm' }))).toContain('"rm" is not a tool')
  })

  it('knows the four targets', () => {
    expect(readTarget({})).toBeNull()
    expect(readTarget({ FUNCTION_TARGET: 'logs' })).toBe('logs')
    expect(faultsOf(() => readTarget({ FUNCTION_TARGET: 'constructor' }))).toContain('FUNCTION_TARGET')
  })
})
