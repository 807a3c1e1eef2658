-- Confidence: how much a similarity means, by what similarities are usual in this collection.
-- Callers: match_documents and recommend_documents, as the caller; the schedule.
-- Objects: calibrations, backgrounds, background_samples, refresh_background, refresh_backgrounds, confidence_levels;
-- what is made of levels: check_confidence, level_of, confidence_of.

-- Reads at most some 2,000 pages of the table, however large it is, and what it drew. Where that brings too few, because
-- the model's documents are few among many, an index says which they are. If even those are too few, nothing that is
-- usual is known any more.
create or replace function neural_search.refresh_background(target_model text) returns boolean
language plpgsql set search_path = '' as $$
declare
  wanted constant integer := 256;
  fewest constant integer := 32; -- of fewer, an average would tell of the single ones
  pages constant integer := 2000;
  share constant double precision := least(
    100, 100.0 * pages * current_setting('block_size')::integer
      / greatest(pg_catalog.pg_relation_size('neural_search.documents'), 1)
  );
  newest constant bigint := (select coalesce(max(d.id), 0) from neural_search.documents as d);
  drawn bigint[] := array(
    select d.id from neural_search.documents as d tablesample system (share)
    where d.model = target_model order by random() limit wanted
  );
begin
  if cardinality(drawn) < fewest and share < 100 then
    drawn = array(
      select d.id from storage.buckets as b
      join neural_search.documents as d on d.bucket_id = b.id and d.model = target_model -- by documents_bucket_id_idx
      order by random() limit wanted
    );
  end if;
  delete from neural_search.background_samples as s where s.model = target_model;
  delete from neural_search.backgrounds as b where b.model = target_model;

  insert into neural_search.background_samples (model, document_id, embedding)
  select d.model, d.id, d.embedding::extensions.halfvec from neural_search.documents as d where d.id = any (drawn);

  insert into neural_search.backgrounds (model, sampled, pair_high, pair_deviation, last_document_id)
  select target_model, sample.size, pairs.high, pairs.deviation, newest
  from (
    select count(*) as size from neural_search.background_samples as s where s.model = target_model
  ) as sample,
  lateral (
    select percentile_cont(0.95) within group (order by pair.similarity) as high,
      stddev_samp(pair.similarity) as deviation
    from (
      select 1 - (one.embedding operator(extensions.<=>) other.embedding) as similarity
      from neural_search.background_samples as one
      join neural_search.background_samples as other
        on other.model = one.model and other.document_id > one.document_id
      where one.model = target_model
    ) as pair
  ) as pairs
  where sample.size >= fewest;
  return found;
end
$$;
comment on function neural_search.refresh_background is
  'Draws a model''s sample anew; whether there are documents enough to say what is usual.';


-- Cheap where there is nothing to do: it counts no documents, but how many ids were given out since, and of the sample
-- how much is gone.
create or replace function neural_search.refresh_backgrounds() returns integer
language plpgsql set search_path = '' as $$
declare
  newest constant bigint := (select coalesce(max(d.id), 0) from neural_search.documents as d);
  stale text;
  refreshed integer := 0;
begin
  if not pg_try_advisory_xact_lock(hashtext('neural_search.refresh_backgrounds')) then
    return 0; -- somebody else is at it
  end if;
  delete from neural_search.background_samples as s
  where not exists (select from neural_search.documents as d where d.id = s.document_id);

  for stale in
    select m.name
    from neural_search.models as m
    left join neural_search.backgrounds as b on b.model = m.name
    cross join lateral (
      select count(*) as size from neural_search.background_samples as s where s.model = m.name
    ) as left_over
    where m.state in ('active', 'standby') and case
      when b.model is null then exists (select from neural_search.documents as d where d.model = m.name)
      else left_over.size < 0.9 * b.sampled
        -- A tenth more documents than there were, or than the sample holds while that is all of them.
        or newest - b.last_document_id > greatest(b.last_document_id / 10, 10)
    end
  loop
    perform neural_search.refresh_background(stale);
    refreshed = refreshed + 1;
  end loop;
  return refreshed;
end
$$;
comment on function neural_search.refresh_backgrounds is
  'Draws anew the samples that a tenth of their documents came or went since; how many.';


