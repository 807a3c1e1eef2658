-- Buckets: their registration, and the repair of changes that no event announced.
-- Callers: the command line as service_role, and the schedule.
-- Objects: index_bucket, unindex_bucket, backfill_documents, retry_embedding_jobs, reconcile_documents, tidy.

-- An upload whose event was lost is as urgent as one whose event was heard. A document or a job that came in meanwhile
-- wins. A job whose version was old by the time that it was written is put right when it is finished.
create or replace function neural_search.queue_missing(
  most integer, only_bucket text default null, name_prefix text default null, decoder_before integer default null
) returns table (queued bigint, outdated bigint)
language plpgsql set search_path = '' as $$
declare
  object_ids uuid[];
  models text[];
  versions text[];
  priorities smallint[];
begin
  select array_agg(u.object_id), array_agg(u.model), array_agg(u.version), array_agg(u.priority)
  into object_ids, models, versions, priorities
  from (
    select p.object_id, p.model, p.version, case when p.state = 'unrecorded' and p.is_upload then 0 else 1 end as priority
    from neural_search.progress as p
    where (p.state = 'unrecorded' or p.state = 'searchable' and p.queued_at is null
        and neural_search.is_outdated(p.mime_type, p.decoder_version, queue_missing.decoder_before))
      and (only_bucket is null or p.bucket_id = only_bucket)
      and (queue_missing.name_prefix is null or starts_with(p.name, queue_missing.name_prefix))
    limit most
  ) as u;

  delete from neural_search.jobs as j using (
    select j.object_id, j.model
    from neural_search.jobs as j
    join unnest(object_ids, models, versions) as u (object_id, model, version)
      on u.object_id = j.object_id and u.model = j.model and u.version <> j.version
    for update of j skip locked
  ) as other
  where j.object_id = other.object_id and j.model = other.model;
  get diagnostics outdated = row_count;

  insert into neural_search.jobs (object_id, model, version, decoder_before, priority)
  select u.object_id, u.model, u.version, queue_missing.decoder_before, u.priority
  from unnest(object_ids, models, versions, priorities) as u (object_id, model, version, priority)
  on conflict (object_id, model) do nothing;
  get diagnostics queued = row_count;
  return next;
end
$$;
comment on function neural_search.queue_missing is
  'Makes at most so many jobs for objects in indexed buckets that have neither a job nor a document of their version; how '
  'many, and how many of them in place of a job that spoke of another version. With decoder_before for outdated '
  'documents too.';


create or replace function public.index_bucket(
  bucket_id text, public_search boolean default false, visible_by jsonb default null
) returns bigint
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  hidden record;
  queued bigint;
begin
  if not exists (select from storage.buckets as b where b.id = index_bucket.bucket_id) then
    raise exception 'There is no bucket %.', quote_nullable(index_bucket.bucket_id)
      using errcode = 'invalid_parameter_value', hint = 'Create it in Storage first.';
  end if;
  if index_bucket.visible_by is not null then
    perform neural_search.check_declaration(index_bucket.visible_by);
  end if;
  insert into neural_search.buckets as b (bucket_id, public_search, created_at, visible_by)
  values (
    index_bucket.bucket_id, coalesce(index_bucket.public_search, false), clock_timestamp(), index_bucket.visible_by
  )
  on conflict (bucket_id) do update set
    public_search = excluded.public_search, created_at = excluded.created_at, visible_by = excluded.visible_by;
  select h.* into hidden from neural_search.hidden_by_declaration(index_bucket.bucket_id) as h limit 1;
  if found then
    raise exception 'visible_by hides % from %, who may see it by the policies.', quote_literal(hidden.content),
      hidden.caller using errcode = 'invalid_parameter_value',
        hint = 'Declare all that lets callers see images, null for those whom nothing narrows, or leave it out.';
  end if;

  -- More than so many are queued by backfill_documents or, within 5 minutes, by reconcile_documents, so that a
  -- large bucket fits into a time-out.
  select m.queued into queued from neural_search.queue_missing(10000, index_bucket.bucket_id) as m;
  perform neural_search.kick_due();
  return queued;
end
$$;
comment on function public.index_bucket is
  'Makes a bucket searchable, now and from now on; the number of jobs queued at once for the objects in it. visible_by '
  'declares which of its images a caller may see ({"owner": "auth.uid()"}), which makes searches faster.';


