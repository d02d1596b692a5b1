-- The size of a message as a model's prompt counts it is stored with it, so that finding where a long conversation is cut reads no
-- contents, and only what is kept is put together.
alter table public.agent_messages add column size_bytes integer
  generated always as (octet_length(content) + coalesce(octet_length((metadata -> 'blocks')::text), 0)) stored;

create or replace function private.conversation(p_run uuid) returns jsonb language plpgsql stable set search_path = '' as $$
declare
  v_step integer;
  v_position bigint;
begin
  -- the oldest of the newest messages that fit
  select n.step_number, n.position into v_step, v_position
  from (
    select m.step_number, m.position,
           sum(m.size_bytes) over (order by m.step_number desc, m.position desc rows unbounded preceding) as bytes
    from (select * from public.agent_messages where run_id = p_run order by step_number desc, position desc limit 400) m) n
  where n.bytes <= 400000 order by n.step_number, n.position limit 1;
  return (
    select coalesce(jsonb_agg(jsonb_build_object('step_number', t.step_number, 'role', t.role, 'content', t.content,
      'tool_call_id', t.tool_call_id, 'tool_name', t.tool_name, 'is_error', coalesce((t.metadata ->> 'is_error')::boolean, false),
      'blocks', t.metadata -> 'blocks', 'attachments', t.attachments) order by t.step_number, t.position), '[]')
    from (
      select f.* from (select * from public.agent_messages where run_id = p_run order by step_number, position limit 1) f
      -- also when nothing fits
      where ((f.step_number, f.position) < (v_step, v_position)) is not false
      union all
      select m.* from public.agent_messages m where m.run_id = p_run and (m.step_number, m.position) >= (v_step, v_position)) t);
end
$$;
