import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { exportJWK, generateKeyPair } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatEnv } from '../../dev/function-env.ts'
import { startPostgres } from '../../dev/postgres/start-postgres.ts'
import { type Stack, startStack } from '../../dev/stack.ts'
import { createKubectl, runCommand } from '../../knative/deploy/kubectl.ts'
import { readSecretData } from '../../knative/deploy/stored-secrets.ts'

/** `./setup-secrets.sh` against the real faces of the local stack and the API server of the cluster. */
const root = resolve(import.meta.dirname, '../..')
const namespace = 'dep-secrets'
const kubectl = createKubectl()
let dir: string
let stack: Stack
let given: Record<string, string>
let settings: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'secrets-'))
  stack = await startStack({ root, dir: join(dir, 'stack'), port: 0, settings: {}, fsync: false })
  const { environments, env, supabase } = stack
  given = {
    SUPABASE_ANON_KEY: env.SUPABASE_ANON_KEY,
    SUPABASE_ROLE_TOKEN: await supabase.mintRoleToken({ role: 'agent_api' }),
    STEP_SUPABASE_ROLE_TOKEN: await supabase.mintRoleToken({ role: 'agent_step' }),
    DOOR_SUPABASE_ROLE_TOKEN: await supabase.mintRoleToken({ role: 'agent_door' }),
    TRUSTED_ISSUERS: environments.execute.TRUSTED_ISSUERS ?? '',
    UPSTASH_REDIS_REST_TOKEN: env.UPSTASH_REDIS_REST_TOKEN,
    QSTASH_TOKEN: env.QSTASH_TOKEN,
    ANTHROPIC_API_KEY: 'canary-anthropic-0123456789',
    MIGRATION_DATABASE_URL: env.DATABASE_URL,
  }
  settings = join(dir, 'settings')
  const { PUBLIC_BASE_URL = '', ANTHROPIC_BASE_URL = '' } = environments.step
  writeFileSync(
    settings,
    formatEnv({
      PUBLIC_BASE_URL,
      ANTHROPIC_BASE_URL,
      SUPABASE_URL: env.SUPABASE_URL,
      UPSTASH_REDIS_REST_URL: env.UPSTASH_REDIS_REST_URL,
      QSTASH_URL: env.QSTASH_URL,
      ALLOWED_ORIGINS: '*',
    }),
  )
  await kubectl.run(['delete', 'namespace', namespace, '--ignore-not-found'])
}, 120_000)

afterAll(async () => {
  await kubectl.run(['delete', 'namespace', namespace, '--ignore-not-found'])
  await stack?.close()
  await startPostgres({ dir: join(dir, 'stack/postgres') }).then((postgres) => postgres.remove())
  rmSync(dir, { recursive: true, force: true })
}, 120_000)

interface Run {
  code: number
  output: string
  /** Command lines of the program and its children, as others on the machine see them. */
  commands: string[]
}

/** Runs the script as an operator would, and reads every command line below it every 15 ms meanwhile. */
function setup(env: Record<string, string>, ...args: string[]): Promise<Run> {
  const child = spawn(
    join(root, 'setup-secrets.sh'),
    ['--from-env', '--namespace', namespace, '--settings', settings, ...args],
    {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, KUBECONFIG: process.env.KUBECONFIG, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
    })
  const commands = new Set<string>()
  const watch = setInterval(() => {
    for (const line of commandLines()) commands.add(line)
  }, 15)
  return new Promise((done) =>
    child.on('close', (code) => {
      clearInterval(watch)
      done({ code: code ?? 1, output, commands: [...commands] })
    }),
  )
}

function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        // kubectl's environment too: it needs none of our values
        return line.includes('kubectl') ? [line, readFileSync(`/proc/${pid}/environ`, 'utf8')] : [line]
      } catch {
        return []
      }
    })
}

