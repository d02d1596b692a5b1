import { afterEach } from 'vitest'
import { testConfig } from '../shared/config/test-config.ts'
import type { Running } from '../shared/http/serve.ts'
import { Connections } from './logs/connections.ts'
import { logsApp } from './logs/routes.ts'
import { ALICE, caller, listen, testIdentity, testPorts, twoPhases } from './test-kit.ts'

/** Closed after each test. */
export const open: Running[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((running) => running.close()))
})

/** The logs function on a port of its own, with a run of Alice's; closed after the test. */
export async function setup(env: Record<string, string> = {}, identity = testIdentity()) {
  const config = testConfig('logs', env)
  const connections = new Connections({ most: config.maxStreams, mostOfUser: config.maxStreamsPerUser })
  const ports = { ...testPorts({ identity }), connections }
  const app = logsApp(config, ports)
  const running = await listen(app, () => ports.connections.drain())
  open.push(running)
  const { run } = await ports.store.createRun({
    principal: { issuer: 'i', sub: ALICE, tenant_id: null, user_id_from: 'sub' },
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
  const base = `http://127.0.0.1:${running.port}`
  return {
    app,
    ports,
    store: ports.store,
    running,
    base,
    run,
    run_id: run.id,
    alice: caller(app),
    named: `${base}/agent/run/${run.id}/stream`,
  }
}
export type Env = Awaited<ReturnType<typeof setup>>

/** A run with everything in it: messages, a good and a bad command, a file, two phases. */
export function tell({ store, run, run_id }: Env, end: 'completed' | 'failed' = 'completed') {
  store.addStatus(run_id, 'planning')
  run.plan = twoPhases()
  run.current_phase = 1
  store.addLog(run_id, 'info', 'Plan', { event: 'plan', data: { total_phases: 2 } })
  store.addStatus(run_id, 'executing')
  const model = store.addStep(run_id, { tool_type: 'plan', tool_name: 'decide' })
  store.changeStep(model, { status: 'running' })
  store.addMessage(run_id, 'assistant', 'I will look.', 'thinking')
  store.changeStep(model, { status: 'completed' })
  const good = store.addStep(run_id, {})
  store.changeStep(good, { status: 'running' })
  store.changeStep(good, {
    status: 'completed',
    tool_output: { stdout: 'out\n', stderr: 'err\n', exit_code: 0 },
    duration_ms: 5,
  })
  const bad = store.addStep(run_id, { tool_type: 'code', tool_name: 'code' })
  store.changeStep(bad, { status: 'running' })
  store.changeStep(bad, { status: 'failed', error_message: 'KeyError' })
  store.addLog(run_id, 'phase_advance', 'Phase 2', {
    event: 'phase',
    data: { from_phase: 1, to_phase: 2, total_phases: 2 },
  })
  store.addLog(run_id, 'warning', 'Something was left out', { event: 'warning' })
  store.addArtifact(run_id, {})
  store.addMessage(run_id, 'assistant', 'The answer is 42.', 'answer')
  store.end(
    run_id,
    end,
    end === 'completed'
      ? { result: 'The answer is 42.' }
      : { error_message: 'No luck', error_code: 'STEP_LIMIT' },
  )
}
