import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  createRun,
  ROOT,
  type Snapshot,
  type SystemStack,
  statusOf,
  systemStack,
  type User,
  untilStatus,
  upload,
} from './kit.ts'

let system: SystemStack
let user: User
let snapshot: Snapshot

beforeAll(async () => {
  system = await systemStack()
  // every message comes at least twice, and not in order
  system.stack().qstash.setFaults({ duplicate: 1, shuffleMs: 150, seed: 7 })
  user = await system.user('demo')
  const lock = readFileSync(join(ROOT, 'package-lock.json'))
  const attachment = await upload(user, 'package-lock.json', new Uint8Array(lock))
  const runId = await createRun(user, {
    prompt: 'What is in this file? A table, a chart and the numbers.',
    attachments: [attachment],
  })
  snapshot = await untilStatus(user, runId, 'completed')
})
afterAll(async () => {
  expect(await system.violations()).toEqual([])
  await system.close()
})

it('completes with every message delivered twice and shuffled, each step once', () => {
  const numbers = snapshot.steps.map(({ step_number }) => step_number)
  expect(numbers).toEqual(numbers.map((_, n) => n))
  expect(new Set(snapshot.steps.map(({ idempotency_key }) => idempotency_key)).size).toBe(numbers.length)
  expect(snapshot.run.total_steps).toBe(numbers.length)
})

it('repairs the guessed field from the name in the error', () => {
  const code = snapshot.steps.filter(({ tool_name }) => tool_name === 'code')
  const failed = code.findIndex(({ status }) => status === 'failed')
  expect(code[failed]?.error_message).toContain('the fields are')
  expect(code[failed + 1]?.status).toBe('completed')
})

it('answers with numbers that are in the file', () => {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { license?: string }>
  }
  const mit = Object.values(packages).filter(({ license }) => license === 'MIT').length
  const answer = snapshot.messages.at(-1)?.content ?? ''
  expect(answer).toContain(`${mit}`)
  expect(answer).toContain(`${Object.keys(packages).length} records`)
})

it('hands over a CSV and an SVG that say the same', async () => {
  const files = new Map<string, string>()
  for (const { filename, download_url } of snapshot.artifacts)
    files.set(filename, await (await fetch(download_url)).text())
  const [header, first] = (files.get('summary.csv') ?? '').split('\n')
  expect(header).toContain('count')
  expect(files.get('chart.svg')).toMatch(/^<svg|^<\?xml/)
  expect(files.get('chart.svg')).toContain((first ?? '').split(',')[0])
})

it('nobody else sees it, neither through the functions nor in the tables', async () => {
  const other = await system.user('other')
  expect(await statusOf(other, snapshot.run.id)).toBeNull()
  for (const table of [
    'agent_runs',
    'agent_steps',
    'agent_messages',
    'agent_artifacts',
    'agent_task_logs',
    'credit_balances',
  ]) {
    const mine = await user.supabase.from(table).select('*', { count: 'exact', head: true })
    const theirs = await other.supabase.from(table).select('*', { count: 'exact', head: true })
    expect([table, (mine.count ?? 0) > 0, theirs.count]).toEqual([table, true, 0])
  }
  const written = await user.supabase
    .from('agent_runs')
    .update({ status: 'failed' })
    .eq('id', snapshot.run.id)
    .select()
  expect(written.error?.code).toBe('42501')
  expect((await user.supabase.from('agent_task_queue').select('*')).error?.code).toBe('42501')
})

it("refuses somebody else's file", async () => {
  const other = await system.user('thief')
  const attachment = await upload(user, 'mine.txt', new TextEncoder().encode('mine'))
  const { error } = await other.supabase.functions.invoke('agent-execute', {
    body: { action: 'create', prompt: 'x', attachments: [attachment] },
  })
  const answer = (await (error as { context: Response }).context.json()) as { code: string }
  expect(answer.code).toBe('invalid_attachment')
})

it('takes names with spaces and signs as they are, and no path that names another object', async () => {
  const odd = await upload(user, 'odd name (1) + more.txt', new TextEncoder().encode('odd'))
  const runId = await createRun(user, { prompt: 'x', attachments: [odd], auto_start: false })
  const [file] = await system.query<{ size: string }>(
    `select size from private.workspace_files where run_id = $1`,
    [runId],
  )
  expect(Number(file?.size)).toBe(3)
  for (const path of [
    `${user.id}/x/../odd name (1) + more.txt`,
    `${user.id}//odd`,
    `../../rest/v1/agent_runs`,
    `${user.id}/odd?x=1`,
  ]) {
    const { error } = await user.supabase.functions.invoke('agent-execute', {
      body: { action: 'create', prompt: 'x', attachments: [{ bucket: 'agent-inputs', path }] },
    })
    expect([path, (await (error as { context: Response }).context.json()).code]).toEqual([
      path,
      'invalid_attachment',
    ])
  }
})
