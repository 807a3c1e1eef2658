-- Wide columns are read for the final page alone.
alter type neural_search.match
  drop attribute if exists content, drop attribute if exists bucket_id, drop attribute if exists metadata;
comment on type neural_search.match is
  'A document that a search came across, with all that decides about it; its score, and where it has words of the query '
  '(words.source).';
alter type neural_search.candidate
  drop attribute if exists content, drop attribute if exists bucket_id, drop attribute if exists object_id,
  drop attribute if exists metadata, drop attribute if exists embedding;
drop function if exists neural_search.average_pool(
  neural_search.example[], neural_search.example[], integer, boolean, jsonb, neural_search.search_options
);
drop function if exists neural_search.average_candidates(
  neural_search.example[], neural_search.example[], integer, boolean, jsonb, neural_search.search_options
);

do $$
begin
  if to_regtype('neural_search.description') is null then
    create type neural_search.description as (id bigint, content text, bucket_id text, object_id uuid, metadata jsonb);
  end if;
end
$$;
comment on type neural_search.description is 'A document as callers are told of it.';
