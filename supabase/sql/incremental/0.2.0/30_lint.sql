-- Taken into their callers.
drop function if exists neural_search.check_lease_seconds(integer);
drop function if exists neural_search.check_embedding(text, extensions.vector);
drop function if exists neural_search.check_words(double precision);
drop function if exists neural_search.lsh_statement(text, integer, text);
drop function if exists neural_search.check_query(
  extensions.vector, text, integer, double precision, integer, integer, text, text, text
);
drop function if exists neural_search.reweighed(neural_search.example[], double precision);
