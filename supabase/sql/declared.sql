-- Declared visibility: an operator's word, by the policies, on a bucket, so that searches can begin with the few
-- images that a caller may see. It narrows and never grants: the policies are asked for each result all the same.
-- Callers: searches, as the caller; index_bucket and `neural-search doctor`, as the operator.

-- Leakproof conditions, each with an index, as those of filter_keys. A new one is a row here.
create or replace function neural_search.declared_keys() returns table (key text, condition text)
language sql immutable set search_path = '' as $$
  values
    ('owner', 'd.owner_id = %L'),
    ('folder', 'd.content ^@ (%L::text || ''/'')'),
    ('prefix', 'd.content ^@ %L')
$$;
comment on function neural_search.declared_keys is
  'The keys of visible_by, and the condition for each value that its expression has for the caller.';


-- Definer, because callers may not read the registered buckets. One where everybody may search is narrowed by nothing.
create or replace function neural_search.declarations(bucket text)
returns table (bucket_ids text[], visible_by jsonb)
language sql stable security definer set search_path = '' as $$
  select array_agg(b.bucket_id order by b.bucket_id), case when not b.public_search then b.visible_by end
  from neural_search.indexed_buckets as b
  where (declarations.bucket is null or b.bucket_id = declarations.bucket)
    and exists (select from neural_search.buckets as one where one.visible_by is not null)
  group by 2
$$;
comment on function neural_search.declarations is
  'The declarations of all indexed buckets, or of this one: a row for each declaration, one for none; no row where nothing '
  'is declared anywhere.';


-- As the caller, as policies are asked: an expression may call all that they call.
create or replace function neural_search.declared_values(expression text) returns text[]
language plpgsql stable strict set search_path = '' as $$
declare
  former text[];
  answer jsonb;
