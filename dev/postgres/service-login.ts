import pg from 'pg'
import { withRoleLock } from './role-lock.ts'

/** Timeouts of the group roles (migrations …01): a role's settings hold for its own logins only, so a member is given them by name. */
const TIMEOUTS = {
  agent_api: { statement: '8s', lock: '4s' },
  agent_step: { statement: '15s', lock: '5s' },
  agent_door: { statement: '15s', lock: '5s' },
}
export type ServiceRole = keyof typeof TIMEOUTS

/**
 * A login role for the Store adapter `postgres`: a member of agent_api, agent_step or agent_door and nothing more. This is what an operator does
 * on a hosted project, as the role `postgres` that applies migrations. Answers the connection string.
 */
export async function makeServiceLogin(
  ownerUrl: string,
  { name, role, password }: { name: string; role: ServiceRole; password: string },
): Promise<string> {
  const login = pg.escapeIdentifier(name)
  await withRoleLock(ownerUrl, async (client) => {
    const { rowCount } = await client.query('select from pg_roles where rolname = $1', [name])
    if (rowCount === 0) await client.query(`create role ${login} login nobypassrls inherit in role ${role}`)
    await client.query(`
      alter role ${login} password ${pg.escapeLiteral(password)};
      alter role ${login} set statement_timeout = '${TIMEOUTS[role].statement}';
      alter role ${login} set lock_timeout = '${TIMEOUTS[role].lock}'`)
  })
  const url = new URL(ownerUrl)
  url.username = encodeURIComponent(name)
  url.password = encodeURIComponent(password)
  return url.href
}
