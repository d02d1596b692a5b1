import { beforeAll, expect, it } from 'vitest'
import { openapiDocument } from '../../shared/contract/openapi.ts'
import { operations } from '../../shared/contract/operations.ts'
import { DocumentCheck } from './document.ts'
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
