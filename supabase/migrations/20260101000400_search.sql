-- Part of neural-search 0.1.0. Does nothing where it has been run before.
do $migration$
begin
  perform pg_advisory_xact_lock(1852142962);
  if to_regclass('neural_search.migrations') is not null or to_regtype('neural_search.match') is not null then
    return;
  end if;
  execute $statements$
-- Search: who may find what, and the functions that find it.
-- Callers: the query function and any client, as anon, authenticated or service_role.
-- Objects: the policy on public.documents, the index of the first model, active_model, match_documents,
-- get_embeddings, object_states.

-- Definer, because callers may read neither the registered buckets nor, mostly, storage.buckets. It answers for one
-- object and version whose id the caller already holds, from the object's own row and not from what we copied of it.
-- In PL/pgSQL, which keeps the plan: it is called for many candidates in one search.
create or replace function neural_search.is_public(target_object_id uuid, target_version text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return exists (
    -- A name that storage.objects doesn't know, on older projects, is taken from here.
    select from (values (null::timestamptz, false)) as older (archived_at, is_delete_marker),
      lateral (
        select from storage.objects as o
        join storage.buckets as s on s.id = o.bucket_id and s.public
        join neural_search.buckets as b on b.bucket_id = o.bucket_id and b.public_search
          and (s.created_at > b.created_at) is not true -- else it was made anew under an old name
        where o.id = target_object_id and coalesce(o.version, '') = target_version
          and archived_at is null and is_delete_marker is not true
      ) as object
  );
end
$$;
comment on function neural_search.is_public is
  'Whether everybody may find this version of an object: its bucket is public and registered with public_search.';
revoke execute on function neural_search.is_public from public, anon, authenticated, service_role;
grant execute on function neural_search.is_public to anon, authenticated, service_role;


-- Definer, because callers may not read the registered buckets. That everybody may search these is no secret.
create or replace function neural_search.public_buckets() returns text[]
language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(b.bucket_id), '{}') from neural_search.buckets as b where b.public_search
$$;
comment on function neural_search.public_buckets is
  'Where is_public may say yes: asked once in a statement, it spares asking is_public for everything else.';
revoke execute on function neural_search.public_buckets from public, anon, authenticated, service_role;
grant execute on function neural_search.public_buckets to anon, authenticated, service_role;


-- Called as the caller, for each candidate where nothing was prepared. It isn't parallel safe: it sets a parameter.
-- Functions that policies call may rely on the search path that Storage has; so those of ours in which policies are asked
-- have the same, and name everything in full all the same.
create or replace function neural_search.can_see(target_object_id uuid, target_version text) returns boolean
language plpgsql stable cost 1000 set search_path = storage, public, extensions as $$
declare
  operation constant text := current_setting('storage.operation', true);
  seen boolean;
begin
  -- Policies may ask what Storage is doing; outside of Storage they would all say no.
  perform set_config('storage.operation', 'storage.object.get_authenticated', true);
  begin
    seen = exists (
      select from (values (null::timestamptz, false)) as older (archived_at, is_delete_marker),
        lateral (
          select from storage.objects as o
          where o.id = target_object_id and coalesce(o.version, '') = target_version
            and archived_at is null and is_delete_marker is not true
        ) as object
    );
  exception when data_exception or cardinality_violation or plpgsql_error then
    -- A policy that chokes on this row, as on a folder's name that is no uuid, lets nobody see it. Its message would
    -- tell the caller of the name, and one object would spoil every search.
    seen = false;
  end;
  perform set_config('storage.operation', coalesce(operation, ''), true);
  return seen or neural_search.is_public(target_object_id, target_version);
end
$$;
comment on function neural_search.can_see is
  'Whether the caller may see an object that still has this version: by the policies on storage.objects, or because '
  'everybody may.';
revoke execute on function neural_search.can_see from public, anon, authenticated, service_role;
grant execute on function neural_search.can_see to anon, authenticated, service_role;

