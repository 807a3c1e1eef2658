-- Buckets: their registration, and the repair of changes that no event announced.
-- Callers: the command line as service_role, and the schedule.

-- Without a SET clause, as live_objects, so that nothing beyond a limit is read. An upload whose event was lost is as
-- urgent as one whose event was heard.
create or replace function neural_search.to_queue(bucket text, name_prefix text, decoder_before integer)
returns table (object_id uuid, model text, version text, priority integer)
language sql stable as $$
  select p.object_id, p.model, p.version, case when p.state = 'unrecorded' and p.is_upload then 0 else 1 end
  from neural_search.progress as p
  where (p.state = 'unrecorded' or p.state = 'searchable' and p.queued_at is null
      and p.decoder_version < to_queue.decoder_before
      and not neural_search.decodes_alike(p.mime_type, p.decoder_version, to_queue.decoder_before))
    and (bucket is null or p.bucket_id = bucket)
    and (to_queue.name_prefix is null or starts_with(p.name, to_queue.name_prefix))
$$;
comment on function neural_search.to_queue is
  'Objects in indexed buckets without a job or document of their version; with decoder_before outdated ones too.';


-- A document or a job that came in meanwhile wins. A job whose version was old by the time that it was written is put
-- right when it is finished.
create or replace function neural_search.queue_missing(
  most integer, bucket text default null, name_prefix text default null, decoder_before integer default null
) returns table (queued bigint, outdated bigint)
language plpgsql set search_path = '' as $$
begin
  return query
  with missing as materialized (
    select * from neural_search.to_queue(bucket, name_prefix, decoder_before) limit most
  ),
  other as (
    delete from neural_search.jobs as j using (
      select j.object_id, j.model
      from missing as m
      join neural_search.jobs as j on j.object_id = m.object_id and j.model = m.model and j.version <> m.version
      for update of j skip locked
    ) as locked
    where j.object_id = locked.object_id and j.model = locked.model
    returning j.model
  ),
  replaced as materialized (select count(*) as jobs from other), -- all of them, before the first is inserted
  added as (
    insert into neural_search.jobs (object_id, model, version, decoder_before, priority)
    select m.object_id, m.model, m.version, queue_missing.decoder_before, m.priority from replaced, missing as m
    on conflict do nothing
    returning model
  )
  select (select count(*) from added), r.jobs from replaced as r;
end
$$;
comment on function neural_search.queue_missing is
  'Makes at most so many jobs for the objects that are to_queue; how many, and how many of them in place of a job that '
  'spoke of another version.';


create or replace function public.index_bucket(
  bucket_id text, public_search boolean default false, visible_by jsonb default null
) returns bigint
language plpgsql set search_path = '' as $$
declare
  hidden record;
  made timestamptz;
begin
  select b.created_at into made from storage.buckets as b where b.id = index_bucket.bucket_id;
  perform neural_search.check_that(
    found, format('There is no bucket %L.', index_bucket.bucket_id), 'Create it in Storage first.'
  );
  perform neural_search.check_that( -- a registration holds for no bucket that is made after it
    (made > clock_timestamp()) is not true,
    format('Bucket %L has the created_at %s, expected no time in the future.', index_bucket.bucket_id, made),
    format('Correct it: update storage.buckets set created_at = now() where id = %L;', index_bucket.bucket_id)
  );
  perform neural_search.check_declaration(index_bucket.visible_by);
  insert into neural_search.buckets as b (bucket_id, public_search, created_at, visible_by)
  values (
    index_bucket.bucket_id, coalesce(index_bucket.public_search, false), clock_timestamp(), index_bucket.visible_by
  )
  on conflict on constraint buckets_pkey do update set
    public_search = excluded.public_search, created_at = excluded.created_at, visible_by = excluded.visible_by;
  select h.* into hidden from neural_search.hidden_by_declaration(index_bucket.bucket_id) as h limit 1;
  perform neural_search.check_that(
    hidden.content is null,
    format('visible_by hides %L from %s, who may see it by the policies.', hidden.content, hidden.caller),
    'Declare all that lets callers see images, null for those whom nothing narrows, or leave it out.'
  );
  -- More than those are queued by later calls of it or, within 5 minutes, by reconcile_documents, so that a large
  -- bucket fits into a time-out.
  return public.backfill_documents(index_bucket.bucket_id, null, 10000, false, null);
end
$$;
comment on function public.index_bucket is
  'Makes a bucket searchable, now and from now on; the number of jobs queued at once for the objects in it. visible_by '
  'declares which of its images a caller may see ({"owner": "auth.uid()"}), which makes searches faster.';


create or replace function public.unindex_bucket(bucket_id text) returns bigint
language sql set search_path = '' as $$
  delete from neural_search.buckets as b where b.bucket_id = unindex_bucket.bucket_id;
  delete from neural_search.jobs as j using storage.objects as o
  where o.id = j.object_id and o.bucket_id = unindex_bucket.bucket_id;
  select cardinality(neural_search.remove_documents(array(
    select d.id from neural_search.documents as d where d.bucket_id = unindex_bucket.bucket_id
  )))
$$;
comment on function public.unindex_bucket is
  'Takes a bucket out of the search with its documents and jobs; the number of documents removed. One that something of '
  'the project''s own holds, of which a warning tells, can be found until that is gone.';


create or replace function public.backfill_documents(
  bucket text default null, name_prefix text default null, max_jobs integer default 10000,
  dry_run boolean default false, decoder_before integer default null
) returns bigint
language plpgsql set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
declare
  newest constant integer := (select max(c.version) from neural_search.decoder_changes() as c);
  queued bigint;
