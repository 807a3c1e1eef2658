-- Reports: how far each object in an indexed bucket is, and why it can't be found yet.
-- Callers: the command line as service_role; operators in the database.

create or replace view neural_search.progress with (security_invoker = true) as
select o.id as object_id, o.bucket_id, o.name, m.name as model, coalesce(o.version, '') as version,
  case
    when d.id is not null then 'searchable'
    when j.object_id is null then 'unrecorded'
    when j.state <> 'pending' then j.state
    when j.next_attempt_at <= now() then 'due'
    when j.lease_id is not null then 'running'
    else 'waiting'
  end as state,
  j.attempts, j.queued_at, j.next_attempt_at, j.error_class, j.error_message, j.created_at, j.updated_at,
  d.shown, coalesce(d.mime_type, f.mime_type) as mime_type,
  coalesce(d.decoder_version, j.decoder_version) as decoder_version,
  coalesce(greatest(o.created_at, o.updated_at) > greatest(b.created_at, m.created_at), false) as is_upload
from neural_search.indexed_buckets as b
join neural_search.live_objects() as o on o.bucket_id = b.bucket_id
join neural_search.models as m on m.state in ('active', 'standby')
cross join lateral neural_search.file_facts(o.metadata) as f
left join neural_search.documents as d
  on d.object_id = o.id and d.model = m.name and d.object_version = coalesce(o.version, '')
left join neural_search.jobs as j
  on j.object_id = o.id and j.model = m.name and j.version = coalesce(o.version, '')
where o.name not like '%.emptyFolderPlaceholder'; -- by which the dashboard makes a folder: no image that is missing
comment on view neural_search.progress is
  'Each object in an indexed bucket with each model that is kept up to date: searchable, due, waiting (for the next '
  'attempt), running, skipped, failed, or unrecorded: neither a document nor a job of its present version. An upload came '
  'after its bucket and its model were registered; the rest is backfill.';


create or replace view neural_search.backlog with (security_invoker = true) as
select b.bucket_id, m.name as model, m.state as model_state,
  count(p.object_id) as objects,
  count(*) filter (where p.state = 'searchable') as searchable,
  count(*) filter (where p.state = 'due') as due,
  count(*) filter (where p.state = 'waiting') as waiting,
  count(*) filter (where p.state = 'running') as running,
  count(*) filter (where p.state = 'skipped') as skipped,
  count(*) filter (where p.state = 'failed') as failed,
  count(*) filter (where p.state = 'unrecorded') as unrecorded,
  extract(epoch from now() - min(p.queued_at) filter (where p.state in ('due', 'waiting', 'running')))::double precision
    as oldest_seconds,
  count(*) filter (where p.shown < 1) as cut_off
from neural_search.indexed_buckets as b
join neural_search.models as m on m.state in ('active', 'standby')
left join neural_search.progress as p on p.bucket_id = b.bucket_id and p.model = m.name
group by b.bucket_id, m.name;
comment on view neural_search.backlog is
  'How many objects of each indexed bucket are in which state of neural_search.progress, the age of the oldest job '
  'that is still to be done, and how many of the searchable ones are cut off.';


create or replace view neural_search.failures with (security_invoker = true) as
select p.bucket_id, p.model, p.state, p.error_class, count(*) as objects,
  (array_agg(p.name order by p.updated_at desc, p.object_id))[1] as example_name,
  (array_agg(p.error_message order by p.updated_at desc, p.object_id))[1] as example_message
from neural_search.progress as p
where p.state <> 'searchable' and p.error_class is not null
group by p.bucket_id, p.model, p.state, p.error_class;
comment on view neural_search.failures is
  'The causes for which objects can''t be found, how many each, and the latest of them. Those that are due, waiting or '
  'running had this error the last time and will be tried again.';


create or replace view neural_search.outdated with (security_invoker = true) as
select p.object_id, p.bucket_id, p.name, p.model, p.version, p.mime_type, p.decoder_version,
  case when p.state <> 'searchable' then p.error_class end as refused_for
from neural_search.progress as p, (select max(c.version) as version from neural_search.decoder_changes() as c) as newest
where p.state in ('searchable', 'skipped', 'failed') and p.decoder_version < newest.version
  and not neural_search.decodes_alike(
    case when p.state = 'searchable' then p.mime_type end, -- of others it is only the uploader's word
    p.decoder_version, newest.version
  );
comment on view neural_search.outdated is
  'Objects that an older decoder refused (for refused_for), or may have embedded as another picture than today''s.';


