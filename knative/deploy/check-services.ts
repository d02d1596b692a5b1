import { issuersSchema } from '../../shared/config/issuers.ts'
import { askService, field } from './ask-service.ts'
import { checkProject } from './check-supabase.ts'
import type { CheckContext, Found } from './found.ts'

/** A token that may only read answers PING too, but cannot publish what streams live on. */
export async function checkRedisToken(token: string, { settings }: CheckContext): Promise<Found> {
  const url = settings.UPSTASH_REDIS_REST_URL ?? ''
  const send = (command: string[]) =>
    askService(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(command),
    })
  const ping = await send(['PING'])
  if ('unreachable' in ping) return { problem: `${url} cannot be reached (${ping.unreachable})` }
  if (ping.status !== 200) return { problem: `${url} refuses it (${ping.status})` }
  const published = await send(['PUBLISH', 'agent-functions:check', 'setup'])
  if ('unreachable' in published || published.status !== 200)
    return { problem: 'it may read but not publish: take the token, not the read-only token' }
  return {}
}

export interface SigningKeys {
  current: string
  next: string
}

/** The signing keys that QStash uses for the holder of `token`. */
export async function readSigningKeys(
  token: string,
  qstashUrl: string,
): Promise<SigningKeys | { problem: string }> {
  const answer = await askService(`${qstashUrl}/v2/keys`, { headers: { authorization: `Bearer ${token}` } })
  if ('unreachable' in answer) return { problem: `${qstashUrl} cannot be reached (${answer.unreachable})` }
  const [current, next] = [field(answer.json, 'current'), field(answer.json, 'next')]
  if (answer.status !== 200 || typeof current !== 'string' || typeof next !== 'string')
    return {
      problem: `${qstashUrl} refuses it (${answer.status}): tokens belong to one region, is QSTASH_URL of the same?`,
    }
  return { current, next }
}

export async function checkQStashToken(token: string, { settings }: CheckContext): Promise<Found> {
  const keys = await readSigningKeys(token, settings.QSTASH_URL ?? '')
  return 'problem' in keys ? { problem: keys.problem } : {}
}

export async function checkSigningKey(
  which: keyof SigningKeys,
  key: string,
  { settings, values }: CheckContext,
): Promise<Found> {
  const keys = await readSigningKeys(values.QSTASH_TOKEN ?? '', settings.QSTASH_URL ?? '')
  if ('problem' in keys) return { problem: 'cannot be compared before QSTASH_TOKEN is right' }
  if (keys[which] === key) return {}
  return { problem: `is not the ${which} key of this QStash: keys were rolled, or it is of another account` }
}

/** Lists models, which costs nothing. */
export async function checkModelKey(key: string, { settings }: CheckContext): Promise<Found> {
  const url = settings.ANTHROPIC_BASE_URL || 'https://api.anthropic.com'
  const answer = await askService(`${url}/v1/models?limit=1000`, {
    headers: { 'x-api-key': key, 'anthropic-version': '2023-06-01' },
  })
  if ('unreachable' in answer) return { problem: `${url} cannot be reached (${answer.unreachable})` }
  if (answer.status === 404) return { note: `${url} does not list models: the key is not checked` }
  if (answer.status !== 200) return { problem: `${url} refuses it (${answer.status})` }
  const models = field(answer.json, 'data')
  const wanted = settings.AGENT_MODEL
  if (!wanted || !Array.isArray(models) || models.some((model) => field(model, 'id') === wanted)) return {}
  return { note: `its account does not list the model ${wanted} (AGENT_MODEL)` }
}

/** Every issuer must publish keys now: where none can be had, no user of it gets in. */
export async function checkIssuers(text: string): Promise<Found> {
  const problems = await Promise.all(
    issuersSchema.parse(text).map(async ({ issuer, keys, projectUrl, projectKey }) => {
      const project =
        projectUrl !== null && projectKey !== null ? await checkProject(projectUrl, projectKey) : {}
      if ('problem' in project) return `project_key of ${issuer}: ${project.problem}`
      if (keys.kind === 'hs256')
        return keys.until > Date.now() ? null : `the secret of ${issuer} has ended (until)`
      const answer = await askService(keys.url)
      if ('unreachable' in answer) return `${keys.url} cannot be reached (${answer.unreachable})`
      const published = field(answer.json, 'keys')
      if (answer.status === 200 && Array.isArray(published) && published.length > 0) return null
      return `${keys.url} publishes no keys (${answer.status}): a legacy project needs a row with hs256_secret and until`
    }),
  )
  const found = problems.filter((problem) => problem !== null)
  return found.length === 0 ? {} : { problem: found.join('; ') }
}
