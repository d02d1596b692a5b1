import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildClient } from './build-client.ts'

const ROOT = resolve(import.meta.dirname, '../..')
/** What a page pays for the client. */
const MAX_GZIP_BYTES = 5 * 1024

/** A project that has nothing but the published package. */
let project: string
const installed = () => join(project, 'node_modules/@agent-functions/client')

beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), 'client-consumer-'))
  mkdirSync(installed(), { recursive: true })
  const manifest = join(ROOT, 'client/package.json')
  const { files } = JSON.parse(readFileSync(manifest, 'utf8')) as { files: string[] }
  const { outDir } = await buildClient({ outDir: join(project, 'dist') })
  expect(files).toEqual(['dist'])
  cpSync(outDir, join(installed(), 'dist'), { recursive: true })
  cpSync(manifest, join(installed(), 'package.json'))
  writeFileSync(join(project, 'package.json'), '{"type": "module"}')
}, 120_000)
afterAll(() => rmSync(project, { recursive: true, force: true }))

const read = (name: string) => readFileSync(join(installed(), 'dist', name), 'utf8')

describe('the published package', () => {
  it('is one small module without a dependency', () => {
    const code = read('agent-client.js')
    expect(readdirSync(join(installed(), 'dist')).toSorted()).toEqual([
      'LICENSE',
      'agent-client.d.ts',
      'agent-client.js',
    ])
    expect(code).not.toMatch(/\bimport\b|\brequire\b/)
    const bytes = gzipSync(code, { level: 9 }).byteLength
    console.log(`client: ${code.length} bytes minified, ${bytes} gzipped`)
    expect(bytes).toBeLessThanOrEqual(MAX_GZIP_BYTES)
  })

  it('has the names that the migration planned, and runs in Node as it is', () => {
    const script = `
      import * as client from '@agent-functions/client'
      const faults = await Promise.allSettled([client.createAgentRun('x'), client.getAgentStatus('x')])
      try { client.streamAgentLogs('x') } catch (error) { faults.push({ reason: error }) }
      console.log(JSON.stringify([Object.keys(client), faults.map(({ reason }) => [reason.name, reason.code, reason.message])]))`
    const { AGENT_API_URL: _url, AGENT_ACCESS_TOKEN: _token, ...env } = process.env
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      cwd: project,
      env,
      encoding: 'utf8',
    })
    const [names, faults] = JSON.parse(output) as [string[], string[][]]
    expect(names.toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      'AgentError',
      'configureAgentClient',
      'createAgentClient',
      'createAgentRun',
      'getAgentStatus',
      'isFinal',
      'streamAgentLogs',
    ])
    const fault = ['AgentError', 'not_configured', expect.stringContaining('configureAgentClient')]
    expect(faults).toEqual([fault, fault, fault])
  })

  it('declares its types in full', () => {
    const text = read('agent-client.d.ts')
    expect(text).not.toMatch(/\bimport\b|[:<] ?any\b|\bany\[|\bz\.|\bzod\b/)
    // From the schemas, with their own words: had a type been lost, it would be missing here.
    expect(text).toContain('type: "tool_result";')
    expect(text).toContain('/** Dense per run, from 1. */')
    for (const unused of ['createTransport', 'errorFrom', 'Guard']) expect(text).not.toContain(unused)
  })
})

const CONSUMER = `
import { type AgentEvent, AgentError, configureAgentClient, createAgentClient, createAgentRun, getAgentStatus, isFinal, streamAgentLogs } from '@agent-functions/client'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const isSame = <A, B>(_proof: Same<A, B>): void => {}

const agents = createAgentClient({ url: 'https://x', getToken: async ({ refresh }) => (refresh ? null : 'token') })
configureAgentClient({ url: 'https://x', supabase: { auth: { async getSession() { return { data: { session: null } } }, async refreshSession() { return { data: { session: { access_token: '' } } } } } } })

export async function use(signal: AbortSignal): Promise<string | null> {
  const { run_id, status } = await createAgentRun('Hello', { attachments: [{ bucket: 'b', path: 'p' }], mode: 'research', signal })
  isSame<typeof status, 'created' | 'queued' | 'planning' | 'executing' | 'waiting_user' | 'paused' | 'completed' | 'failed' | 'cancelled' | 'timeout'>(true)
  const { run, steps } = await getAgentStatus(run_id, { steps_limit: 5 })
  isSame<typeof run.plan extends { phases: readonly (infer P)[] } | null ? (P extends { name: infer N } ? N : never) : never, string>(true)
  const first = steps?.[0]?.tool_name.toUpperCase()
  for await (const event of streamAgentLogs(run_id, { signal })) {
    if (event.type === 'complete') return event.result
    if (event.type === 'terminal') isSame<typeof event.stream, 'stdout' | 'stderr'>(true)
    // @ts-expect-error this client keeps heartbeats for itself
    if (event.type === 'heartbeat') break
  }
  for await (const log of agents.pollLogs(run_id)) console.log(log.seq + 1, first)
  for await (const one of agents.runs({ status: 'failed' })) await agents.retry(one.id, { idempotencyKey: 'k' })
  if (isFinal(status)) isSame<typeof status, 'completed' | 'failed' | 'cancelled' | 'timeout'>(true)
  const url: string = await agents.eventSourceUrl(run_id)
  // @ts-expect-error the prompt is text
  await agents.create(5)
  // @ts-expect-error there is no such status
  await agents.listRuns({ status: 'done' })
  // @ts-expect-error an attachment is named by its bucket and path, or by its URL
  await agents.create('x', { attachments: ['a.txt'] })
  return url
}

export function explain(error: unknown): string {
  if (!(error instanceof AgentError)) throw error
  // @ts-expect-error the codes are a closed list
  if (error.code === 'nonsense') return ''
  return error.code === 'rate_limited' ? \`in \${error.retryAfter ?? 1} s\` : \`\${error.status} \${error.requestId}\`
}
export type Kinds = AgentEvent['type']
`

const { ModuleKind, ModuleResolutionKind } = ts
describe('a project that uses it', () => {
  it.each([
    ['a bundler', { module: ModuleKind.ESNext, moduleResolution: ModuleResolutionKind.Bundler }],
    ['Node', { module: ModuleKind.NodeNext, moduleResolution: ModuleResolutionKind.NodeNext }],
  ])(
    'type-checks strictly with %s',
    (_name, options) => {
      const file = join(project, 'consumer.ts')
      writeFileSync(file, CONSUMER)
      const program = ts.createProgram([file], {
        ...options,
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: false,
        target: ts.ScriptTarget.ES2022,
        lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
        types: [],
        noEmit: true,
      })
      const declarations = program.getSourceFile(join(installed(), 'dist/agent-client.d.ts'))
      if (declarations === undefined) throw new Error('the declarations were not found')
      const faults = [
        ...program.getOptionsDiagnostics(),
        ...[program.getSourceFile(file), declarations].flatMap((source) => [
          ...program.getSyntacticDiagnostics(source),
          ...program.getSemanticDiagnostics(source),
        ]),
      ]
      expect(faults.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([])
    },
    60_000,
  )
})