-- Both branches ask the same, so whoever sets the parameter by hand gains nothing. The first takes a tenth of the time,
-- but needs storage.operation to be set, and one object that a policy chokes on fails the statement: match_documents
-- sees to both. Its subquery is a scalar one, because the planner would turn an EXISTS into a hash of all objects that
-- the caller may see, made anew in each search.
create policy "As the policies on storage.objects say" on public.documents
  for select to anon, authenticated using (
    case when (select current_setting('neural_search.prepared', true) = 'on')
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
comment on policy "As the policies on storage.objects say" on public.documents is
  'A document is seen by whoever sees its object, as long as the object has the bytes that were embedded.';


create index documents_efficientnet_lite0_idx on public.documents
  using hnsw ((embedding::extensions.halfvec(1280)) extensions.halfvec_cosine_ops)
  where model = 'efficientnet-lite0';
comment on index public.documents_efficientnet_lite0_idx is 'For match_documents while this model is active.';


-- Definer, because callers may not read the table of models; the answer is the same for all.
create or replace function public.active_model() returns table (name text, dimensions integer)
language sql stable security definer set search_path = '' as $$
  select m.name, m.dimensions from neural_search.models as m where m.state = 'active'
$$;
comment on function public.active_model is 'The model that searches use, and the length of its vectors.';
revoke execute on function public.active_model from public, anon, authenticated, service_role;
grant execute on function public.active_model to anon, authenticated, service_role;


-- Definer, because callers may not read the table of models; which there are is no secret.
create or replace function neural_search.searchable_model(model text)
returns table (name text, dimensions integer, search_strategy text)
language plpgsql stable security definer set search_path = '' as $$
begin
  if model is null then
    return query select m.name, m.dimensions, m.search_strategy from neural_search.models as m where m.state = 'active';
  else
    return query select m.name, m.dimensions, m.search_strategy from neural_search.models as m
      where m.name = searchable_model.model and m.state <> 'retired';
  end if;
  if found then
    return;
  elsif model is null then
    raise exception 'No model is active.'
      using errcode = 'object_not_in_prerequisite_state', hint = 'Activate one of neural_search.models.';
  end if;
  raise exception 'model is %, expected one that is active or standby.', quote_literal(model)
    using errcode = 'invalid_parameter_value', hint = 'Leave it out to search with the one that active_model() names.';
end
$$;
comment on function neural_search.searchable_model is
  'The model of this name, by default the active one; raises, with the remedy, where it can''t be searched.';
revoke execute on function neural_search.searchable_model from public, anon, authenticated, service_role;
grant execute on function neural_search.searchable_model to anon, authenticated, service_role;


create or replace function neural_search.check_query(
  query_embedding extensions.vector, model text, dimensions integer, similarity_threshold double precision,
  match_count integer, skip_count integer, query_kind text, min_confidence text, best_confidence text
) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if query_embedding is null or extensions.vector_dims(query_embedding) <> dimensions then
    raise exception 'query_embedding has % dimensions, the model % has %.',
      coalesce(extensions.vector_dims(query_embedding), 0), quote_literal(model), dimensions
      using errcode = 'invalid_parameter_value', hint = 'Embed the query with the model whose documents are searched.';
  end if;
  if extensions.vector_norm(query_embedding) = 0 then
    raise exception 'query_embedding is all zeros and has no direction.'
      using errcode = 'invalid_parameter_value', hint = 'Check how the query was embedded.';
  end if;
  if similarity_threshold = 'NaN' then
    raise exception 'similarity_threshold is NaN, expected a number from -1 to 1.'
      using errcode = 'invalid_parameter_value', hint = 'Leave it out for all results above 0.';
  end if;
  if match_count not between 0 and 1000 then
    raise exception 'match_count is %, expected 0 to 1000.', match_count
      using errcode = 'invalid_parameter_value', hint = 'Page through more results with skip_count or page_after.';
  end if;
  if skip_count not between 0 and 10000 then
    raise exception 'skip_count is %, expected 0 to 10000.', skip_count
      using errcode = 'invalid_parameter_value', hint = 'Page through more results with page_after.';
  end if;
  if query_kind not in ('image', 'text', 'mixed') then
    raise exception 'query_kind is %, expected image, text or mixed.', quote_literal(query_kind)
      using errcode = 'invalid_parameter_value', hint = 'Say what query_embedding was made from.';
  end if;
  perform neural_search.check_confidence('min_confidence', min_confidence);
  perform neural_search.check_confidence('best_confidence', best_confidence);
end
$$;
comment on function neural_search.check_query is 'Raises, with the remedy, for a search that makes no sense.';
revoke execute on function neural_search.check_query from public, anon, authenticated, service_role;
grant execute on function neural_search.check_query to anon, authenticated, service_role;


create or replace function neural_search.is_time(value jsonb) returns boolean
language plpgsql stable set search_path = '' as $$
begin
  perform (value #>> '{}')::timestamptz;
  return jsonb_typeof(value) = 'string';
exception when data_exception then
  return false;
end
$$;
comment on function neural_search.is_time is 'Whether a value in JSON is a string that names a point in time.';
revoke execute on function neural_search.is_time from public, anon, authenticated, service_role;
grant execute on function neural_search.is_time to anon, authenticated, service_role;


create or replace function neural_search.check_filter(filter jsonb) returns void
language plpgsql stable set search_path = '' as $$
declare
  key text;
  value jsonb;
  expected text;
begin
  if jsonb_typeof(filter) <> 'object' then
    raise exception 'filter is %, expected an object.', left(filter::text, 100)
      using errcode = 'invalid_parameter_value', hint = 'For example {"bucket": "images", "prefix": "cats/"}.';
  end if;
  for key, value in select * from jsonb_each(filter) loop
    expected = case
      when key in ('bucket', 'prefix', 'owner') and jsonb_typeof(value) <> 'string' then 'a string'
      when key = 'mime_type' and jsonb_typeof(value) <> 'string'
          and not value @? 'strict $ ? (@.type() == "array" && !(exists (@[*] ? (@.type() != "string"))))'
        then 'a string or a list of some'
      when key in ('min_bytes', 'max_bytes') and 
          not value @? 'strict $ ? (@.type() == "number" && @ >= 0 && @ < 9223372036854775808 && @.floor() == @)'
        then 'a whole number of bytes'
      when key in ('uploaded_after', 'uploaded_before') and not neural_search.is_time(value)
        then 'a time like "2026-01-31T12:00:00Z"'
      when key = 'metadata' and jsonb_typeof(value) <> 'object' then 'an object'
    end;
    if expected is not null then
      raise exception 'filter.% is %, expected %.', key, left(value::text, 100), expected
        using errcode = 'invalid_parameter_value', hint = 'Correct it or leave it out.';
    end if;
    if key not in (
      'bucket', 'prefix', 'mime_type', 'min_bytes', 'max_bytes', 'uploaded_after', 'uploaded_before', 'owner',
      'metadata'
    ) then
      raise exception 'filter has a key %, which there isn''t.', quote_literal(left(key, 100))
        using errcode = 'invalid_parameter_value', hint = 'There are bucket, prefix, mime_type, min_bytes, max_bytes, '
          'uploaded_after, uploaded_before, owner and metadata.';
    end if;
  end loop;
end
$$;
comment on function neural_search.check_filter is 'Raises, with the remedy, for a filter that makes no sense.';
revoke execute on function neural_search.check_filter from public, anon, authenticated, service_role;
grant execute on function neural_search.check_filter to anon, authenticated, service_role;

create or replace function neural_search.check_page(page_after jsonb) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if (
    page_after @? 'strict $ ? (@.similarity >= -1.1 && @.similarity <= 1.1 && @.id.type() == "number")'
    and page_after ->> 'id' ~ '^\d{1,18}$' and coalesce(page_after ->> 'rank', '0') ~ '^\d{1,9}$'
  ) then
    if (page_after ->> 'rank')::integer > 10000 then -- so far is looked at once, whoever asks
      raise exception 'page_after.rank is %, expected 0 to 10000.', page_after ->> 'rank'
        using errcode = 'invalid_parameter_value',
          hint = 'Give 10000 where there were more: it only says how far to look at first.';
    end if;
    return;
  end if;
  raise exception 'page_after is %, expected {"similarity": …, "id": …, "rank": …}.', left(page_after::text, 100)
    using errcode = 'invalid_parameter_value',
      hint = 'Give similarity and id of the last result that you have, and how many there were up to it.';
end
$$;
comment on function neural_search.check_page is 'Raises, with the remedy, for a page that can''t follow any result.';
revoke execute on function neural_search.check_page from public, anon, authenticated, service_role;
grant execute on function neural_search.check_page to anon, authenticated, service_role;


-- Row level security lets only leakproof operators look at rows before the policy has, or use an index: =, <, >= and ^@
-- are, jsonb's @> isn't. A search by metadata reads what the policy shows, whichever index there is.
create or replace function neural_search.filter_conditions(filter jsonb, leakproof boolean) returns text
language sql immutable set search_path = '' as $$
  select coalesce(string_agg(' and ' || case key
    when 'bucket' then format('d.bucket_id = %L', value #>> '{}')
    when 'prefix' then format('d.content ^@ %L', value #>> '{}')
    when 'owner' then format('d.owner_id = %L', value #>> '{}')
    when 'mime_type' then format('d.mime_type = any (%L)', (
      select array_agg(mime_type) from jsonb_array_elements_text(
        case jsonb_typeof(value) when 'array' then value else jsonb_build_array(value) end
      ) as mime_type
    ))
    when 'min_bytes' then format('d.byte_size >= %L', value::bigint)
    when 'max_bytes' then format('d.byte_size <= %L', value::bigint)
    when 'uploaded_after' then format('d.uploaded_at >= %L', value #>> '{}')
    when 'uploaded_before' then format('d.uploaded_at < %L', value #>> '{}')
    when 'metadata' then format('d.metadata @> %L', value)
  end, '' order by key), '')
  from jsonb_each(filter) where leakproof = (key <> 'metadata')
$$;
comment on function neural_search.filter_conditions is
  'A checked filter as conditions on documents as d: the leakproof ones, or the others.';
revoke execute on function neural_search.filter_conditions from public, anon, authenticated, service_role;
grant execute on function neural_search.filter_conditions to anon, authenticated, service_role;


-- By hand and not by SET clauses: a role that is no superuser can't name pgvector's parameters in those before the
-- session has loaded it. check_query has loaded it by the time that this is called.
create or replace function neural_search.set_parameters(names text[], settings text[]) returns text[]
language plpgsql set search_path = '' as $$
declare
  former text[];
  setting text;
begin
  if array_to_string(names, ' ') !~ '^((hnsw\.\w+|neural_search\.prepared|enable_sort|jit|plan_cache_mode|storage\.operation) ?)+$' then
    raise exception 'names are %, expected those that a search sets.', names -- `role` least of all
      using errcode = 'invalid_parameter_value', hint = 'Set others by set_config.';
  end if;
  for i in 1 .. cardinality(names) loop
    former[i] = coalesce(current_setting(names[i], true), '');
    setting = set_config(names[i], settings[i], true); -- assigned, because a perform takes ten times as long
  end loop;
  return former;
end
$$;
comment on function neural_search.set_parameters is
  'Sets parameters until the end of the transaction; returns what they were, for restoring them.';
revoke execute on function neural_search.set_parameters from public, anon, authenticated, service_role;
grant execute on function neural_search.set_parameters to anon, authenticated, service_role;


create type neural_search.search as (
  model text,
  dimensions integer,
  strategy text,
  query extensions.vector,
  floor double precision,
  best_floor double precision,
  narrowing text,
  conditions text,
  objects text
);
comment on type neural_search.search is
  'What is looked for: the nearest to query (of unit length, no less similar than floor; the best of them no less than '
  'best_floor, or none is wanted) of a model''s documents that fulfil all conditions; narrowing are those that may use '
  'an index, objects what they say of storage.objects as o.';

create type neural_search.match as (
  id bigint,
  content text,
  similarity double precision,
  bucket_id text,
  object_id uuid,
  metadata jsonb,
  object_version text
);
comment on type neural_search.match is 'A document that a search came across.';


-- A partial index serves only a statement that names its model, so statements are built. $1 is the query, $2 how many
-- are wanted.
create or replace function neural_search.search_statement(search neural_search.search, way text) returns text
language plpgsql immutable set search_path = '' as $$
declare
  matches constant text := 'select d.id, d.content, 1 - (d.embedding operator(extensions.<=>) $1) as similarity, '
    'd.bucket_id, d.object_id, d.metadata, d.object_version';
begin
  if way = 'lsh' then
    return neural_search.lsh_statement(search.model, search.dimensions, search.conditions);
  end if;
  return case way
    when 'hnsw' then format(
      '%s from public.documents as d where d.model = %L%s order by '
      'd.embedding::extensions.halfvec(%s) operator(extensions.<=>) $1::extensions.halfvec(%4$s) limit $2',
      matches, search.model, search.conditions, search.dimensions
    )
    -- No index has this order, so the planner takes one that narrows, or none. By similarity and not by distance, which
    -- would be computed beside it, from vectors read twice.
    when 'documents' then format(
      '%s from public.documents as d where d.model = %L%s order by similarity desc, d.id limit $2',
      matches, search.model, search.conditions
    )
    -- Offset 0 keeps the planner from hashing all documents, having asked the policy for each.
    when 'objects' then format(
      'with visible as materialized ('
      ' select o.id, coalesce(o.version, '''') as version from storage.objects as o where true%4$s'
      ') %1$s from visible cross join lateral ('
      ' select * from public.documents as d where d.object_id = visible.id and d.model = %2$L'
      ' and d.object_version = visible.version%3$s offset 0'
      ') as d order by similarity desc, d.id limit $2',
      matches, search.model, search.conditions, search.objects
    )
    -- For where nothing is prepared: our policy asks can_see for each of what visible_objects brings, and for all of what
    -- lies in buckets where everybody may search. Offset 0 as above.
    when 'visible' then format(
      'with visible as materialized (select id from neural_search.visible_objects() as id), found as ('
      ' select d.* from visible cross join lateral ('
      ' select * from public.documents as d where d.object_id = visible.id and d.model = %2$L%3$s'
      ' and d.bucket_id <> all ((select neural_search.public_buckets())::text[]) offset 0) as d'
      ' union all'
      ' select d.* from public.documents as d where d.model = %2$L%3$s'
      ' and d.bucket_id = any ((select neural_search.public_buckets())::text[])'
      ') %1$s from found as d order by similarity desc, d.id limit $2',
      matches, search.model, search.conditions
    )
  end;
end
$$;
comment on function neural_search.search_statement is
  'How matches are found: hnsw and lsh may miss some; documents, objects and visible read all there are, beginning '
  'there.';
revoke execute on function neural_search.search_statement from public, anon, authenticated, service_role;
grant execute on function neural_search.search_statement to anon, authenticated, service_role;


create or replace function neural_search.find_matches(search neural_search.search, way text, depth integer)
returns neural_search.match[]
language plpgsql stable set search_path = storage, public, extensions as $$ -- as can_see has it
declare
  statement constant text := neural_search.search_statement(search, way);
  found neural_search.match[];
begin
  begin
    execute format(
      'select coalesce(array_agg(row(f.*)::neural_search.match order by f.similarity desc, f.id), ''{}'') '
      'from (%s) as f', statement
    ) into found using search.query, depth;
    return found;
  exception when data_exception or cardinality_violation or plpgsql_error then
    if current_setting('neural_search.prepared', true) <> 'on' then
      raise;
    end if;
  end;
  -- A policy choked on some object. From here on can_see is asked for each that is come across, which hides those.
  perform set_config('neural_search.prepared', 'off', true);
  return neural_search.find_matches(
    search, case when way = 'objects' or way = 'documents' and search.narrowing = '' then 'visible' else way end, depth
  );
end
$$;
comment on function neural_search.find_matches is
  'So many matches or all there are, found in this way, the best first.';
revoke execute on function neural_search.find_matches from public, anon, authenticated, service_role;
grant execute on function neural_search.find_matches to anon, authenticated, service_role;


-- The policies have shown them all; what is left to ask is whether their objects are still there. As can_see asks it, but
-- once for all of them, unless a policy chokes here that didn't before.
create or replace function neural_search.seen_among(matches neural_search.match[], wanted integer, skipped integer)
returns neural_search.match[]
language plpgsql stable set search_path = storage, public, extensions as $$ -- as can_see has it
begin
  if current_setting('neural_search.prepared', true) = 'on' then
    begin
      return array(
        select row(m.*)::neural_search.match from unnest(matches) as m
        where exists (
            select from (values (null::timestamptz, false)) as older (archived_at, is_delete_marker),
              lateral (
                select from storage.objects as o
                where o.id = m.object_id and coalesce(o.version, '') = m.object_version
                  and archived_at is null and is_delete_marker is not true
              ) as object
          )
          or neural_search.is_public(m.object_id, m.object_version)
        limit wanted offset skipped
      );
    exception when data_exception or cardinality_violation or plpgsql_error then
      null;
    end;
  end if;
  return array(
    select row(m.*)::neural_search.match from unnest(matches) as m
    where neural_search.can_see(m.object_id, m.object_version) limit wanted offset skipped
  );
end
$$;
comment on function neural_search.seen_among is
  'Of these matches those that the caller may see, in their order: so many, after so many that are skipped.';
revoke execute on function neural_search.seen_among from public, anon, authenticated, service_role;
grant execute on function neural_search.seen_among to anon, authenticated, service_role;


-- What the planner expects is good enough: what depends on it is how long a search takes, not what it finds. Volatile,
-- because no other function may use EXPLAIN.
create or replace function neural_search.expected_rows(search neural_search.search) returns double precision
language plpgsql volatile set search_path = '' as $$
declare
  plan json;
begin
  execute format(
    'explain (format json) select from public.documents as d where d.model = %L%s', search.model, search.narrowing
  ) into plan;
  return plan -> 0 -> 'Plan' ->> 'Plan Rows';
end
$$;
comment on function neural_search.expected_rows is
  'How many documents the planner expects to fulfil the conditions that may use an index.';
revoke execute on function neural_search.expected_rows from public, anon, authenticated, service_role;
grant execute on function neural_search.expected_rows to anon, authenticated, service_role;


-- All that it weighs is in units of one step of a walk along the index, some 35 microseconds in 2026. That decides how
-- long a search takes, not what it finds.
create or replace function neural_search.nearest(search neural_search.search, depth integer)
returns neural_search.match[]
language plpgsql stable set search_path = '' as $$
declare
  total constant double precision := greatest((
    select c.reltuples from pg_catalog.pg_class as c where c.oid = 'storage.objects'::regclass
  ), 0);
  narrowed constant double precision := case when search.narrowing <> '' then neural_search.expected_rows(search) end;
  -- As many as one look into the index brings, without going on. To look at no more than are wanted would miss some, and
  -- of more documents more: of 1,000,000, 52 held 0.965 of the ten nearest, and 72 held 0.979.
  looked constant integer := least(depth + 40 + 20 * log(greatest(total, 100000) / 100000), 1000);
  share double precision := narrowed / nullif(total, 0);
  walk double precision;
  worth double precision;
  reading double precision;
  walked boolean := false;
  found neural_search.match[];
  former text[];
begin
  -- Reading so few is cheaper than walking until so many of them have come by.
  if narrowed < sqrt(total * depth) then
    return neural_search.find_matches(search, 'documents', depth);
  end if;

  -- By the share that may be seen: to look; to walk until two and a half times as many have come by as are wanted, as the
  -- index doesn't give the nearest first any more; or to read all there are, which costs a pass of the policies and a
  -- step for each. Before metadata are compared, our own policy asks for each document.
  reading = total / 150;
  if search.conditions <> search.narrowing and row_security_active('public.documents') then
    reading = reading + coalesce(narrowed, total) * 0.15;
  end if;
  while search.strategy <> 'exact' loop
    walk = 5 * depth / share;
    worth = (reading + total * share) / 2;
    if walk > worth and not walked and found is not null then
      walk = 25 * depth; -- of the few looked at, who may see a tenth now and then sees no more than who sees a hundredth
    end if;
    if search.strategy = 'hnsw' and share * looked < depth and walk < worth then
      walked = true;
      former = neural_search.set_parameters(
        array['hnsw.iterative_scan', 'hnsw.max_scan_tuples', 'hnsw.ef_search'],
        array['relaxed_order', ceil(walk)::integer::text, '100']
      );
      found = neural_search.find_matches(search, 'hnsw', 5 * depth / 2);
      if cardinality(found) = 5 * depth / 2 then
        return found;
      end if;
      share = greatest(cardinality(found), 0.5) / walk;
    elsif found is null then
      former = neural_search.set_parameters(array['hnsw.iterative_scan', 'hnsw.ef_search'], array['off', looked::text]);
      found = neural_search.find_matches(search, search.strategy, depth);
      if cardinality(found) >= depth or found[cardinality(found)].similarity < search.floor
          or found[1].similarity < search.best_floor then
        return found;
      end if;
      share = greatest(cardinality(found), 0.5) / looked;
    else
      exit;
    end if;
  end loop;
  if narrowed < total / 20 then
    return neural_search.find_matches(search, 'documents', depth);
  end if;
  search.narrowing = ''; -- it leaves too many to ask can_see for each, should a policy choke only now
  return neural_search.find_matches(
    search,
    case
      when current_setting('neural_search.prepared', true) <> 'on' then 'visible'
      when neural_search.public_buckets() <> '{}' then 'documents'
      else 'objects'
    end,
    depth
  );
end
$$;
comment on function neural_search.nearest is
  'So many or more of the nearest documents that the caller may see, or all there are.';
revoke execute on function neural_search.nearest from public, anon, authenticated, service_role;
grant execute on function neural_search.nearest to anon, authenticated, service_role;


create or replace function public.match_documents(
  query_embedding extensions.vector,
  similarity_threshold double precision default 0,
  match_count integer default 10,
  skip_count integer default 0,
  filter jsonb default '{}',
  page_after jsonb default null,
  model text default null,
  query_kind text default 'image',
  min_confidence text default null,
  best_confidence text default null
) returns table (
  id bigint, content text, similarity double precision, bucket_id text, object_id uuid, metadata jsonb, confidence text
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  wanted constant integer := coalesce(match_count, 10);
  skipped constant integer := coalesce(skip_count, 0);
  threshold constant double precision := coalesce(similarity_threshold, 0);
  narrow constant jsonb := coalesce(filter, '{}');
  kind constant text := coalesce(query_kind, 'image');
  names constant text[] := array[
    'neural_search.prepared', 'storage.operation', 'enable_sort', 'hnsw.iterative_scan', 'hnsw.ef_search',
    'hnsw.max_scan_tuples', 'hnsw.scan_mem_multiplier', 'plan_cache_mode', 'jit'
  ];
  former text[];
  searched record;
  level record;
  search neural_search.search;
  -- The index orders by half precision and doesn't order equals at all: with some to spare, pages follow each other.
  depth integer := wanted + skipped + 2;
  found neural_search.match[];
  page neural_search.match[];
  after_similarity double precision;
  after_id bigint;
  worst double precision;
begin
  select * into searched from neural_search.searchable_model(model);
  perform neural_search.check_query(
    query_embedding, searched.name, searched.dimensions, threshold, wanted, skipped, kind, min_confidence,
    best_confidence
  );
  if narrow <> '{}' then
    perform neural_search.check_filter(narrow);
  end if;
  if page_after is not null then
    perform neural_search.check_page(page_after);
    after_similarity = page_after ->> 'similarity';
    after_id = page_after ->> 'id';
    depth = depth + 1 + coalesce((page_after ->> 'rank')::integer, 0);
  end if;

  -- Without sorting for once: where the index is to be walked, the planner is to walk it. Where it has to sort all the
  -- same, that looks so dear that it would have the statement compiled. Generic plans, since the few statements of ours
  -- would else be planned anew for each search, which takes longer than they do.
  former = neural_search.set_parameters(names, array[
    'on', 'storage.object.get_authenticated', 'off', 'off', '100', '20000', '8', 'force_generic_plan', 'off'
  ]);
  -- Of unit length: half precision has no place for very long or very short vectors.
  search.query = extensions.l2_normalize(query_embedding);
  select * into level from neural_search.confidence_levels(searched.name, kind, search.query);
  search.model = searched.name;
  search.dimensions = searched.dimensions;
  search.strategy = searched.search_strategy;
  search.floor = greatest(
    threshold, neural_search.level_of(min_confidence, level.same, level.strong, level.related)
  );
  search.best_floor = neural_search.level_of(best_confidence, level.same, level.strong, level.related);
  search.narrowing = case when narrow = '{}' then '' else neural_search.filter_conditions(narrow, true) end;
  search.conditions = search.narrowing
    || case when narrow ? 'metadata' then neural_search.filter_conditions(narrow, false) else '' end;
  if not row_security_active('public.documents') then
    search.narrowing = search.conditions; -- every index may be used
    -- Not even whoever no policy applies to is to find what isn't there any more.
    search.conditions = search.conditions || ' and (select true from storage.objects as o'
      ' where o.id = d.object_id and coalesce(o.version, '''') = d.object_version)';
  end if;
  search.objects = coalesce(' and o.bucket_id = ' || quote_literal(narrow ->> 'bucket'), '')
    || coalesce(' and o.name ^@ ' || quote_literal(narrow ->> 'prefix'), '');

  loop
    found = neural_search.nearest(search, depth);
    page = array(
      select row(m.*)::neural_search.match from unnest(found) as m
      where m.similarity > threshold and m.similarity >= search.floor
        and (page_after is null
          or m.similarity < after_similarity or m.similarity = after_similarity and m.id > after_id)
    );
    page = neural_search.seen_among(page, wanted, skipped);
    worst = found[cardinality(found)].similarity;
    exit when cardinality(found) < depth or worst < search.floor or found[1].similarity < search.best_floor
      -- Equals are to come in the order of their ids, as long as they aren't a thousand.
      or cardinality(page) = wanted
        and (wanted = 0 or worst < page[wanted].similarity - 0.0001 or depth > 1000 + skipped);
    if depth > 50000 then -- each round reads four times as much, and holds it
      raise exception 'The page lies deeper than % results.', depth
        using errcode = 'invalid_parameter_value',
          hint = 'Narrow the search by filter, or ask for what is more similar by similarity_threshold.';
    end if;
    depth = 4 * depth;
  end loop;
  -- The best of all decides for every page; what comes after it says enough where that is as near.
  if page[1].similarity < search.best_floor then
    found = array(select row(m.*)::neural_search.match from unnest(found) as m where m.similarity >= search.best_floor);
    if neural_search.seen_among(found, 1, 0) = '{}' then
      page = '{}';
    end if;
  end if;
  former = neural_search.set_parameters(names, former);

  return query
  select m.id, m.content, m.similarity, m.bucket_id, m.object_id, m.metadata,
    neural_search.confidence_of(m.similarity, level.same, level.strong, level.related)
  from unnest(page) as m;
end
$$;
comment on function public.match_documents is
  'The documents nearest to query_embedding that the caller may see, by the active model or the one named: similarity '
  'is 1 - cosine distance, above similarity_threshold, the best first, equals by id. None where the best has less than '
  'best_confidence.';
revoke execute on function public.match_documents from public, anon, authenticated, service_role;
grant execute on function public.match_documents to anon, authenticated, service_role;


create or replace function public.get_embeddings(
  document_ids bigint[] default null, names text[] default null, bucket text default null, model text default null
) returns table (id bigint, object_id uuid, bucket_id text, content text, embedding extensions.vector)
language sql stable set search_path = '' as $$
  with wanted as materialized (
    select null as bucket_id, name as content from unnest(names) as name
    union
    select split_part(name, '/', 1), substr(name, strpos(name, '/') + 1) from unnest(names) as name
  ),
  found as (
    select d.id from public.documents as d where d.id = any (document_ids)
    union
    select d.id from wanted as w join public.documents as d on d.content = w.content
    where w.bucket_id is null or w.bucket_id = d.bucket_id
  )
  select d.id, d.object_id, d.bucket_id, d.content, d.embedding
  from found join public.documents as d on d.id = found.id
  where d.model = (select m.name from neural_search.searchable_model(get_embeddings.model) as m)
    and (bucket is null or d.bucket_id = bucket)
    and neural_search.can_see(d.object_id, d.object_version)
  order by d.id
$$;
comment on function public.get_embeddings is
  'The embeddings, by the active model or the one named, of documents that the caller may see: by id, by path, or by '
  'bucket and path (b/p).';
revoke execute on function public.get_embeddings from public, anon, authenticated, service_role;
grant execute on function public.get_embeddings to anon, authenticated, service_role;


-- Definer, because callers may not read the registered buckets. As is_public, for whoever knows no more than a name.
create or replace function neural_search.find_public(target_bucket text, target_name text)
returns table (object_id uuid, version text)
language sql stable security definer set search_path = '' as $$
  select o.id, coalesce(o.version, '')
  from storage.objects as o
  where o.bucket_id = target_bucket and o.name = target_name
    and neural_search.is_public(o.id, coalesce(o.version, ''))
$$;
comment on function neural_search.find_public is 'The object of this name, where everybody may find it.';
revoke execute on function neural_search.find_public from public, anon, authenticated, service_role;
grant execute on function neural_search.find_public to anon, authenticated, service_role;


-- As can_see, for whoever knows no more than a name.
create or replace function neural_search.find_seen(target_bucket text, target_name text)
returns table (object_id uuid, version text)
language plpgsql stable set search_path = storage, public, extensions as $$ -- as can_see has it
#variable_conflict use_column
declare
  operation constant text := current_setting('storage.operation', true);
  seen boolean := false;
begin
  perform set_config('storage.operation', 'storage.object.get_authenticated', true);
  begin
    return query
    select o.id, coalesce(o.version, '') from storage.objects as o
    where o.bucket_id = target_bucket and o.name = target_name and neural_search.is_live(to_jsonb(o));
    seen = found;
  exception when data_exception or cardinality_violation or plpgsql_error then
    null; -- a policy that chokes on this row lets nobody see it
  end;
  perform set_config('storage.operation', coalesce(operation, ''), true);
  if not seen then
    return query select * from neural_search.find_public(target_bucket, target_name);
  end if;
end
$$;
comment on function neural_search.find_seen is 'The object of this name, where the caller may see it.';
revoke execute on function neural_search.find_seen from public, anon, authenticated, service_role;
grant execute on function neural_search.find_seen to anon, authenticated, service_role;


-- Definer, because callers may not read jobs. It answers for an id and version that the caller already holds.
create or replace function neural_search.state_of(target_object_id uuid, target_version text)
returns table (state text, reason text)
language sql stable security definer set search_path = '' as $$
  select
    case
      when not neural_search.is_indexed(to_jsonb(o)) then 'ignored'
      when d.id is not null then 'searchable'
      else coalesce(j.state, 'pending')
    end,
    case
      when not neural_search.is_indexed(to_jsonb(o)) then format('Bucket %L isn''t indexed.', o.bucket_id)
      when d.id is null then j.error_message
    end
  from storage.objects as o
  join neural_search.models as m on m.state = 'active'
  left join public.documents as d on d.object_id = o.id and d.model = m.name and d.object_version = target_version
  left join neural_search.jobs as j on j.object_id = o.id and j.model = m.name and j.version = target_version
  where o.id = target_object_id and coalesce(o.version, '') = target_version
$$;
comment on function neural_search.state_of is 'How far this version of an object is under the active model, and why.';
revoke execute on function neural_search.state_of from public, anon, authenticated, service_role;
grant execute on function neural_search.state_of to anon, authenticated, service_role;


create or replace function public.object_states(bucket text, names text[])
returns table (name text, object_id uuid, state text, reason text)
language sql stable set search_path = '' as $$
  select asked.name, seen.object_id, coalesce(known.state, 'unknown'),
    case when known.state is null then 'There is no such object, or you may not see it.' else known.reason end
  from unnest(names) with ordinality as asked (name, place)
  left join lateral neural_search.find_seen(bucket, asked.name) as seen on true
  left join lateral neural_search.state_of(seen.object_id, seen.version) as known on true
  order by asked.place
$$;
comment on function public.object_states is
  'How far objects are: searchable, pending, skipped, failed, ignored (not indexed), unknown (not there or not yours to '
  'see).';
revoke execute on function public.object_states from public, anon, authenticated, service_role;
grant execute on function public.object_states to anon, authenticated, service_role;
$statements$;
end
$migration$;
