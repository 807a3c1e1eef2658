-- Jobs: the queue. A row says that an object still needs a vector, or why it will never have one.
-- Callers: embed_on_upload and the worker, as service_role; the triggers.

create or replace function neural_search.max_attempts() returns integer
language sql immutable set search_path = '' as $$
  select 5
$$;
comment on function neural_search.max_attempts is 'How often a job is tried before it counts as failed.';


-- Versioned buckets are announced: then rows may be delete markers or old versions. The columns may not be there yet.
create or replace function neural_search.is_live(object jsonb) returns boolean
language sql immutable set search_path = '' as $$
  select object ->> 'id' is not null -- all of a row that wasn't found is null
    and object ->> 'archived_at' is null
    and coalesce((object ->> 'is_delete_marker')::boolean, false) = false
$$;
comment on function neural_search.is_live is
  'Whether a row of storage.objects, as jsonb, stands for bytes that are there now.';


-- Without a SET clause, because only then the planner puts its body in its place and an index serves what is asked of
-- it. In the private schema, because a planned count of such a function tells of its body's tables. Rows are deleted or
-- archived by columns that older projects lack: a name that storage.objects doesn't know is taken from the values.
create or replace function neural_search.live_objects() returns setof storage.objects
language sql stable as $$
  select object.* from (values (null::timestamptz, false)) as older (archived_at, is_delete_marker),
    lateral (
      select o.* from storage.objects as o where archived_at is null and is_delete_marker is not true
    ) as object
$$;
comment on function neural_search.live_objects is
  'The objects whose bytes are there now, as the caller may see them: neither archived versions nor delete markers.';


-- Versions may share an id. All are locked first: when an overwrite that was under way has ended, the second statement
-- sees which version is live now.
create or replace function neural_search.lock_live_object(target_object_id uuid) returns storage.objects
language plpgsql set search_path = '' as $$
declare
  object storage.objects;
begin
  perform from storage.objects as o where o.id = target_object_id for share;
  select o.* into object from storage.objects as o
  where o.id = target_object_id and neural_search.is_live(to_jsonb(o)) for share;
  return object;
end
$$;
comment on function neural_search.lock_live_object is
  'Locks an object against changes and returns the row of its live version, or nulls where there is none.';


-- The one rule for whether a registration holds: a bucket made anew under an old name inherits neither that it is indexed
-- nor who may search it.
create or replace view neural_search.indexed_buckets with (security_invoker = true) as
select b.bucket_id, b.public_search, b.created_at, b.visible_by
from neural_search.buckets as b
join storage.buckets as s on s.id = b.bucket_id and (s.created_at > b.created_at) is not true;
comment on view neural_search.indexed_buckets is
  'The registered buckets that are still those that were registered. One that is no longer there, or was deleted and made '
  'anew, isn''t indexed until somebody says so again.';


create or replace function neural_search.is_indexed(object jsonb) returns boolean
language sql stable set search_path = '' as $$
  select neural_search.is_live(object)
    and exists (select from neural_search.indexed_buckets as b where b.bucket_id = object ->> 'bucket_id')
$$;
comment on function neural_search.is_indexed is 'Whether a row of storage.objects, as jsonb, is to be searchable.';


