import { randomUUID } from 'node:crypto'
import { createFrontStore } from '../../shared/adapters/supabase/front-store.ts'
import { createStepStore } from '../../shared/adapters/supabase/step-store.ts'
import { createArtifacts, createBlobs } from '../../shared/adapters/supabase/storage.ts'
import type { Artifacts, Blobs } from '../../shared/ports/blobs.ts'
import type { FrontStore, StepStore, VerbStore } from '../../shared/ports/store.ts'

/** What a bench needs of a project: TestProject has it, and so has the one that `npm run test:crash` makes. */
export interface Project {
  origin: string
  anonKey: string
  mintRoleToken(claims: { role: string }): Promise<string>
  sql(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  close(): Promise<void>
}

/** A database of its own behind the real faces, with the adapters that the services use. One case at a time runs on it. */
export interface Bench {
  front: FrontStore & VerbStore
  step: StepStore
  blobs: Blobs
  artifacts: Artifacts
  sql: Project['sql']
  close(): Promise<void>
}

export async function openBench(project: Project): Promise<Bench> {
  const options = async (role: string) => ({
    url: project.origin,
    anonKey: project.anonKey,
    roleToken: await project.mintRoleToken({ role }),
    timeoutMs: 20_000,
  })
  const step = await options('agent_step')
  return {
    front: createFrontStore(await options('agent_api')),
    step: createStepStore(step),
    blobs: createBlobs(step),
    artifacts: createArtifacts(step),
    sql: project.sql,
    close: () => project.close(),
  }
}

export const uuid = (): string => randomUUID()
