-- Claims: jobs that a worker leases.
-- Callers: embed_on_upload and the worker, as service_role.

create or replace function neural_search.max_attempts() returns integer
language sql immutable set search_path = '' as $$
  select 5
$$;
comment on function neural_search.max_attempts is 'How often a job is tried before it counts as failed.';


create or replace function neural_search.give_up_exhausted() returns void
language sql set search_path = '' as $$
  update neural_search.jobs as j set
    state = 'failed', lease_id = null, updated_at = now(),
    error_class = coalesce(j.error_class, 'LeaseExpired'),
    error_message = coalesce(j.error_message, 'No worker came to an end with this object. Its log may say why.')
  from (
    select e.object_id, e.model from neural_search.jobs as e
    where e.state = 'pending' and e.next_attempt_at <= now() and e.attempts >= neural_search.max_attempts()
    for update skip locked
  ) as exhausted
  where j.object_id = exhausted.object_id and j.model = exhausted.model
$$;
comment on function neural_search.give_up_exhausted is 'Makes jobs failed whose last attempt was abandoned.';


-- Each at most once in a while: workers ask often, and all write the same row.
create or replace function neural_search.note_request(loaded_models text[], is_burst boolean default false) returns void
language sql set search_path = '' as $$
  update neural_search.models as m set
    asked_at = now(), burst_at = case when is_burst then clock_timestamp() else m.burst_at end
  from (
    select s.name from neural_search.models as s
    where s.name = any (loaded_models) and case
        when is_burst then (s.burst_at >= clock_timestamp() - interval '0.5 seconds') is not true
        else (s.asked_at >= now() - interval '1 minute') is not true
      end
    for no key update skip locked -- somebody else is just writing the same
  ) as stale
  where m.name = stale.name
$$;
comment on function neural_search.note_request is
  'Notes that somebody who can load these models asks for work; in a burst that they took as many uploads as they could, '
  'so that they come back for more.';


-- So that workers, with the bytes, ask reuse_embedding only where it will answer. By their size and not by an eTag,
-- which needn't be a hash of the content: identical bytes may have different ones, where a file came in parts.
create or replace function neural_search.known_hashes(model_name text, size bigint) returns text[]
language sql stable set search_path = '' as $$
  select case when size is not null and count(*) <= 50 then coalesce(array_agg(same.content_hash), '{}') end
  from (
    select d.content_hash from neural_search.documents as d where d.byte_size = size and d.model = model_name limit 51
  ) as same
$$;
comment on function neural_search.known_hashes is
  'The content hashes of the model''s documents whose files have this size; null where that can''t be told in short.';


create or replace function neural_search.lease(
  object_ids uuid[], models text[], lease_seconds integer, claim_id uuid
) returns table (
  object_id uuid, model text, version text, bucket_id text, name text, size bigint, mime_type text, etag text,
  attempt integer, lease_id uuid, waited_seconds double precision, known_hashes text[]
)
language sql set search_path = ''
set enable_seqscan = off set jit = off as $$ -- a few rows by their keys, against all statistics
  update neural_search.jobs as j set
    attempts = j.attempts + 1, lease_id = gen_random_uuid(), claim_id = lease.claim_id,
    next_attempt_at = now() + make_interval(secs => lease_seconds), updated_at = now()
  from unnest(object_ids) as chosen (id) join neural_search.live_objects() as o on o.id = chosen.id
    cross join lateral neural_search.file_facts(o.metadata) as f
  where j.object_id = o.id and j.model = any (models)
  returning j.object_id, j.model, j.version, o.bucket_id, o.name, f.byte_size, f.mime_type, f.etag, j.attempts,
    j.lease_id, extract(epoch from now() - j.queued_at)::double precision,
    neural_search.known_hashes(j.model, f.byte_size)
$$;
comment on function neural_search.lease is
  'Leases the jobs of these objects for these models, which the caller has locked, and charges an attempt for each.';


create or replace function public.claim_embedding_jobs(
  loaded_models text[], max_jobs integer default 1, lease_seconds integer default 120, claim_id uuid default null
) returns table (
  object_id uuid, model text, version text, bucket_id text, name text, size bigint, mime_type text, etag text,
  attempt integer, lease_id uuid, waited_seconds double precision, known_hashes text[]
)
-- Without sorting, jobs are read in the order of jobs_due_idx until there are enough. Statistics from before a burst
-- would have the planner sort all that is due, which takes most of a second for 100,000. Before PostgreSQL 18 the setting
-- makes a plan look so dear that it would be compiled, which takes a second for each claim.
language plpgsql set search_path = '' set enable_sort = off set jit = off as $$
declare
  model_name text;
  job_priority smallint;
  chosen uuid[];
