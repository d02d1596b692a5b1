import type pg from 'pg'
import type { Mutant } from './mutant.ts'
import { sqlMutants } from './sql-mutants.ts'

/** Every mutant of a migrated database: of its functions, and of the constraints, unique indexes and triggers that guard its tables. */
export async function databaseMutants(client: pg.Client): Promise<Mutant[]> {
  const functions = await client.query<{ name: string; definition: string }>(`
    select n.nspname || '.' || p.proname as name, pg_get_functiondef(p.oid) as definition
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'private' or (n.nspname = 'public' and p.proname like 'agent\\_%') order by 1`)
  const guards = await client.query<{ name: string; definition: string; statement: string }>(`
    select t.name || '.' || c.conname as name, pg_get_constraintdef(c.oid) as definition,
      format('alter table %s drop constraint %I cascade', t.name, c.conname) as statement
    from pg_constraint c, lateral (select c.conrelid::regclass::text as name) t
    where c.contype in ('c', 'u', 'p') and c.connamespace in ('public'::regnamespace, 'private'::regnamespace)
    union all
    select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), format('drop index %s', i.indexrelid::regclass)
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indisunique and c.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
      and not exists (select 1 from pg_constraint k where k.conindid = i.indexrelid)
    union all
    select g.tgrelid::regclass || '.' || g.tgname, pg_get_triggerdef(g.oid), format('drop trigger %I on %s', g.tgname, g.tgrelid::regclass)
    from pg_trigger g join pg_class c on c.oid = g.tgrelid
    where not g.tgisinternal and c.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
    order by 1`)
  return [
    ...functions.rows.flatMap(({ name, definition }) => sqlMutants(name, definition)),
    ...guards.rows.map(({ name, definition, statement }) => ({
      id: '',
      target: name,
      kind: 'dropped',
      line: 0,
      text: definition,
      by: '',
      apply: statement,
    })),
  ]
}