-- What is the same as a picture without content is one itself, so that it is enough to know the query.
create or replace function neural_search.is_blank(model text, embedding extensions.vector) returns boolean
language sql stable set search_path = '' as $$
  select exists (
    select from neural_search.blanks as b
    where b.model = is_blank.model and 1 - (b.embedding operator(extensions.<=>) is_blank.embedding) > 0.6
  )
$$;
comment on function neural_search.is_blank is
  'Whether an embedding is that of a picture of one colour, or nearly; false where the model''s aren''t known.';


-- Definer, because callers may not read the sample, which holds images that they may not see. It tells quartiles of their
-- similarities to the query, rounded, of at least 32 images: whether one of them is there moves those by no more than a
-- rank. Which images these are it doesn't tell; by many queries somebody may learn how they lie in all. In plpgsql, which
-- keeps the plan: it is called once for each search.
create or replace function neural_search.confidence_levels(
  model text, query_kind text, query extensions.vector
) returns table (same double precision, strong double precision, related double precision)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  half constant extensions.halfvec := confidence_levels.query; -- once, and not for each image of the sample
  quartiles double precision[];
  size integer;
  known record;
  step double precision;
begin
  -- Of a measured model: by what copies and random pairs reach, which nothing that is indexed changes.
  return query
  select
    case when neural_search.is_blank(confidence_levels.model, confidence_levels.query) then 'Infinity'
      else coalesce(c.same, 'Infinity') end,
    c.strong, c.related
  from neural_search.calibrations as c
  where c.unit = 'similarity' and c.model = confidence_levels.model and c.query_kind = confidence_levels.query_kind;
  if found then
    return;
  end if;

  select percentile_cont(array[0.25, 0.75]) within group (order by 1 - (s.embedding operator(extensions.<=>) half)),
    count(*)
  into quartiles, size
  from neural_search.background_samples as s where s.model = confidence_levels.model;

  select c.unit, c.same, c.strong, c.related, b.pair_high, b.pair_deviation into known
  from neural_search.backgrounds as b, neural_search.calibrations as c
  where b.model = confidence_levels.model
    and c.query_kind = confidence_levels.query_kind and (c.model = b.model or c.model is null)
  order by c.model nulls last limit 1;
  if not found or size < 32 then
    return;
  end if;

  step = case known.unit
    when 'pair_high' then known.pair_high
    when 'pair_deviation' then known.pair_deviation
    when 'quartile_distance' then quartiles[2] - quartiles[1]
    when 'room' then 1 - quartiles[1]
    else 1
  end;
  same = round(coalesce(quartiles[1] + known.same * (1 - quartiles[1]), 'Infinity')::numeric, 4);
  -- What is the same image is related to it, however much alike all images here are.
  strong = round(least(quartiles[1] + known.strong * step, same)::numeric, 4);
  related = round(least(quartiles[1] + known.related * step, same)::numeric, 4);
  return next;
end
$$;
comment on function neural_search.confidence_levels is
  'The least similarity that a result of this query needs for each level of confidence; no row while fewer than 32 '
  'documents of the model are known.';


create or replace function neural_search.check_confidence(name text, confidence text) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if confidence not in ('same', 'strong', 'related', 'unrelated') then
    raise exception '% is %, expected same, strong, related or unrelated.', name, quote_literal(left(confidence, 100))
      using errcode = 'invalid_parameter_value', hint = case name
        when 'best_confidence' then 'Leave it out to be answered whatever the best result is.'
        else 'Leave it out for all results.'
      end;
  end if;
end
$$;
comment on function neural_search.check_confidence is 'Raises, with the remedy, for an argument that is no confidence.';


create or replace function neural_search.level_of(
  confidence text, same double precision, strong double precision, related double precision
) returns double precision
language sql immutable set search_path = '' as $$
  select case confidence when 'same' then same when 'strong' then strong when 'related' then related end
$$;
comment on function neural_search.level_of is
  'The least similarity of this confidence by the levels of a query; null where there is none.';


create or replace function neural_search.confidence_of(
  similarity double precision, same double precision, strong double precision, related double precision
) returns text
language sql immutable set search_path = '' as $$
  select case
    when similarity >= same then 'same'
    when similarity >= strong then 'strong'
    when similarity >= related then 'related'
    when related is not null then 'unrelated'
  end
$$;
comment on function neural_search.confidence_of is
  'What a similarity is worth by the levels of a query; null where there are none.';
