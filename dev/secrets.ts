import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Secrets of the local stack, made once and kept, so that tokens, queued messages and the demo user outlive a restart. */
export interface Secrets {
  qstashToken: string
  qstashCurrentSigningKey: string
  qstashNextSigningKey: string
  redisToken: string
  sandboxToken: string
  agentSecret: string
  sweepSecret: string
  demoPassword: string
  /** Origin in the `iss` of the Auth face's tokens. Kept: who a user is depends on it, while the port may change between starts. */
  issuerOrigin: string
}

const secret = (bytes = 32) => randomBytes(bytes).toString('hex')

/** Reads `file` or makes it, mode 0600. Rejects with one sentence when it is damaged. */
export async function readSecrets(file: string, { origin }: { origin: string }): Promise<Secrets> {
  const fresh: Secrets = {
    qstashToken: secret(),
    qstashCurrentSigningKey: `sig_${secret(16)}`,
    qstashNextSigningKey: `sig_${secret(16)}`,
    redisToken: secret(),
    sandboxToken: secret(),
    agentSecret: secret(),
    sweepSecret: secret(),
    demoPassword: secret(12),
    issuerOrigin: origin,
  }
  if (!existsSync(file)) {
    await mkdir(dirname(file), { recursive: true })
    await writePrivate(file, JSON.stringify(fresh, null, 2))
    return fresh
  }
  const kept = await readFile(file, 'utf8').then(parse)
  const missing = Object.keys(fresh).filter((name) => typeof kept[name] !== 'string')
  if (missing.length > 0)
    throw new Error(`${file} is damaged (${missing.join(', ')}): run with --fresh to begin anew.`)
  return { ...fresh, ...kept }
}

function parse(text: string): Record<string, string> {
  try {
    return JSON.parse(text) as Record<string, string>
  } catch {
    return {}
  }
}

/** Never seen half-written, never readable by others. */
export async function writePrivate(file: string, text: string): Promise<void> {
  const draft = `${file}.${randomUUID()}`
  await writeFile(draft, text, { mode: 0o600 })
  await rename(draft, file)
}
