-- Estimates: how many rows a search would read.
-- Callers: the other functions of a search, as its caller.

-- The planner's expectation is good enough for how long a search takes. It counts hidden rows, too: no result may depend on
-- it. Volatile, as ask.
create or replace function neural_search.expected_rows(tables_and_conditions text) returns double precision
language plpgsql volatile set search_path = '' as $$
begin
  return (neural_search.ask('explain (format json) select from ' || tables_and_conditions)
    -> 0 -> 'Plan' ->> 'Plan Rows')::double precision;
exception when query_canceled or assert_failure or others then
  perform neural_search.note_failure(sqlstate);
  return null;
end
$$;
comment on function neural_search.expected_rows is
  'How many rows the planner expects to fulfil these conditions; null where it calls a policy''s function, which fails.';


create or replace function neural_search.expected_matches(search neural_search.search) returns double precision
language sql stable set search_path = '' as $$
  select case when search.narrowing <> '' then neural_search.expected_rows(
    format('neural_search.documents as d where d.model = %L%s', search.model, search.narrowing)
  ) end
$$;
comment on function neural_search.expected_matches is
  'How many documents the planner expects an index to leave for a search; null where nothing narrows it.';


-- Few rows are compared exactly, others by an index that leaves out some: the caller's own rows decide, since results
-- tell which it was. Far from the limit the planner's expectation does, as counting a few among many takes long: it tells
-- of hidden rows only where these are several times as many. Without sequential scans: the planner would expect to find
-- enough rows near the table's beginning. A policy that fails: as in find_matches.
create or replace function neural_search.are_few(rows text, most double precision) returns boolean
language plpgsql volatile set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  expected constant double precision := neural_search.expected_rows(rows);
  count bigint;
begin
  if expected not between most / 4 and 4 * most then
    return expected < most;
  end if;
  begin
    count = neural_search.ask(
      format('select pg_catalog.to_json(count(*)) from (select from %s limit %s) as seen', rows, ceil(most))
    )::text;
    return count < most;
  exception when query_canceled or assert_failure or others then
    perform neural_search.check_failure(sqlstate);
    if current_setting('neural_search.prepared', true) <> 'on' then
      perform neural_search.end_search(sqlstate, sqlerrm);
    end if;
  end;
  perform set_config('neural_search.prepared', 'off', true);
  return neural_search.are_few(rows, most);
end
$$;
comment on function neural_search.are_few is 'Whether the caller sees fewer than so many of these rows.';


-- At most half as many as ids_with_metadata lists: beyond those a filter by metadata narrows nothing.
create or replace function neural_search.narrows_to_few(search neural_search.search, most double precision)
returns boolean
language sql stable set search_path = '' as $$
  select search.narrowing <> '' and neural_search.are_few(
    format('neural_search.documents as d where d.model = %L%s', search.model, search.narrowing), least(most, 2000)
  )
$$;
comment on function neural_search.narrows_to_few is
  'Whether an index leaves so few documents, of which the caller sees fewer than so many, that comparing them is cheaper.';


create or replace function neural_search.expected_objects() returns double precision
language sql stable set search_path = '' as $$
  select greatest(c.reltuples, 0)::double precision from pg_catalog.pg_class as c where c.oid = 'storage.objects'::regclass
$$;
comment on function neural_search.expected_objects is 'How many objects the planner takes Storage to hold.';
