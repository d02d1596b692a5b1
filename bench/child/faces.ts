// What a function reaches in a cluster, in one process: PostgREST, Auth and Storage of a project, Upstash Redis, and QStash's publish
// (which here is accepted and goes nowhere).
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { createRedis } from '../../dev/redis/redis.ts'
import { createSupabase } from '../../dev/supabase/create-supabase.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as {
  databaseUrls: Record<string, string>
  dir: string
  redisToken: string
}
const root = new Hono()
const server = serve(
  {
    fetch: (request) => root.fetch(request),
    port: 0,
    hostname: '127.0.0.1',
    serverOptions: { keepAliveTimeout: 600_000 },
  },
  async ({ port }) => {
    const supabase = await createSupabase({
      databaseUrl: (role) => options.databaseUrls[role] ?? '',
      storageDir: `${options.dir}/storage`,
      keysFile: `${options.dir}/keys.json`,
      origin: `http://127.0.0.1:${port}`,
    })
    const redis = createRedis({ token: options.redisToken })
    root.mount('/redis', (request: Request) => redis.fetch(request))
    root.post('/qstash/*', (context) => context.json({ messageId: 'msg_bench' }, 201))
    root.route('/', supabase.app)
    process.send?.({
      port,
      anonKey: supabase.anonKey,
      stepToken: await supabase.mintRoleToken({ role: 'agent_step' }),
      apiToken: await supabase.mintRoleToken({ role: 'agent_api' }),
      issuer: supabase.issuer,
    })
  },
)
process.on('disconnect', () => {
  server.close()
  process.exit()
})
