// F2's worker: HTTP in, one transaction, the next step's message out.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { openFloor } from '../floor.ts'
import { publish } from './publish.ts'

const { databaseUrl, dispatcher } = JSON.parse(process.argv[2] ?? '{}') as {
  databaseUrl: string
  dispatcher: string
}
const floor = openFloor(databaseUrl)
const server = createServer((req, res) => {
  let body = ''
  req.setEncoding('utf8')
  req.on('data', (chunk: string) => {
    body += chunk
  })
  req.on('end', () => {
    const { run_id, step_number } = JSON.parse(body) as { run_id: string; step_number: number }
    floor
      .step(run_id, step_number)
      .then((next) => publish(dispatcher, { run_id, step_number: next }))
      .then(
        () => res.writeHead(200, { 'content-type': 'application/json' }).end('{"outcome":"committed"}'),
        (error: unknown) => res.writeHead(500).end(String(error)),
      )
  })
})
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }))
process.on('disconnect', () => process.exit())
