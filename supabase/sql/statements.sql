-- Statements: how matches are found, as text.
-- Callers: find_matches.

-- They ask policies: every function and operator in them is exact, see policies.sql.
--
-- A partial index serves only a statement that names its model, so statements are built. $1 is the query, $2 how many
-- are wanted; for words $3 is their weight, $4 the query's lexemes. Without a query, reading all there are needs neither.
create or replace function neural_search.search_statement(search neural_search.search, way text) returns text
language plpgsql immutable set search_path = '' as $$
declare
  matches constant text :=
    'select d.id, 1::double precision - (d.embedding operator(extensions.<=>) $1) as similarity, d.object_id, d.object_version';
  first_ones constant text := case when search.query is not null then ' order by similarity desc, d.id limit $2' end;
begin
  return format(
    case way
      when 'hnsw' then
        '%1$s from neural_search.documents as d where d.model = %2$L%3$s order by '
        'd.embedding::extensions.halfvec(%4$s) operator(extensions.<=>) $1::extensions.halfvec(%4$s) limit $2'
      -- Those that share most bits with the query. Its own are a sub-select, or they would be computed for each row.
      when 'lsh' then
        'select n.* from (%1$s from neural_search.documents as d where d.model = %2$L%3$s order by '
        'd.lsh::bit(%5$s) operator(extensions.<~>) (select neural_search.lsh_bits($1, %2$L)::bit(%5$s)) '
        'limit $2) as n order by n.similarity desc, n.id'
      -- No index has this order, so the planner takes one that narrows, or none. By similarity and not by distance, which
      -- would be computed beside it, from vectors read twice.
      when 'documents' then
        '%1$s from neural_search.documents as d where d.model = %2$L%3$s%9$s'
      -- Offset 0 keeps the planner from hashing all documents, having asked the policy for each.
      when 'objects' then
        'with visible as materialized ('
        ' select o.id, coalesce(o.version, '''') as version from storage.objects as o where true%6$s'
        ') %1$s from visible cross join lateral ('
        ' select * from neural_search.documents as d where d.object_id = visible.id and d.model = %2$L'
        ' and d.object_version = visible.version%3$s offset 0'
        ') as d%9$s'
      -- For where nothing is prepared: our policy asks can_see for each of visible_objects, and for all documents in
      -- buckets where everybody may search. Offset 0 as above.
      when 'visible' then
        'with visible as materialized (select id from neural_search.visible_objects() as id), found as ('
        ' select d.* from visible cross join lateral ('
        ' select * from neural_search.documents as d where d.object_id = visible.id and d.model = %2$L%3$s'
        ' and d.bucket_id <> all ((select neural_search.public_buckets())::text[]) offset 0) as d'
        ' union all'
        ' select d.* from neural_search.documents as d where d.model = %2$L%3$s'
        ' and d.bucket_id = any ((select neural_search.public_buckets())::text[])'
        ') %1$s from found as d%9$s'
      -- By score; a document that has none of the words that are read isn't found. Offset 0 as above.
      when 'words' then
        'select d.* from ('
        ' select w.document_id, count(*) as count from neural_search.words as w'
        ' where w.lexeme = any (%7$L) group by 1 offset 0'
        ') as named cross join lateral (%1$s from neural_search.documents as d'
        ' where d.id = named.document_id and d.model = %2$L%3$s offset 0'
        ') as d where d.similarity >= %8$L order by d.similarity + $3 * (named.count + ('
        ' select count(*) from neural_search.words as w'
        ' where w.document_id = d.id and w.lexeme = any ($4) and w.lexeme <> all (%7$L)'
        '))::double precision / pg_catalog.cardinality($4)::double precision desc, d.id limit $2'
    end,
    matches, search.model, search.conditions, search.dimensions, neural_search.lsh_length(search.dimensions),
    search.objects, search.read_lexemes::text, search.floor, first_ones
  );
end
$$;
comment on function neural_search.search_statement is
  'How matches are found: hnsw and lsh may miss some; documents, objects, visible and words read all there are, beginning '
  'there.';


-- The words of those that were found, and no others, add to their scores. $3 is the weight of words, $4 the query's lexemes.
create or replace function neural_search.scored_statement(search neural_search.search, way text) returns text
language sql immutable set search_path = '' as $$
  select format(
    'select coalesce(pg_catalog.array_agg(row(f.*, %s)::neural_search.match order by %s desc, f.id), ''{}'') from (%s) as f%s',
    case when search.lexemes <> '{}' then 'named.score, named.source' else 'f.similarity, null' end,
    case when way = 'words' then 'named.score' else 'f.similarity' end,
    neural_search.search_statement(search, way),
    case when search.lexemes <> '{}' then
      ' cross join lateral ('
      ' select f.similarity + $3 * count(*)::double precision / pg_catalog.cardinality($4)::double precision as score,'
      ' bit_or(w.source) as source from neural_search.words as w'
      ' where w.document_id = f.id and w.lexeme = any ($4)'
      ') as named'
    end
  )
$$;
comment on function neural_search.scored_statement is 'search_statement, with each one''s score, in one array.';
