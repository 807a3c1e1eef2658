-- Lists of the nearest, and documents as copies of each other are told by: without their metadata.
do $$
begin
  if to_regtype('neural_search.nearest_list') is null then
    create type neural_search.nearest_list as (
      is_ended boolean,
      reach double precision,
      ids bigint[],
      scores double precision[]
    );
    create type neural_search.fingerprint as (
      content_hash text,
      perceptual_hash bit(64),
      width integer,
      height integer,
      model text,
      embedding extensions.vector
    );
  end if;
end
$$;
comment on type neural_search.nearest_list is
  'The nearest to one of several queries, each with its similarity times the query''s weight, and the reach that no document '
  'outside of it goes beyond; is_ended where none of those is wanted.';
comment on type neural_search.fingerprint is 'The columns of a document that are_duplicates compares.';

drop function if exists neural_search.are_duplicates(neural_search.documents, neural_search.documents);
drop function if exists neural_search.squashed(double precision);
drop function if exists neural_search.compared(extensions.vector, neural_search.example[]);
drop function if exists neural_search.best_score_pool(
  neural_search.example[], neural_search.example[], integer, neural_search.search_options
);
drop function if exists neural_search.find_candidates(
  text, neural_search.example[], neural_search.example[], integer, jsonb, neural_search.search_options
);
drop function if exists neural_search.best_scored(
  bigint[], double precision, neural_search.example[], neural_search.example[], integer, jsonb,
  neural_search.search_options
);
