-- Recommendation: images like some examples and unlike others; more varied, or without copies.
-- Callers: the query function and any client, as anon, authenticated or service_role.
-- No tables: everything is found by find_similar, find_by_best_score and get_embeddings, as the caller.

create or replace function neural_search.check_example(example jsonb, name text) returns void
language plpgsql immutable set search_path = '' as $$
declare
  keys constant text[] := array['id', 'embedding', 'kind', 'weight'];
  wrong constant text[] := case
    when jsonb_typeof(example) is distinct from 'object' or (example ? 'id') = (example ? 'embedding') then array[
      format('%s is %s, expected an object with either id or embedding.',
        name, left(coalesce(example::text, 'null'), 100)),
      'Write {"id": 7} or {"embedding": [0.1, …], "weight": 2}.']
    when example - keys <> '{}' then array[
      format('%s has a key %s, expected id or embedding, kind, weight.', name,
        to_jsonb(left((select min(key) from jsonb_object_keys(example - keys) as key), 100))), 'Leave it out.']
    when jsonb_typeof(example -> 'weight') <> 'number'
      or (example ->> 'weight')::numeric not between 0.001 and 1000 -- of less, single precision may keep nothing
      then array[
        format('%s.weight is %s, expected a number from 0.001 to 1000.', name, left(example ->> 'weight', 100)),
        'An example that should not count is one to leave out.']
    when example -> 'kind' not in ('"image"', '"text"') then array[
      format('%s.kind is %s, expected image or text.', name, left(example ->> 'kind', 100)),
      'Say what the embedding was made from, or leave it out.']
    when jsonb_typeof(example -> 'embedding') not in ('array', 'string') then array[
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
  perform neural_search.check_that(
    jsonb_array_length(e.value -> 'embedding') = dimensions,
    format('%s[%s].embedding has %s dimensions, the model %L has %s.',
      name, e.ordinality - 1, jsonb_array_length(e.value -> 'embedding'), model, dimensions),
    'Embed it with the model that is named here.'
  )
  from jsonb_array_elements(examples) with ordinality as e
  where case jsonb_typeof(e.value) when 'object' then jsonb_typeof(e.value -> 'embedding') = 'array' end;
  -- One after another, since a look at all numbers of a single one takes a hundred times as much memory as they do.
  perform neural_search.check_json( -- numbers of six bytes may be long as text
    format('%s[%s]', name, e.ordinality - 1), e.value, 1000 + 64 * dimensions
  )
  from jsonb_array_elements(examples) with ordinality as e;
  perform neural_search.check_example(e.value, format('%s[%s]', name, e.ordinality - 1))
  from jsonb_array_elements(examples) with ordinality as e;
  for example in
    select e.ordinality - 1, (e.value ->> 'id')::bigint, coalesce((e.value ->> 'weight')::double precision, 1),
      case when e.value ? 'id' then 'image' else e.value ->> 'kind' end,
      coalesce(
        s.embedding, neural_search.read_vector(format('%s[%s].embedding', name, e.ordinality - 1), e.value -> 'embedding')
      )
    from jsonb_array_elements(examples) with ordinality as e
    left join public.get_embeddings(document_ids => array(
      select (i ->> 'id')::bigint from jsonb_array_elements(examples) as i where i ? 'id'
    ), model => model) as s on s.id = (e.value ->> 'id')::bigint
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


create or replace function neural_search.scaled(embedding extensions.vector, factor double precision)
returns extensions.vector
language sql immutable set search_path = '' as $$
  select embedding operator(extensions.*)
    array_fill(factor::real, array[extensions.vector_dims(embedding)])::extensions.vector
$$;
comment on function neural_search.scaled is 'The embedding times a number.';


create or replace function neural_search.weighted_mean(examples neural_search.example[]) returns extensions.vector
language sql immutable set search_path = '' as $$
  select extensions.sum(neural_search.scaled(e.embedding, e.weight / total.weight))
  from unnest(examples) as e, (select sum(w.weight) as weight from unnest(examples) as w) as total
$$;
comment on function neural_search.weighted_mean is 'The examples'' mean by their weights; null of none.';


-- Qdrant's strategy average_vector, avg(likes) + (avg(likes) - avg(unlikes)), which knows no weights. Here they weigh
-- within each list, and how far away from the unlikes it goes is their mean weight over that of the likes: 1 without
-- weights, as in Qdrant. Where Qdrant wants a like, unlikes alone mean the direction away from them.
-- https://qdrant.tech/documentation/search/explore/#average-vector-strategy
create or replace function neural_search.average_vector(
  likes neural_search.example[], unlikes neural_search.example[]
) returns extensions.vector
language plpgsql immutable set search_path = '' as $$
declare
  liked constant extensions.vector := neural_search.weighted_mean(likes);
  unliked constant extensions.vector := neural_search.weighted_mean(unlikes);
  strength constant double precision := (select avg(u.weight) from unnest(unlikes) as u)
    / (select avg(l.weight) from unnest(likes) as l);
  average constant extensions.vector := case
    when unliked is null then liked
    when liked is null then neural_search.scaled(unliked, -1)
    else liked operator(extensions.+) neural_search.scaled(liked operator(extensions.-) unliked, strength)
  end;
begin
  -- Likes that cancel each other out leave nothing that a result could be judged by.
  perform neural_search.check_that(
    least(extensions.vector_norm(average), extensions.vector_norm(liked)) >= 1e-6,
    'The examples cancel each other out.', 'Leave one of them out, or weigh them differently.'
  );
  return extensions.l2_normalize(average);
end
$$;
comment on function neural_search.average_vector is 'The one vector to search with by the strategy average.';


create or replace function neural_search.stored_ids(examples neural_search.example[]) returns bigint[]
language sql immutable set search_path = '' as $$
  select array(select distinct e.document_id from unnest(examples) as e where e.document_id is not null)
$$;
comment on function neural_search.stored_ids is 'The documents among the examples: they are left out of the results.';


create or replace function neural_search.liked_kind(likes neural_search.example[], otherwise text) returns text
language sql immutable set search_path = '' as $$
  select case when count(distinct coalesce(l.kind, otherwise)) > 1 then 'mixed'
    else coalesce(min(coalesce(l.kind, otherwise)), otherwise) end
  from unnest(likes) as l
$$;
comment on function neural_search.liked_kind is
  'The likes'' source: image, text, or mixed where both; the given one where they don''t say.';


-- Subtraction turns the query to where nothing is near: its similarities order the results and don't tell their worth. So
-- confidence comes from the similarity to the likes' middle. Of unlikes alone nothing is liked; there the direction away
-- from them is all there is to judge by.
create or replace function neural_search.average_pool(
  likes neural_search.example[], unlikes neural_search.example[], depth integer, page_after jsonb,
  options neural_search.search_options
) returns setof neural_search.candidate
language plpgsql stable set search_path = '' as $$
declare
  left_out constant bigint[] := neural_search.stored_ids(likes || unlikes);
  searched constant extensions.vector := neural_search.average_vector(likes, unlikes);
  liked constant extensions.vector := case when cardinality(unlikes) > 0 then neural_search.weighted_mean(likes) end;
  kind constant text := neural_search.liked_kind(likes, options.query_kind);
  level record;
begin
  select * into level from neural_search.confidence_levels(options.model, kind, extensions.l2_normalize(liked));
  return query
  with found as materialized (
    select m.* from neural_search.find_similar(
      query_embedding => searched,
      similarity_threshold => options.similarity_threshold, match_count => depth + cardinality(left_out), skip_count => 0,
      filter => options.filter, page_after => page_after - 'score' || jsonb_build_object('similarity', page_after -> 'score'),
      model => options.model, query_kind => kind,
      -- Where it judges by the same vector, it spares much.
      min_confidence => case when liked is null then options.min_confidence end,
      best_confidence => case when liked is null then options.best_confidence end
    ) as m
    where m.id <> all (left_out)
    order by m.similarity desc, m.id limit depth
  ),
  examples as materialized (select l.place, l.embedding from unnest(likes) as l)
  select
    f.id, f.similarity,
    case
      when liked is null then f.confidence
      else neural_search.confidence_of(
        1 - (s.embedding operator(extensions.<=>) liked), level.same, level.strong, level.related
      )
    end,
    f.similarity, f.similarity,
    (
      select e.place from examples as e
      order by e.embedding operator(extensions.<=>) s.embedding, e.place limit 1
    )
  from found as f
  -- Not read where a single like is everybody's closest and the only judge. Into memory once: each comparison would read
  -- it from the table's wide values.
  left join lateral (
    select extensions.subvector(d.embedding, 1, extensions.vector_dims(searched)) as embedding
    from neural_search.documents as d
    where d.id = f.id and (liked is not null or cardinality(likes) > 1) offset 0
  ) as s on true;
end
$$;
comment on function neural_search.average_pool is
  'So many documents nearest to average_vector that follow the page, with their confidence by the similarity to the likes.';


create or replace function neural_search.is_confident(confidence text, needed text) returns boolean
language sql immutable set search_path = '' as $$
  select needed is null or confidence is null -- the model has no levels to tell by
    or array_position(array['same', 'strong', 'related', 'unrelated'], confidence)
      <= array_position(array['same', 'strong', 'related', 'unrelated'], needed)
$$;
comment on function neural_search.is_confident is 'Whether a confidence is at least this one, or can''t be told yet.';


create or replace function neural_search.find_by_average(
  likes neural_search.example[], unlikes neural_search.example[], wanted integer, page_after jsonb,
  options neural_search.search_options
) returns neural_search.candidate[]
language plpgsql stable set search_path = '' as $$
declare
  deepest constant integer := 1000 - cardinality(neural_search.stored_ids(likes || unlikes)); -- find_similar returns no more
  first constant text := case when options.best_confidence is not null and unlikes <> '{}' then (
    select p.confidence from neural_search.average_pool(likes, unlikes, 1, null, options) as p
  ) end;
  depth integer := least(wanted, deepest);
  pool neural_search.candidate[];
  kept neural_search.candidate[] := '{}'::neural_search.candidate[];
begin
  while neural_search.is_confident(first, options.best_confidence) loop
    pool = array(select p from neural_search.average_pool(likes, unlikes, depth, page_after, options) as p);
    kept = array(
      select k from unnest(pool) as k
      where neural_search.is_confident(k.confidence, options.min_confidence) order by k.score desc, k.id limit wanted
    );
    exit when cardinality(kept) >= wanted or cardinality(pool) < depth or depth = deepest;
    depth = least(4 * depth, deepest); -- some are unlike the likes
  end loop;
  return kept;
end
$$;
comment on function neural_search.find_by_average is
  'The nearest to average_vector, the best first; fewer where, beside unlikes, few of the 1000 nearest are like the likes.';


-- The first of a group stays, the others go to it. Each is compared with those that stayed: no chain of small changes
-- leads from one image to quite another.
create or replace function neural_search.leaders(ids bigint[]) returns integer[]
language plpgsql stable set search_path = '' as $$
declare
  leader_of integer[] := array(select generate_subscripts(ids, 1));
  pair record;
begin
  for pair in
    with ranked as materialized (
      select array_position(ids, d.id) as place, d.content_hash, d.perceptual_hash, row(
        d.content_hash, d.perceptual_hash, d.width, d.height, d.model, d.embedding
      )::neural_search.fingerprint as fingerprint
      from neural_search.documents as d where d.id = any (ids)
    )
    select a.place as earlier, b.place as later
    from ranked as a join ranked as b on b.place > a.place
    -- To call the rule takes a while: only for pairs that come near to it.
    where (a.content_hash = b.content_hash or bit_count(a.perceptual_hash # b.perceptual_hash) <= 16)
      and neural_search.are_duplicates(a.fingerprint, b.fingerprint)
    order by 1, 2
  loop
    if leader_of[pair.earlier] = pair.earlier and leader_of[pair.later] = pair.later then
      leader_of[pair.later] = pair.earlier;
    end if;
  end loop;
  return leader_of;
end
$$;
comment on function neural_search.leaders is
  'For each of these documents, the best first, the place of the one that it is a copy of; its own where it stays.';


-- Maximal marginal relevance: Carbonell and Goldstein, The Use of MMR, Diversity-Based Reranking for Reordering
-- Documents and Producing Summaries, SIGIR 1998, with lambda = 1 - diversity. The next result is the one with the
-- greatest lambda * relevance - (1 - lambda) * (its similarity to the nearest result so far).
create or replace function neural_search.diversified(
  relevances double precision[], embeddings extensions.vector[], diversity double precision, wanted integer
) returns integer[]
language plpgsql stable set search_path = '' as $$
declare
  chosen integer[] := '{}'::integer[];
  best integer;
  newest extensions.vector;
  nearest double precision[]; -- of each: its similarity to the nearest of the chosen; null while there is none
begin
  for step in 1 .. least(wanted, cardinality(relevances)) loop
    select r.place into best
    from unnest(relevances) with ordinality as r (relevance, place)
    where r.place <> all (chosen)
    order by (1 - diversity) * r.relevance - diversity * coalesce(nearest[r.place], 0) desc, r.place limit 1;
    chosen = chosen || best;
    newest = embeddings[best];
    nearest = array(
      select greatest(nearest[e.place], 1 - (e.embedding operator(extensions.<=>) newest))
      from unnest(embeddings) with ordinality as e (embedding, place) order by e.place
    );
  end loop;
  return chosen;
end
$$;
comment on function neural_search.diversified is
  'The places of the first results by maximal marginal relevance, of these in the order of their relevance.';


-- The documents are ranked before, by the search. Their copies are folded first, and the rest varied.
create or replace function neural_search.arranged(
  ids bigint[], relevances double precision[], diversity double precision, collapse text, wanted integer, skipped integer
) returns table (
  rank bigint, id bigint, content text, bucket_id text, object_id uuid, metadata jsonb, duplicates jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  leaders constant integer[] := case when collapse is null then array(select generate_subscripts(ids, 1))
    else neural_search.leaders(ids) end; -- of each the place of the one that it is folded into
  places integer[] := array(
    select l.place from unnest(leaders) with ordinality as l (leader, place) where l.leader = l.place order by l.place
  );
  left_over double precision[];
  embeddings extensions.vector[];
begin
  if diversity > 0 then
    with stored as materialized (
      select d.id, d.embedding from neural_search.documents as d where d.id = any (ids)
    )
    select array_agg(relevances[p.place] order by p.rank), array_agg(s.embedding order by p.rank) into left_over, embeddings
    from unnest(places) with ordinality as p (place, rank) left join stored as s on s.id = ids[p.place];
    places = array(
      select places[chosen.place]
      from unnest(neural_search.diversified(left_over, embeddings, diversity, skipped + wanted))
        with ordinality as chosen (place, rank)
      order by chosen.rank
    );
  end if;
  places = places[skipped + 1:skipped + wanted];

  return query
  with told as materialized (
    select d.* from neural_search.described(array(
      select ids[l.place] from unnest(leaders) with ordinality as l (leader, place) where l.leader = any (places)
    )) as d
  )
  select p.rank, t.id, t.content, t.bucket_id, t.object_id, t.metadata, (
    select coalesce(
      jsonb_agg(jsonb_build_object('id', c.id, 'bucket', c.bucket_id, 'name', c.content) order by l.place), '[]'
    )
    from unnest(leaders) with ordinality as l (leader, place) join told as c on c.id = ids[l.place]
    where l.leader = p.place and l.place <> p.place
  )
  from unnest(places) with ordinality as p (place, rank) join told as t on t.id = ids[p.place]
  order by p.rank;
end
$$;
comment on function neural_search.arranged is
  'Of these documents, the best first, so many after so many: their copies folded where these are to be, and varied by '
  'their relevance; as callers are told of them.';


create or replace function neural_search.check_recommendation(
  examples integer, strategy text, match_count integer, skip_count integer, diversity double precision,
  page_after jsonb, collapse text, min_confidence text, best_confidence text, pool_size integer
) returns void
language plpgsql immutable set search_path = '' as $$
begin
  perform neural_search.check_that(c.is_met, c.message, c.hint) from (values
    (examples between 1 and 100, format('likes and unlikes are %s in all, expected 1 to 100.', examples),
      'Give at least one of either.'),
    (strategy in ('average', 'best_score'),
      format('strategy is %s, expected average or best_score.', to_jsonb(left(strategy, 100))),
      'average searches the middle of the likes, best_score each.'),
    (diversity between 0 and 1, format('diversity is %s, expected 0 to 1.', diversity), 'Begin with 0.3; 0 is off.'),
    (collapse is null or collapse = 'duplicates',
      format('collapse is %s, expected duplicates or null.', to_jsonb(left(collapse, 100))),
      'Leave it out to see every copy.'),
    (match_count >= 0 and skip_count >= 0,
      format('match_count is %s and skip_count %s, expected 0 or more.', match_count, skip_count),
      'Leave them out for the first 10.'),
    (page_after is null or pool_size <> 200 and skip_count = 0,
      'page_after is given beside skip_count, diversity or collapse.',
      'Page by skip_count there, and by page_after alone elsewhere.'),
    (match_count::bigint + skip_count <= pool_size,
      format('match_count and skip_count are %s in all, expected at most %s.', match_count::bigint + skip_count, pool_size),
      'With diversity or collapse the best 200 are all there is, else 1000 less the stored examples.')
  ) as c (is_met, message, hint);
  perform neural_search.check_confidence('min_confidence', min_confidence);
  perform neural_search.check_confidence('best_confidence', best_confidence);
end
$$;
comment on function neural_search.check_recommendation is
  'Raises, with the remedy, for a recommendation that makes no sense.';


create or replace function public.recommend_documents(
  likes jsonb,
  unlikes jsonb default '[]',
  strategy text default 'average',
  match_count integer default 10,
  skip_count integer default 0,
  filter jsonb default '{}',
  diversity double precision default 0,
  collapse text default null,
  similarity_threshold double precision default 0,
  model text default null,
  query_kind text default 'image',
  min_confidence text default null,
  best_confidence text default null,
  page_after jsonb default null
) returns table (
  id bigint, content text, similarity double precision, bucket_id text, object_id uuid, metadata jsonb, confidence text,
  score double precision, closest integer, duplicates jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  of_model constant text := coalesce(recommend_documents.model, (select m.name from public.active_model() as m));
  wanted constant integer := coalesce(match_count, 10);
  skipped constant integer := coalesce(skip_count, 0);
  options constant neural_search.search_options := row(
    filter, coalesce(similarity_threshold, 0), of_model, coalesce(query_kind, 'image'), min_confidence, best_confidence
  );
  -- The pool is the same for every page, so that pages follow each other.
  is_pooled constant boolean := coalesce(diversity, 0) > 0 or collapse is not null;
  liked neural_search.example[];
  unliked neural_search.example[];
  given integer;
  pool_size integer;
  depth integer;
  pool neural_search.candidate[];
begin
  perform neural_search.check_sizes(
    '{strategy,collapse,model,query_kind,min_confidence,best_confidence}', array[
      octet_length(strategy), octet_length(collapse), octet_length(recommend_documents.model), octet_length(query_kind),
      octet_length(min_confidence), octet_length(best_confidence)
    ]
  );
  perform neural_search.check_page(page_after, 'score');
  perform neural_search.check_filter(coalesce(filter, '{}'));
  perform neural_search.check_list(likes, 'likes', m.dimensions), neural_search.check_list(unlikes, 'unlikes', m.dimensions)
  from neural_search.searchable_model(of_model) as m;
  given = jsonb_array_length(likes) + jsonb_array_length(unlikes);
  perform neural_search.check_that(
    given <= 100, format('likes and unlikes are %s in all, expected 1 to 100.', given), 'Leave some out.'
  );
  liked = array(select e from neural_search.read_examples(likes, 'likes', of_model) as e);
  unliked = array(select e from neural_search.read_examples(unlikes, 'unlikes', of_model) as e);
  pool_size = case when is_pooled then 200 else 1000 - cardinality(neural_search.stored_ids(liked || unliked)) end;
  perform neural_search.check_recommendation(
    cardinality(liked || unliked), coalesce(strategy, 'average'), wanted, skipped, coalesce(diversity, 0),
    page_after, collapse, min_confidence, best_confidence, pool_size
  );
  depth = case when is_pooled then pool_size else wanted + skipped end;
  if wanted = 0 or not neural_search.policies_work() then
    return;
  end if;
  if strategy = 'best_score' then
    pool = neural_search.find_by_best_score(liked, unliked, depth, page_after, options);
  else
    pool = neural_search.find_by_average(liked, unliked, depth, page_after, options);
  end if;

  -- The best of all is in every page's pool; later pages are searched for by average alone.
  if page_after is null and not neural_search.is_confident(pool[1].confidence, best_confidence) then
    return;
  end if;

  return query
  select c.id, a.content, c.similarity, a.bucket_id, a.object_id, a.metadata, c.confidence, c.score, c.closest, a.duplicates
  from neural_search.arranged(
    array(select p.id from unnest(pool) with ordinality as p order by p.ordinality),
    array(select p.relevance from unnest(pool) with ordinality as p order by p.ordinality),
    coalesce(diversity, 0), collapse, wanted, skipped
  ) as a join unnest(pool) as c on c.id = a.id
  order by a.rank;
end
$$;
comment on function public.recommend_documents is
  'Documents like some documents or embeddings and unlike others, without those: score orders the results, '
  'similarity is that to the query or the closest like, closest the place of that like. None where the best has less '
  'than best_confidence.';


create or replace function public.similar_documents(
  name text,
  bucket text default null,
  match_count integer default 10,
  skip_count integer default 0,
  filter jsonb default '{}',
  page_after jsonb default null,
  model text default null,
  similarity_threshold double precision default 0,
  min_confidence text default null
) returns table (
  id bigint, content text, similarity double precision, bucket_id text, object_id uuid, metadata jsonb, confidence text,
  score double precision
)
language plpgsql stable set search_path = '' as $$
declare
  meant bigint[];
begin
  perform neural_search.check_sizes('{name,min_confidence}', array[
    octet_length(similar_documents.name), octet_length(min_confidence)
  ]);
  perform neural_search.check_page(page_after, 'score');
  perform neural_search.check_filter(coalesce(filter, '{}'));
  meant = array(
    select e.id from public.get_embeddings(
      names => array[similar_documents.name], bucket => similar_documents.bucket, model => similar_documents.model
    ) as e
  );
  perform neural_search.check_that(
    cardinality(meant) = 1,
    format('name is %L, which means %s images that you may see.', left(name, 200), cardinality(meant)),
    'Give the path of an indexed image, and its bucket where other buckets have the same path.',
    case cardinality(meant) when 0 then 'PT404' else 'PT409' end
  );
  return query
  select r.id, r.content, r.similarity, r.bucket_id, r.object_id, r.metadata, r.confidence, r.score
  from public.recommend_documents(
    likes => jsonb_build_array(jsonb_build_object('id', meant[1])), match_count => match_count, skip_count => skip_count,
    filter => filter, page_after => page_after, model => similar_documents.model,
    similarity_threshold => similarity_threshold, min_confidence => min_confidence
  ) as r;
end
$$;
comment on function public.similar_documents is
  'Images like the stored one of this path, without it, the best first; SQLSTATE PT404 where the caller sees no such '
  'image, PT409 where several have the path.';
