import { randomUUID } from 'node:crypto'
import { makeServiceLogin } from '../../dev/postgres/service-login.ts'
import type { TestDatabase } from '../../dev/postgres/test-database.ts'
import { createFrontStore } from '../../shared/adapters/postgres/front-store.ts'
import { createStepStore } from '../../shared/adapters/postgres/step-store.ts'

/** Both stores of the adapter `postgres` on a test's database, each as a login role of its own; `change` may put a proxy between. */
export async function postgresStores(
  database: TestDatabase,
  { change = (url: string) => url, timeoutMs = 5_000 } = {},
) {
  const login = async (role: 'agent_api' | 'agent_step') => {
    // Roles belong to the cluster, which all test files share: a few names, not one a test.
    const url = await makeServiceLogin(database.url('postgres'), {
      name: `${role}_test`,
      role,
      password: 'test',
    })
    return change(url)
  }
  const id = randomUUID().slice(0, 8)
  const front = createFrontStore({
    url: await login('agent_api'),
    timeoutMs,
    applicationName: `front-${id}`,
  })
  const step = createStepStore({ url: await login('agent_step'), timeoutMs, applicationName: `step-${id}` })
  return {
    front,
    step,
    names: { front: `front-${id}`, step: `step-${id}` },
    async close() {
      await Promise.all([front.close(), step.close()])
    },
  }
}
