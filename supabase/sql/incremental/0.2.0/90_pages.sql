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
drop function if exists neural_search.described(bigint[], text);
drop type if exists neural_search.description;
