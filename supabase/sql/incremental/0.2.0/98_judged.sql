-- Metadata that a document doesn't copy are judged once, and not by each reconciliation.
alter table neural_search.documents add column if not exists judged_at timestamptz;
comment on column neural_search.documents.judged_at is
  'The updated_at of the object whose metadata were found too long to copy; -infinity where they were copied, null where '
  'an older version wrote the row.';
drop function if exists neural_search.copied_columns(storage.objects); -- it returns more
drop function if exists neural_search.change_documents(text, bigint[]); -- it takes the object, too
