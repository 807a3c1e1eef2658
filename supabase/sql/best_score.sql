-- The strategy best_score: images near to any of the likes, and nearer to it than to every unlike.
-- Callers: recommend_documents, as the caller.

-- As Qdrant's: a document is compared with every example; where the nearest is a like, its score is between 0 and 1,
-- x / (1 + |x|) of that similarity moved to there, else it is less than 0, by that to the nearest unlike. Weights, which
-- Qdrant doesn't know, multiply the similarities.
-- https://qdrant.tech/documentation/search/explore/#best-score-strategy
-- https://github.com/qdrant/qdrant/blob/master/lib/segment/src/vector_storage/query/reco_query.rs

-- With unlikes alone a document's score is that of the nearest of them, and at most that of their mean: one direction
-- bounds them all. Where they cancel each other out, any one of them does.
create or replace function neural_search.search_directions(
  likes neural_search.example[], unlikes neural_search.example[]
) returns neural_search.example[]
language plpgsql immutable set search_path = '' as $$
declare
  mean constant extensions.vector := neural_search.weighted_mean(unlikes);
begin
  if cardinality(likes) > 0 then
    return likes;
  elsif extensions.vector_norm(mean) < 0.001 then
    return array[row(
      0, null, unlikes[1].weight, null, neural_search.scaled(unlikes[1].embedding, -1)
    )::neural_search.example];
  end if;
  return array[row(
    0, null, extensions.vector_norm(mean) * (select avg(u.weight) from unnest(unlikes) as u), null,
    extensions.l2_normalize(neural_search.scaled(mean, -1))
  )::neural_search.example];
end
$$;
comment on function neural_search.search_directions is
  'Where to search: around each like; where there is none, away from the unlikes, with the weight that bounds theirs.';


-- The reach is the last one's similarity times the weight: nothing outside of the list has a greater one. More are found
-- than are counted, since those at the end aren't quite in their order.
create or replace function neural_search.list_around(
  search neural_search.search, direction neural_search.example, depth integer
) returns neural_search.nearest_list
language plpgsql stable set search_path = '' as $$
declare
  found neural_search.match[];
begin
  search.query = direction.embedding;
  found = neural_search.walked(search, depth);
  return row(
    coalesce(found[cardinality(found)].similarity < search.floor, false),
    direction.weight * found[least(depth, cardinality(found))].similarity,
    array(select m.id from unnest(found) as m),
    array(select direction.weight * m.similarity from unnest(found) as m)
  )::neural_search.nearest_list;
end
$$;
comment on function neural_search.list_around is
  'The nearest to one direction, from the vectors'' index; its reach is null where that brings too few.';


-- In one pass that holds no more than the results: compared documents are sorted, on the disk beyond work_mem.
-- A policy that fails only now: as in find_matches.
create or replace function neural_search.best_scored(
  search neural_search.search, ids bigint[], reach double precision, likes neural_search.example[],
  unlikes neural_search.example[], wanted integer, page_after jsonb, options neural_search.search_options
) returns neural_search.candidate[]
language plpgsql stable set search_path = '' as $$
declare
  has_likes constant boolean := cardinality(likes) > 0;
  left_out constant bigint[] := neural_search.stored_ids(likes || unlikes);
  heaviest constant double precision := (select max(e.weight) from unnest(likes || unlikes) as e);
  dimensions constant integer := extensions.vector_dims((likes || unlikes)[1].embedding);
  after_score constant double precision := (page_after ->> 'score')::double precision;
  after_id constant bigint := (page_after ->> 'id')::bigint;
  best neural_search.candidate[];
