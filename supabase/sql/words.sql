-- Words: the names and the metadata of images, beside their pixels.
-- Callers: the trigger on documents, as the role that changes one; search_documents, as the caller.

-- Definer, because callers may not read the table; how words are compared is no secret.
create or replace function neural_search.text_configuration() returns regconfig
language sql stable security definer set search_path = '' as $$
  select t.configuration::regconfig from neural_search.text_search as t
$$;
comment on function neural_search.text_configuration is 'The text search configuration that lexemes are made by.';


-- To put combining marks in their order, Postgres takes a time that grows with the square of their number. A combining
-- grapheme joiner ends a run of them, as in the stream-safe format of Unicode's annex 15, and is taken out again.
create or replace function neural_search.composed(source text) returns text
language sql immutable set search_path = '' as $$
  select left(replace(
    normalize(regexp_replace(source, '([^\u0001-\u007f]{200})', '\1' || chr(847), 'g'), nfkc), chr(847), ''
  ), length(source))
$$;
comment on function neural_search.composed is
  'A text in the form NFKC, no longer than it was; marks stay in their order beyond 200 characters without one of ASCII.';


-- Camel case, digits and ASCII's other non-letters separate words: which other letters there are depends on the
-- database's locale, and is left to the parser. Composed, because macOS uploads names in decomposed characters. Words
-- that say nothing of a picture are left out by a list: frequency would tell of hidden rows. 4,000 characters,
-- words of at most 64.
create or replace function neural_search.lexemes(source text, configuration regconfig)
returns table (lexeme text, place integer)
language sql stable set search_path = '' as $$
  with words as (
    select lower(w.word) as word, w.place
    from regexp_split_to_table(
      regexp_replace(
        regexp_replace(neural_search.composed(left(source, 4000)), '([[:lower:]])([[:upper:]])', '\1 \2', 'g'),
        '([[:upper:]])([[:upper:]][[:lower:]])', '\1 \2', 'g'
      ),
      '[\u0001-\u0040\u005b-\u0060\u007b-\u007f]+'
    ) with ordinality as w (word, place)
  )
  select l.lexeme, min(l.positions[1])::integer
  from unnest(to_tsvector(configuration, (
    select string_agg(w.word, ' ' order by w.place)
    from words as w
    where length(w.word) <= 64 and w.word !~ '^[a-z]?$' and w.word <> all (array[
      'avif', 'bmp', 'gif', 'heic', 'heif', 'ico', 'jpeg', 'jpg', 'png', 'svg', 'tif', 'tiff', 'webp',
      'cimg', 'dcim', 'dji', 'dsc', 'dscf', 'dscn', 'gopr', 'image', 'images', 'img', 'imgp', 'mvimg', 'photo', 'photos',
      'pic', 'pict', 'pics', 'picture', 'pictures', 'pxl', 'vid',
      'an', 'and', 'at', 'by', 'for', 'from', 'in', 'is', 'of', 'on', 'or', 'the', 'to', 'with'
    ])
  ))) as l
  group by l.lexeme
$$;
comment on function neural_search.lexemes is
  'The lexemes in a path or in any text, and where they come first; without numbers, single letters, file types, '
  'cameras'' names for files, and little words.';


-- The path without its file's type; of the metadata strings and lists of strings, not their keys. At most 100 in all.
create or replace function neural_search.words_of(content text, metadata jsonb)
returns table (lexeme text, source smallint)
language sql stable set search_path = '' as $$
  with configured as materialized (select neural_search.text_configuration() as configuration),
  strings as (
    select item.value #>> '{}' as string
    from jsonb_each(case jsonb_typeof(metadata) when 'object' then metadata else '{}' end) as given,
      jsonb_array_elements(
        case jsonb_typeof(given.value) when 'array' then given.value else jsonb_build_array(given.value) end
      ) as item
    where jsonb_typeof(item.value) = 'string'
  ),
  found as (
    select l.lexeme, l.place, 1 as source
    from configured as c, neural_search.lexemes(content, c.configuration) as l
    union all
    select l.lexeme, l.place, 2
    from configured as c,
      neural_search.lexemes((
        select string_agg(f.string, ' ')
        from (select left(s.string, 4000) as string from strings as s limit 1000) as f
      ), c.configuration) as l
  )
  select f.lexeme, bit_or(f.source)::smallint
  from found as f
  group by f.lexeme
  order by min(f.source), min(f.place), f.lexeme limit 100
