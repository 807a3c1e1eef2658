-- Filters: the narrowing of a search by bucket, path, owner, kind, size, time and metadata.
-- Callers: read_search, as the caller of a search.

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


-- The filter's keys, each with its condition on documents as d. Row level security lets only leakproof operators look at
-- rows before the policy has, or use an index: =, <, <=, >= and ^@ are, jsonb's @> isn't. A number can be any bigint. For a
-- new key see CONTRIBUTING.md.
create or replace function neural_search.filter_keys()
returns table (key text, kind text, condition text, is_leakproof boolean)
language sql immutable set search_path = '' as $$
  values
    ('bucket', 'text', 'd.bucket_id = %L', true),
    ('prefix', 'text', 'd.content ^@ %L', true),
    ('owner', 'text', 'd.owner_id = %L', true),
    ('mime_type', 'texts', 'd.mime_type = any (%L)', true),
    ('min_bytes', 'number', 'd.byte_size >= %L::bigint', true),
    ('max_bytes', 'number', 'd.byte_size <= %L::bigint', true),
    ('uploaded_after', 'time', 'd.uploaded_at >= %L', true),
    ('uploaded_before', 'time', 'd.uploaded_at < %L', true),
    ('min_shown', 'share', 'd.shown >= %L', true),
    ('metadata', 'object', 'd.metadata @> %L', false)
$$;
comment on function neural_search.filter_keys is
  'The keys that a filter may have, the kind of value that each takes, and the condition that it stands for.';


create or replace function neural_search.is_kind(value jsonb, kind text) returns boolean
language sql stable set search_path = '' as $$
  select case kind
    when 'text' then jsonb_typeof(value) = 'string'
    when 'texts' then jsonb_typeof(value) = 'string'
      or value @? 'strict $ ? (@.type() == "array" && !(exists (@[*] ? (@.type() != "string"))))'
    when 'number' then
      value @? 'strict $ ? (@.type() == "number" && @ >= 0 && @ < 9223372036854775808 && @.floor() == @)'
    when 'share' then value @? 'strict $ ? (@.type() == "number" && @ >= 0 && @ <= 1)'
    when 'time' then neural_search.is_time(value)
    when 'object' then jsonb_typeof(value) = 'object'
  end
$$;
comment on function neural_search.is_kind is 'Whether a filter''s value is of the kind that its key takes.';


create or replace function neural_search.check_filter(filter jsonb) returns void
language plpgsql stable set search_path = '' as $$
declare
  wrong record;
begin
  perform neural_search.check_json('filter', filter, 131072); -- before it is taken apart, and planned with
  -- jsonb's @> compares each element of a list with each of a document's, and heeds no time-out meanwhile.
  perform neural_search.check_json('filter.metadata', filter -> 'metadata', 4096);
  perform neural_search.check_that(
    jsonb_typeof(filter) = 'object', format('filter is %s, expected an object.', left(filter::text, 100)),
    'For example {"bucket": "images", "prefix": "cats/"}.'
  );
  select given.key, left(given.value::text, 100) as value, k.kind into wrong
  from jsonb_each(filter) as given left join neural_search.filter_keys() as k on k.key = given.key
  where k.key is null or not neural_search.is_kind(given.value, k.kind) limit 1;
  perform neural_search.check_that(
    not found or wrong.kind is not null, format('filter has a key %L, which there isn''t.', left(wrong.key, 100)),
    'There are ' || (select string_agg(k.key, ', ') from neural_search.filter_keys() as k) || '.'
  );
  perform neural_search.check_that(
    wrong.key is null, format('filter.%s is %s, expected %s.', wrong.key, wrong.value, case wrong.kind
      when 'text' then 'a string' when 'texts' then 'a string or a list of some' when 'number' then 'a whole number'
      when 'share' then 'a number from 0 to 1'
      when 'time' then 'a time like "2026-01-31T12:00:00Z"' when 'object' then 'an object' end),
    'Correct it or leave it out.'
  );
end
$$;
comment on function neural_search.check_filter is 'Raises, with the remedy, for a filter that makes no sense.';


create or replace function neural_search.filter_conditions(filter jsonb, leakproof boolean) returns text
language sql stable set search_path = '' as $$
  select coalesce(string_agg(' and ' || format(k.condition, case k.kind
    when 'texts' then array(
      select jsonb_array_elements_text(
        case jsonb_typeof(given.value) when 'array' then given.value else jsonb_build_array(given.value) end
      )
    )::text
    when 'number' then given.value::bigint::text
    when 'share' then round(given.value::numeric, 9)::text -- as exact as a real, and none is too small for one
    when 'object' then given.value::text
    else given.value #>> '{}'
  end), '' order by k.key), '')
  from jsonb_each(filter) as given join neural_search.filter_keys() as k on k.key = given.key
  where k.is_leakproof = leakproof
$$;
comment on function neural_search.filter_conditions is
  'A checked filter as conditions on documents as d: the leakproof ones, or the others.';


-- Definer, because jsonb's @> isn't leakproof: the caller's own statement could use its index only for rows that all policies
-- had been asked about. The search asks them about these ids. Of more than so many no list is made: they narrow little.
create or replace function neural_search.ids_with_metadata(model text, metadata jsonb) returns bigint[]
language sql stable strict security definer set search_path = '' as $$
  select case when count(*) <= 4000 then coalesce(array_agg(d.id), '{}') end
  from (
    select d.id from neural_search.documents as d
    where d.model = ids_with_metadata.model and d.metadata @> ids_with_metadata.metadata limit 4001
  ) as d
$$;
comment on function neural_search.ids_with_metadata is
  'The ids of a model''s documents, hidden ones too, that have this metadata; null where they are more than 4000.';
