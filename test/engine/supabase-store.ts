import { type TestProject, testProject } from '../../dev/supabase/test-project.ts'
import { createFrontStore } from '../../shared/adapters/supabase/front-store.ts'
import { createStepStore } from '../../shared/adapters/supabase/step-store.ts'
import type { StoreFixture } from '../../shared/ports/store.suite.ts'
import { databaseControls } from './database-controls.ts'

/** Both stores over PostgREST's face of a database of their own, which `hold` may take the clock of. */
export async function supabaseStore(
  hold?: (project: TestProject) => Promise<StoreFixture['advance']>,
): Promise<StoreFixture> {
  const project = await testProject('', { template: 'migrated' })
  const options = async (role: string) => ({
    url: project.origin,
    anonKey: project.anonKey,
    roleToken: await project.mintRoleToken({ role }),
    timeoutMs: 10_000,
  })
  return {
    front: createFrontStore(await options('agent_api')),
    step: createStepStore(await options('agent_step')),
    ...databaseControls((text, values) => project.sql(text, values)),
    ...(hold && { advance: await hold(project) }),
    close: () => project.close(),
  }
}
