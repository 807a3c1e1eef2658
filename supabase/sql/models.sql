-- Models: how one takes another's place while searches go on.
-- Callers: the command line, as service_role.

-- A readable name that no two models share, and no model with the table's other indexes; one that isn't plain gets a
-- digest. Each strategy has its own, so that one index can be made while the other serves.
create or replace function neural_search.index_name(model_name text, search_strategy text default 'hnsw') returns text
language sql immutable set search_path = '' as $$
  select 'documents_' || case
    when model_name ~ '^[a-z0-9-]{1,40}$' and model_name !~ '-lsh$' and replace(model_name, '-', '_') not in (
      'bucket_id', 'byte_size', 'content', 'content_hash', 'embedded_at', 'metadata', 'mime_type', 'owner_id', 'prefix',
      'shown', 'uploaded_at'
    ) then replace(model_name, '-', '_')
    else left(trim('_' from regexp_replace(lower(model_name), '[^a-z0-9]+', '_', 'g')), 31)
      || '_' || left(md5(model_name), 8)
  end || case search_strategy when 'hnsw' then '_idx' when 'lsh' then '_lsh_idx' end
$$;
comment on function neural_search.index_name is 'The name of a model''s index; null where its strategy has none.';


create or replace function neural_search.index_definition(model_name text, dimensions integer, search_strategy text)
returns text
language sql immutable set search_path = '' as $$
  select neural_search.check_that(
    coalesce(search_strategy in ('hnsw', 'lsh', 'exact'), false),
    format('search_strategy is %L, expected hnsw, lsh or exact.', search_strategy), 'Leave it out for hnsw.'
  );
  select case search_strategy
    when 'hnsw' then format(
      'using hnsw ((embedding::extensions.halfvec(%s)) extensions.halfvec_cosine_ops) where model = %L',
      dimensions, model_name
    )
    when 'lsh' then format(
      'using hnsw ((lsh::bit(%s)) extensions.bit_hamming_ops) where model = %L',
      neural_search.lsh_length(dimensions), model_name
    )
  end;
$$;
comment on function neural_search.index_definition is
  'The rest of `create index … on neural_search.documents` for a model that is searched like this; null where that takes none.';


-- `create index concurrently` leaves an index behind, to be dropped, where it is stopped.
create or replace function neural_search.has_index(model_name text, search_strategy text default 'hnsw')
returns boolean
language sql stable set search_path = '' as $$
  select exists (
    select from pg_catalog.pg_index as i
    where i.indexrelid = to_regclass(format('neural_search.%I', neural_search.index_name(model_name, search_strategy)))
      and i.indrelid = 'neural_search.documents'::regclass and i.indisvalid and i.indisready
  )
$$;
comment on function neural_search.has_index is 'Whether the index over a model''s documents is there and complete.';


create or replace function neural_search.require_model(model_name text) returns neural_search.models
language sql set search_path = '' as $$
  select neural_search.check_that(
    exists (select from neural_search.models as m where m.name = model_name),
    format('There is no model %L, only %s.', model_name, (
      select string_agg(quote_literal(m.name), ', ' order by m.name) from neural_search.models as m
    )), 'Add it first: `neural-search models add`.'
  );
  select m.* from neural_search.models as m where m.name = model_name;
$$;
comment on function neural_search.require_model is 'The model of this name; raises 22023 where there is none.';


create or replace function public.list_models() returns table (
  name text, state text, dimensions integer, search_strategy text, created_at timestamptz, asked_at timestamptz,
  documents bigint, objects bigint, searchable bigint, pending bigint, given_up bigint, index_name text,
  index_valid boolean, index_bytes bigint
)
language sql stable set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
  select m.name, m.state, m.dimensions, m.search_strategy, m.created_at, m.asked_at,
    (select count(*) from neural_search.documents as d where d.model = m.name),
    coalesce(sum(b.objects), 0)::bigint, coalesce(sum(b.searchable), 0)::bigint,
    coalesce(sum(b.objects - b.searchable - b.skipped - b.failed), 0)::bigint,
    coalesce(sum(b.skipped + b.failed), 0)::bigint, i.name,
    case when i.name is not null then neural_search.has_index(m.name, m.search_strategy) end,
    pg_relation_size(to_regclass('neural_search.' || quote_ident(i.name)))
  from neural_search.models as m
  left join neural_search.backlog as b on b.model = m.name
  cross join neural_search.index_name(m.name, m.search_strategy) as i (name)
  group by m.name, i.name
  order by array_position(array['active', 'standby', 'retired'], m.state), m.name