begin
  former = neural_search.act_as_storage(); -- as the policies are asked, whose words it may have
  answer = neural_search.ask(format(E'select pg_catalog.to_json(v.found) from (select (%s\n) as found) as v', expression));
  former = neural_search.act_as_storage(former);
  return case when jsonb_typeof(answer) = 'array' then array(select jsonb_array_elements_text(answer))
    when answer is not null then array[answer #>> '{}'] end;
exception when query_canceled or assert_failure or others then
  perform neural_search.check_failure(sqlstate);
  raise exception 'What is declared of a bucket''s visibility failed (SQLSTATE %).', sqlstate
    using errcode = 'object_not_in_prerequisite_state',
      hint = '`neural-search doctor` names it. Index the bucket anew with another declaration, or without.';
end
$$;
comment on function neural_search.declared_values is
  'The values that an expression of visible_by has for the caller; null where it narrows nothing for them.';


-- Every value becomes a condition of the statement: more than a hundred would take longer to plan than they spare.
create or replace function neural_search.declared_condition(visible_by jsonb) returns text
language sql stable strict set search_path = '' as $$
  select case when bool_and(v.found is not null) and sum(cardinality(v.found)) <= 100
    then coalesce(string_agg(c.condition, ' or '), 'false') end
  from jsonb_each_text(visible_by) as given
  join neural_search.declared_keys() as k on k.key = given.key
  cross join lateral (select neural_search.declared_values(given.value) as found) as v
  cross join lateral (select string_agg(format(k.condition, one), ' or ') as condition from unnest(v.found) as one) as c
$$;
comment on function neural_search.declared_condition is
  'A declaration as a condition on documents as d, for the caller; null where it narrows nothing for them.';


-- All are evaluated, those of other buckets too: the searches that a failing one ends would tell its bucket's name. Offset 0
-- keeps the planner from leaving out those that aren't needed.
create or replace function neural_search.declared_conditions(bucket text) returns text
language sql stable set search_path = '' as $$
  select ' and (' || string_agg(
    format('d.bucket_id = any (%L) and (%s)', c.bucket_ids, coalesce(c.condition, 'true')), ' or '
  ) || ')'
  from (
    select case when bucket is null then d.bucket_ids when bucket = any (d.bucket_ids) then array[bucket] end as bucket_ids,
      neural_search.declared_condition(d.visible_by) as condition
    from neural_search.declarations(null) as d offset 0
  ) as c
  where c.bucket_ids is not null
  having count(c.condition) > 0
$$;
comment on function neural_search.declared_conditions is
  'The declarations of all buckets or of one, as conditions on documents as d; null where it narrows nothing.';


create or replace function neural_search.check_declaration(visible_by jsonb) returns void
language plpgsql immutable set search_path = '' as $$
declare
  keys constant text := (select string_agg(k.key, ', ') from neural_search.declared_keys() as k);
  wrong text;
begin
  perform neural_search.check_that(
    jsonb_typeof(visible_by) = 'object' and visible_by <> '{}',
    format('visible_by is %s, expected an object.', left(visible_by::text, 100)),
    format('Give an SQL expression for one or more of %s.', keys)
  );
  select given.key into wrong
  from jsonb_each(visible_by) as given left join neural_search.declared_keys() as k on k.key = given.key
  where k.key is null or jsonb_typeof(given.value) <> 'string' limit 1;
  perform neural_search.check_that(
    not found, format('visible_by has %L, expected a string for one or more of %s.', left(wrong, 100), keys),
    'For example {"owner": "auth.uid()"}.'
  );
end
$$;
comment on function neural_search.check_declaration is 'Raises, with the remedy, for a visible_by that makes no sense.';


create or replace function neural_search.sample_callers(document_ids bigint[]) returns jsonb[]
language plpgsql stable set search_path = '' as $$
declare
  owners jsonb[] := array(
    select jsonb_build_object('role', 'authenticated', 'sub', d.owner_id)
    from neural_search.documents as d where d.id = any (document_ids) and d.owner_id is not null
    group by d.owner_id limit 20
  );
  users jsonb[] := '{}'::jsonb[];
begin
  if has_table_privilege(to_regclass('auth.users'), 'select') then
    users = array(
      select jsonb_build_object(
        'role', 'authenticated', 'sub', u.id, 'email', u.email,
        'app_metadata', u.raw_app_meta_data, 'user_metadata', u.raw_user_meta_data
      )
      from auth.users as u order by u.last_sign_in_at desc nulls last limit 20
    );
  end if;
  return array['{"role": "anon"}'::jsonb] || owners || users;
end
$$;
comment on function neural_search.sample_callers is
  'The claims of some who may search: anon, owners of these documents and, where the table may be read, the latest users.';


-- Foreign code runs in this: declared expressions, and functions that policies call. It could lay down a role that was merely
-- taken on (reset role), and go on as the operator; Postgres refuses that in a function that runs as its owner, which here is
-- the caller's role. Nothing of it stays, no settings either, as all is undone.
create or replace function neural_search.ask_as(claims jsonb, query text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  answer jsonb;
begin
  perform set_config('request.jwt.claims', claims::text, true), set_config('role', claims ->> 'role', true);
  create function pg_temp.neural_search_asked(query text) returns jsonb
  language plpgsql security definer set search_path = storage, public, extensions, pg_temp as $asked$
  declare
    answer jsonb;
  begin
    execute pg_catalog.format('select pg_catalog.jsonb_agg(pg_catalog.to_jsonb(a)) from (%s) as a', query) into answer;
    return answer;
  end
  $asked$;
  perform set_config('transaction_read_only', 'on', true); -- as PostgREST has it for searches
  execute 'select pg_temp.neural_search_asked($1)' into answer using query;
  raise exception using errcode = 'NS000';
exception when sqlstate 'NS000' then
  return coalesce(answer, '[]');
end
$$;
comment on function neural_search.ask_as is
  'The rows that a query answers to the caller of these claims, as PostgREST would ask it, in an array.';


create or replace function neural_search.hidden_by_declaration(bucket text)
returns table (caller text, content text)
language plpgsql set search_path = '' as $$
declare
  sample bigint[];
  visible_by constant jsonb := (select d.visible_by from neural_search.declarations(bucket) as d);
  claims jsonb;
  condition text;
begin
  if visible_by is null then
    return;
  end if;
  sample = array(select d.id from neural_search.documents as d where d.bucket_id = bucket order by random() limit 200);
  foreach claims in array neural_search.sample_callers(sample) loop
    condition = neural_search.ask_as(claims, -- of this bucket alone: another's may fail
      format('select neural_search.declared_condition(%L) as condition', visible_by)) #>> '{0, condition}';
    content = neural_search.ask_as(claims, format(
      'select d.content from neural_search.documents as d where d.id = any (%L) and (%s) is not true limit 1',
      sample, coalesce(condition, 'true')
    )) #>> '{0, content}';
    if content is not null then
      caller = coalesce('the user ' || (claims ->> 'sub'), claims ->> 'role');
      return next;
    end if;
  end loop;
end
$$;
comment on function neural_search.hidden_by_declaration is
  'For each of some callers an image that the policies show to them and that the bucket''s declaration hides.';
