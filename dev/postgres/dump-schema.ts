import pg from 'pg'

/** One section of the dump: a title and a query whose rows are lines. Everything is read from the catalogue, in a fixed order. */
const SECTIONS: readonly [title: string, query: string][] = [
  [
    'Types',
    `select format('%I.%I: %s', n.nspname, t.typname, string_agg(e.enumlabel, ', ' order by e.enumsortorder)) as line
     from pg_type t join pg_namespace n on n.oid = t.typnamespace join pg_enum e on e.enumtypid = t.oid
     where n.nspname in ('public', 'private') group by n.nspname, t.typname order by 1`,
  ],
  [
    'Columns',
    `select format('%I.%I.%I %s%s%s', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
       case when a.attnotnull then ' not null' else '' end,
       case when a.attidentity <> '' then ' identity' when d.adbin is not null then ' default ' || pg_get_expr(d.adbin, d.adrelid) else '' end) as line
     from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
     left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
     where n.nspname in ('public', 'private') and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
     order by n.nspname, c.relname, a.attnum`,
  ],
  [
    'Constraints',
    `select format('%s %I: %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as line from pg_constraint
     where connamespace in ('public'::regnamespace, 'private'::regnamespace) and contype <> 'n' order by conrelid::regclass::text, conname`,
  ],
  [
    'Indexes',
    `select indexdef as line from pg_indexes where schemaname in ('public', 'private') order by schemaname, tablename, indexname`,
  ],
  [
    'Row security',
    `select format('%I.%I: %s', n.nspname, c.relname, case when c.relrowsecurity then 'on' else 'off' end) as line
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('public', 'private') and c.relkind = 'r' order by n.nspname, c.relname`,
  ],
  [
    'Policies',
    `select format('%I.%I %I: %s to %s using %s with check %s', schemaname, tablename, policyname, cmd, array_to_string(roles, ', '),
       coalesce(qual, '-'), coalesce(with_check, '-')) as line
     from pg_policies where schemaname in ('public', 'private', 'storage') order by schemaname, tablename, policyname`,
  ],
  [
    'Triggers',
    `select pg_get_triggerdef(t.oid) as line from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
     where not t.tgisinternal and n.nspname in ('public', 'private') order by 1`,
  ],
  [
    'Functions: owner, security, who may execute, MD5 of the body',
    `select format('%I.%I(%s) %s, %s%s, %s, %s', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), pg_get_userbyid(p.proowner),
       case when p.prosecdef then 'definer' else 'invoker' end, case p.provolatile when 's' then ' stable' when 'i' then ' immutable' else '' end,
       coalesce((select string_agg(pg_get_userbyid(a.grantee), ' ' order by pg_get_userbyid(a.grantee)) from aclexplode(p.proacl) a
         where a.grantee <> p.proowner), 'nobody else'), md5(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc))) as line
     from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('public', 'private') order by 1`,
  ],
  [
    'Table privileges',
    `select format('%I.%I %s: %s', n.nspname, c.relname, case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee) end,
       string_agg(a.privilege_type, ', ' order by a.privilege_type)) as line
     from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
     where n.nspname in ('public', 'private') and c.relkind in ('r', 'S') and a.grantee <> c.relowner
     group by n.nspname, c.relname, a.grantee order by 1`,
  ],
  [
    'Schema privileges',
    `select format('%I %s: %s', n.nspname, case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee) end,
       string_agg(a.privilege_type, ', ' order by a.privilege_type)) as line
     from pg_namespace n, aclexplode(n.nspacl) a where n.nspname = 'private' group by n.nspname, a.grantee order by 1`,
  ],
]

/** The schema as text, for review: what a change of the migrations does to it is a diff of supabase/schema.sql. */
export async function dumpSchema(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const parts = [
      '-- Generated from supabase/migrations by `npm run schema`; a test fails when the two differ.',
    ]
    for (const [title, query] of SECTIONS) {
      const { rows } = await client.query<{ line: string }>(query)
      parts.push(`-- ${title}\n${rows.map(({ line }) => line).join('\n')}`)
    }
    return `${parts.join('\n\n')}\n`
  } finally {
    await client.end()
  }
}
