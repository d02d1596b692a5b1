-- The sweeper reads what is due by its indexes. clock_timestamp() may change from row to row, so no index is ever asked for what is
-- before it: each sweep read every open run, key, ticket and listed object from end to end, once a minute. Asked for once in a
-- statement, `(select clock_timestamp())`, it is a value like any other. Measured with a million rows by test/plans.

create index objects_to_remove_gone on private.objects_to_remove (removed_at) where removed_at is not null;

-- The statements are changed where they stand, whichever migration wrote their function last.
do $$
declare
  f record;
  v_text text;
begin
  for f in select p.oid, p.proname, pg_catalog.pg_get_functiondef(p.oid) as definition from pg_catalog.pg_proc p
           where p.pronamespace in ('private'::regnamespace, 'public'::regnamespace)
             and p.proname in ('sweep', 'sweep_due', 'objects_due', 'agent_sweep', 'retire') loop
    v_text := f.definition;
    -- a bounded part of the list first: joined as a whole, it would be read as a whole
    v_text := replace(v_text, 'select o.ctid from private.objects_to_remove o
    where o.bucket = ''agent-workspaces'' and o.handed_at is null and o.not_before <= clock_timestamp() and exists (',
      'select o.ctid from (
      select t.ctid, t.name from private.objects_to_remove t
      where t.bucket = ''agent-workspaces'' and t.handed_at is null and t.removed_at is null and t.not_before <= clock_timestamp()
      order by t.not_before limit 1000) o
    where exists (');
    -- in the order of their index, or a few rows are looked for in the whole table
    v_text := regexp_replace(v_text, '(\w+) < clock_timestamp\(\)( - interval ''[^'']+'')? limit 1000',
      '\1 < clock_timestamp()\2 order by \1 limit 1000', 'g');
    v_text := regexp_replace(v_text, '(<=?) clock_timestamp\(\)', '\1 (select clock_timestamp())', 'g');
    -- rows are gone to by their place, never looked for
    v_text := regexp_replace(v_text, 'ctid in \(\s*?(select .*? limit 1000)\);', 'ctid = any (array(\1));', 'g');
    if v_text <> f.definition then execute v_text; end if;
  end loop;
end
$$;
