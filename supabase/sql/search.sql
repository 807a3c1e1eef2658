-- Search: the functions that find documents.
-- Callers: the query function and any client, as anon, authenticated or service_role.

-- Definer, because callers may not read the table of models; the answer is the same for all.
create or replace function public.active_model() returns table (name text, dimensions integer)
language sql stable security definer set search_path = '' as $$
  select m.name, m.dimensions from neural_search.models as m where m.state = 'active'
$$;
comment on function public.active_model is 'The model that searches use, and the length of its vectors.';


-- Definer, because callers may not read the table of models; which there are is no secret.
create or replace function neural_search.searchable_model(model text)
returns table (name text, dimensions integer, search_strategy text)
language plpgsql stable security definer set search_path = '' as $$
begin
  return query select m.name, m.dimensions, m.search_strategy from neural_search.models as m
    where case when model is null then m.state = 'active' else m.name = model and m.state <> 'retired' end;
  if found then
    return;
  elsif model is null then
    raise exception 'No model is active.'
      using errcode = 'object_not_in_prerequisite_state', hint = 'Activate one of neural_search.models.';
  end if;
  raise exception 'model is %, expected one that is active or standby.', quote_literal(left(model, 100))
    using errcode = 'invalid_parameter_value', hint = 'Leave it out to search with the one that active_model() names.';
end
$$;
comment on function neural_search.searchable_model is
  'The model of this name, by default the active one; raises, with the remedy, where it can''t be searched.';


-- `ranked_by`: similarity, or score in recommend_documents and search_documents.
create or replace function neural_search.check_page(
  page_after jsonb, ranked_by text, greatest_value double precision default 1.1
) returns void
language plpgsql immutable strict set search_path = '' as $$
begin
  perform neural_search.check_json('page_after', page_after, 2000);
  perform neural_search.check_that(
    coalesce(
      jsonb_typeof(page_after) = 'object' and page_after @? 'strict $.id ? (@.type() == "number")'
      and jsonb_path_exists(
        page_after -> ranked_by, 'strict $ ? (@ >= -1.1 && @ <= $most)', jsonb_build_object('most', greatest_value)
      )
      and page_after ->> 'id' ~ '^\d{1,18}$' and coalesce(page_after ->> 'rank', '0') ~ '^\d{1,9}$'
      and page_after - array['id', 'rank', ranked_by] = '{}', false
    ),
    format('page_after is %s, expected {"%s": …, "id": …, "rank": …}.', left(page_after::text, 100), ranked_by),
    format('Give %s and id of the last result that you have, and how many there were up to it.', ranked_by)
  );
  perform neural_search.check_range( -- so far is looked at once, for any caller
    'page_after.rank', coalesce((page_after ->> 'rank')::integer, 0), 0, 10000,
    'Give 10000 where there were more: it only says how far to look at first.'
  );
end
$$;
comment on function neural_search.check_page is 'Raises, with the remedy, for a page that can''t follow any result.';


-- By hand and not by SET clauses: a role that is no superuser can't name pgvector's parameters in those before the
-- session has loaded it. check_vector has loaded it by the time that this is called.
create or replace function neural_search.set_parameters(names text[], settings text[]) returns text[]
language plpgsql set search_path = '' as $$
declare
  former text[];
begin
  if array_to_string(names, ' ') !~ '^((hnsw\.\w+|neural_search\.prepared|storage\.operation|request\.method) ?)+$' then
    raise exception 'names are %, expected those that a search sets.', names -- `role` least of all
      using errcode = 'invalid_parameter_value', hint = 'Set others by set_config.';
  end if;
  for i in 1 .. cardinality(names) loop
    former[i] = coalesce(current_setting(names[i], true), '');
    settings[i] = set_config(names[i], settings[i], true); -- assigned, because a perform takes ten times as long
  end loop;
  return former;
end
$$;
comment on function neural_search.set_parameters is
  'Sets parameters until the end of the transaction; returns their former values, for restoring them.';