$$;
comment on function neural_search.words_of is
  'The lexemes that a document is found by, and where each is from: 1 the path, 2 the metadata, 3 both.';


create or replace function neural_search.write_words(ids bigint[] default null) returns bigint
language plpgsql set search_path = '' set plan_cache_mode = force_custom_plan as $$ -- one for all, one for some
declare
  count bigint;
begin
  delete from neural_search.words as w where ids is null or w.document_id = any (ids);
  insert into neural_search.words (lexeme, document_id, source)
  select w.lexeme, d.id, w.source
  from neural_search.documents as d cross join lateral neural_search.words_of(d.content, d.metadata) as w
  where ids is null or d.id = any (ids);
  get diagnostics count = row_count;
  return count;
end
$$;
comment on function neural_search.write_words is 'Makes the words of these documents anew, or of all; how many.';


create or replace function neural_search.use_text_search(configuration text) returns bigint
language plpgsql set search_path = '' as $$
declare
  found text;
begin
  select format('%I.%I', n.nspname, c.cfgname) into found
  from pg_ts_config as c join pg_namespace as n on n.oid = c.cfgnamespace
  where use_text_search.configuration in (c.cfgname, n.nspname || '.' || c.cfgname)
  order by n.nspname = 'pg_catalog' desc, n.nspname limit 1;
  perform neural_search.check_that(
    found is not null, format('configuration is %L, which isn''t a text search configuration of this database.',
      left(use_text_search.configuration, 100)),
    'Take one that `select cfgname from pg_ts_config` lists, like english.', 'undefined_object'
  );
  lock table neural_search.documents in share mode; -- or uploads meanwhile would keep words of the former kind
  update neural_search.text_search as t set configuration = found, missing = 'empty' where true;
  return neural_search.write_words();
end
$$;
comment on function neural_search.use_text_search is
  'Has lexemes made by another text search configuration from now on, and those of all documents anew; how many.';


-- It never raises, or an upload or a move could fail: such a document is found by its vector alone.
create or replace function neural_search.on_document_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  if (old.content, old.metadata) is distinct from (new.content, new.metadata) then -- of a new document old is null
    delete from neural_search.words as w where w.document_id = new.id;
    insert into neural_search.words (lexeme, document_id, source)
    select w.lexeme, new.id, w.source from neural_search.words_of(new.content, new.metadata) as w;
  end if;
  return null;
exception when others then
  raise warning 'neural-search could not write the words of document %: % (%)', new.id, sqlerrm, sqlstate;
  return null;
end
$$;
comment on function neural_search.on_document_change is 'Keeps words as the document''s path and metadata are.';


-- So many at a time, because a million documents take minutes, and moves and overwrites of these wait.
create or replace function neural_search.write_missing_words(max_documents integer) returns bigint
language plpgsql set search_path = '' as $$
declare
  ids constant int8range := (select t.missing from neural_search.text_search as t for update);
  written bigint[];
begin
  if isempty(ids) then
    return 0;
  end if;
  select coalesce(array_agg(d.id), '{}') into written from (
    select d.id from neural_search.documents as d
    where d.id >= lower(ids) and d.id < upper(ids) order by d.id limit max_documents for share
  ) as d;
  perform neural_search.write_words(written);
  update neural_search.text_search as t set missing = case
    when cardinality(written) < max_documents then 'empty'
    else int8range(written[cardinality(written)] + 1, upper(ids))
  end where true;
  return cardinality(written);
end
$$;
comment on function neural_search.write_missing_words is
  'Makes the words of some documents that were there before the trigger; how many documents these were.';


-- A scalar subquery, because the planner would turn an EXISTS into a hash of all documents that the caller may see.
alter policy "As the policy on documents says" on neural_search.words
  to anon, authenticated using (
    coalesce((select true from neural_search.documents as d where d.id = words.document_id), false)
  );
comment on policy "As the policy on documents says" on neural_search.words is
  'A word is seen by those who see its document.';


-- Documents that have few words in common with others are all read, from the index of lexemes; for common words the
-- vectors are walked, as for a filter, with the same measure. Each word is measured by itself, by documents that the
-- caller sees: by others, or all together, hidden documents with one word would change the results of another.
create or replace function neural_search.rarest_first(lexemes text[], depth integer)
returns table (lexeme text, is_common boolean)
language sql stable set search_path = '' as $$
  select l.lexeme, not neural_search.are_few(
    w.rows, sqrt(neural_search.expected_objects() * depth) / cardinality(lexemes)
  )
  from unnest(lexemes) as l (lexeme)
  cross join lateral (select format('neural_search.words as w where w.lexeme = %L', l.lexeme) as rows) as w
  order by neural_search.expected_rows(w.rows), l.lexeme