begin
  perform neural_search.check_that(
    bucket is null or exists (select from neural_search.indexed_buckets as b where b.bucket_id = bucket),
    format('Bucket %L isn''t indexed.', bucket), 'Register it with index_bucket first.'
  );
  perform neural_search.check_that(
    decoder_before <= newest,
    format('decoder_before is %s, expected at most %s, the version of today''s decoder.', decoder_before, newest),
    'Run `neural-search install` where the decoder is newer.'
  );
  if dry_run then
    return (select count(*) from neural_search.to_queue(bucket, name_prefix, decoder_before));
  end if;
  select m.queued into queued
  from neural_search.queue_missing(greatest(coalesce(max_jobs, 10000), 0), bucket, name_prefix, decoder_before) as m;
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
language plpgsql set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
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
language plpgsql set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
declare
  most constant integer := 10000;
  wrong_ids bigint[];
  superfluous record;
  rewriting record;
begin
  -- The documents that the next steps look at once more, and lock. Found in one pass over the tables: with the limit
  -- within, they would be read by an index each, that is in random order. Any of them, as refused ones come again each time.
  with wrong as materialized (
    select d.id from neural_search.documents as d
    left join (
      neural_search.live_objects() as o join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
      cross join lateral neural_search.file_facts(o.metadata) as f
    ) on o.id = d.object_id
    where o.id is null
      or (d.bucket_id, d.content, d.object_version, d.byte_size, d.owner_id, d.uploaded_at)
        is distinct from (o.bucket_id, o.name, coalesce(o.version, ''), f.byte_size, o.owner_id, o.created_at)
      -- Metadata are judged once: some thousand uploads whose metadata take long could take all the time.
      or not case d.judged_at
        when '-infinity' then d.metadata = coalesce(o.user_metadata, '{}')
        when coalesce(o.updated_at, 'infinity') then true
        else false
      end
  )
  select array_agg(w.id) into wrong_ids from (select wrong.id from wrong order by random() limit most) as w;

  -- Documents without an object in an indexed bucket, and those of other bytes or of another place.
  select coalesce(array_agg(w.id), '{}') as ids, array_agg(w.id) filter (where w.is_orphan) as orphans into superfluous
  from (
    select d.id, o.id is null as is_orphan
    from neural_search.documents as d left join (
      neural_search.live_objects() as o join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
    ) on o.id = d.object_id
    where d.id = any (wrong_ids)
      and (d.object_version, d.bucket_id, d.content) is distinct from (coalesce(o.version, ''), o.bucket_id, o.name)
    for update of d skip locked
  ) as w;
  select count(*) filter (where r.id = any (superfluous.orphans)),
    count(*) filter (where (r.id = any (superfluous.orphans)) is not true)
  into orphaned, stale from unnest(neural_search.remove_documents(superfluous.ids)) as r (id);

  -- Jobs without such an object or that nobody wants, and those whose work is done.
  with removed as (
    delete from neural_search.jobs as j using (
      select j.object_id, j.model, o.id is not null and m.state <> 'retired' as is_done
      from neural_search.jobs as j join neural_search.models as m on m.name = j.model
      left join (
        neural_search.live_objects() as o join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
      ) on o.id = j.object_id
      left join neural_search.documents as d
        on d.object_id = o.id and d.model = j.model and d.object_version = coalesce(o.version, '')
        and coalesce(d.decoder_version >= j.decoder_before, true)
      where m.state = 'retired' or o.id is null or d.id is not null
      limit most for update of j skip locked
    ) as unwanted
    where j.object_id = unwanted.object_id and j.model = unwanted.model
    returning unwanted.is_done
  )
  select orphaned + count(*) filter (where not r.is_done), stale + count(*) filter (where r.is_done)
  into orphaned, stale from removed as r;

  -- The other columns that documents copy: fewer at a time, as each rewrites the index of its vectors. Locked first, so
  -- that the objects are read after all that others wrote.
  wrong_ids = array(
    select d.id from neural_search.documents as d where d.id = any (wrong_ids) and d.id <> all (superfluous.ids)
    limit most / 10 for update skip locked
  );
  rewriting = neural_search.change_documents(
    'with rewritten as (
      update neural_search.documents as d set
        byte_size = c.byte_size, owner_id = c.owner_id, uploaded_at = c.uploaded_at, metadata = c.metadata,
        judged_at = c.judged_at, updated_at = now()
      from neural_search.live_objects() as o cross join lateral neural_search.copied_columns(o) as c
      where d.id = any ($1) and o.id = d.object_id and d.object_version = c.object_version
        and (d.byte_size, d.owner_id, d.uploaded_at, d.metadata, d.judged_at)
          is distinct from (c.byte_size, c.owner_id, c.uploaded_at, c.metadata, c.judged_at)
      returning d.id
    )
    select array_agg(r.id) from rewritten as r', wrong_ids
  );
  if rewriting.refusal is not null then
    raise warning 'neural-search could not bring the copied columns of documents up to date, as of %', rewriting.refusal;
  end if;
  stale = stale + cardinality(rewriting.changed);

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
  if neural_search.may_write('cron.job_run_details') then
    delete from cron.job_run_details as d
    where d.end_time < now() - interval '2 days'
      and d.jobid in (
        select j.jobid from cron.job as j join neural_search.schedules() as s on (s.name, s.command) = (j.jobname, j.command)
      );
  end if;
end
$$;
comment on function neural_search.tidy is 'Forgets old reconciliations and old runs of our schedules.';