create or replace function public.unindex_bucket(bucket_id text) returns bigint
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  removed bigint;
begin
  delete from neural_search.buckets as b where b.bucket_id = unindex_bucket.bucket_id;
  delete from neural_search.jobs as j using storage.objects as o
  where o.id = j.object_id and o.bucket_id = unindex_bucket.bucket_id;
  delete from neural_search.documents as d where d.bucket_id = unindex_bucket.bucket_id;
  get diagnostics removed = row_count;
  return removed;
end
$$;
comment on function public.unindex_bucket is
  'Takes a bucket out of the search with its documents and jobs; the number of documents removed.';


create or replace function public.backfill_documents(
  bucket text default null, name_prefix text default null, max_jobs integer default 10000,
  dry_run boolean default false, decoder_before integer default null
) returns bigint
-- The time-out as in embedding_report.
language plpgsql set search_path = '' set statement_timeout = '60s' as $$
declare
  most constant integer := greatest(coalesce(max_jobs, 10000), 0);
  newest constant integer := (select max(c.version) from neural_search.decoder_changes() as c);
  queued bigint;
begin
  if bucket is not null and not exists (select from neural_search.indexed_buckets as b where b.bucket_id = bucket) then
    raise exception 'Bucket % isn''t indexed.', quote_literal(bucket)
      using errcode = 'invalid_parameter_value', hint = 'Register it with index_bucket first.';
  end if;
  if decoder_before > newest then
    raise exception 'decoder_before is %, expected at most %, the version of today''s decoder.', decoder_before, newest
      using errcode = 'invalid_parameter_value', hint = 'Run `neural-search install` where the decoder is newer.';
  end if;
  if dry_run then
    return (
      select count(*) from neural_search.progress as p
      where (p.state = 'unrecorded' or p.state = 'searchable' and p.queued_at is null
          and neural_search.is_outdated(p.mime_type, p.decoder_version, backfill_documents.decoder_before))
        and (bucket is null or p.bucket_id = bucket)
        and (backfill_documents.name_prefix is null or starts_with(p.name, backfill_documents.name_prefix))
    );
  end if;

  select m.queued into queued
  from neural_search.queue_missing(
    most, bucket, backfill_documents.name_prefix, backfill_documents.decoder_before
  ) as m;
  perform neural_search.kick_due();
  return queued;
end
$$;
comment on function public.backfill_documents is
  'Queues objects in indexed buckets that have neither a job nor an up-to-date document, at most max_jobs at a time; how '
  'many, or with dry_run how many there are. With decoder_before also documents of older decoders whose picture may '
  'differ, which stay searchable meanwhile.';


create or replace function public.retry_embedding_jobs(
  bucket text default null, name_prefix text default null, causes text[] default null
) returns integer
-- The time-out as in embedding_report.
language plpgsql set search_path = '' set statement_timeout = '60s' as $$
declare
  retried integer;
begin
  update neural_search.jobs as j set
    state = 'pending', attempts = 0, faults = 0, next_attempt_at = now(), lease_id = null, error_class = null,
    error_message = null, decoder_version = null, priority = 1, updated_at = now()
  from storage.objects as o
  where o.id = j.object_id and j.state in ('skipped', 'failed')
    and (causes is null or j.error_class = any (causes))
    and (bucket is null or o.bucket_id = bucket) and (name_prefix is null or starts_with(o.name, name_prefix));
  get diagnostics retried = row_count;
  perform neural_search.kick_due();
  return retried;
end
$$;
comment on function public.retry_embedding_jobs is
  'Makes skipped and failed jobs due again, with all their attempts, or those with one of these causes; the number of '
  'them.';


-- Each step compares whole tables, some 6 seconds for a million objects, and trusts no event; its repairs are
-- bounded. Rows that somebody else has locked are changing right now, and are left for next time.
create or replace function public.reconcile_documents() returns table (missing bigint, stale bigint, orphaned bigint)
-- The time-out as in embedding_report.
language plpgsql set search_path = '' set statement_timeout = '60s' as $$
declare
  most constant integer := 10000;
  wrong_ids bigint[];
  affected bigint;
