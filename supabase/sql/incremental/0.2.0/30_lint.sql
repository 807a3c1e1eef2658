-- Taken into their callers, and a parameter that was never read.
drop function if exists neural_search.check_lease_seconds(integer);
drop function if exists neural_search.check_words(double precision);
drop function if exists neural_search.lsh_statement(text, integer, text);
drop function if exists neural_search.check_recommendation(
  integer, integer, text, integer, integer, double precision, text, text, text, integer
);
