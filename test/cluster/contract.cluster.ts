import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { beforeAll, expect, inject, test } from 'vitest'
import { childEnv, runCommand } from '../../knative/deploy/kubectl.ts'
import { violations } from './database.ts'
import { figure } from './figure.ts'
import { install } from './installation.ts'
import { newUser } from './user.ts'

/** `npm run test:contract` against the gateway, runs and streams included: the services come from zero, and their tools are Jobs. */
const ALLOWED_ORIGIN = 'https://app.example.com'

beforeAll(() => install({ ALLOWED_ORIGINS: ALLOWED_ORIGIN }), 600_000)

test('every case of the contract holds through the gateway', async () => {
  const { root, host, publicUrl, origin, anonKey } = inject('ground')
  const [first, second] = await Promise.all([newUser('contract-first'), newUser('contract-second')])
  const { code, stdout, stderr } = await runCommand(
    process.execPath,
    [
      ...['--import', join(root, 'test/cluster/reach-host.mjs')],
      join(root, 'test/contract/main.ts'),
      ...['--url', publicUrl, '--supabase-url', origin, '--anon-key', anonKey],
      ...['--origin', ALLOWED_ORIGIN, '--refused-origin', 'https://elsewhere.example.com'],
    ],
    {
      env: {
        ...childEnv(),
        CLUSTER_HOST: host,
        CONTRACT_TOKEN: first.token,
        CONTRACT_OTHER_TOKEN: second.token,
      },
    },
  )
  const output = stripVTControlCharacters(`${stdout}\n${stderr}`)
  process.stdout.write(output)
  const [, held = '', failed, left = ''] =
    /(\d+) cases held, (\d+) did not, (\d+) not for it/.exec(output) ?? []
  expect([code, failed]).toEqual([0, '0'])
  // those left out need the forwarders or a hand on the cache
  expect(Number(held)).toBeGreaterThan(60)
  figure('contract through the gateway', { 'cases held': Number(held), 'not for it': Number(left) })
  expect(await violations()).toEqual([])
}, 900_000)
