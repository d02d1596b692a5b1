// One sweep: what pg_cron and pg_net do where they are there (supabase/migrations, private.call_sweep). Ends with 0 when nothing was
// due or the step function took over, with 1 otherwise. Runs in the services image, of which it uses Node alone.
import { createHmac } from 'node:crypto'

const SWEEP_MS = 20_000
/** The step function may have to start, and publishes what is due. */
const CALL_MS = 25_000

function needed(name) {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is missing`)
  return value
}

async function post(what, url, headers, body, ms) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
    redirect: 'error',
    signal: AbortSignal.timeout(ms),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${what} answered ${answer.status}`)
  return JSON.parse(text)
}

// sweeps in SQL and says how much is to be published, without handing any of it out
const { due } = await post(
  'the database',
  `${needed('SUPABASE_URL')}/rest/v1/rpc/agent_sweep`,
  { apikey: needed('SUPABASE_ANON_KEY'), authorization: `Bearer ${needed('SUPABASE_ROLE_TOKEN')}` },
  // PostgREST finds a function by the names of its arguments
  '{"p":{}}',
  SWEEP_MS,
)
if (due > 0) {
  const timestamp = String(Math.floor(Date.now() / 1000))
  const signature = createHmac('sha256', needed('SWEEP_SECRET')).update(`${timestamp}.{}`).digest('hex')
  await post(
    'the step function',
    `${needed('PUBLIC_BASE_URL')}/agent/step/sweep`,
    { 'x-agent-timestamp': timestamp, 'x-agent-signature': signature },
    '{}',
    CALL_MS,
  )
} else if (due !== 0) {
  throw new Error('the database did not say what is due')
}
