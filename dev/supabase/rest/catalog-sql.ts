/** One row: everything of schema $1 that the REST face may name. */
export const CATALOG_SQL = `
with rel as (
  select c.oid, n.nspname, c.relname
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = $1 and c.relkind in ('r', 'v', 'm', 'f', 'p')
), col as (
  select a.attrelid, json_agg(json_build_object(
    'name', a.attname,
    'type', format_type(a.atttypid, a.atttypmod),
    'default', case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end
  ) order by a.attnum) as columns
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'v', 'm', 'f', 'p', 'c')
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname not in ('pg_catalog', 'information_schema')
  left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attnum > 0 and not a.attisdropped
  group by a.attrelid
), con as (
  select k.*,
    (select json_agg(a.attname order by u.ord) from unnest(k.conkey) with ordinality u (num, ord)
      join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.num) as from_columns,
    (select json_agg(a.attname order by u.ord) from unnest(k.confkey) with ordinality u (num, ord)
      join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.num) as to_columns
  from pg_catalog.pg_constraint k
  where k.contype in ('p', 'u', 'f') and k.conrelid in (select oid from rel) and k.conparentid = 0
), fun as (
  select p.oid, p.proname, p.provolatile, p.proretset, p.prorettype, p.pronargdefaults,
    t.typtype, t.typrelid,
    coalesce(p.proallargtypes, p.proargtypes::oid[]) as types, p.proargnames as names, p.proargmodes as modes
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  join pg_catalog.pg_type t on t.oid = p.prorettype
  where n.nspname = $1 and p.prokind = 'f' and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
)
select
  (select json_agg(json_build_object(
    'oid', rel.oid::bigint, 'schema', rel.nspname, 'name', rel.relname,
    'columns', coalesce(col.columns, '[]'),
    'primaryKey', coalesce((select con.from_columns from con where con.conrelid = rel.oid and con.contype = 'p'), '[]'),
    'uniques', coalesce((select json_agg(con.from_columns) from con where con.conrelid = rel.oid and con.contype in ('p', 'u')), '[]')
  )) from rel left join col on col.attrelid = rel.oid) as relations,
  (select json_agg(json_build_object(
    'name', con.conname, 'from', con.conrelid::bigint, 'to', con.confrelid::bigint,
    'fromColumns', con.from_columns, 'toColumns', con.to_columns
  )) from con where con.contype = 'f' and con.confrelid in (select oid from rel)) as foreign_keys,
  (select json_agg(json_build_object(
    'schema', $1::text, 'name', fun.proname, 'volatile', fun.provolatile = 'v',
    'args', coalesce((
      select json_agg(json_build_object(
        'name', coalesce(x.name, ''), 'type', format_type(x.type, null), 'required', x.number <= x.total - fun.pronargdefaults
      ) order by x.number)
      from (
        select u.type, fun.names[u.ord] as name, row_number() over (order by u.ord) as number, count(*) over () as total
        from unnest(fun.types) with ordinality u (type, ord)
        where coalesce(fun.modes[u.ord], 'i') in ('i', 'b', 'v')
      ) x
    ), '[]'),
    'columns', case
      when fun.modes && '{t,b,o}'::"char"[] then (
        select json_agg(json_build_object('name', fun.names[u.ord], 'type', format_type(u.type, null), 'default', null) order by u.ord)
        from unnest(fun.types) with ordinality u (type, ord)
        where fun.modes[u.ord] in ('t', 'b', 'o'))
      when fun.typtype = 'c' then (select col.columns from col where col.attrelid = fun.typrelid)
    end,
    'relation', case when fun.typtype = 'c' and exists (select from rel where rel.oid = fun.typrelid) then fun.typrelid::bigint end,
    'set', fun.proretset, 'void', fun.prorettype = 'void'::regtype
  )) from fun) as routines`

/** Settings that \`alter role … set …\` gave to the roles of requests and that a request may set for itself. */
export const ROLE_SETTINGS_SQL = `
select r.rolname as role, u.entry as setting
from pg_catalog.pg_db_role_setting s
join pg_catalog.pg_roles r on r.oid = s.setrole
cross join unnest(s.setconfig) as u (entry)
join pg_catalog.pg_settings p on p.name = split_part(u.entry, '=', 1) and p.context = 'user'
where s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
  and p.name not in ('role', 'search_path')`
