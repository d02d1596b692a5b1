import { Connections } from '../../functions/logs/connections.ts'
import { logsApp } from '../../functions/logs/routes.ts'
import { ALICE, listen, testPorts } from '../../functions/test-kit.ts'
import { createCache } from '../../shared/adapters/upstash/cache.ts'
import { testConfig } from '../../shared/config/test-config.ts'
import { runChannel } from '../../shared/contract/live.ts'

export interface Measured {
  rssBytes: number
  heapBytes: number
  streams: number
  /** Reads of rows since the last measurement. */
  reads: number
}

/**
 * The logs function in a process of its own: real sockets and the real cache adapter, rows in memory. Told `{runs}` it answers
 * `{port, ids}`; told `measure` a Measured; told `tell` it writes one row to each run and announces it.
 */
const redis = { url: process.env['REDIS_URL'] ?? '', token: process.env['REDIS_TOKEN'] ?? '' }
const env = {
  RATE_STREAMS_PER_MINUTE: '1000000',
  MAX_STREAMS_PER_USER: '100000',
  MAX_STREAMS: '2000',
  STREAM_MAX_SECONDS: '3600',
}
const config = testConfig('logs', env)
const cache = createCache(redis)
const connections = new Connections({ most: config.maxStreams, mostOfUser: config.maxStreamsPerUser })
const ports = { ...testPorts(), cache, connections }
const ids: string[] = []
const answer = (message: unknown) => process.send?.(message)

process.on('message', async (message: { runs: number } | 'measure' | 'tell') => {
  if (message === 'measure') {
    globalThis.gc?.()
    const { rss, heapUsed } = process.memoryUsage()
    const reads = ports.store.calls.filter((name) => name === 'readEvents').length
    ports.store.calls = []
    answer({ rssBytes: rss, heapBytes: heapUsed, streams: connections.size, reads } satisfies Measured)
  } else if (message === 'tell') {
    for (const id of ids) {
      ports.store.addLog(id, 'info', 'something happened', {})
      await cache.publish(runChannel(id), ['{"t":"rows"}'])
    }
    answer('told')
  } else {
    for (let n = 0; n < message.runs; n++) {
      const { run } = await ports.store.createRun({
        principal: { issuer: 'i', sub: ALICE, tenant_id: null, user_id_from: 'sub' },
        prompt: 'p',
        mode: 'chat',
        project_id: null,
        connector_ids: [],
        metadata: {},
        memory_context: null,
        tags: [],
        attachments: [],
        files: [],
        auto_start: true,
        limits: { max_steps: 1, timeout_seconds: 1 },
        opening_credits: 100,
        idempotency: null,
        warnings: [],
      })
      ids.push(run.id)
    }
    const { port } = await listen(logsApp(config, ports))
    answer({ port, ids })
  }
})