create or replace view neural_search.freshness with (security_invoker = true) as
select d.model, count(*) as documents,
  percentile_cont(0.5) within group (order by extract(epoch from d.embedded_at - d.queued_at)) as p50_seconds,
  percentile_cont(0.95) within group (order by extract(epoch from d.embedded_at - d.queued_at)) as p95_seconds
from neural_search.documents as d
where d.embedded_at > now() - interval '24 hours'
group by d.model;
comment on view neural_search.freshness is
  'How long it took from upload to searchable, by model, for documents embedded in the last 24 hours.';


create or replace function public.index_status() returns table (
  bucket_id text, model text, objects bigint, documents bigint, pending bigint, running bigint, skipped bigint,
  failed bigint
)
language sql stable set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
  select b.bucket_id, b.model, b.objects, b.searchable, b.due + b.waiting, b.running, b.skipped, b.failed
  from neural_search.backlog as b
  order by b.bucket_id, b.model
$$;
comment on function public.index_status is 'How far each indexed bucket is, for each model that is kept up to date.';


create or replace function public.list_embedding_jobs(
  job_state text default null, max_rows integer default 100, bucket text default null, name_prefix text default null,
  after_object_id uuid default null, after_model text default null
) returns table (
  object_id uuid, bucket_id text, name text, model text, state text, attempts integer, next_attempt_at timestamptz,
  error_class text, error_message text, queued_at timestamptz, created_at timestamptz, updated_at timestamptz
)
-- Planned for the state that is asked for: of a million objects few have a job. The time-out, which PostgREST heeds, is
-- for the case that all are compared.
language plpgsql stable set search_path = '' set plan_cache_mode = force_custom_plan set statement_timeout = '60s' as $$
begin
  perform neural_search.check_that(
    job_state in ('due', 'waiting', 'running', 'skipped', 'failed', 'unrecorded'),
    format('job_state is %L, expected due, waiting, running, skipped, failed or unrecorded.', job_state),
    'Leave it out for all of them.'
  );
  return query
  select p.object_id, p.bucket_id, p.name, p.model, p.state, coalesce(p.attempts, 0), p.next_attempt_at,
    case when p.state = 'unrecorded' then 'NotRecorded' else p.error_class end,
    case when p.state = 'unrecorded'
      then 'Nothing was recorded of this version. It is queued within 5 minutes, when the scheduled reconciliation '
        'runs, or at once by `neural-search backfill`.'
      else p.error_message
    end,
    p.queued_at, p.created_at, p.updated_at
  from neural_search.progress as p
  where p.state <> 'searchable'
    and (job_state is null or p.state = job_state)
    and (job_state is null or job_state = 'unrecorded' or p.queued_at is not null) -- begins with the jobs
    and (bucket is null or p.bucket_id = bucket)
    and (name_prefix is null or starts_with(p.name, name_prefix))
    and p.object_id >= coalesce(after_object_id, '00000000-0000-0000-0000-000000000000')
    and (after_object_id is null or (p.object_id, p.model) > (after_object_id, coalesce(after_model, '')))
  order by p.object_id, p.model
  limit max_rows;
end
$$;
comment on function public.list_embedding_jobs is
  'Every object in an indexed bucket that can''t be found yet, with the cause, ordered by object and model: due, waiting '
  '(for the next attempt), running, skipped, failed, unrecorded. The last row''s object_id and model lead to the next '
  'page.';


create or replace function public.embedding_report() returns jsonb
-- PostgREST heeds the time-out: 8 seconds, as hosted projects have it, are too few for millions of objects.
language sql stable set search_path = '' set statement_timeout = '60s' as $$
  select jsonb_build_object(
    'backlog', (
      select coalesce(jsonb_agg(to_jsonb(b) order by b.bucket_id, b.model), '[]') from neural_search.backlog as b
    ),
    'failures', (
      select coalesce(jsonb_agg(to_jsonb(f) order by f.bucket_id, f.model, f.state, f.objects desc, f.error_class), '[]')
      from neural_search.failures as f
    ),
    'freshness', (
      select coalesce(jsonb_agg(to_jsonb(f) order by f.model), '[]') from neural_search.freshness as f
    ),
    'reconciled', (
      select jsonb_build_object('at', r.at, 'missing', r.missing, 'stale', r.stale, 'orphaned', r.orphaned)
      from neural_search.reconciliations as r order by r.reconciliation_id desc limit 1
    ),
    'unindexed', (
      select coalesce(jsonb_agg(s.id order by s.id), '[]') from storage.buckets as s
      where not exists (select from neural_search.indexed_buckets as b where b.bucket_id = s.id)
    )
  )
$$;
comment on function public.embedding_report is
  'The state of the index: backlog, failures by cause, freshness, the last reconciliation, and the buckets that '
  'aren''t indexed.';
