// Fills V8's compile cache while the image is built: starts the services as they start in the cluster, asks each what costs no other
// service, imports what they load late, and fails when a second start does not take everything from the cache.
//   node warm.mjs /app/index.mjs CACHE_FOLDER
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const START_MS = 30_000
const [entry = '', cache = ''] = process.argv.slice(2)
const chunks = join(dirname(entry), 'chunks')
const nowhere = 'http://127.0.0.1:9'
// Of nobody: enough for a service to start, and to refuse.
const settings = {
  PUBLIC_BASE_URL: nowhere,
  SUPABASE_URL: nowhere,
  SUPABASE_ANON_KEY: 'none',
  SUPABASE_ROLE_TOKEN: 'none',
  STEP_SUPABASE_ROLE_TOKEN: 'none',
  UPSTASH_REDIS_REST_URL: nowhere,
  UPSTASH_REDIS_REST_TOKEN: 'none',
  TRUSTED_ISSUERS: JSON.stringify([{ issuer: nowhere, jwks: nowhere, audience: 'none', user_id: 'sub' }]),
  ALLOWED_ORIGINS: nowhere,
  QSTASH_URL: nowhere,
  QSTASH_TOKEN: 'none',
  QSTASH_CURRENT_SIGNING_KEY: 'none',
  QSTASH_NEXT_SIGNING_KEY: 'none',
  ANTHROPIC_API_KEY: 'none',
  SANDBOX_URL: nowhere,
  SANDBOX_TOKEN: 'none',
  AGENT_SECRET: 'x'.repeat(32),
  SWEEP_SECRET: 'y'.repeat(32),
  LOG_LEVEL: 'silent',
}
const requests = [
  ['GET', '/health'],
  ['GET', '/ready'],
  ['GET', '/docs'],
  ['GET', '/openapi.json'],
  ['POST', '/agent/execute'],
  ['GET', '/agent/status'],
  ['GET', '/agent/logs'],
  ['POST', '/agent/step'],
]

function run(args, env, stderr) {
  const child = spawn(process.execPath, args, {
    env: { PATH: '/usr/bin:/bin', NODE_COMPILE_CACHE: cache, ...env },
    stdio: ['ignore', 'inherit', stderr],
  })
  return { child, ended: once(child, 'exit').then(([code]) => code) }
}

/** Starts one service, asks it, stops it; what it said about the cache. */
async function serve(target, port) {
  const env = { ...settings, FUNCTION_TARGET: target, PORT: String(port), NODE_DEBUG_NATIVE: 'COMPILE_CACHE' }
  const { child, ended } = run([entry], env, 'pipe')
  let text = ''
  child.stderr.setEncoding('utf8').on('data', (part) => {
    text += part
  })
  const origin = `http://127.0.0.1:${port}`
  const until = Date.now() + START_MS
  while (!(await fetch(`${origin}/health/liveness`).catch(() => null))?.ok) {
    if (child.exitCode !== null || Date.now() > until) throw new Error(`${target} did not start:\n${text}`)
    await sleep(50)
  }
  for (const [method, path] of requests) {
    const headers = { authorization: 'Bearer none', 'content-type': 'application/json' }
    const answer = await fetch(origin + path, {
      method,
      headers,
      ...(method === 'POST' ? { body: '{}' } : {}),
    })
    await answer.arrayBuffer()
  }
  child.kill('SIGTERM')
  if ((await ended) !== 0) throw new Error(`${target} did not end well:\n${text}`)
  return text
}

const targets = ['', 'execute', 'status', 'logs', 'step', 'door']
for (const [index, target] of targets.entries()) await serve(target, 18_080 + index)

const imports = (await readdir(chunks)).map((name) => `await import(${JSON.stringify(join(chunks, name))})`)
const all = run(['--input-type=module', '--eval', imports.join('\n')], settings, 'inherit')
if ((await all.ended) !== 0) throw new Error('a chunk could not be imported')

for (const [index, target] of targets.entries()) {
  const text = await serve(target, 18_180 + index)
  const accepted = text.match(/was accepted/g)?.length ?? 0
  const refused = text.match(/was rejected/g)?.length ?? 0
  if (accepted === 0 || refused > 0)
    throw new Error(`${target}: ${accepted} accepted, ${refused} rejected\n${text}`)
  process.stdout.write(`${target || 'all'}: ${accepted} files from the cache\n`)
}
