-- Decoder: which versions of it make the same picture of a file.
-- Callers: the functions of the queue, reports and backfill_documents.

-- A row for each version since the first, so that the last one is DECODER_VERSION of shared/images.
create or replace function neural_search.decoder_changes() returns table (version integer, mime_types text[])
language sql immutable set search_path = '' as $$
  values
    (2, null::text[]) -- colour profiles, transparency and cut-off files: any format may have those
$$;
comment on function neural_search.decoder_changes is
  'The versions of the decoder after the first, and the types of files of which each may make another picture than the '
  'one before; null: of all types.';


-- A version that isn't listed is newer than this database, and may have changed anything.
create or replace function neural_search.decodes_alike(mime_type text, one integer, other integer) returns boolean
language sql immutable set search_path = '' as $$
  select one = other or greatest(one, other) <= (select max(c.version) from neural_search.decoder_changes() as c)
    and not exists (
      select from neural_search.decoder_changes() as c
      where c.version > least(one, other) and c.version <= greatest(one, other)
        and coalesce(decodes_alike.mime_type = any (c.mime_types), true)
    )
$$;
comment on function neural_search.decodes_alike is
  'Whether two versions of the decoder make the same picture of a file of this type, or with null of any.';
