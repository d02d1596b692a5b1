-- What the floors F1 and F2 run: the least that a durable chain of steps writes. One function call is one transaction: the run's
-- counter, the step with its input and output, its message, one event for readers; and it answers what comes next.
create schema floor;
create table floor.runs (
  id uuid primary key,
  status text not null default 'running',
  next_step integer not null default 0,
  tokens bigint not null default 0,
  updated_at timestamptz not null default now()
);
create table floor.steps (
  run_id uuid not null references floor.runs (id),
  step_number integer not null,
  tool_name text not null,
  input jsonb not null,
  output jsonb not null,
  completed_at timestamptz not null default clock_timestamp(),
  primary key (run_id, step_number)
);
create table floor.messages (
  id uuid primary key default gen_random_uuid(),
  run_id uuid not null references floor.runs (id),
  step_number integer not null,
  role text not null,
  content text not null,
  blocks jsonb
);
create index messages_run on floor.messages (run_id, step_number);
create table floor.events (
  run_id uuid not null references floor.runs (id),
  seq integer not null,
  event text not null,
  data jsonb not null,
  primary key (run_id, seq)
);

create function floor.step(p jsonb) returns jsonb language plpgsql as $$
declare
  v_run floor.runs;
begin
  update floor.runs set next_step = next_step + 1, tokens = tokens + (p ->> 'tokens')::integer, updated_at = clock_timestamp()
  where id = (p ->> 'run_id')::uuid and next_step = (p ->> 'step_number')::integer returning * into v_run;
  if not found then return '{"done": false}'; end if;
  insert into floor.steps (run_id, step_number, tool_name, input, output)
  values (v_run.id, v_run.next_step - 1, p ->> 'tool_name', p -> 'input', p -> 'output');
  insert into floor.messages (run_id, step_number, role, content, blocks)
  values (v_run.id, v_run.next_step - 1, p ->> 'role', p ->> 'content', p -> 'blocks');
  insert into floor.events (run_id, seq, event, data)
  values (v_run.id, v_run.next_step, 'step', jsonb_build_object('step_number', v_run.next_step - 1, 'status', 'completed'));
  return jsonb_build_object('done', true, 'next_step', v_run.next_step);
end
$$;

grant usage on schema floor to agent_step;
grant select, insert, update on all tables in schema floor to agent_step;
grant execute on function floor.step(jsonb) to agent_step;
