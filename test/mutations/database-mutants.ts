import type pg from 'pg'
import type { Mutant } from './mutant.ts'
import { sqlMutants } from './sql-mutants.ts'

/** Ours: both schemas, and the policies that we lay on the tables of Storage. */
const SCHEMAS = `('public'::regnamespace, 'private'::regnamespace)`

interface Statement {
  name: string
  kind: string
  definition: string
  statement: string
}

/** Every mutant of a migrated database: of its functions and policies, and of the constraints, indexes, triggers and grants that guard it. */
export async function databaseMutants(client: pg.Client): Promise<Mutant[]> {
  const functions = await client.query<{ name: string; definition: string }>(`
    select n.nspname || '.' || p.proname as name, pg_get_functiondef(p.oid) as definition
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'private' or (n.nspname = 'public' and p.proname like 'agent\\_%') order by 1`)
  const statements = [...(await constraints(client)), ...(await grants(client))]
  return [
    ...functions.rows.flatMap(({ name, definition }) =>
      sqlMutants(name, definition).map((mutant) => ({ ...mutant, undo: definition })),
    ),
    ...(await policyMutants(client)),
    ...statements.map(({ name, kind, definition, statement }) => ({
      id: '',
      target: name,
      kind,
      line: 0,
      text: definition,
      by: '',
      apply: statement,
    })),
  ]
}

async function constraints(client: pg.Client): Promise<Statement[]> {
  const { rows } = await client.query<Statement>(`
    select c.conrelid::regclass || '.' || c.conname as name, 'dropped' as kind, pg_get_constraintdef(c.oid) as definition,
      format('alter table %s drop constraint %I cascade', c.conrelid::regclass, c.conname) as statement
    from pg_constraint c where c.contype in ('c', 'u', 'p', 'f') and c.connamespace in ${SCHEMAS}
    union all
    select i.indexrelid::regclass::text, 'dropped', pg_get_indexdef(i.indexrelid), format('drop index %s', i.indexrelid::regclass)
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indisunique and c.relnamespace in ${SCHEMAS} and not exists (select 1 from pg_constraint k where k.conindid = i.indexrelid)
    union all
    select g.tgrelid::regclass || '.' || g.tgname, 'dropped', pg_get_triggerdef(g.oid), format('drop trigger %I on %s', g.tgname, g.tgrelid::regclass)
    from pg_trigger g join pg_class c on c.oid = g.tgrelid where not g.tgisinternal and c.relnamespace in ${SCHEMAS}
    order by 1`)
  return rows
}

/** What nobody outside is granted, granted; and what keeps our functions inside row security, let go. */
async function grants(client: pg.Client): Promise<Statement[]> {
  const { rows } = await client.query<Statement>(`
    with tables as (
      select oid::regclass as t, relnamespace = 'public'::regnamespace as exposed, relrowsecurity from pg_class
      where relkind = 'r' and relnamespace in ${SCHEMAS}
    ), functions as (
      select p.oid::regprocedure as f, p.prosecdef, p.proconfig from pg_proc p
      where p.pronamespace = 'private'::regnamespace or (p.pronamespace = 'public'::regnamespace and p.proname like 'agent\\_%')
    )
    select t::text as name, 'granted' as kind, privilege || ' to ' || role as definition, format('grant %s on %s to %s', privilege, t, role) as statement
    from tables, (values ('select', 'anon'), ('select', 'agent_api'), ('select', 'agent_step'), ('insert, update, delete', 'authenticated'),
      ('insert, update, delete', 'agent_front')) as g (privilege, role) where exposed
    union all
    select t::text, 'granted', 'select to ' || role, format('grant select on %s to %s', t, role)
    from tables, unnest(array['authenticated', 'agent_front', 'agent_step']) role where not exposed
    union all
    select t::text, 'opened', 'row security', format('alter table %s disable row level security', t) from tables where relrowsecurity
    union all
    select f::text, 'granted', 'execute to public', format('grant execute on function %s to public', f) from functions
    union all
    select f::text, 'opened', 'owner bypasses row security', format('alter function %s owner to postgres', f) from functions where prosecdef
    union all
    select f::text, 'opened', 'search path', format('alter function %s reset search_path', f) from functions where proconfig is not null
    order by 1, 2, 3`)
  return rows
}

async function policyMutants(client: pg.Client): Promise<Mutant[]> {
  const { rows } = await client.query<{
    policy: string
    on: string
    using: string | null
    check: string | null
  }>(`
    select format('%I', policyname) as policy, format('%I.%I', schemaname, tablename) as on, qual as using, with_check as check
    from pg_policies where schemaname in ('public', 'private') or policyname like 'agent\\_%' order by 2, 1`)
  return rows.flatMap(({ policy, on, using, check }) => {
    const target = `${on}.${policy}`
    const changed = (part: string, expression: string | null): Mutant[] =>
      expression === null || expression === 'true'
        ? []
        : sqlMutants(target, `where ${expression}`).map((mutant) => ({
            ...mutant,
            kind: `${part}: ${mutant.kind}`,
            apply: `alter policy ${policy} on ${on} ${part} (${mutant.apply.replace(/^where/, '')})`,
          }))
    const dropped = {
      id: '',
      target,
      kind: 'dropped',
      line: 0,
      text: 'policy',
      by: '',
      apply: `drop policy ${policy} on ${on}`,
    }
    return [dropped, ...changed('using', using), ...changed('with check', check)]
  })
}
