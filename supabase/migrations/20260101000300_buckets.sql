-- Buckets: what is indexed, what state it is in, and the repair of what no event announced.
-- Callers: the command line as service_role, and the schedule.
-- Objects: index_bucket, unindex_bucket, index_status, list and retry of jobs, reconcile_documents.

-- Versioned buckets are announced: their columns may not be there yet, so the statement is built when it is run.
create or replace function neural_search.dead_objects() returns setof uuid
language plpgsql stable set search_path = '' as $$
begin
  if exists (
    select from pg_attribute as a
    where a.attrelid = 'storage.objects'::regclass and a.attname = 'is_delete_marker' and not a.attisdropped
  ) then
    return query execute
      'select o.id from storage.objects as o where o.is_delete_marker or o.archived_at is not null';
  end if;
end
$$;
comment on function neural_search.dead_objects is 'The rows of storage.objects that is_live says no to, found quickly.';
revoke execute on function neural_search.dead_objects from public, anon, authenticated, service_role;
grant execute on function neural_search.dead_objects to service_role;


create or replace function neural_search.queue_missing(most integer, only_bucket text default null) returns bigint
language plpgsql set search_path = '' as $$
declare
  queued bigint;
begin
  insert into neural_search.jobs (object_id, model, version)
  select o.id, m.name, coalesce(o.version, '')
  from neural_search.buckets as b
  join storage.objects as o on o.bucket_id = b.bucket_id
  cross join neural_search.models as m
  where m.state in ('active', 'building')
    and (only_bucket is null or b.bucket_id = only_bucket)
    and not exists (select from neural_search.jobs as j where j.object_id = o.id and j.model = m.name)
    and not exists (select from public.documents as d where d.object_id = o.id and d.model = m.name)
    and o.id not in (select dead from neural_search.dead_objects() as dead)
  limit most
  on conflict do nothing;
  get diagnostics queued = row_count;
  return queued;
end
$$;
comment on function neural_search.queue_missing is
  'Makes at most so many jobs for objects in indexed buckets that have neither job nor document.';
revoke execute on function neural_search.queue_missing from public, anon, authenticated, service_role;
grant execute on function neural_search.queue_missing to service_role;


create or replace function public.index_bucket(bucket_id text, public_search boolean default false) returns bigint
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  queued bigint;
begin
  if not exists (select from storage.buckets as b where b.id = index_bucket.bucket_id) then
    raise exception 'There is no bucket %.', quote_nullable(index_bucket.bucket_id)
      using errcode = 'invalid_parameter_value', hint = 'Create it in Storage first.';
  end if;
  insert into neural_search.buckets as b (bucket_id, public_search, created_at)
  values (index_bucket.bucket_id, coalesce(index_bucket.public_search, false), clock_timestamp())
  on conflict (bucket_id) do update set public_search = excluded.public_search, created_at = excluded.created_at;

  -- What goes beyond this many is found by reconcile_documents, so that a large bucket fits into a time-out.
  queued = neural_search.queue_missing(10000, index_bucket.bucket_id);
  perform neural_search.kick_due();
  return queued;
end
$$;
comment on function public.index_bucket is
  'Makes a bucket searchable, now and from now on; the number of jobs queued at once for what is in it already.';
revoke execute on function public.index_bucket from public, anon, authenticated, service_role;
grant execute on function public.index_bucket to service_role;


create or replace function public.unindex_bucket(bucket_id text) returns bigint
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  removed bigint;
begin
  delete from neural_search.buckets as b where b.bucket_id = unindex_bucket.bucket_id;
  delete from neural_search.jobs as j using storage.objects as o
  where o.id = j.object_id and o.bucket_id = unindex_bucket.bucket_id;
  delete from public.documents as d where d.bucket_id = unindex_bucket.bucket_id;
  get diagnostics removed = row_count;
  return removed;
end
$$;
comment on function public.unindex_bucket is
  'Takes a bucket out of the search with its documents and jobs; the number of documents removed.';
revoke execute on function public.unindex_bucket from public, anon, authenticated, service_role;
grant execute on function public.unindex_bucket to service_role;


create or replace function public.index_status() returns table (
  bucket_id text, model text, objects bigint, documents bigint, pending bigint, running bigint, skipped bigint,
  failed bigint
)
language sql stable set search_path = '' as $$
  select b.bucket_id, m.name,
    (select count(*) from storage.objects as o where o.bucket_id = b.bucket_id),
    (select count(*) from public.documents as d where d.bucket_id = b.bucket_id and d.model = m.name),
    count(*) filter (where j.state = 'pending' and not j.running),
    count(*) filter (where j.running),
    count(*) filter (where j.state = 'skipped'),
    count(*) filter (where j.state = 'failed')
  from neural_search.buckets as b
  cross join neural_search.models as m
  left join (
    select o.bucket_id, j.model, j.state,
      j.state = 'pending' and j.lease_id is not null and j.next_attempt_at > now() as running
    from neural_search.jobs as j join storage.objects as o on o.id = j.object_id
  ) as j on j.bucket_id = b.bucket_id and j.model = m.name
  where m.state in ('active', 'building')
  group by b.bucket_id, m.name
  order by b.bucket_id, m.name
$$;
comment on function public.index_status is 'How far each indexed bucket is, for each model that is kept up to date.';
revoke execute on function public.index_status from public, anon, authenticated, service_role;
grant execute on function public.index_status to service_role;


