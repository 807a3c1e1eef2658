-- Locality-sensitive hashing: on which side of random planes through the collection's middle a vector lies.
-- Callers: match_documents, for models whose search_strategy is lsh; prepare_lsh and fill_lsh before that.
-- Charikar, "Similarity estimation techniques from rounding algorithms", 2002: the share of planes that part two
-- vectors is their angle. Ji et al., "Super-bit locality-sensitive hashing", 2012: more so where they are perpendicular.

create or replace function neural_search.lsh_length(dimensions integer) returns integer
language sql immutable set search_path = '' as $$
  select least(512, dimensions)
$$;
comment on function neural_search.lsh_length is 'How many planes divide vectors of so many dimensions.';


-- Definer, because callers may read no table of ours; it tells only of the vector that they bring, and on which side of
-- the collection's mean that lies.
create or replace function neural_search.lsh_bits(embedding extensions.vector, model_name text) returns bit varying
language plpgsql stable strict security definer set search_path = '' as $$
declare
  -- Once out of where wide values are kept, and of a length that half precision has room for.
  flat constant extensions.halfvec := extensions.l2_normalize(embedding)::extensions.halfvec;
  sides bit varying;
begin
  select extensions.binary_quantize(array_agg(s.side order by s.number)::extensions.vector) into sides from (
    select p.number, (-(p.normal operator(extensions.<#>) flat) - p.distance)::real as side
    from neural_search.lsh_planes as p where p.model = model_name
    offset 0 -- computed before they are sorted, and not the planes themselves
  ) as s;
  return sides;
end
$$;
comment on function neural_search.lsh_bits is
  'One bit for each of the model''s planes: 1 on the side that its normal points to; null where it has none. The more '
  'bits two vectors share, the smaller is their angle.';


create or replace function neural_search.set_lsh() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.lsh = neural_search.lsh_bits(new.embedding, new.model);
  return new;
end
$$;
comment on function neural_search.set_lsh is 'Keeps documents.lsh true to the embedding.';


create or replace function neural_search.prepare_lsh(model_name text) returns integer
language plpgsql set search_path = '' as $$
declare
  most_documents constant integer := 10000;
  known constant neural_search.models := neural_search.require_model(model_name);
  bits constant integer := neural_search.lsh_length(known.dimensions);
  centre extensions.vector;
  drawn extensions.vector;
begin
  lock table neural_search.lsh_planes in share row exclusive mode;
  if exists (select from neural_search.lsh_planes as p where p.model = known.name) then
    return bits;
  end if;
  select extensions.avg(d.embedding) into centre from (
    select l.embedding from neural_search.documents as l where l.model = known.name limit most_documents
  ) as d;
  perform neural_search.check_that(
    centre is not null, format('Model %L has no documents, whose mean the planes go through.', known.name),
    'Search it exactly or by hnsw until it has some.', 'object_not_in_prerequisite_state'
  );
  for place in 1 .. bits loop
    select array_agg(sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))::real[]::extensions.vector into drawn
    from generate_series(1, known.dimensions);
    -- Less its shadows on those before it (Gram and Schmidt); rounding's remainder of them goes the second time.
    for _ in 1 .. 2 loop
      select extensions.l2_normalize(coalesce(drawn operator(extensions.-) extensions.sum(
        p.normal::extensions.vector operator(extensions.*) array_fill(
          (-(p.normal::extensions.vector operator(extensions.<#>) drawn))::real, array[known.dimensions]
        )::extensions.vector
      ), drawn)) into drawn
      from neural_search.lsh_planes as p where p.model = known.name;
    end loop;
    insert into neural_search.lsh_planes (model, number, normal, distance)
    values (known.name, place, drawn, -(drawn operator(extensions.<#>) centre));
  end loop;
  return bits;
end
$$;
comment on function neural_search.prepare_lsh is
  'Draws the planes of a model, where that wasn''t done; how many there are. To be called when it has documents; '
  'then fill_lsh, and then its index is made.';


-- From after_id on by the primary key (without sorting, the planner reads in no other way), so that no call reads again
-- the rows filled before. Rows locked by others, as by a second caller, come last.
create or replace function neural_search.fill_lsh(
  model_name text, max_rows integer default 1000, after_id bigint default 0,
  out filled integer, out last_id bigint
)
language plpgsql set search_path = '' set enable_sort = off set jit = off as $$
declare
  without bigint[];
begin
  perform neural_search.check_that(
    exists (select from neural_search.lsh_planes as p where p.model = model_name),
    format('Model %L has no planes for locality-sensitive hashing.', model_name),
    'Call neural_search.prepare_lsh first.', 'object_not_in_prerequisite_state'
  );
  without = array(
    select d.id from neural_search.documents as d where d.id > after_id and d.model = model_name and d.lsh is null
    order by d.id limit max_rows for no key update skip locked
  );
  if without = '{}' then
    without = array(
      select d.id from neural_search.documents as d where d.model = model_name and d.lsh is null
      order by d.id limit max_rows for no key update
    );
  end if;
  update neural_search.documents as d set lsh = neural_search.lsh_bits(d.embedding, d.model) where d.id = any (without);
  filled = cardinality(without);
  last_id = greatest(after_id, without[filled]);
end
$$;
comment on function neural_search.fill_lsh is
  'Gives some documents their bits that were there before the planes; how many, and the last one''s id. To be called '
  'with that as after_id until there are none.';
