-- Diversity: results without copies of each other, or more varied.
-- Callers: recommend_documents and search_documents, as the caller.

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
      from neural_search.found_documents(ids) as d
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
      select d.id, d.embedding from neural_search.found_documents(ids) as d
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
    select d.id, d.content, d.bucket_id, d.object_id, d.metadata
    from neural_search.found_documents(array(
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
