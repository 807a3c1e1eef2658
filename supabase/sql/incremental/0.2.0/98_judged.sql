-- Metadata that a document doesn't copy are judged once, and not by each reconciliation.
-- Those that 0.1.0 copied as they were are judged by the reconciliations, a thousand each time, where they aren't short.
do $$
begin
  if not exists (
    select from pg_catalog.pg_attribute as a
    where a.attrelid = 'neural_search.documents'::regclass and a.attname = 'judged_at' and not a.attisdropped
  ) then
    alter table neural_search.documents add column judged_at timestamptz default '-infinity';
    update neural_search.documents as d set judged_at = null
    where pg_column_size(d.metadata #> '{}') > 2048
      or d.metadata @? '$.** ? (@.type() == "number" && (@.abs() >= 1e309 || @ != 0 && @.abs() < 1e-324))';
  end if;
end
$$;
comment on column neural_search.documents.judged_at is
  'The updated_at of the object whose metadata were found too long to copy; -infinity where they were copied, null where '
  'that isn''t known.';
drop function if exists neural_search.copied_columns(storage.objects); -- it returns more
drop function if exists neural_search.change_documents(text, bigint[]); -- it takes and returns more
drop function if exists neural_search.change_documents(text, bigint[], storage.objects);
drop function if exists neural_search.record_change(jsonb, jsonb);
