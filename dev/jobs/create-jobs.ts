import { createHash, timingSafeEqual } from 'node:crypto'
import { resolve } from 'node:path'
import { type ServerType, serve } from '@hono/node-server'
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { Log } from '../../shared/ports/log.ts'
import type { Confinement } from '../../shared/runner/confinement.ts'
import { JobBoard } from './job-board.ts'
import { jobSpec } from './job-record.ts'

export interface JobsOptions {
  /** Directory of records and working directories, e.g. `.local/jobs`; made when missing. */
  dir: string
  /** Bearer secret of the callers (SANDBOX_TOKEN). */
  token: string
  /** dist/runner.mjs, or shared/runner/main.ts. */
  runnerPath: string
  confinement: Confinement
  log: Log
  /** Jobs that run at the same time; more wait. Default 4. */
  maxJobs?: number
  /** Node 24 or later that runs the runner and JavaScript tools. Default: this process's. */
  nodePath?: string
  /** Default 600. */
  keepSeconds?: number
}

export interface Jobs {
  app: Hono
  fetch: Hono['fetch']
  /** Listens on 127.0.0.1; port 0 (the default) is any free one. Answers the base URL, without trailing slash. */
  listen(port?: number): Promise<string>
  /** Kills all jobs with their processes and stops listening. */
  close(): Promise<void>
}

const BODY_BYTES = 64 * 1024
const limitBody = bodyLimit({
  maxSize: BODY_BYTES,
  onError: (context) =>
    context.json({ code: 'body_too_large', message: `more than ${BODY_BYTES} bytes` }, 413),
})

/**
 * Stand-in for the Kubernetes Jobs API on one machine: `POST /jobs` (a JobSpec; 201 made, 200 was there), `GET /jobs/:name`
 * (a JobState; 404 missing), `DELETE /jobs/:name` (204, when no process of it is left). For development only: its jobs share
 * the machine's kernel with everything else.
 */
export function createJobs(options: JobsOptions): Jobs {
  const board = new JobBoard({
    // Absolute: runners have a working directory of their own.
    dir: resolve(options.dir),
    runnerPath: resolve(options.runnerPath),
    nodePath: options.nodePath ?? process.execPath,
    confinement: options.confinement,
    maxJobs: options.maxJobs ?? 4,
    keepSeconds: options.keepSeconds ?? 600,
    log: options.log,
  })
  const wanted = digest(`Bearer ${options.token}`)
  const app = new Hono()

  app.use(async (context, next) => {
    if (!timingSafeEqual(digest(context.req.header('authorization') ?? ''), wanted)) {
      return context.json({ code: 'unauthorized', message: 'a bearer token is needed' }, 401)
    }
    return await next()
  })
  app.post('/jobs', limitBody, async (context) => {
    const text = await context.req.text()
    const spec = jobSpec.safeParse(parseJson(text))
    if (!spec.success) {
      const message = spec.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ')
      return context.json({ code: 'invalid_request', message }, 400)
    }
    const made = board.create(spec.data)
    if (made === 'full') {
      return context.json({ code: 'unavailable', message: 'too many jobs wait' }, 503, { 'retry-after': '5' })
    }
    return context.json({ result: made }, made === 'created' ? 201 : 200)
  })
  app.get('/jobs/:name', (context) => {
    const state = board.inspect(context.req.param('name'))
    return context.json(state, state.state === 'missing' ? 404 : 200)
  })
  app.delete('/jobs/:name', async (context) => {
    await board.remove(context.req.param('name'))
    return context.body(null, 204)
  })
  app.notFound((context) => context.json({ code: 'not_found', message: 'there is no such route' }, 404))
  app.onError((err, context) => {
    options.log.error({ err, path: context.req.path }, 'the jobs daemon failed')
    return context.json({ code: 'internal', message: 'the jobs daemon failed' }, 500)
  })

  let server: ServerType | undefined
  return {
    app,
    fetch: app.fetch,
    async listen(port = 0) {
      return await new Promise((done, fail) => {
        server = serve(
          { fetch: app.fetch, hostname: '127.0.0.1', port, serverOptions: { keepAliveTimeout: 600_000 } },
          (info) => done(`http://127.0.0.1:${info.port}`),
        )
        server.once('error', fail)
      })
    },
    async close() {
      const closed = new Promise<void>((done) => {
        if (!server) return done()
        server.close(() => done())
        if ('closeAllConnections' in server) server.closeAllConnections()
      })
      await Promise.all([board.close(), closed])
    },
  }
}

/** undefined for what is no JSON; the schema then says what is missing. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
