-- Search: who may find what, and the functions that find it.
-- Callers: the query function and any client, as anon, authenticated or service_role.
-- Objects: the policy on public.documents, the index of the first model, active_model, match_documents,
-- get_embeddings, object_states.

-- Definer, because callers may read neither the registered buckets nor, mostly, storage.buckets. It answers for one
-- object and version whose id the caller already holds, from the object's own row and not from what we copied of it.
create or replace function neural_search.is_public(target_object_id uuid, target_version text) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from storage.objects as o
    join storage.buckets as s on s.id = o.bucket_id and s.public
    join neural_search.buckets as b on b.bucket_id = o.bucket_id and b.public_search
      and (s.created_at > b.created_at) is not true -- else it was made anew under an old name
    where o.id = target_object_id and coalesce(o.version, '') = target_version and neural_search.is_live(to_jsonb(o))
  )
$$;
comment on function neural_search.is_public is
  'Whether everybody may find this version of an object: its bucket is public and registered with public_search.';
revoke execute on function neural_search.is_public from public, anon, authenticated, service_role;
grant execute on function neural_search.is_public to anon, authenticated, service_role;


-- Called for each candidate, as the caller. Written as a plain EXISTS in the policy, the planner would evaluate the
-- policies of all of storage.objects for each search. It isn't parallel safe: it sets a parameter.
create or replace function neural_search.can_see(target_object_id uuid, target_version text) returns boolean
language plpgsql stable cost 1000 set search_path = '' as $$
declare
  operation constant text := current_setting('storage.operation', true);
  seen boolean;
begin
  -- Policies may ask what Storage is doing; outside of Storage they would all say no.
  perform set_config('storage.operation', 'storage.object.get_authenticated', true);
  begin
    seen = exists (
      select from storage.objects as o
      where o.id = target_object_id and coalesce(o.version, '') = target_version
        and neural_search.is_live(to_jsonb(o))
    );
  exception when data_exception or cardinality_violation or raise_exception then
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

create policy "As the policies on storage.objects say" on public.documents
  for select to anon, authenticated using (neural_search.can_see(object_id, object_version));
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


create or replace function neural_search.check_query(
  query_embedding extensions.vector, expected integer, match_count integer, skip_count integer
) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if expected is null then
    raise exception 'No model is active.'
      using errcode = 'object_not_in_prerequisite_state', hint = 'Activate one of neural_search.models.';
  end if;
  if query_embedding is null or extensions.vector_dims(query_embedding) <> expected then
    raise exception 'query_embedding has % dimensions, the active model has %.',
      coalesce(extensions.vector_dims(query_embedding), 0), expected
      using errcode = 'invalid_parameter_value', hint = 'Embed the query with the model that active_model() names.';
  end if;
  if extensions.vector_norm(query_embedding) = 0 then
    raise exception 'query_embedding is all zeros and has no direction.'
      using errcode = 'invalid_parameter_value', hint = 'Check how the query was embedded.';
  end if;
  if match_count not between 0 and 1000 then
    raise exception 'match_count is %, expected 0 to 1000.', match_count
      using errcode = 'invalid_parameter_value', hint = 'Page through more results with skip_count.';
  end if;
  if skip_count not between 0 and 10000 then
    raise exception 'skip_count is %, expected 0 to 10000.', skip_count using errcode = 'invalid_parameter_value';
  end if;
end
$$;
comment on function neural_search.check_query is 'Raises, with the remedy, for a search that makes no sense.';
revoke execute on function neural_search.check_query from public, anon, authenticated, service_role;
grant execute on function neural_search.check_query to anon, authenticated, service_role;


-- Set by hand and not by SET clauses: a role that is no superuser can't name parameters of pgvector in those before
-- the session has loaded it. check_query has loaded it by the time that this is called.
create or replace function neural_search.set_index_scan(iterative_scan text, ef_search text, max_scan_tuples text)
returns void
language sql set search_path = '' as $$
  select
    set_config('hnsw.iterative_scan', iterative_scan, true),
    set_config('hnsw.ef_search', ef_search, true),
    set_config('hnsw.max_scan_tuples', max_scan_tuples, true)
