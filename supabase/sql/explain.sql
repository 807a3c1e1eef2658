-- Explain: the facts about one object that decide whether a search finds it.
-- Callers: `neural-search explain`, as service_role or through a direct connection.

create or replace function public.explain_object(
  bucket text, name text, query_embedding extensions.vector default null, filter jsonb default '{}',
  query_kind text default 'image'
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  active constant text := (select m.name from neural_search.searchable_model(null) as m);
  object record;
  document record;
  work record;
  level record;
  narrow constant jsonb := coalesce(filter, '{}');
  given record;
  fulfilled boolean;
  kept jsonb := '{}'::jsonb;
begin
  perform neural_search.check_filter(narrow);
  select o.id, coalesce(o.version, '') as version, o.created_at, o.owner_id into object
  from neural_search.live_objects() as o where o.bucket_id = bucket and o.name = explain_object.name;
  select p.state, p.attempts, p.next_attempt_at, p.error_class, p.error_message into work
  from neural_search.progress as p where p.object_id = object.id and p.model = active;
  select d.id, d.object_version, d.decoder_version, d.embedded_at,
    1 - (d.embedding operator(extensions.<=>) query_embedding) as similarity into document
  from neural_search.documents as d where d.object_id = object.id and d.model = active;
  select l.* into level from neural_search.confidence_levels(active, query_kind, query_embedding) as l;
  for given in select * from jsonb_each(narrow) loop
    execute 'select exists (select from neural_search.documents as d where d.id = $1'
      || neural_search.filter_conditions(jsonb_build_object(given.key, given.value), true)
      || neural_search.filter_conditions(jsonb_build_object(given.key, given.value), false) || ')'
    into fulfilled using document.id;
    kept = kept || jsonb_build_object(given.key, fulfilled);
  end loop;
  return jsonb_build_object(
    'model', active,
    'object', case when object.id is not null then to_jsonb(object) end,
    'indexed', exists (select from neural_search.indexed_buckets as b where b.bucket_id = bucket),
    'declared', (
      select b.visible_by from neural_search.indexed_buckets as b where b.bucket_id = bucket and not b.public_search
    ),
    'state', work.state,
    'job', case when work.state <> 'searchable' then to_jsonb(work) end,
    'document', case when document.id is not null then to_jsonb(document) end,
    'confidence', case when document.similarity is not null
      then neural_search.confidence_of(document.similarity, level.same, level.strong, level.related) end,
    'filter', kept
  );
end
$$;
comment on function public.explain_object is
  'The facts about the live object of this name: its job, its document of the active model, its bucket''s declaration, the '
  'keys of a filter that it fulfils, and its similarity to a query.';
