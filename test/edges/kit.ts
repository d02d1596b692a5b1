import {
  createRun,
  type Snapshot,
  type SystemStack,
  statusOf,
  systemStack,
  type User,
} from '../system/kit.ts'
import { type Provider, startProvider } from './provider.ts'

const FINAL: readonly string[] = ['completed', 'failed', 'cancelled', 'timeout']

/** The whole local stack, real tools included, in front of a provider whose every answer the test writes (provider.ts). */
export async function edgeStack(settings: Record<string, string> = {}) {
  const provider: Provider = await startProvider()
  const system: SystemStack = await systemStack({
    settings: {
      STEP_LEASE_SECONDS: '3',
      ANTHROPIC_API_KEY: 'sk-ant-test',
      ANTHROPIC_BASE_URL: provider.url,
      ...settings,
    },
  })
  return {
    ...system,
    provider,
    async close(): Promise<void> {
      await system.close()
      await provider.close()
    },
  }
}
export type EdgeStack = Awaited<ReturnType<typeof edgeStack>>

/** Starts a run and answers it when it has ended, however it did. */
export async function runToEnd(
  user: User,
  body: { prompt: string } & Record<string, unknown>,
  timeoutMs = 90_000,
): Promise<Snapshot> {
  const runId = await createRun(user, body)
  const end = Date.now() + timeoutMs
  let last: Snapshot | null = null
  while (Date.now() < end) {
    last = (await statusOf(user, runId)) ?? last
    if (last !== null && FINAL.includes(last.run.status)) return last
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  throw new Error(`run ${runId} is still ${last?.run.status}`)
}