-- Without a SET clause, as live_objects, for the sake of reconcile_documents, which asks it for every object. Storage takes
-- a megabyte of metadata, and a page may have a thousand results, each with its own: a few uploaders could end everybody's
-- searches with the time-out. Text of 16 KiB takes less than 128 KiB as jsonb: of more no text is made, which would
-- take a reconciliation a quarter of a second for each megabyte. A size that isn't one is no reason to fail, or the object
-- would end everybody's claims.
create or replace function neural_search.copied_columns(object storage.objects) returns table (
  bucket_id text, content text, object_version text, byte_size bigint, owner_id text, uploaded_at timestamptz,
  metadata jsonb
)
language sql stable as $$
  select object.bucket_id, object.name, coalesce(object.version, ''),
    case when object.metadata ->> 'size' ~ '^[0-9]{1,18}$' then (object.metadata ->> 'size')::bigint end,
    object.owner_id, object.created_at,
    case
      when pg_column_size(object.user_metadata) > 131072 or pg_column_size(object.user_metadata #> '{}') > 131072
        or not neural_search.has_common_numbers(object.user_metadata) then '{}'
      when octet_length(object.user_metadata::text) <= 16384 then object.user_metadata
      else '{}'
    end
$$;
comment on function neural_search.copied_columns is
  'All that a document copies from its object, under its names there; no metadata of more than 16 KiB.';


-- The caller holds a lock on the object's row.
create or replace function neural_search.copy_again(object storage.objects, version_before text) returns void
language sql set search_path = '' as $$
  update neural_search.documents as d set
    (bucket_id, content, object_version, byte_size, owner_id, uploaded_at, metadata) = row(c.*), updated_at = now()
  from neural_search.copied_columns(object) as c
  where d.object_id = object.id and d.object_version = coalesce(version_before, '')
$$;
comment on function neural_search.copy_again is
  'Brings the documents of an object''s former version into line with its row; none of it needs the bytes.';


-- The caller holds a lock on the object's row, so that no other version can come in between the statements.
create or replace function neural_search.bring_up_to_date(target_object_id uuid, current_version text) returns void
language sql set search_path = '' as $$
  delete from neural_search.jobs as j
  where j.object_id = target_object_id and j.version is distinct from current_version;
  delete from neural_search.documents as d
  where d.object_id = target_object_id and d.object_version is distinct from current_version;

  insert into neural_search.jobs (object_id, model, version)
  select target_object_id, m.name, current_version
  from neural_search.models as m
  where current_version is not null and m.state in ('active', 'standby') and not exists (
    select from neural_search.documents as d
    where d.object_id = target_object_id and d.model = m.name and d.object_version = current_version
  )
  on conflict (object_id, model) do nothing;
$$;
comment on function neural_search.bring_up_to_date is
  'Removes documents and jobs of other versions and makes a job for each model that lacks a document of this one; null '
  'where the object is gone.';


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
    cross join lateral neural_search.copied_columns(o) as c
  where j.object_id = o.id and j.model = any (models)
  returning j.object_id, j.model, j.version, o.bucket_id, o.name, c.byte_size, o.metadata ->> 'mimetype',
    o.metadata ->> 'eTag', j.attempts, j.lease_id, extract(epoch from now() - j.queued_at)::double precision,
    neural_search.known_hashes(j.model, c.byte_size)
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
  elsif not neural_search.is_indexed(to_jsonb(object)) then
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
    select job.model, c.byte_size, object.metadata ->> 'mimetype', object.metadata ->> 'eTag', job.attempts
      into model, size, mime_type, etag, attempt
    from neural_search.copied_columns(object) as c;
  end if;
  return next;
end
$$;
comment on function public.claim_object is
  'Leases an object''s due jobs, having made those that are missing; or says in one row why there is nothing to do.';


create or replace function public.finish_embedding_job(
  object_id uuid, model text, object_version text, embedding extensions.vector, content_hash text,
  width integer, height integer, mime_type text, perceptual_hash text default null, shown real default 1,
  decoder_version integer default 1 -- a worker that doesn't tell is of the first release
) returns text
-- While it waits for a lock of ours, Storage waits for it to change the object.
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
  expected integer;
  object storage.objects;
  job neural_search.jobs;
begin
  select m.dimensions into expected from neural_search.models as m where m.name = finish_embedding_job.model;
  perform neural_search.check_that(
    found, format('There is no model %L.', model), 'The models are listed in neural_search.models.'
  );
  perform neural_search.check_vector('The embedding', embedding, model, expected);

  -- The uploader's order of locks: object, job, document. KEY SHARE wouldn't stop an overwrite.
  object = neural_search.lock_live_object(finish_embedding_job.object_id);
  if object.id is null then
    perform neural_search.bring_up_to_date(finish_embedding_job.object_id, null);
    return 'gone';
  elsif not neural_search.is_indexed(to_jsonb(object)) then
    return 'superseded';
  elsif coalesce(object.version, '') <> object_version then
    perform neural_search.bring_up_to_date(object.id, coalesce(object.version, ''));
    return 'superseded';
  end if;

  select j.* into job from neural_search.jobs as j
  where j.object_id = finish_embedding_job.object_id and j.model = finish_embedding_job.model for update;
  if not found then
    -- Somebody else finished it, or it isn't wanted any more. Either way there is nothing to write.
    return case when exists (
      select from neural_search.documents as d
      where d.object_id = finish_embedding_job.object_id and d.model = finish_embedding_job.model
        and d.object_version = finish_embedding_job.object_version
    ) then 'embedded' else 'superseded' end;
  end if;

  insert into neural_search.documents as d (
    object_id, bucket_id, content, object_version, byte_size, owner_id, uploaded_at, metadata, model, embedding,
    content_hash, width, height, mime_type, queued_at, embedded_at, perceptual_hash, shown, decoder_version
  )
  select object.id, c.*, model, embedding, content_hash, width, height, mime_type, job.queued_at, now(),
    perceptual_hash::bit(64), shown, decoder_version
  from neural_search.copied_columns(object) as c
  on conflict on constraint documents_object_id_model_key do update set
    bucket_id = excluded.bucket_id, content = excluded.content, embedding = excluded.embedding,
    object_version = excluded.object_version, content_hash = excluded.content_hash, width = excluded.width,
    height = excluded.height, mime_type = excluded.mime_type, byte_size = excluded.byte_size,
    owner_id = excluded.owner_id, uploaded_at = excluded.uploaded_at, metadata = excluded.metadata,
    queued_at = excluded.queued_at, embedded_at = excluded.embedded_at, perceptual_hash = excluded.perceptual_hash,
    shown = excluded.shown, decoder_version = excluded.decoder_version, updated_at = now();
  delete from neural_search.jobs as j where j.object_id = job.object_id and j.model = job.model;
  return 'embedded';
end
$$;
comment on function public.finish_embedding_job is
  'Writes the document and removes the job where the object still has this version: embedded, superseded or gone.';


-- A change of an object in the batch waits for all of it. So it waits for no row that another holds, lest two wait
-- for each other, and begins no image after half a second. Each is written in a subtransaction of its own: Postgres has
-- 64 of a session at hand, with more all sessions get slow.
create or replace function public.finish_embedding_jobs(
  object_ids uuid[], models text[], object_versions text[], embeddings text[], content_hashes text[], widths integer[],
  heights integer[], mime_types text[], perceptual_hashes text[], shown real[], decoder_versions integer[]
) returns text[]
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
  lengths constant integer[] := array[
    cardinality(object_ids), cardinality(models), cardinality(object_versions), cardinality(embeddings),
    cardinality(content_hashes), cardinality(widths), cardinality(heights), cardinality(mime_types),
    cardinality(perceptual_hashes), cardinality(shown), cardinality(decoder_versions)
  ];
  statuses text[] := '{}'::text[];
begin
  perform neural_search.check_that(
    coalesce(lengths[1] between 1 and 64 and lengths[1] = all (lengths), false),
    format('The arrays have %s elements, expected as many in each, 1 to 64.', lengths),
    'Give a value for each image, and more images in further calls.'
  );
  for i in 1 .. lengths[1] loop
    statuses[i] = 'busy';
    continue when clock_timestamp() > statement_timestamp() + interval '500ms';
    begin
      perform from storage.objects as o where o.id = object_ids[i] for share nowait;
      perform from neural_search.jobs as j where j.object_id = object_ids[i] and j.model = models[i]
        for update nowait;
      statuses[i] = public.finish_embedding_job(
        object_ids[i], models[i], object_versions[i], embeddings[i]::extensions.vector, content_hashes[i], widths[i],
        heights[i], mime_types[i], perceptual_hashes[i], shown[i], decoder_versions[i]
      );
    exception
      when lock_not_available then null;
      when data_exception or integrity_constraint_violation then statuses[i] = 'refused';
    end;
  end loop;
  return statuses;
end
$$;
comment on function public.finish_embedding_jobs is
  'As finish_embedding_job, for 1 to 64 images in one round trip: a status for each, in the order given. An image that '
  'can''t be stored here harms no other: busy where somebody else holds its rows or time is up, refused where its values '
  'aren''t valid. Ask finish_embedding_job for those: it waits, and tells why.';


-- Vectors are reused from the documents themselves, and gone with the last of them. Uploaders aren't told that others have
-- the same bytes.
create or replace function public.reuse_embedding(
  object_id uuid, model text, object_version text, content_hash text, decoder_version integer default 1
) returns text
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
  twin neural_search.documents;
begin
  select d.* into twin from neural_search.documents as d
  where d.content_hash = reuse_embedding.content_hash and d.model = reuse_embedding.model
    and neural_search.decodes_alike(d.mime_type, d.decoder_version, reuse_embedding.decoder_version)
  limit 1;
  if not found then
    return 'unknown';
  end if;
  return public.finish_embedding_job(
    reuse_embedding.object_id, reuse_embedding.model, reuse_embedding.object_version, twin.embedding,
    reuse_embedding.content_hash, twin.width, twin.height, twin.mime_type, twin.perceptual_hash::text,
    twin.shown, twin.decoder_version
  );
end
$$;
comment on function public.reuse_embedding is
  'As finish_embedding_job, with the values of a document of the same model whose bytes have this hash and were decoded as '
  'decoder_version decodes them; unknown where there is none.';


create or replace function public.fail_embedding_job(
  object_id uuid, model text, lease_id uuid, outcome text, error_class text, error_message text,
  decoder_version integer default null
) returns text
language plpgsql set search_path = '' as $$
declare
  result text;
begin
  perform neural_search.check_that(
    coalesce(outcome in ('skipped', 'failed', 'retry', 'doubtful'), false),
    format('outcome is %L, expected skipped, failed, retry or doubtful.', outcome),
    'Give retry where another attempt may succeed.'
  );
  update neural_search.jobs as j set
    (state, attempts, faults, next_attempt_at) = (
      select
        case
          when outcome in ('skipped', 'failed') then outcome
          when j.attempts >= neural_search.max_attempts() and uncharged = 0 then 'failed'
          else 'pending'
        end,
        greatest(j.attempts - uncharged, 0), j.faults + uncharged,
        now() + make_interval(secs => case
          -- 10, 20, 40 s and so on, never more than 5 minutes: 20 to 30 minutes in all, which most outages don't last.
          when uncharged = 1 then least(10 * 2 ^ j.faults, 300) * (1 + random() / 2)
          -- 10, 20, 40, 80 s and up to half of that more or less, so that joint failures aren't retried together.
          else 5 * 2 ^ j.attempts * (0.5 + random())
        end)
      from (select (outcome = 'doubtful' and j.faults < 8)::integer) as w (uncharged)
    ),
    lease_id = null,
    error_class = fail_embedding_job.error_class,
    error_message = left(fail_embedding_job.error_message, 2000),
    decoder_version = fail_embedding_job.decoder_version,
    updated_at = now()
  where j.object_id = fail_embedding_job.object_id and j.model = fail_embedding_job.model
    and j.lease_id = fail_embedding_job.lease_id
  returning j.state into result;

  -- A job beside a document is to decode the file anew. A file that no decoder takes for an image now is none.
  if result in ('skipped', 'failed') and fail_embedding_job.decoder_version is not null then
    delete from neural_search.documents as d
    where d.object_id = fail_embedding_job.object_id and d.model = fail_embedding_job.model;
  end if;

  return case when result is null then 'superseded' when result = 'pending' then 'retry' else result end;
end
$$;
comment on function public.fail_embedding_job is
  'Records why a leased job has no result: skipped, failed, retry (later, and failed after the last attempt) or '
  'doubtful (it may lie with the surroundings: as retry, but the first 8 times are not charged as attempts); '
  'superseded where the lease isn''t held any more. decoder_version: of the decoder that refused the '
  'file, if one did.';


create or replace function public.release_embedding_jobs(
  lease_ids uuid[], delay_seconds integer, error_class text, error_message text, claim_ids uuid[] default '{}'
) returns integer
language sql set search_path = '' as $$
  with released as (
    update neural_search.jobs as j set
      attempts = greatest(j.attempts - 1, 0),
      faults = j.faults + (delay > 0)::integer, -- a lease that is due again at once was given back in good order
      -- Twice as long each time, up to 5 minutes, and up to half as much more: jobs that a fault stopped together don't
      -- come back together. Never earlier than asked for.
      next_attempt_at = now() + make_interval(
        secs => greatest(delay, least(delay * 2 ^ least(j.faults, 10), 300)) * (1 + random() / 2)),
      lease_id = null,
      error_class = release_embedding_jobs.error_class,
      error_message = left(release_embedding_jobs.error_message, 2000),
      updated_at = now()
    from (select greatest(coalesce(delay_seconds, 0), 0)::double precision as delay) as asked
    where j.lease_id = any (lease_ids) or (j.claim_id = any (claim_ids) and j.lease_id is not null)
    returning j.model
  )
  select count(*)::integer from released
$$;
comment on function public.release_embedding_jobs is
  'Gives leases back, and those of whole claims, without charging the attempt, where the fault lies with no single '
  'object. The wait doubles with each such fault, from delay_seconds to 5 minutes.';
