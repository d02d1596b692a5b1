import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { TestProject } from 'vitest/node'
import { buildFunctions } from '../../dev/build.ts'
import { startPostgres } from '../../dev/postgres/start-postgres.ts'
import { type Stack, startStack } from '../../dev/stack.ts'
import type { ServiceName } from '../../shared/config/settings.ts'
import { startCommandModel } from './model.ts'
import { kubectl, run } from './run.ts'

/** What tests are told of the machine's side: the local stack that functions in the cluster use, and the images there. */
export interface Ground {
  root: string
  tools: string
  /** The stack's origin on this machine. */
  origin: string
  /** This machine, as pods reach it. */
  host: string
  publicUrl: string
  overlay: string
  tag: string
  databaseUrl: string
  anonKey: string
  sweepSecret: string
  /** Of each function, addresses as pods reach them. */
  environments: Record<ServiceName, Record<string, string>>
}

declare module 'vitest' {
  export interface ProvidedContext {
    ground: Ground
  }
}

const ROOT = resolve(import.meta.dirname, '../..')

/** Between two looks of the sweeper: the minute of pg_cron, shortened. */
export const SWEEP_INTERVAL_MS = 2000

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const env = process.env
  const tools = resolve(ROOT, env['CLUSTER_TOOLS'] ?? '../shared/cluster')
  const host = env['CLUSTER_HOST'] ?? '10.90.0.1'
  const publicUrl = env['CLUSTER_PUBLIC_URL'] ?? 'http://localhost:8080'
  const dir = await mkdtemp(join(tmpdir(), 'agent-functions-cluster-'))
  const close = async (stack: Stack | undefined) => {
    await stack?.close()
    await model.close()
    if (existsSync(join(dir, 'postgres'))) {
      const postgres = await startPostgres({ dir: join(dir, 'postgres') })
      await postgres.remove()
    }
    await rm(dir, { recursive: true, force: true })
  }
  const model = await startCommandModel()
  let stack: Stack | undefined
  try {
    // what an earlier run or another installation left: its services would wake for a stack that is gone
    await kubectl(['delete', 'namespace', 'agents', 'agents-sandbox', '--ignore-not-found', '--timeout=180s'])
    const tag = env['CLUSTER_IMAGE_TAG'] ?? (await deliverImages(tools, dir))
    stack = await startStack({
      root: ROOT,
      dir,
      port: 0,
      publicBaseUrl: publicUrl,
      settings: { ANTHROPIC_API_KEY: 'scripted', ANTHROPIC_BASE_URL: model.url, AGENT_MODEL: 'scripted' },
      sweepIntervalMs: SWEEP_INTERVAL_MS,
      fsync: false,
    })
    const { environments } = stack
    for (const url of [stack.origin, model.url]) {
      if (existsSync(join(tools, 'expose'))) await run(join(tools, 'expose'), [new URL(url).port])
    }
    // for the suites of the sandbox alone, which need no stack
    env['TOOL_IMAGE'] ??= `dev.local/agent-tools:${tag}`
    // and for the suite of deploy.sh, which otherwise builds its own
    env['CLUSTER_IMAGE'] ??= `dev.local/agent-functions:${tag}`
    env['CLUSTER_TOOL_IMAGE'] ??= `dev.local/agent-tools:${tag}`
    if (existsSync(join(tools, 'expose'))) env['CLUSTER_EXPOSE'] ??= join(tools, 'expose')
    project.provide('ground', {
      root: ROOT,
      tools,
      host,
      publicUrl,
      overlay: env['CLUSTER_OVERLAY'] ?? join(ROOT, 'knative/overlays/test'),
      tag,
      origin: stack.origin,
      databaseUrl: stack.env.DATABASE_URL,
      anonKey: stack.env.SUPABASE_ANON_KEY,
      sweepSecret: environments.step.SWEEP_SECRET ?? '',
      environments: Object.fromEntries(
        Object.entries(environments).map(([name, values]) => [name, asPodsSeeIt(values, host)]),
      ) as Ground['environments'],
    })
    return () => close(stack)
  } catch (error) {
    await close(stack)
    throw error
  }
}

/** Builds the images under a tag that is made of what goes in, and hands them to the cluster. */
async function deliverImages(tools: string, dir: string): Promise<string> {
  const { outDir } = await buildFunctions({ root: ROOT })
  const hash = createHash('sha256')
  for (const folder of [outDir, join(ROOT, 'knative/images')]) {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) hash.update(await readFile(join(entry.parentPath, entry.name)))
    }
  }
  const tag = `t-${hash.digest('hex').slice(0, 12)}`
  const base = process.env['CLUSTER_BASE_IMAGE'] ?? 'dev.local/debian-base:12'
  if (base.startsWith('dev.local/')) await run(join(tools, 'base-image'), ['debian'])
  const archive = join(dir, 'images')
  await run(join(ROOT, 'knative/images/build.sh'), ['--base', base, '--tag', tag, '--archive', archive], {
    cwd: ROOT,
  })
  await run(join(tools, 'load'), [join(archive, 'services.tar'), join(archive, 'tools.tar')])
  await rm(archive, { recursive: true })
  return tag
}

/** Addresses of this machine become those that pods can reach; the issuer is a name and stays. */
function asPodsSeeIt(values: Readonly<Record<string, string>>, host: string): Record<string, string> {
  const move = (text: string) => text.replaceAll(/http:\/\/(localhost|127\.0\.0\.1):/g, `http://${host}:`)
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      if (name === 'PUBLIC_BASE_URL') return [name, value]
      if (name !== 'TRUSTED_ISSUERS') return [name, move(value)]
      const issuers = (JSON.parse(value) as Record<string, string>[]).map(({ issuer, ...rest }) => ({
        issuer,
        ...(JSON.parse(move(JSON.stringify(rest))) as object),
      }))
      return [name, JSON.stringify(issuers)]
    }),
  )
}