$$;
comment on function neural_search.rarest_first is
  'Lexemes by how many documents the planner expects to have them, and which have too many to read them all.';


create or replace function neural_search.nearest_with_words(
  search neural_search.search, rarest_first text[], fewest integer, depth integer
) returns neural_search.match[]
language plpgsql stable set search_path = '' as $$
declare
  narrowed neural_search.search := search;
  found neural_search.match[];
begin
  narrowed.conditions = search.conditions || format(
    ' and (select count(*) from neural_search.words as w where w.document_id = d.id and w.lexeme = any (%L)) >= %s',
    rarest_first::text, fewest
  );
  narrowed.best_floor = null; -- the nearest of all may have no such word
  found = neural_search.walked(narrowed, depth);
  if found is null then -- who has two of three words has one of any two
    narrowed.read_lexemes = rarest_first[1:cardinality(rarest_first) - fewest + 1];
    found = neural_search.find_matches(narrowed, 'words', depth);
  end if;
  return found;
end
$$;
comment on function neural_search.nearest_with_words is
  'So many or more of the documents that the caller may see and that have so many of these lexemes, or all there are.';


create or replace function public.search_documents(
  query_embedding extensions.vector,
  query_text text,
  words double precision default 0.5,
  similarity_threshold double precision default 0,
  match_count integer default 10,
  skip_count integer default 0,
  filter jsonb default '{}',
  page_after jsonb default null,
  model text default null,
  query_kind text default 'text',
  min_confidence text default null,
  best_confidence text default null,
  diversity double precision default 0,
  collapse text default null
) returns table (
  id bigint, content text, similarity double precision, bucket_id text, object_id uuid, metadata jsonb, confidence text,
  score double precision, found_by text[], duplicates jsonb
)
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan -- as find_similar has it
as $$
declare
  weight constant double precision := coalesce(search_documents.words, 0.5);
  wanted constant integer := coalesce(match_count, 10);
  skipped constant integer := coalesce(skip_count, 0);
  -- The pool is the same for every page, as in recommend_documents.
  is_pooled constant boolean := coalesce(diversity, 0) <> 0 or collapse is not null;
begin
  perform neural_search.check_that(
    weight between 0 and 1, format('words is %s, expected a number from 0 to 1.', weight),
    'Leave it out, or give 0 to search by what images show alone.'
  );
  perform neural_search.check_sizes('{query_text}', array[octet_length(query_text)], 65536);
  perform neural_search.check_sizes('{collapse,model,query_kind,min_confidence,best_confidence}', array[
    octet_length(collapse), octet_length(model), octet_length(query_kind), octet_length(min_confidence),
    octet_length(best_confidence)
  ]);
  perform neural_search.check_page(page_after, 'score', 2.1);
  if is_pooled then
    perform neural_search.check_recommendation(
      1, 'average', wanted, skipped, coalesce(diversity, 0), page_after, collapse, min_confidence, best_confidence, 200
    );
  end if;
  if not neural_search.policies_work() then
    return;
  end if;
  return query
  with found as materialized (
    select f.* from neural_search.find_similar(
      query_embedding, similarity_threshold, case when is_pooled then 200 else wanted end,
      case when is_pooled then 0 else skipped end, filter, page_after, model,
      coalesce(query_kind, 'text'), min_confidence, best_confidence, query_text, weight
    ) with ordinality as f (id, similarity, confidence, score, source, place)
  )
  select f.id, a.content, f.similarity, a.bucket_id, a.object_id, a.metadata, f.confidence, f.score,
    array_remove(array[
      case when f.source is null or f.confidence <> 'unrelated' then 'image' end,
      case when f.source & 1 > 0 then 'name' end,
      case when f.source & 2 > 0 then 'metadata' end
    ], null), a.duplicates
  from neural_search.arranged(
    array(select p.id from found as p order by p.place), array(select p.score from found as p order by p.place),
    coalesce(diversity, 0), collapse, wanted, case when is_pooled then skipped else 0 end
  ) as a join found as f on f.id = a.id
  order by a.rank;
end
$$;
comment on function public.search_documents is
  'match_documents, with the words of paths and metadata beside the images: score is similarity plus words times the share '
  'of query_text''s words that a document has, the best first, equals by id; found_by says image, name, metadata. More '
  'varied or with copies folded as recommend_documents does it, by score.';
