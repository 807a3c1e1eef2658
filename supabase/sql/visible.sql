-- Visible: who may see which object, by the policies on storage.objects, and how a policy that fails is treated.
-- Callers: every function that searches or names documents, as the caller.

-- A policy is arbitrary SQL and can fail on a single object: on a folder's name that is no uuid, on a check of a domain,
-- on a missing table. Storage hides nothing then, it fails; a search hides that object and goes on, or one upload would
-- end everybody's searches, with a message that may tell its name. Trouble of the database itself ends the search, in our
-- own words for the same reason.
create or replace function neural_search.check_failure(code text) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if neural_search.is_outage(code) then
    raise exception 'The database broke off the search (SQLSTATE %).', code
      -- PostgREST repeats a transaction that fails with class 40, without an end where a policy always does.
      using errcode = case when code ~ '^40' then '53000' else code end,
        hint = 'Try again; where it goes on, narrow the search by a filter, or declare its bucket''s visible_by.';
  end if;
end
$$;
comment on function neural_search.check_failure is
  'Raises, without the failure''s own message, where a SQLSTATE speaks of the database and not of an object.';


-- can_see hides objects that a policy fails on. Another failure may be a policy's function that the planner calls and that
-- fails now and then, so its message is for the operator alone; it may be a fault of ours, too.
create or replace function neural_search.end_search(code text, message text) returns void
language plpgsql set search_path = '' as $$
begin
  raise log 'neural-search broke off a search: % (SQLSTATE %)', message, code;
  raise exception 'The database broke off the search: a statement that asks the policies failed (SQLSTATE %).', code
    using errcode = case when code = '42501' then code else '53000' end, -- PostgREST's 503
      hint = 'Try again. Where it goes on, the database''s log has the cause, and `neural-search doctor` may name it.';
end
$$;
comment on function neural_search.end_search is
  'Raises, without the failure''s own message, which is logged, where a statement that asks policies fails though objects are '
  'asked one by one.';


create or replace function neural_search.note_failure(code text) returns void
language plpgsql set search_path = '' as $$
declare
  count constant integer := coalesce(nullif(current_setting('neural_search.policy_failures', true), ''), '0')::integer;
begin
  perform neural_search.check_failure(code);
  perform set_config('neural_search.policy_failures', (count + 1)::text, true);
  perform set_config('neural_search.failed_with', code, true);
end
$$;
comment on function neural_search.note_failure is
  'Counts that a policy failed on an object, which is hidden for it, and remembers the last SQLSTATE.';


-- To the server's log alone: nobody but the operator is to learn that objects were hidden.
create or replace function neural_search.log_failures() returns void
language plpgsql set search_path = '' as $$
declare
  count constant text := coalesce(current_setting('neural_search.policy_failures', true), '');
begin
  if count <> '' then
    raise log 'neural-search hid objects on which a policy on storage.objects failed: % times, the last with SQLSTATE %.',
      count, current_setting('neural_search.failed_with', true)
      using hint = 'neural-search doctor names the policy and the object.';
    perform set_config('neural_search.policy_failures', '', true);
  end if;
end
$$;
comment on function neural_search.log_failures is 'Tells the operator that a search hid objects, and why.';


-- Definer, because callers may read neither the registered buckets nor, mostly, storage.buckets. It answers for one
-- object and version whose id the caller already holds, from the object's own row and not from our copies.
-- In PL/pgSQL, which keeps the plan: it is called for many candidates in one search.
create or replace function neural_search.is_public(target_object_id uuid, target_version text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return exists (
    select from neural_search.live_objects() as o
    join storage.buckets as s on s.id = o.bucket_id and s.public
    join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id and b.public_search
    where o.id = target_object_id and coalesce(o.version, '') = target_version
  );
end
$$;
comment on function neural_search.is_public is
  'Whether everybody may find this version of an object: its bucket is public and registered with public_search.';


-- Definer, because callers may not read the registered buckets. That everybody may search these is no secret.
create or replace function neural_search.public_buckets() returns text[]
language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(b.bucket_id), '{}') from neural_search.indexed_buckets as b
  join storage.buckets as s on s.id = b.bucket_id
  where b.public_search and s.public
