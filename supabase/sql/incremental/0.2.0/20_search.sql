-- Functions whose arguments changed, and the options that searches hand on as one.
drop function if exists neural_search.check_page(jsonb);
drop function if exists public.recommend_documents(
  jsonb, jsonb, text, integer, integer, jsonb, double precision, text, double precision, text, text, text, text
);
drop function if exists neural_search.average_candidates(
  neural_search.example[], neural_search.example[], integer, boolean, jsonb, double precision, text, text, text, text
);
drop function if exists neural_search.best_score_pool(
  neural_search.example[], neural_search.example[], integer, jsonb, double precision, text, text, text
);
drop function if exists neural_search.best_score_candidates(
  neural_search.example[], neural_search.example[], integer, jsonb, double precision, text, text, text
);
drop function if exists neural_search.check_recommendation(
  integer, integer, text, integer, integer, double precision, text, text, text, integer
);

do $$
begin
  if to_regtype('neural_search.search_options') is null then
    create type neural_search.search_options as (
      filter jsonb,
      similarity_threshold double precision,
      model text,
      query_kind text,
      min_confidence text,
      best_confidence text
    );
  end if;
end
$$;
comment on type neural_search.search_options is 'The arguments of match_documents that recommend_documents hands on.';