begin
  -- The documents that the next steps look at once more, and lock. Found in one pass over the tables: with the limit
  -- within, they would be read by an index each, that is in random order.
  with wrong as materialized (
    select d.id from neural_search.documents as d
    left join (
      neural_search.live_objects() as o join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
      cross join lateral neural_search.copied_columns(o) as c
    ) on o.id = d.object_id
    where o.id is null
      or (d.bucket_id, d.content, d.object_version, d.byte_size, d.owner_id, d.uploaded_at, d.metadata)
        is distinct from (c.bucket_id, c.content, c.object_version, c.byte_size, c.owner_id, c.uploaded_at, c.metadata)
  )
  select array_agg(w.id) into wrong_ids from (select wrong.id from wrong limit most) as w;

  -- Neither documents nor jobs without an object in an indexed bucket, nor jobs that nobody wants.
  delete from neural_search.documents as d using (
    select d.id from neural_search.documents as d
    where d.id = any (wrong_ids) and not exists (
      select from neural_search.live_objects() as o join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
      where o.id = d.object_id
    )
    for update of d skip locked
  ) as orphans
  where d.id = orphans.id;
  get diagnostics orphaned = row_count;

  delete from neural_search.jobs as j using (
    select j.object_id, j.model
    from neural_search.jobs as j join neural_search.models as m on m.name = j.model
    where m.state = 'retired' or not exists (
      select from neural_search.live_objects() as o join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
      where o.id = j.object_id
    )
    limit most for update of j skip locked
  ) as orphans
  where j.object_id = orphans.object_id and j.model = orphans.model;
  get diagnostics affected = row_count;
  orphaned = orphaned + affected;

  -- Documents of other bytes or of another place.
  delete from neural_search.documents as d using (
    select d.id from neural_search.documents as d join neural_search.live_objects() as o on o.id = d.object_id
    where d.id = any (wrong_ids)
      and (d.object_version, d.bucket_id, d.content) is distinct from (coalesce(o.version, ''), o.bucket_id, o.name)
    for update of d skip locked
  ) as outdated
  where d.id = outdated.id;
  get diagnostics stale = row_count;

  -- The other columns that documents copy: fewer at a time, as each rewrites the index of its vectors. A document that was
  -- rewritten since it was read has a new place, and the values read with it are old.
  with seen as materialized (
    select d.id, d.ctid as place, c.byte_size, c.owner_id, c.uploaded_at, c.metadata
    from neural_search.documents as d
    join neural_search.live_objects() as o on o.id = d.object_id
    cross join lateral neural_search.copied_columns(o) as c
    where d.id = any (wrong_ids) and d.object_version = c.object_version
      and (d.byte_size, d.owner_id, d.uploaded_at, d.metadata)
        is distinct from (c.byte_size, c.owner_id, c.uploaded_at, c.metadata)
    limit most / 10
  ), locked as (
    select d.id from neural_search.documents as d join seen on seen.id = d.id and seen.place = d.ctid
    for update of d skip locked
  )
  update neural_search.documents as d set
    byte_size = seen.byte_size, owner_id = seen.owner_id, uploaded_at = seen.uploaded_at, metadata = seen.metadata,
    updated_at = now()
  from locked join seen on seen.id = locked.id
  where d.id = locked.id;
  get diagnostics affected = row_count;
  stale = stale + affected;

  -- Jobs whose work is done.
  delete from neural_search.jobs as j using (
    select j.object_id, j.model
    from neural_search.jobs as j
    join neural_search.documents as d on d.object_id = j.object_id and d.model = j.model
    join neural_search.live_objects() as o on o.id = d.object_id and coalesce(o.version, '') = d.object_version
    where j.decoder_before is null or d.decoder_version >= j.decoder_before
    limit most for update of j skip locked
  ) as done
  where j.object_id = done.object_id and j.model = done.model;
  get diagnostics affected = row_count;
  stale = stale + affected;

  -- Enough for all uploads since the last run. Jobs that speak of another version are replaced here.
  select m.queued - m.outdated, stale + m.outdated into missing, stale
  from neural_search.queue_missing(100000) as m;
  insert into neural_search.reconciliations (missing, stale, orphaned) values (missing, stale, orphaned);
  perform neural_search.write_missing_words(2000);
  if missing + stale > 0 then
    perform neural_search.kick_due();
  end if;
  return next;
end
$$;
comment on function public.reconcile_documents is
  'Repairs the effects of lost events; how many objects had nothing, how many rows were outdated, how many superfluous.';


create or replace function neural_search.tidy() returns void
language plpgsql set search_path = '' as $$
begin
  delete from neural_search.reconciliations as r
  where r.at < now() - interval '7 days'
    and r.reconciliation_id < (select max(last.reconciliation_id) from neural_search.reconciliations as last);
  -- pg_cron never forgets a run, and ours are thousands a day.
  if to_regclass('cron.job_run_details') is not null then
    delete from cron.job_run_details as d
    where d.end_time < now() - interval '2 days'
      and d.jobid in (select j.jobid from cron.job as j where j.jobname like 'neural-search-%');
  end if;
end
$$;
comment on function neural_search.tidy is 'Forgets old reconciliations and old runs of our schedules.';