$$;
comment on function neural_search.public_buckets is
  'Where is_public may say yes: asked once in a statement, it spares asking is_public for everything else.';


-- Without a path of its own: it is called under both of can_see's.
create or replace function neural_search.is_shown(target_object_id uuid, target_version text) returns boolean
language plpgsql stable as $$
begin
  return exists (
    select from neural_search.live_objects() as o
    where o.id = target_object_id and coalesce(o.version, '') = target_version
  );
end
$$;
comment on function neural_search.is_shown is 'Whether the policies show an object that still has this version.';


-- Called as the caller, for each candidate where nothing was prepared. It isn't parallel safe: it sets a parameter.
-- Without a scan of the whole table, which the planner prefers for a small one: a policy that looks cheaper than our condition
-- would be asked about all rows, of which one may fail.
--
-- To plan is_shown's statement takes ten times as long as to run it, so its plan is kept. The next caller gets another by a path
-- of other words, as a plan lasts no longer than the path that it was made for.
create or replace function neural_search.can_see(target_object_id uuid, target_version text) returns boolean
language plpgsql stable cost 1000 set search_path = storage, public, extensions set enable_seqscan = off set jit = off as $$
declare
  former text[];
  caller constant text := current_user::text || ' ' || coalesce(current_setting('request.jwt.claims', true), '');
  seen boolean;
begin
  if current_setting('storage.operation', true) is distinct from 'storage.object.get_authenticated'
      or current_setting('request.method', true) is distinct from 'GET' then
    former = neural_search.act_as_storage(); -- a search has done so
  end if;
  begin
    if current_setting('neural_search.planned_for', true) is distinct from caller then -- until the transaction's end
      perform set_config('search_path', 'pg_catalog, storage, public, extensions, pg_temp', true);
      perform neural_search.is_shown(target_object_id, target_version);
      perform set_config('search_path', 'storage, public, extensions, pg_temp', true);
      perform set_config('neural_search.planned_for', caller, true);
    end if;
    seen = neural_search.is_shown(target_object_id, target_version);
  exception when query_canceled or assert_failure or others then
    perform neural_search.note_failure(sqlstate);
    seen = false;
  end;
  if former is not null then
    former = neural_search.act_as_storage(former);
  end if;
  return seen or neural_search.is_public(target_object_id, target_version);
end
$$;
comment on function neural_search.can_see is
  'Whether the caller may see an object that still has this version: by the policies on storage.objects, or because '
  'everybody may.';


-- The first branch takes a tenth of the time, but needs the parameters to be set as can_see sets them, and one object
-- that a policy fails on fails the statement: find_similar and seen_documents see to both. Its subquery is a scalar one,
-- because the planner would turn an EXISTS into a hash of all objects that the caller may see, made anew in each search.
alter policy "As the policies on storage.objects say" on neural_search.documents
  to anon, authenticated using (
    case when (select current_setting('neural_search.prepared', true)) = 'on'
        and (select current_setting('storage.operation', true)) = 'storage.object.get_authenticated'
        and (select current_setting('request.method', true)) = 'GET'
      then
        coalesce((
          select true from storage.objects as o
          where o.id = documents.object_id and coalesce(o.version, '') = documents.object_version
        ), false)
        or documents.bucket_id = any ((select neural_search.public_buckets())::text[])
          and neural_search.is_public(documents.object_id, documents.object_version)
      else neural_search.can_see(documents.object_id, documents.object_version)
    end
  );
comment on policy "As the policies on storage.objects say" on neural_search.documents is
  'Who sees an object sees its document, as long as the object has the bytes that were embedded.';


