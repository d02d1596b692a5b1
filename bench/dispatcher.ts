import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { signDelivery } from '../dev/qstash/sign.ts'

export interface Dispatcher {
  /** Where workers publish to. */
  url: string
  /** Delivers the first step of a run to a worker and then what it publishes; resolves when `steps` deliveries were answered. */
  follow(
    runId: string,
    steps: number,
    to: { url: string; sign?: { url: string; key: string } },
  ): Promise<void>
  close(): Promise<void>
}

/** Takes published messages over HTTP and delivers each over HTTP, one attempt: a failure fails the benchmark. */
export async function startDispatcher(): Promise<Dispatcher> {
  const runs = new Map<string, (stepNumber: number) => void>()
  const server = createServer((req, res) => {
    let body = ''
    req.setEncoding('utf8')
    req.on('data', (chunk: string) => {
      body += chunk
    })
    req.on('end', () => {
      const { run_id, step_number } = JSON.parse(body) as { run_id: string; step_number: number }
      res.writeHead(202).end()
      runs.get(run_id)?.(step_number)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    follow: (runId, steps, to) =>
      new Promise((resolve, reject) => {
        let answered = 0
        const deliver = async (stepNumber: number) => {
          if (stepNumber >= steps) return
          const body = JSON.stringify({ run_id: runId, step_number: stepNumber })
          const headers: Record<string, string> = { 'content-type': 'application/json' }
          if (to.sign !== undefined) {
            headers['upstash-signature'] = await signDelivery({
              ...to.sign,
              body: new TextEncoder().encode(body),
              nowMs: Date.now(),
            })
          }
          const answer = await fetch(to.url, { method: 'POST', headers, body })
          const text = await answer.text()
          if (!answer.ok || !text.includes('"committed"'))
            throw new Error(`step ${stepNumber}: ${answer.status} ${text}`)
          answered += 1
          if (answered === steps) {
            runs.delete(runId)
            resolve()
          }
        }
        const begin = (stepNumber: number) => void deliver(stepNumber).catch(reject)
        runs.set(runId, begin)
        begin(0)
      }),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
