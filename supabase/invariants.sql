-- Returns the rows that break a promise of the engine: it must return none, at any moment. Columns: invariant, run_id, detail.
-- Run as the owner of the migrations (row security hides rows from everybody else). The invariants themselves stand in the database,
-- where the sweeper looks at a few runs each time (private.check_runs): in one place, for tests and production alike.
select v.invariant, v.run_id, v.detail from private.runs r cross join lateral private.run_violations(r.run_id) v
union all
select v.invariant, v.run_id, v.detail from public.credit_balances b cross join lateral private.balance_violations(b.user_id) v
union all
-- what the sweeper found at a time when nobody asked; that it came late itself is not the engine's fault
select 'found by the sweeper: ' || invariant, run_id, detail from private.violations where invariant <> 'no run is silent';
