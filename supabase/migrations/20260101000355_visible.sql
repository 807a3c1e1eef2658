-- Part of neural-search 0.1.0. Does nothing where it has been run before.
do $migration$
begin
  perform pg_advisory_xact_lock(1852142962);
  if to_regclass('neural_search.migrations') is not null or to_regproc('neural_search.visible_objects') is not null then
    return;
  end if;
  execute $statements$
-- Visible: what a caller may see, read at once, where some policy on storage.objects chokes on some objects.
-- Callers: match_documents, as the caller, where one statement over all objects fails.
-- Objects: visible_objects.

-- Runs as the caller, so that the caller's policies decide and nothing but what they show is ever known here. Reads
-- ranges of the table's own places, (block, line), each in a subtransaction: a range with an object that a policy
-- chokes on is read again in parts, and such an object by itself is left out. No index would do: whoever may not see
-- the names or ids can't tell where to halve between them, while the places are known from the table's size alone. They
-- are also in the order of the disk, and what was uploaded together, into one folder, mostly lies together. Rows stay
-- in their places as far as one snapshot is concerned, and all that a stable function reads is of one.
--
-- The part read next is twice as long after a success and a 16th after a failure, down to a single place. Measured in
-- 2026 with 100,000 objects in 6,700 blocks, beside asking can_see for each: about a sixth of the time (0.45 s) with one
-- bad object or 1% in a row, a third with 1% here and there, four fifths with every other one at random. Halving took 1.2
-- times as long as can_see with those.
create or replace function neural_search.visible_objects() returns setof uuid
language plpgsql stable set search_path = storage, public, extensions -- as can_see has it
set plan_cache_mode = 'force_generic_plan' -- the planner, who thinks a single place so cheap, would plan anew for each
as $$
declare
  operation constant text := current_setting('storage.operation', true);
  block_size constant integer := current_setting('block_size');
  lines constant bigint := block_size / 28; -- at most: a row has a pointer of 4 bytes and a header of 24
  ending bigint;
  longest bigint; -- a failure costs no more than this again
  place bigint := 0; -- block * lines + line - 1
  step bigint;
  used bigint := 0; -- no line of a block after this one is known to hold a row
  length bigint;
  ids uuid[];
begin
  -- What this transaction has read nobody rewrites before its end: rows keep their places after a failure, too.
  perform from storage.objects limit 0;
  ending = pg_catalog.pg_relation_size('storage.objects') / block_size * lines;
  longest = greatest(ending / 16, 1);
  step = longest;
  -- Policies may ask what Storage is doing; outside of Storage they would all say no.
  perform set_config('storage.operation', 'storage.object.get_authenticated', true);
  while place < ending loop
    length = case
      when step >= lines then step
      when place % lines > used then lines - place % lines -- the rest of the block, which seems to be empty
      else least(step, lines - place % lines)
    end;
    begin
      select array_agg(object.id) into ids
      -- A name that storage.objects doesn't know, on older projects, is taken from here.
      from (values (null::timestamptz, false)) as older (archived_at, is_delete_marker),
        lateral (
          select o.id from storage.objects as o
          where o.ctid >= format('(%s,%s)', place / lines, place % lines + 1)::tid
            and o.ctid < format('(%s,%s)', (place + length) / lines, (place + length) % lines + 1)::tid
            and archived_at is null and is_delete_marker is not true
        ) as object;
      place = place + length;
      step = least(2 * step, longest);
      if ids is not null then
        return query select unnest(ids);
      end if;
    exception when data_exception or cardinality_violation or plpgsql_error then
      -- Whom a policy chokes on nobody sees, as can_see has it.
      if length = 1 then
        used = greatest(used, place % lines);
        place = place + 1;
      elsif place % lines > used and length < lines then
        used = place % lines + length / 16;
      end if;
      step = greatest(length / 16, 1);
    end;
  end loop;
  perform set_config('storage.operation', coalesce(operation, ''), true);
end
$$;
comment on function neural_search.visible_objects is
  'The ids of the live objects that the policies on storage.objects show to the caller, without those that a policy '
  'chokes on.';
revoke execute on function neural_search.visible_objects from public, anon, authenticated, service_role;
grant execute on function neural_search.visible_objects to anon, authenticated, service_role;
$statements$;
end
$migration$;
