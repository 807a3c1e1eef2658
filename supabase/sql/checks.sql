-- Checks: conditions of arguments, and the errors that they raise.
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


-- Plain conditions here: each search asks these several times.
create or replace function neural_search.check_range(
  name text, value integer, lowest integer, highest integer, remedy text
) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if (value between lowest and highest) is not true then
    raise exception '% is %, expected % to %.', name, coalesce(value::text, 'null'), lowest, highest
      using errcode = 'invalid_parameter_value', hint = remedy;
  end if;
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
  if given <> dimensions then
    raise exception '% has % dimensions, the model % has %.', name, given, quote_literal(model), dimensions
      using errcode = 'invalid_parameter_value', hint = 'Embed it with the model that is named here.';
  elsif extensions.vector_norm(embedding) = 0 then
    raise exception '% is all zeros and has no direction.', name
      using errcode = 'invalid_parameter_value', hint = 'Check how it was embedded.';
  end if;
end
$$;
comment on function neural_search.check_vector is
  'Raises, with the remedy, for an embedding of another length, or of none.';
