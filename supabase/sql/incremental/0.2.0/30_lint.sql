-- Taken into their callers.
drop function if exists neural_search.check_lease_seconds(integer);
drop function if exists neural_search.check_embedding(text, extensions.vector);
drop function if exists neural_search.check_words(double precision);
drop function if exists neural_search.lsh_statement(text, integer, text);
drop function if exists neural_search.check_query(
  extensions.vector, text, integer, double precision, integer, integer, text, text, text
);
drop function if exists neural_search.reweighed(neural_search.example[], double precision);
drop function if exists neural_search.best_score_candidates(
  neural_search.example[], neural_search.example[], integer, jsonb, neural_search.search_options
);
drop function if exists neural_search.is_blank(text, extensions.vector);
drop function if exists neural_search.search_parameters();
drop function if exists neural_search.search_settings();
drop function if exists neural_search.forget(uuid);
drop function if exists neural_search.kick(jsonb, boolean);
drop function if exists neural_search.note_burst(text);
drop function if exists neural_search.identity_of(jsonb);
drop function if exists neural_search.first_depth(integer, jsonb);
drop function if exists neural_search.check_depth(bigint);
-- Other arguments or results than before the release.
drop function if exists neural_search.note_request(text[]);
drop function if exists neural_search.copy_again(storage.objects);
drop function if exists neural_search.queue_missing(integer, text, text, integer);
drop function if exists neural_search.write_words();
drop function if exists neural_search.attach_words();
drop function if exists neural_search.lease_due(text, smallint, integer, integer, uuid);
drop function if exists public.search_documents(
  extensions.vector, text, double precision, double precision, integer, integer, jsonb, jsonb, text, text, text, text
);
drop function if exists neural_search.find_similar(
  extensions.vector, double precision, integer, integer, jsonb, jsonb, text, text, text, text
);
drop function if exists neural_search.average_pool(
  neural_search.example[], neural_search.example[], integer, jsonb, neural_search.search_options
);