begin
  best = array(
    with examples as materialized (
      select e.place, e.weight, e.embedding, true as is_like from unnest(likes) as e
      union all
      select e.place, e.weight, e.embedding, false from unnest(unlikes) as e
    ),
    levels as materialized (
      select e.place, l.same, l.strong, l.related
      from unnest(case when has_likes then likes else unlikes end) as e
      left join lateral neural_search.confidence_levels(
        options.model, coalesce(e.kind, options.query_kind),
        case when has_likes then e.embedding else neural_search.scaled(e.embedding, -1) end
      ) as l on true
    ),
    compared as (
      select d.id, d.object_id, d.object_version, by_examples.*,
        coalesce(by_examples.liked > coalesce(by_examples.unliked, '-Infinity'), false) as is_liked
      from neural_search.visible_vectors(search, ids) as d
      -- Into memory once: each comparison would read it from the table's wide values.
      cross join lateral (select extensions.subvector(d.embedding, 1, dimensions) as embedding offset 0) as one
      cross join lateral (
        select max(e.weight * (1 - e.distance)) filter (where e.is_like) as liked,
          max(e.weight * (1 - e.distance)) filter (where not e.is_like) as unliked,
          case when has_likes then 1 else -1 end * (1 - min(e.distance) filter (where e.is_like = has_likes)) as similarity,
          (array_agg(e.place order by e.distance, e.place) filter (where e.is_like = has_likes))[1] as nearest
        from (
          select x.*, x.embedding operator(extensions.<=>) one.embedding as distance from examples as x offset 0
        ) as e
      ) as by_examples
      where d.id <> all (left_out)
    ),
    scored as (
      select c.id, c.object_id, c.object_version, c.similarity, c.nearest, r.relevance,
        case when c.is_liked then 0.5 else -0.5 end * (r.signed / (1 + abs(r.signed)) + 1) as score,
        neural_search.confidence_of(c.similarity, v.same, v.strong, v.related) as confidence
      from compared as c
      join levels as v on v.place = c.nearest
      cross join lateral (
        select case when c.is_liked then c.liked else c.unliked end / heaviest as signed,
          case when c.is_liked then c.liked / heaviest else -2 - c.unliked / heaviest end as relevance -- the latter less
      ) as r
      where c.similarity > options.similarity_threshold and (
        reach = '-Infinity'
        or case when has_likes then c.is_liked and c.liked >= reach
          else -c.unliked >= reach - 1e-6 * heaviest end -- as exact as the directions' mean
      )
    )
    select row(
      k.id, k.similarity, k.confidence, k.score, k.relevance, case when has_likes then k.nearest end
    )::neural_search.candidate
    from (
      select s.* from scored as s
      where neural_search.is_confident(s.confidence, options.min_confidence)
        and (page_after is null or s.score < after_score or s.score = after_score and s.id > after_id)
      order by s.score desc, s.id offset 0
    ) as k
    where neural_search.can_see(k.object_id, k.object_version) -- asked of no more than are wanted
    limit wanted
  );
  if current_setting('neural_search.prepared', true) = 'on'
      and current_setting('neural_search.policy_failures', true) <> '' then
    raise 'A policy failed that had not before.'; -- and can_see hid the object
  end if;
  return best;
exception when query_canceled or assert_failure or others then
  perform neural_search.check_failure(sqlstate);
  if current_setting('neural_search.prepared', true) <> 'on' then
    perform neural_search.end_search(sqlstate, sqlerrm);
  end if;
  perform set_config('neural_search.prepared', 'off', true);
  return neural_search.best_scored(search, ids, reach, likes, unlikes, wanted, page_after, options);
end
$$;
comment on function neural_search.best_scored is
  'Of these documents, or of all, those after the page that score best, as far as the reach proves that no other does, '
  'best first.';


create or replace function neural_search.listed_ids(lists neural_search.nearest_list[], lowest double precision)
returns bigint[]
language sql immutable set search_path = '' as $$
  select array(
    select s.id from unnest(lists) as l, unnest(l.ids, l.scores) as s (id, score)
    where s.score >= lowest
    group by s.id order by max(s.score) desc, s.id limit case when lowest = '-Infinity' then 1000 end
  )
$$;
comment on function neural_search.listed_ids is
  'The lists'' documents of at least this score; of any score the first 1000, so that comparing them stays cheap.';


-- One list of the nearest for each direction: a document in none of them has at most the greatest reach of all. So
-- lists are made longer where they reach beyond the last candidate that is needed, and no others (the threshold algorithm
-- of Fagin, Lotem and Naor, 2003), and only candidates beyond all reaches are compared with all examples. More than those
-- wanted are needed where unlikes are nearer, or the page begins later.
create or replace function neural_search.best_by_lists(
  search neural_search.search, directions neural_search.example[], floors double precision[],
  likes neural_search.example[], unlikes neural_search.example[], wanted integer, depth integer, page_after jsonb,
  options neural_search.search_options
) returns neural_search.candidate[]
language plpgsql stable set search_path = '' as $$
declare
  left_out constant bigint[] := neural_search.stored_ids(likes || unlikes);
  noise constant double precision := 0.0001 * (select max(d.weight) from unnest(directions) as d); -- of half precision
  needed integer := wanted + coalesce((page_after ->> 'rank')::integer, 0);
  places integer[] := array(select generate_subscripts(directions, 1)); -- of the lists to be made, or made longer
  place integer;
  enough integer;
  longest integer;
  longer integer;
  lists neural_search.nearest_list[];
  beyond double precision; -- no document outside of all lists has more
  last_needed double precision;
  reach double precision;
  best neural_search.candidate[];
