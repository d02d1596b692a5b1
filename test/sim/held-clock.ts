import pg from 'pg'
import type { TestProject } from '../../dev/supabase/test-project.ts'

/**
 * Takes the clock of a test's own database into our hands: it stands still, but for a microsecond a reading so that no two rows are
 * made at once, and goes on when told. What a loaded machine takes for a call then changes nothing. Answers how to let time pass.
 */
export async function holdClock({
  database,
  sql,
}: Pick<TestProject, 'database' | 'sql'>): Promise<(seconds: number) => Promise<void>> {
  const admin = new pg.Client({ connectionString: database.url('supabase_admin') })
  await admin.connect()
  try {
    // schema-qualified calls of the engine's functions find this one; nothing but this database knows it
    await admin.query(`
      create schema held;
      create sequence held.microseconds;
      select setval('held.microseconds', (extract(epoch from pg_catalog.clock_timestamp()) * 1000000)::bigint);
      create function held.clock() returns timestamptz language sql volatile security definer set search_path = '' as
        $$ select timestamptz 'epoch' + nextval('held.microseconds') * interval '1 microsecond' $$;
      grant usage on schema held to public;
      grant execute on function held.clock() to public;
      set allow_system_table_mods = on;
      create or replace function pg_catalog.clock_timestamp() returns timestamptz language sql volatile parallel safe as
        $$ select held.clock() $$;
      create or replace function pg_catalog.now() returns timestamptz language sql stable parallel safe as
        $$ select timestamptz 'epoch' + last_value * interval '1 microsecond' from held.microseconds $$;
      grant select on held.microseconds to public;
      grant update on held.microseconds to postgres;
    `)
  } finally {
    await admin.end()
  }
  return async (seconds) => {
    await sql(`select setval('held.microseconds', last_value + $1) from held.microseconds`, [
      Math.round(seconds * 1_000_000),
    ])
  }
}