create or replace function neural_search.set_for_search(
  settings text[] default array['on', 'off', '100', '20000', '8'] || neural_search.storage_settings()
) returns text[]
language sql set search_path = '' as $$
  select neural_search.set_parameters(
    array['neural_search.prepared', 'hnsw.iterative_scan', 'hnsw.ef_search', 'hnsw.max_scan_tuples',
      'hnsw.scan_mem_multiplier'] || neural_search.storage_parameters(),
    settings
  )
$$;
comment on function neural_search.set_for_search is
  'Sets the parameters that a search begins with, or the former values that it returned then.';


create or replace function neural_search.find_matches(search neural_search.search, way text, depth integer)
returns neural_search.match[]
language plpgsql stable set search_path = storage, public, extensions as $$ -- it asks policies
declare
  found neural_search.match[];
begin
  begin
    execute neural_search.scored_statement(search, way) into found using search.query, depth, search.weight, search.lexemes;
    if current_setting('neural_search.explain', true) = 'on' then
      raise log 'neural-search looked for % by the way of %: % found', depth, way, pg_catalog.cardinality(found);
    end if;
    return found;
  exception when query_canceled or assert_failure or others then
    perform neural_search.check_failure(sqlstate);
    if not neural_search.policies_work() then
      return '{}'::neural_search.match[];
    elsif current_setting('neural_search.prepared', true) <> 'on' then
      perform neural_search.end_search(sqlstate, sqlerrm);
    end if;
  end;
  -- A policy failed on some object. From here on can_see is asked for each that is come across, which hides those.
  perform set_config('neural_search.prepared', 'off', true);
  return neural_search.find_matches(
    search, case when way in ('documents', 'objects') then neural_search.exact_way(search) else way end, depth
  );
end
$$;
comment on function neural_search.find_matches is
  'So many matches or all there are, found in this way, the nearest first, or those with the best score where words are '
  'read.';


-- The policies have shown them all; the question left is whether their objects are still there. As can_see asks it, but
-- once for all of them, unless a policy fails here that didn't before.
create or replace function neural_search.seen_among(matches neural_search.match[], wanted integer, skipped integer)
returns neural_search.match[]
language plpgsql stable set search_path = storage, public, extensions set plan_cache_mode = force_custom_plan -- it asks policies
as $$
begin
  if current_setting('neural_search.prepared', true) = 'on' then
    begin
      return array(
        select row(m.*)::neural_search.match from pg_catalog.unnest(matches) as m
        where coalesce((
            -- A scalar one, as in the policy: an EXISTS would be a hash of all objects.
            select true from neural_search.live_objects() as o
            where o.id = m.object_id and coalesce(o.version, '') = m.object_version
          ), false)
          or neural_search.is_public(m.object_id, m.object_version)
        limit wanted offset skipped
      );
    exception when query_canceled or assert_failure or others then
      perform neural_search.check_failure(sqlstate);
    end;
  end if;
  return array(
    select row(m.*)::neural_search.match from pg_catalog.unnest(matches) as m
    where neural_search.can_see(m.object_id, m.object_version) limit wanted offset skipped
  );
end
$$;
comment on function neural_search.seen_among is
  'Of these matches those that the caller may see, in their order: so many, after so many that are skipped.';


create or replace function neural_search.read_search(
  query_embedding extensions.vector, similarity_threshold double precision, match_count integer, skip_count integer,
  filter jsonb, model text, query_kind text, min_confidence text, best_confidence text
) returns neural_search.search
language plpgsql stable set search_path = '' as $$
declare
  narrow constant jsonb := coalesce(filter, '{}');
  others text; -- conditions that no index may serve
  declared text;
  search neural_search.search;
