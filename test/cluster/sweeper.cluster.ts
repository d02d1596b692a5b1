import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { query, violations } from './database.ts'
import { figure } from './figure.ts'
import { install } from './installation.ts'
import { kubectl, kubectlJson, run } from './run.ts'

/** The sweeper without pg_cron: a CronJob asks the database, and calls the step function when something is due. */
let relay: Server
const sweeps: number[] = []

beforeAll(async () => {
  const { tools, host } = inject('ground')
  await install({}, ['sweeper-cronjob'])
  relay = await startRelay()
  const { port } = relay.address() as AddressInfo
  await run(join(tools, 'expose'), [String(port)])
  const address = `PUBLIC_BASE_URL=http://${host}:${port}`
  await kubectl(['set', 'env', 'cronjob/agent-sweeper', '-n', 'agents', address])
  // There is always something due, however often the stack's own sweeper looks: a finding that nobody can mark as told.
  await query(`create function private.never_told() returns trigger language plpgsql as $$
    begin new.reported_at := null; return new; end $$`)
  await query(
    'create trigger never_told before update on private.violations for each row execute function private.never_told()',
  )
  await query(`insert into private.violations (invariant, detail) values ('test', 'always due')`)
}, 600_000)
afterAll(async () => {
  await query('drop function if exists private.never_told() cascade')
  await query(`delete from private.violations where invariant = 'test'`)
  await kubectl(['delete', 'cronjob', '-n', 'agents', 'agent-sweeper', '--ignore-not-found'])
  relay.close()
}, 120_000)

/** The public gateway under an address that pods reach: on a cluster that has a name of its own they use that. */
async function startRelay(): Promise<Server> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { host: _host, connection: _connection, 'content-length': _length, ...headers } = request.headers
    const answer = await fetch(`${inject('ground').publicUrl}${request.url}`, {
      method: request.method ?? 'POST',
      headers: headers as Record<string, string>,
      body: Buffer.concat(chunks),
    })
    if (request.url === '/agent/step/sweep') sweeps.push(answer.status)
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

interface Job {
  metadata: { name: string; ownerReferences?: { name: string }[] }
  status: { succeeded?: number; failed?: number; startTime?: string; completionTime?: string }
}
const jobs = async () =>
  (await kubectlJson<{ items: Job[] }>(['get', 'jobs', '-n', 'agents'])).items.filter(
    ({ metadata }) => metadata.ownerReferences?.[0]?.name === 'agent-sweeper',
  )

test('a sweep of the schedule wakes the step function, which answers', async () => {
  const done = await vi.waitFor(
    async () => {
      // one that was made before its address was there may have failed
      const last = (await jobs()).find(({ status }) => status.succeeded === 1)
      if (last === undefined || sweeps.length === 0) throw new Error('no sweep has succeeded yet')
      return last
    },
    { timeout: 200_000, interval: 2000 },
  )
  expect(new Set(sweeps)).toEqual(new Set([200]))
  const { startTime = '', completionTime = '' } = done.status
  figure('sweep by the CronJob', {
    'from its pod to its end, s': (Date.parse(completionTime) - Date.parse(startTime)) / 1000,
  })
  await query('drop function private.never_told() cascade')
  await query(`delete from private.violations where invariant = 'test'`)
  expect(await violations()).toEqual([])
}, 300_000)