begin
  loop
    foreach place in array places loop
      search.floor = floors[place];
      lists[place] = neural_search.list_around(search, directions[place], depth);
      if (lists[place]).reach is null then
        return null;
      end if;
    end loop;
    beyond = (select case when bool_and(l.is_ended) then '-Infinity' else max(l.reach) end from unnest(lists) as l);
    last_needed = coalesce((
      select max(s.score) from unnest(lists) as l, unnest(l.ids, l.scores) as s (id, score)
      where s.id <> all (left_out) group by s.id order by 1 desc limit 1 offset needed - 1
    ), '-Infinity');
    places = array(
      select l.place from unnest(lists) with ordinality as l (is_ended, reach, ids, scores, place)
      where not l.is_ended and l.reach > last_needed - noise
    );
    enough = needed + cardinality(left_out) + 2;
    longest = least(1000, neural_search.most_listed() / greatest(cardinality(places), 1));
    longer = least(4 * depth, longest);
    if depth < enough then
      longer = least(longer, enough); -- lists of so many prove all that are needed, unless they end with equals
    end if;
    if cardinality(places) > 0 and longer > depth then
      depth = longer;
      continue;
    end if;
    reach = greatest(beyond, last_needed);
    best = neural_search.best_scored(
      search, neural_search.listed_ids(lists, reach), reach, likes, unlikes, wanted, page_after, options
    );
    if cardinality(best) >= wanted or reach = '-Infinity' then
      return best;
    end if;
    if last_needed <= beyond and (places = '{}' or depth >= longest) then
      -- No more can be proven to be the best: the other listed ones follow in their order, so that the page is full.
      return neural_search.best_scored(
        search, neural_search.listed_ids(lists, '-Infinity'), '-Infinity', likes, unlikes, wanted, page_after, options
      );
    end if;
    needed = 4 * needed;
    places = '{}';
  end loop;
end
$$;
comment on function neural_search.best_by_lists is
  'The best by score from the nearest to each direction, and where not enough of these can be proven to be it, the best of '
  'the nearest; null where the vectors'' index brings too few.';


-- Each costs about 0.02 ms, its policies included, and half as many again are come across.
create or replace function neural_search.most_listed() returns integer
language sql immutable set search_path = '' as $$
  select 10000
$$;
comment on function neural_search.most_listed is
  'How many documents the lists of a search by best_score hold at most, all of them together.';


-- Where the filter leaves little more than the lists would hold, or the index brings too few of the
-- documents that the caller may see, all of these are read once, instead of once for each direction.
create or replace function neural_search.find_by_best_score(
  likes neural_search.example[], unlikes neural_search.example[], wanted integer, page_after jsonb,
  options neural_search.search_options
) returns neural_search.candidate[]
language plpgsql stable set search_path = ''
set enable_sort = off set jit = off set plan_cache_mode = force_generic_plan -- as find_similar has them
as $$
declare
  directions constant neural_search.example[] := neural_search.search_directions(likes, unlikes);
  count constant integer := cardinality(directions);
  floors constant double precision[] := array(
    select case when cardinality(likes) > 0 then greatest(options.similarity_threshold, neural_search.level_of(
      options.min_confidence, l.same, l.strong, l.related
    ) - 1e-9) end
    from unnest(directions) as d left join lateral neural_search.confidence_levels(
      options.model, coalesce(d.kind, options.query_kind), d.embedding
    ) as l on options.min_confidence is not null
    order by d.place
  );
  first constant integer := wanted + coalesce((page_after ->> 'rank')::integer, 0) + 2;
  depth constant integer := least(first, 2 * first / count + 10, 1000, neural_search.most_listed() / count);
  search neural_search.search := neural_search.read_search(
    directions[1].embedding, options.similarity_threshold, wanted, 0, options.filter, options.model, options.query_kind,
    null, null
  );
  total constant double precision := neural_search.expected_objects();
  former text[] := neural_search.set_for_search();
  best neural_search.candidate[];
begin
  if total >= depth * count / 4.0 and not neural_search.narrows_to_few(search, sqrt(total * depth * count / 4)) then
    best = neural_search.best_by_lists(search, directions, floors, likes, unlikes, wanted, depth, page_after, options);
  end if;
  if best is null then
    best = neural_search.best_scored(search, null, '-Infinity', likes, unlikes, wanted, page_after, options);
  end if;
  former = neural_search.set_for_search(former);
  perform neural_search.log_failures();
  return best;
end
$$;
comment on function neural_search.find_by_best_score is
  'The best by score that the caller may see, the best first.';