begin
  select m.* into search.model, search.dimensions, search.strategy from neural_search.searchable_model(model) as m;
  perform neural_search.check_vector('query_embedding', query_embedding, search.model, search.dimensions);
  search.threshold = coalesce(similarity_threshold, 0);
  perform neural_search.check_that(
    search.threshold <> 'NaN', 'similarity_threshold is NaN, expected a number from -1 to 1.',
    'Leave it out for all results above 0.'
  );
  perform neural_search.check_range(
    'match_count', match_count, 0, 1000, 'Page through more results with skip_count or page_after.'
  );
  perform neural_search.check_range('skip_count', skip_count, 0, 10000, 'Page through more results with page_after.');
  perform neural_search.check_that(
    query_kind in ('image', 'text', 'mixed'), format('query_kind is %L, expected image, text or mixed.', left(query_kind, 100)),
    'Say what query_embedding was made from.'
  );
  perform neural_search.check_confidence('min_confidence', min_confidence);
  perform neural_search.check_confidence('best_confidence', best_confidence);
  if narrow <> '{}' then
    perform neural_search.check_filter(narrow);
  end if;
  -- Of unit length: half precision has no place for very long or very short vectors.
  search.query = extensions.l2_normalize(query_embedding);
  select l.* into search.same, search.strong, search.related
  from neural_search.confidence_levels(search.model, query_kind, search.query) as l;
  search.floor = greatest(
    search.threshold, neural_search.level_of(min_confidence, search.same, search.strong, search.related)
  );
  search.best_floor = neural_search.level_of(best_confidence, search.same, search.strong, search.related);
  search.narrowing = case when narrow = '{}' then '' else neural_search.filter_conditions(narrow, true) end;
  others = case when narrow ? 'metadata' then neural_search.filter_conditions(narrow, false) else '' end;
  if not row_security_active('neural_search.documents') then
    search.narrowing = search.narrowing || others; -- every index may be used
    -- Not even a caller exempt from policies is to find objects that aren't there any more.
    search.conditions = search.narrowing || ' and (select true from storage.objects as o'
      ' where o.id = d.object_id and coalesce(o.version, '''') = d.object_version)';
  else
    declared = neural_search.declared_conditions(narrow ->> 'bucket');
    search.declared = declared is not null;
    search.narrowing = concat(search.narrowing, declared, ' and d.id = any ('
      || quote_literal(neural_search.ids_with_metadata(search.model, narrow -> 'metadata')::text) || ')');
    search.conditions = search.narrowing || others;
  end if;
  search.objects = concat(' and o.bucket_id = ' || quote_literal(narrow ->> 'bucket'),
    ' and o.name ^@ ' || quote_literal(narrow ->> 'prefix'));
  return search;
end
$$;
comment on function neural_search.read_search is 'The arguments of a search, checked; raises, with the remedy.';


-- page_after, checked, has the score of the last result in its similarity or score.
create or replace function neural_search.following(
  matches neural_search.match[], search neural_search.search, page_after jsonb
) returns neural_search.match[]
language plpgsql immutable set search_path = '' as $$
declare
  after_score constant double precision := coalesce(page_after ->> 'score', page_after ->> 'similarity')::double precision;
  after_id constant bigint := (page_after ->> 'id')::bigint;
begin
  return array(
    select row(m.*)::neural_search.match from (select distinct on (m.score, m.id) m.* from unnest(matches) as m) as m
    where m.similarity > search.threshold and m.similarity >= search.floor
      and (page_after is null or m.score < after_score or m.score = after_score and m.id > after_id)
    order by m.score desc, m.id
  );
end
$$;
comment on function neural_search.following is 'Of these matches those that follow a page, each once, by score.';


create or replace function neural_search.last_one(
  matches neural_search.match[], depth integer, floor double precision
) returns neural_search.match
language plpgsql immutable set search_path = '' as $$
begin
  return case when cardinality(matches) >= depth and matches[cardinality(matches)].similarity >= floor
    then matches[cardinality(matches)] end;
end
$$;
comment on function neural_search.last_one is 'The last of so many matches; null where these are all that may be wanted.';


-- The threshold algorithm of Fagin, Lotem and Naor (Optimal aggregation algorithms for middleware, 2003): the nearest
-- documents, those with rare words, and those with so many of the common ones are read until no other can have a better
-- score than the last of the page. Without words the similarity is the score.
create or replace function neural_search.find_page(
  search neural_search.search, wanted integer, page_after jsonb
) returns neural_search.match[]
language plpgsql stable set search_path = '' as $$
declare
  -- With some to spare, pages follow each other.
  depth integer := wanted + 2 + case
    when page_after is null then 0 else 1 + coalesce((page_after ->> 'rank')::integer, 0)
  end;
  -- What is read without an index is in its order, equals by id. An index orders by half precision, and equals not at all:
  -- they are to come in the order of their ids, as long as they aren't a thousand.
  noise constant double precision := case when search.strategy = 'exact' then 0 else 0.0001 end;
  rare text[] := '{}'::text[];
  common text[] := '{}'::text[];
  looked integer;
  found neural_search.match[];
  named neural_search.match[];
  ended neural_search.match; -- the last of these
  all_named neural_search.match[] := '{}'::neural_search.match[]; -- with so many of the common words, any of them
  most integer;
  page neural_search.match[];
  last neural_search.match; -- of the page
  beyond neural_search.match; -- no other document is more similar, or as similar by a lower id
  best neural_search.match; -- nor has any that was to be found by its words a better score, or that one by a lower id
  lead double precision; -- of the page's last result before all that may be left
begin
  <<deeper>>
  loop
    if search.lexemes <> '{}' then
      select coalesce(array_agg(r.lexeme) filter (where not r.is_common), '{}'),
          coalesce(array_agg(r.lexeme) filter (where r.is_common), '{}')
        into rare, common from neural_search.rarest_first(search.lexemes, depth) as r;
    end if;
    -- Where words are common, the nearest may have them. Looked for beside rare ones, too: else a search's results would
    -- tell which words are common among hidden documents.
    looked = depth + case when search.lexemes <> '{}' then least(3 * depth, 100) else 0 end;
    found = neural_search.nearest(search, looked);
    beyond = neural_search.last_one(found, looked, search.floor);
    found = found || all_named;
    best = null;
    if rare <> '{}' and beyond.id is not null then
      search.read_lexemes = rare;
      named = neural_search.find_matches(search, 'words', depth);
      found = found || named;
      best = neural_search.last_one(named, depth, search.floor);
    end if;
    for fewest in reverse least(cardinality(common), most) .. 0 loop
      page = neural_search.seen_among(neural_search.following(found, search, page_after), wanted, 0);
      -- Reckoned as scored_statement does it, to the last bit.
      beyond.score = beyond.similarity + coalesce(search.weight * fewest / nullif(cardinality(search.lexemes), 0), 0);
      last = page[wanted];
      lead = last.score - greatest(best.score, beyond.score);
      exit deeper when beyond.id is null and best.id is null or found[1].similarity < search.best_floor
        or cardinality(page) = wanted and (wanted = 0
          or lead > case when depth > 1000 + wanted then -noise else noise end
          or noise = 0 and fewest = 0 and lead = 0 -- more words and less similar come to the same score by any id
            and (last.score > best.score or last.id <= best.id) is not false
            and (last.score > beyond.score or last.id <= beyond.id) is not false);
      exit when fewest = 0 or lead > -noise; -- only equals are left: those with fewer words tell nothing of them
      named = neural_search.nearest_with_words(search, common, fewest, depth);
      found = found || named;
      ended = neural_search.last_one(named, depth, search.floor);
      if ended.id is null then
        all_named = named; -- the deeper looks, whose common words are among these, would find no others
        most = fewest - 1;
      elsif (best.score, -best.id) >= (ended.score, -ended.id) is not true then
        best = ended;
      end if;
    end loop;
    perform neural_search.check_that( -- each round reads four times as much, and holds it
      depth <= 50000, format('The page lies deeper than %s results.', depth),
      'Narrow the search by filter, or ask for what is more similar by similarity_threshold.'
    );
    depth = 4 * depth;
  end loop;
  -- The best of all decides for every page; a later one says enough where it is as near.
  if page[1].similarity < search.best_floor then
    found = array(select row(m.*)::neural_search.match from unnest(found) as m where m.similarity >= search.best_floor);
    if neural_search.seen_among(found, 1, 0) = '{}' then
      page = '{}';
    end if;
  end if;
  return page;
end
$$;
comment on function neural_search.find_page is
  'A page of the documents with the best scores that the caller may see; none where the nearest of all is below best_floor.';


create or replace function neural_search.find_similar(
  query_embedding extensions.vector, similarity_threshold double precision, match_count integer, skip_count integer,
  filter jsonb, page_after jsonb, model text, query_kind text, min_confidence text, best_confidence text,
  query_text text default null, weight double precision default 0
) returns table (id bigint, similarity double precision, confidence text, score double precision, source smallint)
language plpgsql stable set search_path = ''
-- Without sorting for once: where the index is to be walked, the planner is to walk it. Where it has to sort all the
-- same, that looks so dear that it would have the statement compiled. Generic plans, since the few statements of ours
-- would else be planned anew for each search, which takes longer than they do.
set enable_sort = off set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  wanted constant integer := coalesce(match_count, 10);
  skipped constant integer := coalesce(skip_count, 0);
  search neural_search.search := neural_search.read_search(
    query_embedding, similarity_threshold, wanted, skipped, filter, model, query_kind, min_confidence, best_confidence
  );
  former text[] := neural_search.set_for_search();
  page neural_search.match[];
begin
  if weight > 0 then
    search.weight = weight;
    search.lexemes = array(
      select l.lexeme from neural_search.lexemes(query_text, neural_search.text_configuration()) as l
      order by l.place limit 16
    );
  end if;
  page = (neural_search.find_page(search, wanted + skipped, page_after))[skipped + 1:];
  former = neural_search.set_for_search(former);
  perform neural_search.log_failures();

  return query
  select m.id, m.similarity, neural_search.confidence_of(m.similarity, search.same, search.strong, search.related),
    m.score, m.source
  from unnest(page) as m;
end
$$;
comment on function neural_search.find_similar is
  'match_documents and, with words of a weight, search_documents, of which nothing wide is read.';


-- On the way to a page a search comes across thousands: wide columns, metadata above all, are read of the page alone.
create or replace function public.match_documents(
  query_embedding extensions.vector,
  similarity_threshold double precision default 0,
  match_count integer default 10,
  skip_count integer default 0,
  filter jsonb default '{}',
  page_after jsonb default null,
  model text default null,
  query_kind text default 'image',
  min_confidence text default null,
  best_confidence text default null
) returns table (
  id bigint, content text, similarity double precision, bucket_id text, object_id uuid, metadata jsonb, confidence text
)
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan -- as find_similar has it
as $$
begin
  perform neural_search.check_sizes('{model,query_kind,min_confidence,best_confidence}', array[
    octet_length(model), octet_length(query_kind), octet_length(min_confidence), octet_length(best_confidence)
  ]);
  perform neural_search.check_page(page_after, 'similarity');
  if not neural_search.policies_work() then
    return;
  end if;
  return query
  with found as materialized (
    select f.* from neural_search.find_similar(
      query_embedding, similarity_threshold, match_count, skip_count, filter, page_after, model,
      coalesce(query_kind, 'image'), min_confidence, best_confidence
    ) as f
  )
  select f.id, d.content, f.similarity, d.bucket_id, d.object_id, d.metadata, f.confidence
  from found as f
  join neural_search.found_documents(array(select w.id from found as w)) as d on d.id = f.id
  order by f.similarity desc, f.id;
end
$$;
comment on function public.match_documents is
  'The documents nearest to query_embedding that the caller may see, by the active model or the one named: similarity '
  'is 1 - cosine distance, above similarity_threshold, the best first, equals by id. None where the best has less than '
  'best_confidence.';
