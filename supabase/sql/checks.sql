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


-- Before anything else is done with arguments: they would be copied, planned with and told back.
create or replace function neural_search.check_sizes(names text[], sizes integer[], most integer default 2000)
returns void
language plpgsql immutable set search_path = '' as $$
begin
  for place in 1 .. cardinality(names) loop
    if sizes[place] > most then
      raise exception '% has % bytes, expected at most %.', names[place], sizes[place], most
        using errcode = 'invalid_parameter_value', hint = 'Give a shorter one.';
    end if;
  end loop;
end
$$;
comment on function neural_search.check_sizes is 'Raises for arguments of more bytes than any of theirs has; none has null.';


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


-- A zero keeps its digits, too, which no comparison in a path tells: 0e-16383 is nine bytes of JSON, 16,385 as text.
create or replace function neural_search.zeros_are_short(value jsonb) returns boolean
language sql immutable set search_path = '' as $$
  select coalesce(max(scale(zero::numeric)) < 324, true)
  from jsonb_path_query(value, 'strict $.**{0 to 64} ? (@.type() == "number" && @ == 0)') as zero
$$;
comment on function neural_search.zeros_are_short is
  'Whether all zeros in JSON of at most 64 levels have no more digits than a double may need.';


-- Nine bytes of JSON, 1e131071, are 131,072 as text. No look goes deeper than 64 levels: 12,000 of them, which fit into
-- 24 kB, would exceed the stack. Without a SET clause, as live_objects: may_copy, of which it is a part, has none.
create or replace function neural_search.has_common_numbers(value jsonb) returns boolean
language sql immutable as $$
  select case
    when value @? 'strict $.**{65}' or value @?
      'strict $.**{0 to 64} ? (@.type() == "number" && (@.abs() >= 1e309 || @ != 0 && @.abs() < 1e-324))' then false
    when value @? 'strict $.**{0 to 64} ? (@.type() == "number" && @ == 0)' then neural_search.zeros_are_short(value)
    else true
  end
$$;
comment on function neural_search.has_common_numbers is
  'Whether all numbers in JSON of at most 64 levels are in the range of double precision, so that its text isn''t far '
  'longer than itself.';


create or replace function neural_search.check_json(name text, value jsonb, most integer) returns void
language plpgsql immutable set search_path = '' as $$
begin
  perform neural_search.check_that(
    pg_column_size(value) <= most,
    format('The JSON in %s has %s bytes, expected at most %s.', name, pg_column_size(value), most),
    'Give fewer or shorter values.'
  );
  perform neural_search.check_that(
    neural_search.has_common_numbers(value),
    format('The JSON in %s has a number beyond 1e309 or below 1e-324, which no double can be, a zero of as many digits, or more than 64 levels.', name),
    'Correct it or leave it out.'
  );
end
$$;
comment on function neural_search.check_json is
  'Raises, with the remedy, for JSON of more bytes, or with numbers whose text would be far longer, before any work on it.';


create or replace function neural_search.check_count(name text, count integer) returns void
language plpgsql immutable set search_path = '' as $$
begin
  perform neural_search.check_that(
    count <= 1000, format('%s are %s, expected at most 1000.', name, count), 'Ask for some at a time.'
  );
end
$$;
comment on function neural_search.check_count is 'Raises, with the remedy, for more than one call may name.';


create or replace function neural_search.is_outage(code text) returns boolean
language sql immutable set search_path = '' as $$
  select code ~ '^(08|40|53|57P)' or code in ('55P03', '57014')
$$;
comment on function neural_search.is_outage is
  'Whether a SQLSTATE speaks of the database or of a time-out, and not of the row that was worked on.';