begin
  perform neural_search.check_range('lease_seconds', lease_seconds, 1, 86400, 'Leave it out for two minutes.');
  perform neural_search.note_request(loaded_models);
  perform neural_search.give_up_exhausted();

  -- Uploads go before backfill, and both before a standby model's backlog.
  for model_name, job_priority in
    select m.name, p::smallint from neural_search.models as m cross join generate_series(0, 1) as p
    where m.name = any (loaded_models) and m.state in ('active', 'standby')
    order by m.state = 'active' desc, m.name, p
  loop
    -- An object that may have killed its worker is handed out alone: it can't cost others their attempts.
    select case when (array_agg(due.abandoned))[1] then (array_agg(due.object_id))[1:1]
      else array_agg(due.object_id) filter (where not due.abandoned) end
    into chosen
    from (
      select j.object_id, j.lease_id is not null as abandoned
      from neural_search.jobs as j join neural_search.live_objects() as o on o.id = j.object_id
      where j.state = 'pending' and j.next_attempt_at <= now() and j.model = model_name and j.priority = job_priority
      order by j.next_attempt_at, j.object_id
      limit greatest(max_jobs, 0)
      for update of j skip locked
    ) as due;
    return query select * from neural_search.lease(chosen, array[model_name], lease_seconds, claim_id);
    if cardinality(chosen) = max_jobs and job_priority = 0 then
      perform neural_search.note_request(array[model_name], true);
    end if;
    exit when chosen is not null;
  end loop;
end
$$;
comment on function public.claim_embedding_jobs is
  'Leases due jobs of one model to the caller, uploads before backfill, the longest waiting first, and charges an attempt '
  'for each: the active model''s, or where it has none, a standby model''s.';


create or replace function public.claim_object(
  target_object_id uuid, loaded_models text[], lease_seconds integer default 120, claim_id uuid default null
) returns table (
  status text, reason text, object_id uuid, model text, version text, bucket_id text, name text, size bigint,
  mime_type text, etag text, attempt integer, lease_id uuid, waited_seconds double precision, known_hashes text[]
)
-- While it waits for a lock of ours, Storage waits for it to change the object.
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
  object storage.objects;
  job neural_search.jobs;
begin
  perform neural_search.check_range('lease_seconds', lease_seconds, 1, 86400, 'Leave it out for two minutes.');
  -- Waits for an overwrite that is under way, and makes the next one wait for these few statements.
  object = neural_search.lock_live_object(target_object_id);
  select target_object_id, object.version, object.bucket_id, object.name into object_id, version, bucket_id, name;
  if object.id is null then
    perform neural_search.bring_up_to_date(target_object_id, null);
    status = 'gone';
    reason = 'There is no such object.';
  elsif not neural_search.is_indexed(neural_search.json_of(object)) then
    status = 'ignored';
    reason = format('Bucket %L isn''t indexed. Register it with index_bucket.', object.bucket_id);
  else
    perform neural_search.bring_up_to_date(object.id, coalesce(object.version, ''));
    perform neural_search.note_request(loaded_models);
    perform neural_search.give_up_exhausted();
    return query
    select 'claimed', null::text, l.* from neural_search.lease(array[target_object_id], array(
      select j.model from neural_search.jobs as j
      where j.object_id = target_object_id and j.state = 'pending' and j.next_attempt_at <= now()
        and j.model = any (loaded_models)
      for update skip locked
    ), lease_seconds, claim_id) as l join neural_search.models as m on m.name = l.model
    order by m.state = 'active' desc, m.name;
    if found then
      return;
    end if;

    -- Nothing to do: the row that says most about why. Pending jobs go before those given up.
    select j.* into job from neural_search.jobs as j where j.object_id = target_object_id
    order by array_position(array['pending', 'failed', 'skipped'], j.state), j.next_attempt_at limit 1;
    status = case when job.object_id is null then 'unchanged' else replace(job.state, 'pending', 'waiting') end;
    reason = case
      when job.object_id is null then 'The document is up to date.'
      when job.state <> 'pending' then job.error_message
      when job.next_attempt_at <= now() and job.model <> all (loaded_models)
        then format('Model %L is needed and isn''t loaded here. Add it to EMBEDDING_MODELS.', job.model)
      when job.next_attempt_at <= now() or job.lease_id is not null then 'Another worker has it.'
      else format('The next attempt is due at %s. The last error: %s', job.next_attempt_at, job.error_message)
    end;
    select job.model, f.byte_size, f.mime_type, f.etag, job.attempts into model, size, mime_type, etag, attempt
    from neural_search.file_facts(object.metadata) as f;
  end if;
  return next;
end
$$;
comment on function public.claim_object is
  'Leases an object''s due jobs, having made those that are missing; or says in one row why there is nothing to do.';