create or replace function public.list_embedding_jobs(job_state text default null, max_rows integer default 100)
returns table (
  object_id uuid, bucket_id text, name text, model text, state text, attempts integer, next_attempt_at timestamptz,
  error_class text, error_message text, created_at timestamptz, updated_at timestamptz
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  if job_state not in ('due', 'waiting', 'running', 'skipped', 'failed') then
    raise exception 'job_state is %, expected due, waiting, running, skipped or failed', quote_literal(job_state)
      using errcode = 'invalid_parameter_value';
  end if;

  return query
  select listed.* from (
    select j.object_id, o.bucket_id, o.name, j.model,
      case
        when j.state <> 'pending' then j.state
        when j.next_attempt_at <= now() then 'due'
        when j.lease_id is not null then 'running'
        else 'waiting'
      end as state,
      j.attempts, j.next_attempt_at, j.error_class, j.error_message, j.created_at, j.updated_at
    from neural_search.jobs as j left join storage.objects as o on o.id = j.object_id
  ) as listed
  where job_state is null or listed.state = job_state
  order by listed.updated_at desc, listed.object_id
  limit max_rows;
end
$$;
comment on function public.list_embedding_jobs is
  'The jobs with their cause, the latest change first: due, waiting (for the next attempt), running, skipped, failed.';
revoke execute on function public.list_embedding_jobs from public, anon, authenticated, service_role;
grant execute on function public.list_embedding_jobs to service_role;


create or replace function public.retry_embedding_jobs(bucket text default null, name_prefix text default null)
returns integer
language plpgsql set search_path = '' as $$
declare
  retried integer;
begin
  update neural_search.jobs as j set
    state = 'pending', attempts = 0, next_attempt_at = now(), lease_id = null, error_class = null,
    error_message = null, updated_at = now()
  from storage.objects as o
  where o.id = j.object_id and j.state in ('skipped', 'failed')
    and (bucket is null or o.bucket_id = bucket) and (name_prefix is null or starts_with(o.name, name_prefix));
  get diagnostics retried = row_count;
  perform neural_search.kick_due();
  return retried;
end
$$;
comment on function public.retry_embedding_jobs is
  'Makes skipped and failed jobs due again, with all their attempts; the number of them.';
revoke execute on function public.retry_embedding_jobs from public, anon, authenticated, service_role;
grant execute on function public.retry_embedding_jobs to service_role;


-- Each step compares whole tables, which costs seconds for a million objects and trusts no event; what it repairs is
-- bounded. Rows that somebody else has locked are changing right now, and are left for next time.
create or replace function public.reconcile_documents() returns table (missing bigint, stale bigint, orphaned bigint)
language plpgsql set search_path = '' as $$
declare
  most constant integer := 10000;
  affected bigint;
begin
  missing = 0;
  stale = 0;
  orphaned = 0;

  -- A bucket made anew under an old name mustn't inherit who may search it.
  delete from neural_search.buckets as b where not exists (
    select from storage.buckets as s where s.id = b.bucket_id and (s.created_at > b.created_at) is not true
  );

  -- Neither documents nor jobs without an object in an indexed bucket, nor jobs that nobody wants.
  delete from public.documents as d using (
    select d.id from public.documents as d
    where d.object_id in (select dead from neural_search.dead_objects() as dead) or not exists (
      select from storage.objects as o join neural_search.buckets as b on b.bucket_id = o.bucket_id
      where o.id = d.object_id
    )
    limit most for update of d skip locked
  ) as orphans
  where d.id = orphans.id;
  get diagnostics affected = row_count;
  orphaned = orphaned + affected;

  delete from neural_search.jobs as j using (
    select j.object_id, j.model
    from neural_search.jobs as j join neural_search.models as m on m.name = j.model
    where m.state = 'retired'
      or j.object_id in (select dead from neural_search.dead_objects() as dead)
      or not exists (
      select from storage.objects as o join neural_search.buckets as b on b.bucket_id = o.bucket_id
      where o.id = j.object_id
    )
    limit most for update of j skip locked
  ) as orphans
  where j.object_id = orphans.object_id and j.model = orphans.model;
  get diagnostics affected = row_count;
  orphaned = orphaned + affected;

  -- Documents of other bytes or of another place, and jobs that speak of another version.
  delete from public.documents as d using (
    select d.id from public.documents as d join storage.objects as o on o.id = d.object_id
    where (d.object_version, d.bucket_id, d.content)
      is distinct from (coalesce(o.version, ''), o.bucket_id, o.name)
    limit most for update of d skip locked
  ) as outdated
  where d.id = outdated.id;
  get diagnostics affected = row_count;
  stale = stale + affected;

  update neural_search.jobs as j set
    version = outdated.version, state = 'pending', attempts = 0, next_attempt_at = now(), lease_id = null,
    error_class = null, error_message = null, updated_at = now()
  from (
    select j.object_id, j.model, coalesce(o.version, '') as version
    from neural_search.jobs as j join storage.objects as o on o.id = j.object_id
    where j.version <> coalesce(o.version, '')
    limit most for update of j skip locked
  ) as outdated
  where j.object_id = outdated.object_id and j.model = outdated.model;
  get diagnostics affected = row_count;
  stale = stale + affected;

  -- Jobs whose work is done.
  delete from neural_search.jobs as j using (
    select j.object_id, j.model
    from neural_search.jobs as j
    join public.documents as d on d.object_id = j.object_id and d.model = j.model and d.object_version = j.version
    limit most for update of j skip locked
  ) as done
  where j.object_id = done.object_id and j.model = done.model;
  get diagnostics affected = row_count;
  stale = stale + affected;

  missing = neural_search.queue_missing(most);
  if missing + stale > 0 then
    perform neural_search.kick_due();
  end if;
  return next;
end
$$;
comment on function public.reconcile_documents is
  'Repairs what no event announced; how many objects had nothing, how many rows were outdated, how many superfluous.';
revoke execute on function public.reconcile_documents from public, anon, authenticated, service_role;
grant execute on function public.reconcile_documents to service_role;