$$;
comment on function public.list_models is
  'Each model: its state, how far it is with the objects of all indexed buckets, and whether its index is complete.';


create or replace function public.add_model(name text, dimensions integer, search_strategy text default 'hnsw')
returns text
language plpgsql set search_path = '' as $$
declare
  known neural_search.models;
begin
  perform neural_search.check_that(
    coalesce(add_model.name, '') <> '', format('name is %L, expected a model''s.', add_model.name),
    'Name it as processes do in EMBEDDING_MODELS.'
  );
  perform neural_search.check_range('dimensions', dimensions, 1, 4000, 'An index of half precision takes no more.');
  perform neural_search.index_definition(add_model.name, add_model.dimensions, add_model.search_strategy);

  insert into neural_search.models as m (name, dimensions, search_strategy)
  values (add_model.name, add_model.dimensions, add_model.search_strategy)
  on conflict do nothing;
  select m.* into known from neural_search.models as m where m.name = add_model.name for no key update;
  perform neural_search.check_that(
    known.dimensions = add_model.dimensions,
    format('Model %L is here with %s dimensions, not %s.', known.name, known.dimensions, add_model.dimensions),
    'Remove it first, or add this one under another name.', 'object_not_in_prerequisite_state'
  );
  if add_model.search_strategy = 'lsh' then
    perform neural_search.check_that(
      exists (select from neural_search.lsh_planes as p where p.model = known.name),
      format('Model %L has no planes for locality-sensitive hashing.', known.name),
      'Add it with hnsw, and when it has documents: `neural-search models add --strategy lsh`.',
      'object_not_in_prerequisite_state'
    );
    perform neural_search.check_that(
      not exists (select from neural_search.documents as d where d.model = known.name and d.lsh is null),
      format('Some documents of model %L have no bits yet, and would not be found.', known.name),
      'Run `neural-search models add --strategy lsh`.', 'object_not_in_prerequisite_state'
    );
  end if;
  if known.state = 'active' then
    perform neural_search.check_has_index(known.name, add_model.search_strategy);
  end if;
  update neural_search.models as m set
    search_strategy = add_model.search_strategy,
    state = case when m.state = 'retired' then 'standby' else m.state end
  where m.name = known.name
  returning m.* into known;
  return known.state;
end
$$;
comment on function public.add_model is
  'Registers a model, whose documents are then made beside the active one''s; its state. backfill_documents queues the '
  'objects that are there. For one that is registered it sets the strategy, and takes it back from being retired.';


create or replace function neural_search.check_has_index(model_name text, search_strategy text) returns void
language sql stable set search_path = '' as $$
  select neural_search.check_that(
    search_strategy = 'exact' or neural_search.has_index(model_name, search_strategy),
    format('The index %L is missing or incomplete.', neural_search.index_name(model_name, search_strategy)),
    format('Make it: `neural-search models add %s --strategy %s`.', model_name, search_strategy),
    'object_not_in_prerequisite_state'
  )
$$;
comment on function neural_search.check_has_index is 'Raises 55000 where a model''s index, if its strategy has one, isn''t complete.';


-- A new upload has a job for each model. The active one lacks it as well, so a switch takes it from nobody, and where
-- uploads never stop there always is one.
create or replace function neural_search.readiness(model_name text)
returns table (searchable bigint, given_up bigint, unaccounted bigint, arriving bigint)
language sql stable set search_path = '' as $$
  select count(*) filter (where p.state = 'searchable'), count(*) filter (where p.state in ('skipped', 'failed')),
    count(*) filter (where p.state not in ('searchable', 'skipped', 'failed') and not a.arriving),
    count(*) filter (where a.arriving)
  from neural_search.progress as p
  cross join lateral (
    select p.state not in ('searchable', 'skipped', 'failed') and exists (
      select from neural_search.jobs as j join neural_search.models as m on m.name = j.model and m.state = 'active'
      where j.object_id = p.object_id and j.version = p.version and j.state = 'pending' and j.model <> p.model
    ) as arriving
  ) as a
  where p.model = model_name
$$;
comment on function neural_search.readiness is
  'How many objects a model has made searchable, given up with a reason, not accounted for, and not yet come to, as the '
  'active model hasn''t either.';


create or replace function public.activate_model(name text, force_unaccounted boolean default false)
returns table (active text, standby text, searchable bigint, given_up bigint, unaccounted bigint, arriving bigint)
language plpgsql set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
declare
  known constant neural_search.models := neural_search.require_model(activate_model.name);
