-- Checks: what arguments must fulfil, and the errors that they raise.
-- Callers: the functions of all other chapters.

-- Null passes: most arguments may be left out.
create or replace function neural_search.check_that(
  is_met boolean, message text, remedy text, code text default 'invalid_parameter_value'
) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if not is_met then
    raise exception '%', message using errcode = code, hint = remedy;
  end if;
end
$$;
comment on function neural_search.check_that is 'Raises, with the remedy, where a condition isn''t met.';


create or replace function neural_search.check_range(
  name text, value integer, lowest integer, highest integer, remedy text
) returns void
language plpgsql immutable set search_path = '' as $$
begin
  perform neural_search.check_that(
    coalesce(value between lowest and highest, false),
    format('%s is %s, expected %s to %s.', name, coalesce(value::text, 'null'), lowest, highest), remedy
  );
end
$$;
comment on function neural_search.check_range is 'Raises, with the remedy, for a number out of its range, or null.';


create or replace function neural_search.check_vector(
  name text, embedding extensions.vector, model text, dimensions integer
) returns void
language plpgsql immutable set search_path = '' as $$
declare
  given constant integer := coalesce(extensions.vector_dims(embedding), 0);
begin
  perform neural_search.check_that(
    given = dimensions, format('%s has %s dimensions, the model %L has %s.', name, given, model, dimensions),
    'Embed it with the model that is named here.'
  );
  perform neural_search.check_that(
    extensions.vector_norm(embedding) > 0, format('%s is all zeros and has no direction.', name),
    'Check how it was embedded.'
  );
end
$$;
comment on function neural_search.check_vector is 'Raises, with the remedy, for an embedding of another length, or of none.';