$$;
comment on function neural_search.set_index_scan is 'How pgvector walks an index, until the end of the transaction.';
revoke execute on function neural_search.set_index_scan from public, anon, authenticated, service_role;
grant execute on function neural_search.set_index_scan to anon, authenticated, service_role;


create or replace function public.match_documents(
  query_embedding extensions.vector,
  similarity_threshold double precision default 0,
  match_count integer default 10,
  bucket text default null,
  name_prefix text default null,
  skip_count integer default 0
) returns table (
  id bigint, content text, similarity double precision, bucket_id text, object_id uuid, metadata jsonb
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  model record;
  wanted constant integer := coalesce(match_count, 10);
  skipped constant integer := coalesce(skip_count, 0);
  -- Of unit length: half precision has no place for very long or very short vectors.
  query constant extensions.vector := extensions.l2_normalize(query_embedding);
  -- The index orders by half precision and doesn't order equals at all. With some to spare, pages follow each other.
  candidates constant integer := wanted + skipped + 40;
  iterative_scan text;
  ef_search text;
  max_scan_tuples text;
begin
  select m.name, m.dimensions into model from public.active_model() as m;
  perform neural_search.check_query(query_embedding, model.dimensions, wanted, skipped);

  -- Rows that the caller may not see are passed over, so the index must be able to go on: to 20 000 rows, which keeps
  -- a search within the time-outs of anon even where almost nothing may be seen.
  iterative_scan = current_setting('hnsw.iterative_scan');
  ef_search = current_setting('hnsw.ef_search');
  max_scan_tuples = current_setting('hnsw.max_scan_tuples');
  perform neural_search.set_index_scan('strict_order', least(candidates, 1000)::text, '20000');

  -- A partial index serves only a statement that names the model. Whoever row level security doesn't apply to is
  -- still not to find what isn't there any more.
  return query execute format(
    $query$
      select nearest.id, nearest.content, nearest.similarity, nearest.bucket_id, nearest.object_id, nearest.metadata
      from (
        select d.id, d.content, 1 - (d.embedding operator(extensions.<=>) $1) as similarity, d.bucket_id, d.object_id,
          d.metadata
        from public.documents as d
        where d.model = %1$L %3$s %4$s %5$s
        order by d.embedding::extensions.halfvec(%2$s) operator(extensions.<=>) $1::extensions.halfvec(%2$s)
        limit $4
      ) as nearest
      where nearest.similarity > $5
      order by nearest.similarity desc, nearest.id
      limit $6 offset $7
    $query$,
    model.name, model.dimensions,
    case when bucket is not null then 'and d.bucket_id = $2' end,
    case when name_prefix is not null then 'and starts_with(d.content, $3)' end,
    case when not row_security_active('public.documents')
      then 'and neural_search.can_see(d.object_id, d.object_version)' end
  ) using query, bucket, name_prefix, candidates, coalesce(similarity_threshold, 0), wanted, skipped;

  perform neural_search.set_index_scan(iterative_scan, ef_search, max_scan_tuples);
end
$$;
comment on function public.match_documents is
  'The documents nearest to query_embedding that the caller may see, by the active model: similarity is 1 - cosine '
  'distance, above similarity_threshold, the best first.';
revoke execute on function public.match_documents from public, anon, authenticated, service_role;
grant execute on function public.match_documents to anon, authenticated, service_role;


create or replace function public.get_embeddings(
  document_ids bigint[] default null, names text[] default null, bucket text default null
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
  where d.model = (select m.name from public.active_model() as m)
    and (bucket is null or d.bucket_id = bucket)
    and neural_search.can_see(d.object_id, d.object_version)
  order by d.id
$$;
comment on function public.get_embeddings is
  'The active model''s embeddings of documents that the caller may see, by id, by path, or by bucket and path (b/p).';
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
language plpgsql stable set search_path = '' as $$
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
  exception when data_exception or cardinality_violation or raise_exception then
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
