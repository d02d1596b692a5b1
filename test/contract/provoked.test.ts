import { randomUUID } from 'node:crypto'
import { beforeAll, expect, it } from 'vitest'
import { openapiDocument } from '../../shared/contract/openapi.ts'
import { operations } from '../../shared/contract/operations.ts'
import { ask } from './ask.ts'
import { DocumentCheck } from './document.ts'
import { memoryDoors } from './memory-doors.ts'
import { provokeEvents } from './provoke-events.ts'
import { type Provoked, provokeEverything } from './provoke-everything.ts'

const document = new DocumentCheck(openapiDocument({ version: '1', serverUrl: 'http://api.example.com' }))
let provoked: Provoked[]
beforeAll(async () => {
  provoked = await provokeEverything()
}, 120_000)

const places = operations.flatMap((operation) =>
  operation.paths.map((path) => ({ operation, path, name: `${operation.method.toUpperCase()} ${path}` })),
)

it.each(places)('$name gives each answer that it documents, and no other', ({ operation, path }) => {
  const here = provoked.filter((one) => one.operation === operation && one.path === path)
  expect(here.length).toBeGreaterThan(operation.errors.length)
  for (const { wanted, documented, exchange, fault } of here) {
    const status = exchange?.status ?? 0
    const how = `asked for ${wanted ?? 'success'}: ${exchange?.text ?? ''}`
    expect([how, fault, exchange && document.faultOf(exchange)]).toEqual([how, null, null])
    if (wanted === null) expect([how, status < 300]).toEqual([how, true])
    else if (documented) expect([how, status]).toEqual([how, wanted])
  }
})

it('the events of time, of a token’s end and of text in the making are as their schemas say', async () => {
  const frames = await provokeEvents()
  expect(frames.map(({ stream, data }) => document.faultOfFrame(stream, data)).filter(Boolean)).toEqual([])
  expect([...document.seenEvents]).toEqual(
    expect.arrayContaining([
      'Event_heartbeat',
      'Event_expired',
      'Plain_error',
      'Event_message_delta',
      'Event_phase',
      'Event_progress',
      'Event_interrupted',
    ]),
  )
}, 60_000)

it('calls that wait for their user’s yes are told by status and answered once each, as documented', async () => {
  const doors = await memoryDoors()
  try {
    const user = randomUUID()
    const run_id = await doors.askingRun(user)
    const post = async (path: string, body: object) => {
      const exchange = await ask(doors.origin, {
        method: 'POST',
        path,
        headers: { authorization: `Bearer ${user}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      expect([exchange.text, document.faultOf(exchange)]).toEqual([exchange.text, null])
      return { status: exchange.status, body: JSON.parse(exchange.text ?? '') as Record<string, unknown> }
    }
    const told = async () => {
      const { body } = await post('/agent/status', { run_id })
      return { ...(body as { run: { status: string }; approvals: { approval_id: string }[] }) }
    }
    const before = await told()
    expect([before.run.status, before.approvals.length]).toEqual(['waiting_user', 2])
    const [first, second] = before.approvals.map(({ approval_id }) => approval_id)
    const answer = (action: string, approval_id: string | undefined, more = {}) =>
      post('/agent/execute', { action, run_id, approval_id, ...more })

    expect(await answer('approve', first)).toMatchObject({ status: 200, body: { status: 'waiting_user' } })
    expect(await answer('approve', first)).toMatchObject({ status: 200 })
    expect(await answer('deny', first)).toMatchObject({ status: 409, body: { code: 'already_answered' } })
    expect(await answer('deny', second, { message: 'Not this one' })).toMatchObject({
      status: 200,
      body: { status: 'executing' },
    })
    expect(await told()).toMatchObject({ run: { status: 'executing' }, approvals: [] })
  } finally {
    await doors.close()
  }
})
