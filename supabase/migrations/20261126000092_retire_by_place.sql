-- Retention goes to the artifacts it has found by their keys; joined with a list of unknown length, the table was read as it lies.
do $$
declare
  v_text text := pg_catalog.pg_get_functiondef('private.retire(integer)'::regprocedure);
  v_change text[];
begin
  foreach v_change slice 1 in array array[
    ['delete from public.agent_artifacts where ctid in (', 'delete from public.agent_artifacts where ctid = any (array('],
    ['from public.agent_artifacts a where a.id in (', 'from public.agent_artifacts a where a.id = any (array('],
    ['order by x.deleted_at limit p_limit))', 'order by x.deleted_at limit p_limit)))'],
    ['for update of a skip locked)', 'for update of a skip locked))']] loop
    if position(v_change[1] in v_text) = 0 then raise exception 'private.retire is not what this file was written for'; end if;
    v_text := replace(v_text, v_change[1], v_change[2]);
  end loop;
  execute v_text;
end
$$;
