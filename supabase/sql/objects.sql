-- Objects by id or name: their embeddings, and how far they are.
-- Callers: the query function and any client, as anon, authenticated or service_role.

-- Storage's names have at most 1,024 bytes; longer ones would be sorted and told back for nothing.
create or replace function neural_search.check_names(names text[]) returns void
language plpgsql immutable set search_path = '' as $$
begin
  perform neural_search.check_count('names', cardinality(names));
  perform neural_search.check_that(
    names is null or pg_column_size(names) <= 2000000,
    format('names have %s bytes, expected at most 2000000.', pg_column_size(names)),
    'Give the paths of objects, some at a time.'
  );
end
$$;
comment on function neural_search.check_names is 'Raises, with the remedy, for more or longer names than one call may give.';


create or replace function public.get_embeddings(
  document_ids bigint[] default null, names text[] default null, bucket text default null, model text default null
) returns table (id bigint, object_id uuid, bucket_id text, content text, embedding extensions.vector)
language plpgsql stable set search_path = '' as $$
declare
  searched text;
begin
  perform neural_search.check_count('document_ids', cardinality(document_ids));
  perform neural_search.check_names(names);
  perform neural_search.check_sizes('{bucket,model}', array[octet_length(bucket), octet_length(get_embeddings.model)]);
  -- Before any document is looked for: else a wrong name would be refused only where one is found.
  searched = (select m.name from neural_search.searchable_model(get_embeddings.model) as m);
  if not neural_search.policies_work() then
    return;
  end if;
  return query
  with wanted as materialized (
    select null as bucket_id, name as content from unnest(names) as name
    union
    select split_part(name, '/', 1), substr(name, strpos(name, '/') + 1) from unnest(names) as name
  ),
  seen as materialized ( -- and others, of the one bucket and the other path
    select d.id, d.object_id, d.bucket_id, d.content, d.embedding
    from neural_search.seen_documents(concat(
      format('d.model = %L and (d.id = any (%L) or d.content = any (%L) or d.bucket_id = any (%L) and d.content = any (%L))',
        searched, document_ids, names, array(select w.bucket_id from wanted as w where w.bucket_id is not null),
        array(select w.content from wanted as w where w.bucket_id is not null)),
      ' and d.bucket_id = ' || quote_literal(bucket)
    )) as d
  )
  select s.* from seen as s
  where s.id in (
    select unnest(document_ids)
    union all
    select n.id from wanted as w join seen as n on n.content = w.content
    where w.bucket_id is null or w.bucket_id = n.bucket_id
  )
  order by s.id;
end
$$;
comment on function public.get_embeddings is
  'The embeddings, by the active model or the one named, of documents that the caller may see: by id, by path, or by '
  'bucket and path (b/p); at most 1000 of each.';


-- Definer, because callers may not read the registered buckets. As is_public, by name alone. Of other buckets' objects
-- none is looked up: time would tell those that are there.
create or replace function neural_search.find_public(target_bucket text, target_names text[])
returns table (name text, object_id uuid, version text)
language sql stable security definer set search_path = '' as $$
  select o.name, o.id, coalesce(o.version, '')
  from storage.objects as o
  where target_bucket = any ((select neural_search.public_buckets())::text[])
    and o.bucket_id = target_bucket and o.name = any (target_names)
    and neural_search.is_public(o.id, coalesce(o.version, ''))
$$;
comment on function neural_search.find_public is 'The objects of these names, where everybody may find them.';


-- As can_see, by name alone. By halves where a policy fails on some: each by itself would take so long that a single one told
-- of a hidden object.
create or replace function neural_search.find_seen(target_bucket text, target_names text[])
returns table (name text, object_id uuid, version text)
language plpgsql stable set search_path = '' as $$
declare
  former text[] := neural_search.act_as_storage();
  half constant integer := cardinality(target_names) / 2;
begin
  begin
    return query select o.* from neural_search.ask_objects(target_bucket, target_names) as o;
  exception when query_canceled or assert_failure or others then
    perform neural_search.check_failure(sqlstate);
    if half > 0 then
      return query select o.* from neural_search.find_seen(target_bucket, target_names[:half]) as o;
      return query select o.* from neural_search.find_seen(target_bucket, target_names[half + 1:]) as o;
    else
      perform neural_search.note_failure(sqlstate);
    end if;
  end;
  former = neural_search.act_as_storage(former);
end
$$;
comment on function neural_search.find_seen is 'The live objects of these names that policies show to the caller.';


-- Definer, because callers may not read jobs. It answers for an id and version that the caller already holds.
create or replace function neural_search.state_of(target_object_id uuid, target_version text)
returns table (state text, reason text)
language sql stable security definer set search_path = '' as $$
  select
    case
      when b.bucket_id is null then 'ignored'
      when d.id is not null then 'searchable'
      else coalesce(j.state, 'pending')
    end,
    case
      when b.bucket_id is null then format('Bucket %L isn''t indexed.', o.bucket_id)
      when d.id is not null or j.error_class is null then null
      -- The words of all others, faults of Storage, the database or the model, hold addresses, paths and settings.
      when j.error_class in (
        'ImageError', 'EmptyImage', 'NotAnImage', 'BrokenImage', 'IncompleteImage', 'UnsupportedImage',
        'ImageTooLarge', 'TooManyPixels', 'ImageTooLong', 'TooManyScans', 'DecodingTimedOut', 'DecoderCrashed',
        'DecodingOutOfMemory', 'DecoderStalled', 'InvalidObjectName', 'LeaseExpired'
      ) then j.error_message
      else format('The last attempt failed (%s). The project''s operator sees why in `neural-search jobs`.', j.error_class)
    end
  from neural_search.live_objects() as o
  left join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
  join neural_search.models as m on m.state = 'active'
  left join neural_search.documents as d on d.object_id = o.id and d.model = m.name and d.object_version = target_version
  left join neural_search.jobs as j on j.object_id = o.id and j.model = m.name and j.version = target_version
  where o.id = target_object_id and coalesce(o.version, '') = target_version
$$;
comment on function neural_search.state_of is 'How far this version of an object is under the active model, and why.';


-- Each name is looked up once, however often it is asked for: else time would tell a hidden object from none.
create or replace function public.object_states(bucket text, names text[])
returns table (name text, object_id uuid, state text, reason text)
language plpgsql stable set search_path = '' as $$
declare
  once text[];
begin
  perform neural_search.check_names(names);
  perform neural_search.check_sizes('{bucket}', array[octet_length(bucket)]);
  once = array(select distinct n from unnest(names) as n);
  return query
  with seen as materialized (
    select * from neural_search.find_seen(bucket, once)
    union
    select * from neural_search.find_public(bucket, once)
  ),
  looked_up as materialized (
    select s.name, s.object_id, known.state, known.reason
    from seen as s cross join lateral neural_search.state_of(s.object_id, s.version) as known
  )
  select asked.name, l.object_id, coalesce(l.state, 'unknown'),
    case when l.state is null then 'There is no such object, or you may not see it.' else l.reason end
  from unnest(names) with ordinality as asked (name, place) left join looked_up as l on l.name = asked.name
  order by asked.place;
  perform neural_search.log_failures();
end
$$;
comment on function public.object_states is
  'How far at most 1000 objects are: searchable, pending, skipped, failed, ignored (not indexed), unknown (not there or '
  'not yours to see).';