function expectNoSecret({ output, commands }: Run, values: Record<string, string>): void {
  for (const [name, value] of Object.entries(values)) {
    if (value.length < 8) continue
    expect(output.includes(value), `${name} in the output`).toBe(false)
    expect(
      commands.some((line) => line.includes(value)),
      `${name} in a command line`,
    ).toBe(false)
    const encoded = Buffer.from(value).toString('base64')
    expect(
      commands.some((line) => line.includes(encoded)),
      `${name} encoded in a command line`,
    ).toBe(false)
  }
}

describe('setup-secrets.sh', () => {
  test('stores what is right, each function its own, and shows none of it', async () => {
    const run = await setup(given)
    expect(run.output).toContain('Secret agent-door written')
    expect(run.code, run.output).toBe(0)
    expect(run.commands.some((line) => line.includes('setup-secrets.ts'))).toBe(true)
    expect(run.commands.some((line) => line.startsWith('kubectl'))).toBe(true)
    const data = await readSecretData(kubectl, namespace)
    const stored = Object.assign({}, ...data.values()) as Record<string, string>
    expectNoSecret(run, { ...given, ...stored })
    expect(keysOf(data)).toEqual({
      'agent-door': [
        'AGENT_SECRET',
        'QSTASH_TOKEN',
        'SUPABASE_ANON_KEY',
        'SUPABASE_ROLE_TOKEN',
        'UPSTASH_REDIS_REST_TOKEN',
      ],
      'agent-execute': [
        'QSTASH_TOKEN',
        'SUPABASE_ANON_KEY',
        'SUPABASE_ROLE_TOKEN',
        'TRUSTED_ISSUERS',
        'UPSTASH_REDIS_REST_TOKEN',
      ],
      'agent-logs': [
        'SUPABASE_ANON_KEY',
        'SUPABASE_ROLE_TOKEN',
        'TRUSTED_ISSUERS',
        'UPSTASH_REDIS_REST_TOKEN',
      ],
      'agent-status': [
        'SUPABASE_ANON_KEY',
        'SUPABASE_ROLE_TOKEN',
        'TRUSTED_ISSUERS',
        'UPSTASH_REDIS_REST_TOKEN',
      ],
      'agent-step': [
        'AGENT_SECRET',
        'ANTHROPIC_API_KEY',
        'QSTASH_CURRENT_SIGNING_KEY',
        'QSTASH_NEXT_SIGNING_KEY',
        'QSTASH_TOKEN',
        'SUPABASE_ANON_KEY',
        'SUPABASE_ROLE_TOKEN',
        'SWEEP_SECRET',
        'UPSTASH_REDIS_REST_TOKEN',
      ],
    })
    expect(data.get('agent-step')?.QSTASH_CURRENT_SIGNING_KEY).toBe(stack.env.QSTASH_CURRENT_SIGNING_KEY)
    expect(data.get('agent-door')?.SUPABASE_ROLE_TOKEN).toBe(given.DOOR_SUPABASE_ROLE_TOKEN)
    expect(data.get('agent-door')?.AGENT_SECRET).toBe(data.get('agent-step')?.AGENT_SECRET)
  }, 60_000)

  test('again changes nothing, with nothing given either', async () => {
    const before = await versions()
    expect((await setup(given)).code).toBe(0)
    expect((await setup({})).code).toBe(0)
    expect(await versions()).toEqual(before)
  }, 60_000)

  test('keeps no second copy of a value on the object', async () => {
    const { stdout } = await kubectl.run([
      'get',
      'secrets',
      '--namespace',
      namespace,
      '--output',
      'json',
      '--show-managed-fields',
    ])
    expect(stdout).not.toContain('last-applied-configuration')
  })

  test('--check finds it right; changed behind its back, it says what', async () => {
    expect((await setup({}, '--check')).code).toBe(0)
    const torn = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'agent-logs', namespace },
      data: { UPSTASH_REDIS_REST_TOKEN: Buffer.from('canary-not-the-token').toString('base64') },
    }
    await kubectl.must(
      ['apply', '--server-side', '--force-conflicts', '--field-manager=somebody', '--filename=-'],
      JSON.stringify(torn),
    )
    const run = await setup({}, '--check')
    expect(run.code).toBe(1)
    expect(run.output).toContain('UPSTASH_REDIS_REST_TOKEN is not the same in all Secrets')
    const before = await versions()
    await kubectl.must(['delete', 'secret', 'agent-logs', '--namespace', namespace])
    expect((await setup({}, '--check')).output).toContain('There is no Secret agent-logs')
    expect((await setup({})).code).toBe(0)
    const { 'agent-logs': replaced, ...others } = await versions()
    expect(replaced).toBeDefined()
    expect({ ...others, 'agent-logs': before['agent-logs'] }).toEqual(before)
  }, 60_000)

  test('rotates one value and leaves the others', async () => {
    const before = await readSecretData(kubectl, namespace)
    const run = await setup({}, '--rotate', 'AGENT_SECRET')
    expect(run.code, run.output).toBe(0)
    const after = await readSecretData(kubectl, namespace)
    const [old, fresh] = [
      before.get('agent-step')?.AGENT_SECRET ?? '',
      after.get('agent-step')?.AGENT_SECRET ?? '',
    ]
    expect(fresh).not.toBe(old)
    expect(after.get('agent-door')?.AGENT_SECRET).toBe(fresh)
    expectNoSecret(run, { old, fresh })
    expect({ ...after.get('agent-step'), AGENT_SECRET: old }).toEqual(before.get('agent-step'))
    expect(after.get('agent-logs')).toEqual(before.get('agent-logs'))
    const unset = await setup({}, '--rotate', 'ANTHROPIC_API_KEY')
    expect(unset.code).toBe(1)
    expect(unset.output).toContain('ANTHROPIC_API_KEY needs a new value')
  }, 60_000)

  test('a foreign signing key signs nothing that passes', async () => {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true })
    const key = JSON.stringify({ ...(await exportJWK(privateKey)), alg: 'ES256' })
    const run = await setup({ SUPABASE_SIGNING_KEY: key }, '--rotate', 'STEP_SUPABASE_ROLE_TOKEN')
    expect(run.code).toBe(1)
    expect(run.output).toContain('STEP_SUPABASE_ROLE_TOKEN')
    expectNoSecret(run, { key })
  }, 60_000)

  test("the project's own signing key signs the tokens of all three roles", async () => {
    const { private_jwk } = JSON.parse(readFileSync(join(dir, 'stack/keys.json'), 'utf8')) as {
      private_jwk: object
    }
    const key = JSON.stringify({ ...private_jwk, kid: stack.supabase.jwks.keys[0]?.kid, alg: 'ES256' })
    const other = `${namespace}-signed`
    const {
      SUPABASE_ROLE_TOKEN: _a,
      STEP_SUPABASE_ROLE_TOKEN: _b,
      DOOR_SUPABASE_ROLE_TOKEN: _c,
      ...rest
    } = given
    const run = await setup({ ...rest, SUPABASE_SIGNING_KEY: key }, '--namespace', other)
    const data = await readSecretData(kubectl, other)
    await kubectl.run(['delete', 'namespace', other, '--ignore-not-found'])
    expect(run.code, run.output).toBe(0)
    expect(new Set([...data.values()].map((secret) => secret.SUPABASE_ROLE_TOKEN)).size).toBe(3)
    expectNoSecret(run, { key })
  }, 60_000)

  const evil = `canary-$(touch$\{IFS}/tmp/agent-functions-owned)"'\`;\\-0123456789`
  const foreign = 'canary-foreign-0123456789'
  test.each<[string, string, () => string, string]>([
    [
      "the service role's key as a function's token",
      'SUPABASE_ROLE_TOKEN',
      () => stack.env.SUPABASE_SERVICE_ROLE_KEY,
      'is of the role service_role',
    ],
    [
      "the service role's key as the anon key",
      'SUPABASE_ANON_KEY',
      () => stack.env.SUPABASE_SERVICE_ROLE_KEY,
      'is of the role service_role',
    ],
    [
      "another role's token",
      'STEP_SUPABASE_ROLE_TOKEN',
      () => given.SUPABASE_ROLE_TOKEN ?? '',
      'is of the role agent_api, not agent_step',
    ],
    ['a wrong key', 'UPSTASH_REDIS_REST_TOKEN', () => foreign, 'refuses it (401)'],
    ['a wrong token of QStash', 'QSTASH_TOKEN', () => foreign, 'refuses it (401)'],
    ['a wrong signing key', 'QSTASH_CURRENT_SIGNING_KEY', () => foreign, 'is not the current key'],
    [
      'a line end within',
      'UPSTASH_REDIS_REST_TOKEN',
      () => `canary-one\ncanary-two`,
      'holds spaces, line ends',
    ],
    ['a header within', 'QSTASH_TOKEN', () => 'canary\r\nx-evil: 1', 'holds spaces, line ends'],
    ["a shell's words", 'UPSTASH_REDIS_REST_TOKEN', () => evil, 'refuses it (401)'],
    ['a file by mistake', 'ANTHROPIC_API_KEY', () => 'canary-'.repeat(10_000), 'more than 32768'],
    ['no JSON', 'TRUSTED_ISSUERS', () => '{"canary-issuer": ', 'must be JSON'],
    [
      'issuers without keys',
      'TRUSTED_ISSUERS',
      () => JSON.stringify([{ issuer: `${stack.origin}/canary-issuer`, user_id: 'sub' }]),
      'publishes no keys (404)',
    ],
    ['a short secret of ours', 'AGENT_SECRET', () => 'canary-short', 'at least 32 characters'],
  ])(
    'refuses %s, stores nothing, shows nothing',
    async (_what, name, value, message) => {
      const before = await versions()
      const run = await setup({ ...given, [name]: value() })
      expect(run.code).toBe(1)
      expect(run.output).toContain(`✗ ${name} `)
      expect(run.output).toContain(message)
      expect(run.output).toContain('Nothing was stored')
      expectNoSecret(run, { [name]: value() })
      if (!['TRUSTED_ISSUERS'].includes(name)) expect(run.output).not.toContain('canary')
      expect(await versions()).toEqual(before)
    },
    60_000,
  )

  test('stores quotes and dollars as they are', async () => {
    const run = await setup({ SWEEP_SECRET: evil }, '--rotate', 'SWEEP_SECRET')
    expect(run.code, run.output).toBe(0)
    expect((await readSecretData(kubectl, namespace)).get('agent-step')?.SWEEP_SECRET).toBe(evil)
    expectNoSecret(run, { evil })
    expect((await runCommand('ls', ['/tmp/agent-functions-owned'])).code).not.toBe(0)
  }, 60_000)

  test('an option that could hold a secret is refused without repeating it', async () => {
    const run = await setup({}, '--anthropic-api-key=canary-in-an-option')
    expect(run.code).toBe(1)
    expect(run.output).not.toContain('canary')
  })
})

function keysOf(data: Map<string, Record<string, string>>): Record<string, string[]> {
  return Object.fromEntries(
    [...data].map(([name, secret]) => [name, Object.keys(secret).toSorted((a, b) => (a < b ? -1 : 1))]),
  )
}

async function versions(): Promise<Record<string, string>> {
  const { items } = await kubectl.json<{ items: { metadata: { name: string; resourceVersion: string } }[] }>([
    'get',
    'secrets',
    '--namespace',
    namespace,
    '--output',
    'json',
  ])
  return Object.fromEntries(items.map(({ metadata }) => [metadata.name, metadata.resourceVersion]))
}
