-- The operator's declaration of a bucket's policies, for index_bucket and searches to narrow by.
alter table neural_search.buckets add column if not exists visible_by jsonb;
comment on column neural_search.buckets.visible_by is
  'The images that a caller may see, by the keys of declared_keys: an SQL expression each. Null where nothing is declared.';
drop function if exists public.index_bucket(text, boolean);
comment on type neural_search.search is
  'A search for the nearest to query (of unit length; more similar than threshold and no less than floor; the best '
  'of them no less than best_floor, or none is wanted) of a model''s documents that fulfil all conditions. narrowing are '
  'those that may use an index, declared whether visible_by is among them, objects those on storage.objects as o; '
  'same, strong and related are the levels of confidence; lexemes are the words to be found, which weigh so much, '
  'read_lexemes those whose documents are all read.';
