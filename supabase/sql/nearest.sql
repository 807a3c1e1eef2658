-- Nearest: the documents most similar to a query, by the way that finds them soonest.
-- Callers: find_page, as its caller.

-- Null where it brings too few: the missing ones aren't even known then.
create or replace function neural_search.walked(search neural_search.search, depth integer)
returns neural_search.match[]
language plpgsql stable set search_path = '' as $$
declare
  by_bits constant boolean := search.strategy = 'lsh';
  total constant double precision := neural_search.expected_objects();
  -- Where the look brings too few that the caller may see and the filter takes, pgvector goes on, no longer the nearest
  -- first: half as many again make up for that.
  needed constant integer := depth + depth / 2;
  -- Those that share most bits aren't the nearest: these are among many more.
  enough constant integer := case when by_bits then greatest(400, 4 * needed) else needed end;
  -- The yield of the first look into the index. No more than are wanted would miss some, and of more documents more: of
  -- 1,000,000, 52 held 0.965 of the ten nearest, and 72 held 0.979.
  looked integer := least(
    case when by_bits then enough else depth + 40 + 20 * log(greatest(total, 100000) / 100000) end, 1000
  );
  -- Where reading all there are begins to be cheaper.
  bound integer := least(greatest(25 * depth, total / 100), 20000);
  index constant regclass := to_regclass('neural_search.' || neural_search.index_name(search.model, search.strategy));
  came bigint; -- rows from the index, seen or not
  found neural_search.match[];
  too_few boolean;
  is_prepared boolean;
  again boolean;
begin
  if search.strategy = 'exact' then
    return null;
  end if;
  for attempt in 1 .. 2 loop
    perform neural_search.set_parameters(
      array['hnsw.iterative_scan', 'hnsw.ef_search', 'hnsw.max_scan_tuples'],
      array['relaxed_order', looked::text, bound::text]
    );
    came = pg_stat_get_xact_tuples_returned(index);
    found = neural_search.find_matches(search, search.strategy, enough);
    came = pg_stat_get_xact_tuples_returned(index) - came;
    too_few = (cardinality(found) >= needed or not by_bits and (found[cardinality(found)].similarity < search.floor
      or found[1].similarity < search.best_floor)) is not true;
    is_prepared = current_setting('neural_search.prepared', true) = 'on';
    -- At its bound pgvector brings the rows that it came across and left aside. Far beyond the look these are no longer the
    -- nearest: where the caller may not see hundreds that are, the look is to be that wide. Not where few are as similar as is
    -- wanted, or the look can't be wider; nor where all were compared without the index, as while it is being built. Where a
    -- policy failed, can_see is asked for each: to read all takes so long that a fifth of them is looked at before.
    again = came > 0 and case
      when not is_prepared then (too_few or came > 2 * looked) and bound < least(total / 5, 20000)
      when too_few then false
      when by_bits then cardinality(found) < enough or came > 2 * looked
      -- Rows that a filter leaves out mostly lie anywhere, so more of them may come.
      else looked < 1000 and cardinality(found) = enough and came > looked * case when search.narrowing = '' then 2 else 5 end
    end;
    exit when attempt = 2 or again is not true;
    -- As many are to be compared as without the hidden ones, unless that takes longer than reading all.
    if is_prepared and by_bits
        and total * cardinality(found) / came < least(enough * came / cardinality(found), 20000) then
      return null;
    end if;
    looked = least(2 * came, 1000);
    bound = case when is_prepared then 20000 else least(total / 5, 20000) end;
  end loop;
  return case when not too_few then found[:needed] end;
end
$$;
comment on function neural_search.walked is
  'More than so many of the nearest documents that the caller may see, by one scan of the vectors'' index, or by two.';


create or replace function neural_search.exact_way(search neural_search.search) returns text
language plpgsql stable set search_path = '' as $$
begin
  return case
    when search.declared or neural_search.expected_matches(search) < neural_search.expected_objects() / 20 then 'documents'
    -- A filter that leaves more would have can_see asked for each of them.
    when current_setting('neural_search.prepared', true) <> 'on' then 'visible'
    when neural_search.public_buckets() <> '{}' then 'documents'
    else 'objects'
  end;
end
$$;
comment on function neural_search.exact_way is 'How all that the caller may see and that a search wants is read.';


-- Not an array: beyond work_mem these are kept on the disk. Of the vectors no more than where they are kept.
create or replace function neural_search.visible_vectors(search neural_search.search, ids bigint[])
returns table (id bigint, object_id uuid, object_version text, embedding extensions.vector)
language plpgsql stable set search_path = storage, public, extensions as $$ -- it asks policies
declare
  without_query neural_search.search := search;
begin
  without_query.query = null;
  return query execute
    'select d.id, d.object_id, d.object_version, d.embedding from ('
    || case when ids is null then neural_search.search_statement(without_query, neural_search.exact_way(search))
      else 'select pg_catalog.unnest($2) as id' end
    || ') as listed cross join lateral ('
    ' select * from neural_search.documents as one where one.id = listed.id offset 0'
    ') as d'
    using search.query, ids;
end
$$;
comment on function neural_search.visible_vectors is
  'The vectors of these documents, or of all that a search wants, as far as the caller may see them.';


-- One way, in three steps, of which most searches take one.
create or replace function neural_search.nearest(search neural_search.search, depth integer)
returns neural_search.match[]
language plpgsql stable set search_path = '' as $$
declare
  found neural_search.match[];
begin
  -- 1. A filter that leaves few is answered from its own index, exactly.
  if neural_search.narrows_to_few(search, sqrt(neural_search.expected_objects() * depth)) then
    return neural_search.find_matches(search, 'documents', depth);
  end if;

  -- 2. One scan of the vectors' index.
  found = neural_search.walked(search, depth);
  if found is not null then
    return found;
  end if;

  -- 3. All that the caller may see, read exactly.
  return neural_search.find_matches(search, neural_search.exact_way(search), depth);
end
$$;
comment on function neural_search.nearest is
  'So many or more of the nearest documents that the caller may see, or all there are.';