begin
  perform neural_search.check_that(
    known.state <> 'retired', format('Model %L is retired: its documents aren''t kept up to date.', known.name),
    format('Add it again: `neural-search models add %s`.', known.name), 'object_not_in_prerequisite_state'
  );
  perform neural_search.check_has_index(known.name, known.search_strategy);
  select r.* into searchable, given_up, unaccounted, arriving from neural_search.readiness(known.name) as r;
  perform neural_search.check_that(
    known.state = 'active' or unaccounted = 0 or coalesce(force_unaccounted, false),
    format('Model %L isn''t ready: %s of %s images are neither searchable with it nor given up with a reason.',
      known.name, unaccounted, searchable + given_up + unaccounted + arriving),
    'Wait until `neural-search jobs` shows none that is due, waiting, running or unrecorded.',
    'object_not_in_prerequisite_state'
  );

  -- No key of theirs changes, so that uploads, whose jobs refer to these rows, don't wait.
  perform from neural_search.models as m where m.name = known.name or m.state = 'active' order by m.name
  for no key update;
  update neural_search.models as m set state = 'standby' where m.state = 'active' and m.name <> known.name
  returning m.name into standby;
  update neural_search.models as m set state = 'active' where m.name = known.name and m.state <> 'retired';
  perform neural_search.check_that(
    found, format('Model %L was retired meanwhile.', known.name), 'Add it again.', 'object_not_in_prerequisite_state'
  );
  active = known.name;
  return next;
end
$$;
comment on function public.activate_model is
  'Has searches use this model from now on, in one step; the former one becomes standby, so the same call leads back. '
  'Raises 55000 while its index isn''t complete or, unless forced, objects aren''t accounted for.';


-- Rows locked by others, as by an uploader who goes on to the next object, are left for a later call: waiting, with locks
-- of our own held, might be waiting in a circle. Only where no others are left are they waited for, so that 0 is true.
-- As arrays, because a subquery with a limit that is joined may be run, and lock others, more than once.
create or replace function neural_search.delete_rows_of(model_name text, most integer) returns bigint
language plpgsql set search_path = '' as $$
declare
  jobs bigint;
  documents bigint;
begin
  delete from neural_search.jobs as j
  where j.model = model_name and j.object_id = any (array(
    select l.object_id from neural_search.jobs as l where l.model = model_name limit most for update skip locked
  ));
  get diagnostics jobs = row_count;

  -- By documents_bucket_id_idx: reading the table again for each batch, the last ones would take longest.
  documents = cardinality(neural_search.remove_documents(array(
    select l.id from storage.buckets as b
    join neural_search.documents as l on l.bucket_id = b.id and l.model = model_name
    limit greatest(most - jobs, 0) for update of l skip locked
  )));
  if jobs + documents > 0 then
    return jobs + documents;
  end if;

  delete from neural_search.jobs as j where j.model = model_name; -- no more than others have locked
  get diagnostics jobs = row_count;
  -- Also of buckets that are gone. What holds one is told.
  delete from neural_search.documents as d where d.id in (
    select l.id from neural_search.documents as l where l.model = model_name limit most
  );
  get diagnostics documents = row_count;
  return jobs + documents;
end
$$;
comment on function neural_search.delete_rows_of is 'Deletes some jobs and documents of a model; 0 where none are left.';


create or replace function public.remove_model(name text, max_rows integer default 1000)
returns table (removed bigint, finished boolean)
language plpgsql set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
declare
  known constant neural_search.models := neural_search.require_model(remove_model.name);
begin
  perform neural_search.check_range('max_rows', max_rows, 1, 100000, 'Leave it out for 1000, and call until it is finished.');
  -- First and for all to see, so that no job or document comes after those deleted here.
  update neural_search.models as m set state = 'retired' where m.name = known.name and m.state <> 'active';
  perform neural_search.check_that(
    found, format('Model %L is active.', known.name), 'Activate another one first.', 'object_not_in_prerequisite_state'
  );
  removed = neural_search.delete_rows_of(known.name, max_rows);
  finished = removed = 0 and known.state = 'retired';
  if finished then
    delete from neural_search.models as m where m.name = known.name;
  end if;
  return next;
end
$$;
comment on function public.remove_model is
  'Retires a model and deletes some of its jobs and documents; finished when the model itself is gone. To be called '
  'until then. Its index isn''t dropped here, which would make searches wait.';
