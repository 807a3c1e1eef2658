-- Examples: images and vectors that a caller likes or doesn't.
-- Callers: recommend_documents, as the caller.

create or replace function neural_search.check_keys(example jsonb, name text) returns void
language plpgsql immutable set search_path = '' as $$
declare
  others constant jsonb := case jsonb_typeof(example) when 'object' then example - array['id', 'embedding', 'kind', 'weight'] end;
begin
  perform neural_search.check_that(
    others = '{}',
    format('%s has a key %s, expected id or embedding, kind, weight.', name,
      to_jsonb(left((select min(key) from jsonb_object_keys(others) as key), 100))),
    'Leave it out.'
  );
end
$$;
comment on function neural_search.check_keys is 'Raises, with the remedy, for an example with a key that there isn''t.';


create or replace function neural_search.check_example(example jsonb, name text) returns void
language plpgsql immutable set search_path = '' as $$
declare
  wrong constant text[] := case
    when jsonb_typeof(example) is distinct from 'object' or (example ? 'id') = (example ? 'embedding') then array[
      format('%s is %s, expected an object with either id or embedding.',
        name, left(coalesce(example::text, 'null'), 100)),
      'Write {"id": 7} or {"embedding": [0.1, …], "weight": 2}.']
    when jsonb_typeof(example -> 'weight') <> 'number'
      or (example ->> 'weight')::numeric not between 0.001 and 1000 -- of less, single precision may keep nothing
      then array[
        format('%s.weight is %s, expected a number from 0.001 to 1000.', name, left(example ->> 'weight', 100)),
        'An example that should not count is one to leave out.']
    when example -> 'kind' not in ('"image"', '"text"') then array[
      format('%s.kind is %s, expected image or text.', name, left(example ->> 'kind', 100)),
      'Say what the embedding was made from, or leave it out.']
    when jsonb_typeof(example -> 'embedding') not in ('array', 'string')
      or example @? 'strict $.embedding ? (@.type() == "array" && exists (@[*] ? (@.type() != "number")))' then array[
      format('%s.embedding is %s, expected a list of numbers.', name, left((example -> 'embedding')::text, 100)),
      'Write {"embedding": [0.1, …]}.']
    when jsonb_typeof(example -> 'id') <> 'number'
      or (example ->> 'id')::numeric not between 1 and 9223372036854775807 or (example ->> 'id')::numeric % 1 <> 0
      then array[format('%s.id is %s, expected a document''s id.', name, left(example ->> 'id', 100)),
        'Take an id from a search''s results.']
  end;
begin
  perform neural_search.check_that(wrong is null, wrong[1], wrong[2]);
end
$$;
comment on function neural_search.check_example is 'Raises, with the remedy, for an example that makes no sense.';


-- Its own message would repeat the whole value.
create or replace function neural_search.read_vector(name text, value jsonb) returns extensions.vector
language plpgsql immutable set search_path = '' as $$
begin
  return (value #>> '{}')::extensions.vector;
exception when data_exception or program_limit_exceeded then
  raise exception '% is %, expected a list of numbers.', name, left(value #>> '{}', 100)
    using errcode = 'invalid_parameter_value', hint = 'Write {"embedding": [0.1, …]}, with as many as the model has.';
end
$$;
comment on function neural_search.read_vector is 'An embedding in JSON: a list, or text of one; raises, with the remedy.';


create or replace function neural_search.check_list(examples jsonb, name text, dimensions integer) returns void
language plpgsql immutable set search_path = '' as $$
begin
  -- As much as a hundred vectors may take.
  perform neural_search.check_that(
    pg_column_size(examples) <= 100000 + 6400 * dimensions,
    format('%s has %s bytes, expected at most %s.', name, pg_column_size(examples), 100000 + 6400 * dimensions),
    'Give fewer or shorter examples.'
  );
  if jsonb_typeof(examples) is distinct from 'array' then
    perform neural_search.check_json(name, examples, 1000);
    raise exception '% is %, expected a list of examples.', name, left(coalesce(examples::text, 'null'), 100)
      using errcode = 'invalid_parameter_value', hint = 'Write [{"id": 7}, {"embedding": [0.1, …], "weight": 2}].';
  end if;
  perform neural_search.check_that(
    jsonb_array_length(examples) <= 100,
    format('%s has %s examples, expected at most 100.', name, jsonb_array_length(examples)), 'Leave some out.'
  );
end
$$;
comment on function neural_search.check_list is
  'Raises, with the remedy, for no list of examples or too long a one, before the work of reading them.';


create or replace function neural_search.read_examples(examples jsonb, name text, model text)
returns setof neural_search.example
language plpgsql stable set search_path = '' as $$
declare
  dimensions constant integer := (select m.dimensions from neural_search.searchable_model(model) as m);
  example neural_search.example;
begin
  -- One example after another, and of each its keys before its numbers, so that the first wrong one ends the work. A look at
  -- all numbers of all at once would take a hundred times as much memory as they do; those of six bytes may be long as text.
  perform
    neural_search.check_keys(e.value, l.name),
    neural_search.check_that(
      l.given = dimensions,
      format('%s.embedding has %s dimensions, the model %L has %s.', l.name, l.given, model, dimensions),
      'Embed it with the model that is named here.'
    ),
    neural_search.check_json(
      l.name, e.value, 1000 + case when e.value -> 'embedding' is not null then 64 * dimensions else 0 end
    ),
    neural_search.check_example(e.value, l.name)
  from jsonb_array_elements(examples) with ordinality as e
  cross join lateral (
    select format('%s[%s]', read_examples.name, e.ordinality - 1) as name,
      case jsonb_typeof(e.value -> 'embedding') when 'array' then jsonb_array_length(e.value -> 'embedding') end as given
  ) as l;
  for example in
    select e.ordinality - 1, (e.value ->> 'id')::bigint, coalesce((e.value ->> 'weight')::double precision, 1),
      case when e.value ? 'id' then 'image' else e.value ->> 'kind' end,
      coalesce(
        s.embedding, neural_search.read_vector(format('%s[%s].embedding', name, e.ordinality - 1), e.value -> 'embedding')
      )
    from jsonb_array_elements(examples) with ordinality as e
    left join public.get_embeddings(array(
      select (i ->> 'id')::bigint from jsonb_array_elements(examples) as i where i ? 'id'
    ), null, null, model) as s on s.id = (e.value ->> 'id')::bigint
    order by e.ordinality
  loop
    if example.embedding is null then
      raise exception '%[%] is document %, which isn''t there or isn''t yours to see.',
        name, example.place, example.document_id
        using errcode = 'PT404', detail = example.document_id::text, hint = 'Take an id from a search''s results.';
    end if;
    perform neural_search.check_vector(
      format('%s[%s].embedding', name, example.place), example.embedding, model, dimensions
    );
    example.embedding = extensions.l2_normalize(example.embedding);
    return next example;
  end loop;
end
$$;
comment on function neural_search.read_examples is
  'The examples in a checked list, with their embeddings; SQLSTATE PT404 for a stored one that the caller may not see.';
