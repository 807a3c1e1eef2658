-- A parameter that was never read.
drop function if exists neural_search.check_recommendation(
  integer, integer, text, integer, integer, double precision, text, text, text, integer
);
