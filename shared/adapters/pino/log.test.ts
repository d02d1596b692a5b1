import { expect, it } from 'vitest'
import { createLog } from './log.ts'

const JWT = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl'

it('writes one JSON line with the fields of the port and no credential', () => {
  const lines: string[] = []
  const log = createLog(
    { service: 'logs', level: 'info', version: '1' },
    { write: (line) => void lines.push(line) },
  )
  const error = new Error(`fetch http://x/?token=${JWT} failed with Bearer abcdefgh12345678`, {
    cause: new Error(`ticket=${JWT}`),
  })
  Object.assign(error, { config: { headers: { authorization: 'hunter2' } } })
  log.child({ request_id: 'r' }).warn({ run_id: 'x', path: '/a?ticket=abcdef', err: error }, 'text')
  log.debug({}, 'not shown')
  expect(lines).toHaveLength(1)
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    level: 'warn',
    service: 'logs',
    version: '1',
    request_id: 'r',
    run_id: 'x',
    msg: 'text',
    err: { type: 'Error' },
  })
  expect(lines[0]).not.toMatch(/eyJ|abcdef|hunter2/)
})

it('tells an error by its name, whatever its class is called in a bundle', () => {
  const lines: string[] = []
  const log = createLog({ service: 'logs', level: 'info' }, { write: (line) => void lines.push(line) })
  class a extends Error {
    override name = 'ModelError'
  }
  log.warn({ err: new a('no') }, 'text')
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ err: { type: 'ModelError', message: 'no' } })
})
