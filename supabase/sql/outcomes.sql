-- Outcomes: how leased jobs end.
-- Callers: embed_on_upload and the worker, as service_role.

create or replace function neural_search.store_embedding(
  object_id uuid, model text, object_version text, embedding extensions.vector, content_hash text,
  width integer, height integer, mime_type text, perceptual_hash text, shown real, decoder_version integer
) returns text
language plpgsql set search_path = '' as $$
declare
  expected integer;
  object storage.objects;
  job neural_search.jobs;
  copied record;
begin
  select m.dimensions into expected from neural_search.models as m where m.name = store_embedding.model;
  perform neural_search.check_that(
    found, format('There is no model %L.', model), 'The models are listed in neural_search.models.'
  );
  perform neural_search.check_vector('The embedding', embedding, model, expected);

  -- The uploader's order of locks: object, job, document. KEY SHARE wouldn't stop an overwrite.
  object = neural_search.lock_live_object(store_embedding.object_id);
  if object.id is null then
    perform neural_search.bring_up_to_date(store_embedding.object_id, null);
    return 'gone';
  elsif not neural_search.is_indexed(neural_search.json_of(object)) then
    return 'superseded';
  elsif coalesce(object.version, '') <> object_version then
    perform neural_search.bring_up_to_date(object.id, coalesce(object.version, ''));
    return 'superseded';
  end if;

  select j.* into job from neural_search.jobs as j
  where j.object_id = store_embedding.object_id and j.model = store_embedding.model for update;
  if not found then
    -- Somebody else finished it, or it isn't wanted any more. Either way there is nothing to write.
    return case when exists (
      select from neural_search.documents as d
      where d.object_id = store_embedding.object_id and d.model = store_embedding.model
        and d.object_version = store_embedding.object_version
    ) then 'embedded' else 'superseded' end;
  end if;

  -- By itself: a fault of ours in it is none of the insert's, see finish_embedding_job.
  select c.* into copied from neural_search.copied_columns(object) as c;
  insert into neural_search.documents as d (
    object_id, bucket_id, content, object_version, byte_size, owner_id, uploaded_at, metadata, judged_at, model, embedding,
    content_hash, width, height, mime_type, queued_at, embedded_at, perceptual_hash, shown, decoder_version
  )
  values (
    object.id, copied.bucket_id, copied.content, copied.object_version, copied.byte_size, copied.owner_id, copied.uploaded_at,
    copied.metadata, copied.judged_at, model, embedding, content_hash, width, height, mime_type, job.queued_at, now(),
    perceptual_hash::bit(64), shown, decoder_version
  )
  on conflict on constraint documents_object_id_model_key do update set
    bucket_id = excluded.bucket_id, content = excluded.content, embedding = excluded.embedding,
    object_version = excluded.object_version, content_hash = excluded.content_hash, width = excluded.width,
    height = excluded.height, mime_type = excluded.mime_type, byte_size = excluded.byte_size,
    owner_id = excluded.owner_id, uploaded_at = excluded.uploaded_at, metadata = excluded.metadata,
    judged_at = excluded.judged_at, queued_at = excluded.queued_at, embedded_at = excluded.embedded_at,
    perceptual_hash = excluded.perceptual_hash, shown = excluded.shown, decoder_version = excluded.decoder_version,
    updated_at = now();
  delete from neural_search.jobs as j where j.object_id = job.object_id and j.model = job.model;
  return 'embedded';
end
$$;
comment on function neural_search.store_embedding is
  'Writes the document and removes the job where the object still has this version: embedded, superseded or gone.';


-- Errors of a trigger or a check of the project's own would be taken for the function's own fault, as which they stop all
-- work. A check has no function: Postgres names then the statement that it ran, as it does for a right that is missing, and
-- none where it couldn't read ours.
create or replace function public.finish_embedding_job(
  object_id uuid, model text, object_version text, embedding extensions.vector, content_hash text,
  width integer, height integer, mime_type text, perceptual_hash text default null, shown real default 1,
  decoder_version integer default 1 -- a worker that doesn't tell is of the first release
) returns text
-- While it waits for a lock of ours, Storage waits for it to change the object.
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
  context text;
begin
  return neural_search.store_embedding(
    object_id, model, object_version, embedding, content_hash, width, height, mime_type, perceptual_hash, shown,
    decoder_version
  );
exception when syntax_error_or_access_rule_violation then
  get stacked diagnostics context = pg_exception_context;
  if substring(context from '(?n)^\S+ function "?(\w+)') = 'neural_search' -- the innermost one's schema
    and not (context ^@ 'SQL statement "insert into neural_search.documents '
      and not exists (
        select from unnest(array['select', 'insert', 'update']) as r where not has_table_privilege('neural_search.documents', r)
      ))
  then
    raise;
  end if;
  raise exception 'The document was refused: % (%)', sqlerrm, sqlstate using errcode = 'integrity_constraint_violation',
    hint = 'Look at the triggers and constraints of your own on neural_search.documents: name tables with their schema there.';
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
      statuses[i] = neural_search.store_embedding(
        object_ids[i], models[i], object_versions[i], embeddings[i]::extensions.vector, content_hashes[i], widths[i],
        heights[i], mime_types[i], perceptual_hashes[i], shown[i], decoder_versions[i]
      );
    exception
      when lock_not_available then null;
      when assert_failure or others then
        if neural_search.is_outage(sqlstate) then
          raise;
        end if;
        statuses[i] = 'refused';
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
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
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
    perform neural_search.remove_documents(array[d.id]) from neural_search.documents as d
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


-- A row that somebody else holds is left out, lest all wait for it, and those behind it: it is about to be changed or deleted,
-- or comes back when its lease ends.
create or replace function public.release_embedding_jobs(
  lease_ids uuid[], delay_seconds integer, error_class text, error_message text, claim_ids uuid[] default '{}'
) returns integer
language sql set search_path = '' as $$
  with released as (
    update neural_search.jobs as j set
      -- A claim that rests was of one object, whose row may be beyond answering: as if it were doubtful.
      attempts = greatest(j.attempts - (delay = 0 or j.faults < 8 or j.lease_id = any (lease_ids))::integer, 0),
      faults = j.faults + (delay > 0)::integer, -- a lease that is due again at once was given back in good order
      -- Twice as long each time, up to 5 minutes, and up to half as much more: jobs that a fault stopped together don't
      -- come back together. Never earlier than asked for.
      next_attempt_at = now() + make_interval(
        secs => greatest(delay, least(delay * 2 ^ least(j.faults, 10), 300)) * (1 + random() / 2)),
      lease_id = null,
      error_class = release_embedding_jobs.error_class,
      error_message = left(release_embedding_jobs.error_message, 2000),
      updated_at = now()
    from (select greatest(coalesce(delay_seconds, 0), 0)::double precision as delay) as asked, (
      select h.object_id, h.model from neural_search.jobs as h
      where h.lease_id = any (lease_ids) or (h.claim_id = any (claim_ids) and h.lease_id is not null)
      for update skip locked
    ) as held
    where j.object_id = held.object_id and j.model = held.model
    returning j.model
  )
  select count(*)::integer from released
$$;
comment on function public.release_embedding_jobs is
  'Gives leases back, and those of whole claims, without charging the attempt, where the fault lies with no single '
  'object. The wait doubles with each such fault, from delay_seconds to 5 minutes. A claim with a delay, which is to be of '
  'one object, is charged from the ninth fault on.';
