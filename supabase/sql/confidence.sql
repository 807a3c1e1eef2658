-- Confidence: how much a similarity means, by the similarities of copies and strangers with this model.
-- Callers: match_documents and recommend_documents, as the caller.

-- Definer, because callers may not read the tables. It looks at nothing that is indexed: no bucket moves another's levels,
-- and none tells of hidden images. In plpgsql, which keeps the plan: it is called once for each search.
create or replace function neural_search.confidence_levels(
  model text, query_kind text, query extensions.vector
) returns table (same double precision, strong double precision, related double precision)
language plpgsql stable security definer set search_path = '' as $$
begin
  return query
  select
    coalesce(case when not exists ( -- an image like a picture without content has none itself: the query tells enough
      select from neural_search.blanks as b
      where b.model = confidence_levels.model and 1 - (b.embedding operator(extensions.<=>) query) > 0.6
    ) then c.same end, 'Infinity'),
    c.strong, c.related
  from neural_search.calibrations as c
  where c.query_kind = confidence_levels.query_kind and (c.model = confidence_levels.model or c.model is null)
  order by c.model nulls last limit 1;
end
$$;
comment on function neural_search.confidence_levels is
  'The least similarity that a result of this query needs for each level of confidence; no row where the model was '
  'measured for no such queries.';


create or replace function neural_search.check_confidence(name text, confidence text) returns void
language plpgsql immutable strict set search_path = '' as $$
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
  'A similarity''s confidence by the levels of a query; null where there are none.';