-- Not live_objects(), whose rows have no place. Without a path of its own, as is_shown.
create or replace function neural_search.objects_between(first tid, beyond tid) returns uuid[]
language plpgsql stable as $$
begin
  return array(
    select object.id
    from (values (null::timestamptz, false)) as older (archived_at, is_delete_marker),
      lateral (
        select o.id from storage.objects as o
        where o.ctid >= first and o.ctid < beyond and archived_at is null and is_delete_marker is not true
      ) as object
  );
end
$$;
comment on function neural_search.objects_between is 'The ids of the live objects in these places that the policies show.';


-- Runs as the caller, so that the caller's policies decide and nothing but their answers is ever known here. Reads
-- ranges of the table's own places, (block, line), each in a subtransaction: a range with an object that a policy
-- chokes on is read again in parts, and such an object by itself is left out. No index would do: who may not see the
-- names or ids can't tell where to halve between them, while the places are known from the table's size alone. They
-- are also in the order of the disk, and images uploaded together, into one folder, mostly lie together. Rows stay
-- in their places as far as one snapshot is concerned, and all that a stable function reads is of one.
--
-- The part read next is twice as long after a success and a 16th after a failure, down to a single place. Measured in
-- 2026 with 100,000 objects in 6,700 blocks, beside asking can_see for each: about a sixth of the time (0.45 s) with one
-- bad object or 1% in a row, a third with 1% here and there, four fifths with every other one at random. Halving took 1.2
-- times as long as can_see with those.
create or replace function neural_search.visible_objects() returns setof uuid
language plpgsql stable set search_path = storage, public, extensions set enable_seqscan = off set jit = off -- as can_see
set plan_cache_mode = 'force_generic_plan' -- the planner, who thinks a single place so cheap, would plan anew for each
as $$
declare
  former text[];
  block_size constant integer := current_setting('block_size')::integer;
  lines constant bigint := block_size / 28; -- at most: a row has a pointer of 4 bytes and a header of 24
  ending bigint;
  longest bigint; -- a failure costs no more than this again
  place bigint := 0; -- block * lines + line - 1
  step bigint;
  used bigint := 0; -- no line of a block after this one is known to hold a row
  length bigint;
  ids uuid[];
begin
  -- Nobody rewrites this transaction's rows before its end: they keep their places after a failure, too.
  if not neural_search.policies_work() then
    return;
  end if;
  ending = pg_catalog.pg_relation_size('storage.objects') / block_size * lines;
  longest = greatest(ending / 16, 1);
  step = longest;
  former = neural_search.act_as_storage();
  -- For a plan of this caller's, as in can_see.
  perform set_config('search_path', 'pg_catalog, storage, public, extensions, pg_temp', true);
  perform neural_search.objects_between('(0,1)', '(0,1)');
  perform set_config('search_path', 'storage, public, extensions, pg_temp', true);
  while place < ending loop
    length = case
      when step >= lines then step
      when place % lines > used then lines - place % lines -- the rest of the block, which seems to be empty
      else least(step, lines - place % lines)
    end;
    begin
      ids = neural_search.objects_between(
        pg_catalog.format('(%s,%s)', place / lines, place % lines + 1)::tid,
        pg_catalog.format('(%s,%s)', (place + length) / lines, (place + length) % lines + 1)::tid
      );
      place = place + length;
      step = least(2 * step, longest);
      return query select pg_catalog.unnest(ids);
    exception when query_canceled or assert_failure or others then
      perform neural_search.check_failure(sqlstate);
      if length = 1 then
        perform neural_search.note_failure(sqlstate);
        used = greatest(used, place % lines);
        place = place + 1;
      elsif place % lines > used and length < lines then
        used = place % lines + length / 16;
      end if;
      step = greatest(length / 16, 1);
    end;
  end loop;
  former = neural_search.act_as_storage(former);
end
$$;
comment on function neural_search.visible_objects is
  'The ids of the live objects that the policies on storage.objects show to the caller, without those that a policy '
  'chokes on.';
