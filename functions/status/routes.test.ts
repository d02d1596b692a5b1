import { describe, expect, it } from 'vitest'
import { testConfig } from '../../shared/config/test-config.ts'
import { statusAnswer } from '../../shared/contract/status.ts'
import { caller, testPorts, twoPhases } from '../test-kit.ts'
import { statusApp } from './routes.ts'

const PLAN = twoPhases()

async function setup() {
  const ports = testPorts()
  const app = statusApp(testConfig('status'), ports)
  const { run } = await ports.store.createRun({
    principal: {
      issuer: 'i',
      sub: '00000000-0000-4000-8000-00000000000a',
      tenant_id: null,
      user_id_from: 'sub',
    },
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
  return { app, ports, store: ports.store, run, run_id: run.id, alice: caller(app), bob: caller(app, 'bob') }
}

describe('status', () => {
  it('answers every part by default, on every URL, as its schema says', async () => {
    const { alice, store, run, run_id } = await setup()
    run.plan = PLAN
    run.current_phase = 1
    run.total_credits_used = 5.25
    store.addStatus(run_id, 'executing')
    store.addStep(run_id, {})
    store.addMessage(run_id, 'assistant', 'hello')
    store.addArtifact(run_id, {})
    for (const path of [
      '/',
      '/agent/status',
      '/functions/v1/agent-status',
      '/functions/v1/agent-status-phase2',
    ]) {
      const { status, body } = await alice.post(path, { run_id })
      expect(status).toBe(200)
      expect(statusAnswer.parse(body)).toBeDefined()
      expect(Object.keys(body)).toEqual(
        expect.arrayContaining([
          'run',
          'task',
          'progress',
          'steps',
          'messages',
          'artifacts',
          'outputs',
          'logs',
        ]),
      )
      expect(body).toMatchObject({
        run: { id: run_id, prompt: 'p', execution_plan: PLAN, plan: PLAN, total_credits_used: 5.25 },
        progress: { current_phase: 1, total_phases: 2, status: 'executing' },
      })
      const { task, progress } = body as { task: Record<string, unknown>; progress: { percentage: number } }
      expect(task).toEqual({ ...(body.run as object), progress_percentage: progress.percentage })
      expect(body.outputs).toEqual(body.artifacts)
      expect(body.artifacts).toMatchObject([
        {
          file_name: 'chart.svg',
          download_url: 'https://s/old',
          output_type: 'image',
          file_size_bytes: 42,
          mime_type: 'image/svg+xml',
        },
      ])
      for (const log of body.logs as { content: string; message: string }[])
        expect(log.content).toBe(log.message)
    }
  })

  it('takes task_id for run_id, and leaves out what is not asked for', async () => {
    const { alice, run_id } = await setup()
    const off = {
      include_steps: false,
      include_messages: false,
      include_artifacts: false,
      include_logs: false,
    }
    const { status, body } = await alice.post('/', { task_id: run_id, ...off })
    expect(status).toBe(200)
    expect(new Set(Object.keys(body))).toEqual(new Set(['approvals', 'progress', 'run', 'success', 'task']))
  })

  it('keeps the newest rows, oldest first, and pages back', async () => {
    const { alice, store, run_id } = await setup()
    for (let n = 0; n < 7; n += 1) store.addStep(run_id, {})
    const numbers = (body: Record<string, unknown>) =>
      (body.steps as { step_number: number }[]).map((step) => step.step_number)
    const first = await alice.post('/', { run_id, steps_limit: 3 })
    expect([numbers(first.body), first.body.has_more_steps]).toEqual([[4, 5, 6], true])
    const second = await alice.post('/', { run_id, steps_limit: 3, steps_before: 4 })
    expect([numbers(second.body), second.body.has_more_steps]).toEqual([[1, 2, 3], true])
    const last = await alice.post('/', { run_id, steps_limit: 3, steps_before: '1' })
    expect([numbers(last.body), last.body.has_more_steps]).toEqual([[0], false])
    expect((await alice.post('/', { run_id, steps_before: 'x' })).status).toBe(400)
  })

  it.each([
    [0, 1],
    [-5, 1],
    [1.9, 1],
    ['2', 2],
    [9999, 500],
    [Number.MAX_VALUE, 500],
    ['nonsense', 50],
    [null, 50],
    [{}, 50],
    [[3], 50],
    [true, 50],
  ])('clamps steps_limit %j to %i', async (steps_limit, kept) => {
    const { alice, store, run_id } = await setup()
    for (let n = 0; n < 520; n += 1) store.addStep(run_id, {})
    const { status, body } = await alice.post('/', { run_id, steps_limit })
    expect(status).toBe(200)
    expect(body.steps).toHaveLength(kept)
  })

  it('signs links again that ended or are about to', async () => {
    const { alice, store, run_id } = await setup()
    store.addArtifact(run_id, { storage_key: 'past', signed_url_expires_at: '2020-01-01T00:00:00Z' })
    store.addArtifact(run_id, {
      storage_key: 'soon',
      signed_url_expires_at: new Date(Date.now() + 30_000).toISOString(),
    })
    store.addArtifact(run_id, { storage_key: 'good' })
    const { body } = await alice.post('/', { run_id })
    expect((body.artifacts as { download_url: string }[]).map((row) => row.download_url)).toEqual([
      'https://s/new/past',
      'https://s/new/soon',
      'https://s/old',
    ])
  })

  it('shows no link to a file whose time is over, and signs none', async () => {
    const { alice, store, run_id } = await setup()
    store.addArtifact(run_id, { storage_key: 'over', expires_at: '2020-01-01T00:00:00Z' })
    store.addArtifact(run_id, { storage_key: 'later', expires_at: '2999-01-01T00:00:00Z' })
    const { body } = await alice.post('/', { run_id })
    expect(body.artifacts).toMatchObject([
      { download_url: null, signed_url: null, public_url: null },
      { download_url: 'https://s/old' },
    ])
  })

  it('says 100 percent only when completed, and an error as callers read it', async () => {
    const { alice, bob, store, run, run_id } = await setup()
    run.plan = PLAN
    run.current_phase = 2
    run.completed_steps = 10_000
    store.end(run_id, 'failed', {})
    expect((await alice.post('/', { run_id })).body).toMatchObject({
      progress: { percentage: 99, status: 'failed' },
    })
    run.status = 'completed'
    expect((await alice.post('/', { run_id })).body).toMatchObject({
      progress: { percentage: 100 },
      task: { progress_percentage: 100 },
    })
    expect(await bob.post('/', { run_id })).toMatchObject({
      status: 404,
      body: { error: 'Run not found', detail: 'Run not found', code: 'run_not_found' },
    })
    expect(await alice.post('/', {})).toMatchObject({ status: 400, body: { error: 'run_id is required' } })
    expect(await alice.post('/', { run_id: { $ne: 1 } })).toMatchObject({ status: 404 })
  })
})

describe('probes and documents', () => {
  it('speaks for itself under its own name and for all under the shared one', async () => {
    const { app } = await setup()
    const health = async (headers: Record<string, string>) =>
      (await app.request('/health', { headers })).json()
    expect(await health({ host: '10.0.0.1:8080' })).toEqual({
      status: 'healthy',
      version: expect.any(String),
      service: 'status',
    })
    expect(await health({ host: 'api.example.com' })).toMatchObject({ service: 'agent-api' })
    expect(await health({ host: '127.0.0.1:5', 'x-forwarded-host': 'api.example.com' })).toMatchObject({
      service: 'agent-api',
    })
  })

  it('is ready while the database is, asked at most every few seconds', async () => {
    const { app, store } = await setup()
    for (let n = 0; n < 5; n += 1)
      expect((await app.request(n % 2 ? '/ready' : '/health/readiness')).status).toBe(200)
    expect(store.calls.filter((name) => name === 'ready')).toHaveLength(1)
    const away = await setup()
    away.store.fault = new Error('secret')
    const answer = await away.app.request('/ready')
    expect([answer.status, await answer.json()]).toEqual([
      503,
      expect.objectContaining({ code: 'unavailable' }),
    ])
    expect((await away.app.request('/health/liveness')).status).toBe(200)
  })

  it('serves the documents without a CDN', async () => {
    const { app } = await setup()
    const document = (await (await app.request('/openapi.json')).json()) as { openapi: string; paths: object }
    expect(document.openapi).toBe('3.1.0')
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/agent/execute', '/agent/status', '/agent/logs', '/agent/step']),
    )
    const page = await app.request('/docs')
    const html = await page.text()
    expect(html).not.toMatch(/https?:\/\//)
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self'")
    for (const [, path = ''] of html.matchAll(/(?:src|href)="(\/[^"]+)"/g))
      expect([path, (await app.request(path)).status]).toEqual([path, 200])
    expect((await app.request('/docs/package.json')).status).toBe(404)
    expect((await app.request('/docs/..%2fpackage.json')).status).toBe(404)
  })
})
