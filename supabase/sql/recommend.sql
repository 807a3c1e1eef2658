-- Recommendation: images like some examples and unlike others; more varied, or without copies.
-- Callers: the query function and any client, as anon, authenticated or service_role.
-- No tables: everything is found by find_similar, find_by_best_score and get_embeddings, as the caller.

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
  examples as materialized (select l.place, l.embedding from unnest(likes) as l),
  -- Not read where a single like is everybody's closest and the only judge. Into memory once: each comparison would read
  -- it from the table's wide values.
  stored as materialized (
    select d.id, extensions.subvector(d.embedding, 1, extensions.vector_dims(searched)) as embedding
    from neural_search.found_documents(array(
      select f.id from found as f where liked is not null or cardinality(likes) > 1
    )) as d
  )
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
  from found as f left join stored as s on s.id = f.id;
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
  -- Exactly this bucket and path rather than such a path elsewhere: else somebody else's upload by that path ended the call.
  meant = array(
    select e.id from (
      select n.id, rank() over (order by concat(n.bucket_id, '/', n.content) = similar_documents.name desc) as place
      from public.get_embeddings(
        null, array[similar_documents.name], similar_documents.bucket, similar_documents.model
      ) as n
    ) as e
    where e.place = 1
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
    likes => jsonb_build_array(jsonb_build_object('id', meant[1])), unlikes => '[]', strategy => 'average',
    match_count => match_count, skip_count => skip_count, filter => filter, diversity => 0, collapse => null,
    similarity_threshold => similarity_threshold, model => similar_documents.model, query_kind => 'image',
    min_confidence => min_confidence, best_confidence => null, page_after => page_after
  ) as r;
end
$$;
comment on function public.similar_documents is
  'Images like the stored one of this path, without it, the best first; SQLSTATE PT404 where the caller sees no such '
  'image, PT409 where several have the path.';
