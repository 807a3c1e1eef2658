-- Policies: the statements that ask the policies on storage.objects, as the caller.
-- Callers: every function that searches or names documents.

-- Functions that policies call may rely on Storage's search path, under which the planner opens them, too. So a statement that
-- reads objects or documents as the caller has that path. There a function or an operator of Postgres comes before one of that
-- name in public only where its arguments have the very types: all that is called under it is such, cast to be or named in full,
-- and functions with it do little else. tests/database/test_twins.py makes a twin of each.
--
-- A policy may call a function that is said to be immutable and reads the caller all the same. Its value becomes a part of the
-- plan, which must not answer the session's next caller: these statements are planned anew for each, by execute or
-- force_custom_plan.


-- To policies a search looks like a download. Not the others that Storage sets, request.jwt.claim.sub and .role above all: a
-- session that hasn't had them, as PostgREST's, would have them empty ever after, and others' functions read them there.
create or replace function neural_search.storage_parameters() returns text[]
language sql immutable set search_path = '' as $$
  select array['storage.operation', 'request.method']
$$;
comment on function neural_search.storage_parameters is
  'The parameters that policies may read and that Storage sets otherwise than PostgREST.';


create or replace function neural_search.storage_settings() returns text[]
language sql immutable set search_path = '' as $$
  select array['storage.object.get_authenticated', 'GET']
$$;
comment on function neural_search.storage_settings is 'The values of storage_parameters, as Storage sets them for a download.';


create or replace function neural_search.act_as_storage(settings text[] default neural_search.storage_settings())
returns text[]
language plpgsql set search_path = '' as $$
begin
  return neural_search.set_parameters(neural_search.storage_parameters(), settings);
end
$$;
comment on function neural_search.act_as_storage is
  'Sets storage_parameters for the questions that follow; returns their former values, for restoring them by another call.';


-- A policy that reads a table on which the caller lacks a privilege fails before it is asked for any object, and so does
-- every statement that reads documents. So does one with a stable function, as auth.uid() is, that fails for the caller:
-- the planner calls it.
create or replace function neural_search.policies_work() returns boolean
language plpgsql stable set search_path = storage, public, extensions as $$
declare
  former text[] := neural_search.act_as_storage();
  works boolean := true;
begin
  begin
    execute 'select from storage.objects limit 0';
  exception when query_canceled or assert_failure or others then
    perform neural_search.note_failure(sqlstate);
    works = false;
  end;
  former = neural_search.act_as_storage(former);
  if not works then
    perform neural_search.log_failures();
  end if;
  return works;
end
$$;
comment on function neural_search.policies_work is
  'Whether the policies on storage.objects can be asked at all, as the caller; who can''t ask them sees nothing.';


-- Volatile, because no other function may use EXPLAIN.
create or replace function neural_search.ask(statement text) returns json
language plpgsql volatile set search_path = storage, public, extensions as $$
declare
  answer json;
begin
  for answer in execute statement loop -- which takes a single statement: EXECUTE by itself would run several
  end loop;
  return answer;
end
$$;
comment on function neural_search.ask is 'The one value of a statement that asks policies.';


create or replace function neural_search.ask_documents(statement text) returns setof neural_search.documents
language plpgsql stable set search_path = storage, public, extensions as $$
begin
  return query execute statement;
end
$$;
comment on function neural_search.ask_documents is 'The documents of a statement that asks policies; all of them or a failure.';


-- As can_see asks it, but in one statement, unless a policy fails on some object. The policy on documents shows those of archived
-- objects, and callers who are exempt from it all: of what a search has found, seen_among has asked the rest.
create or replace function neural_search.seen_documents(
  condition text, most integer default null, is_found boolean default false, prepared text default 'on'
) returns setof neural_search.documents
language plpgsql stable set search_path = '' as $$
declare
  names constant text[] := array['neural_search.prepared'] || neural_search.storage_parameters();
  former text[] := neural_search.set_parameters(names, array[prepared] || neural_search.storage_settings());
begin
  begin
    return query select d.* from neural_search.ask_documents(format(
      'select d.* from neural_search.documents as d where (%s) and (%s) order by d.id limit %L', condition,
      case when is_found then 'true' when prepared = 'on' then
        'coalesce(('
        ' select true from neural_search.live_objects() as o'
        ' where o.id = d.object_id and coalesce(o.version, '''') = d.object_version'
        '), false) or neural_search.is_public(d.object_id, d.object_version)'
      else 'neural_search.can_see(d.object_id, d.object_version)' end,
      most
    )) as d;
  exception when query_canceled or assert_failure or others then
    perform neural_search.check_failure(sqlstate);
    if prepared <> 'on' then
      perform neural_search.end_search(sqlstate, sqlerrm);
    end if;
    return query select d.* from neural_search.seen_documents(condition, most, is_found, 'off') as d;
    perform neural_search.log_failures();
  end;
  former = neural_search.set_parameters(names, former);
end
$$;
comment on function neural_search.seen_documents is
  'The documents, as d, that fulfil a condition and that the caller may see, by id; no more than so many.';


create or replace function neural_search.found_documents(ids bigint[]) returns setof neural_search.documents
language sql stable set search_path = '' as $$
  select d.* from neural_search.seen_documents(format('d.id = any (%L)', ids), is_found => true) as d
$$;
comment on function neural_search.found_documents is 'These documents, which a search has found for the caller, by id.';


create or replace function neural_search.ask_objects(bucket text, names text[])
returns table (name text, object_id uuid, version text)
language plpgsql stable set search_path = storage, public, extensions set plan_cache_mode = force_custom_plan
set enable_seqscan = off set jit = off -- as can_see
as $$
begin
  return query select o.name, o.id, coalesce(o.version, '') from neural_search.live_objects() as o
    where o.bucket_id = bucket and o.name = any (names);
end
$$;
comment on function neural_search.ask_objects is 'The live objects of these names that policies show; all of them or a failure.';
