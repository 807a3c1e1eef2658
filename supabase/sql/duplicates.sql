-- Duplicates: copies of one image, also resized, recompressed or saved in another format.
-- Callers: recommend_documents, as the caller; the command line, with either key.

-- Written for precision: docs/confidence.md has the figures of `python -m evaluation.duplicate_measures`. An embedding alone
-- doesn't do: it moves further by making an image small than by cutting off a tenth or by mirroring it. The hash of a
-- picture with something on it has 32 ones; that of a plain one has few, and says nothing.
create or replace function neural_search.are_duplicates(
  first neural_search.fingerprint, second neural_search.fingerprint
) returns boolean
language sql immutable set search_path = '' as $$
  select coalesce(first.content_hash = second.content_hash and first.content_hash <> '', false) or coalesce(
    bit_count(first.perceptual_hash # second.perceptual_hash) <= 6
    and bit_count(first.perceptual_hash) >= 24 and bit_count(second.perceptual_hash) >= 24
    and abs(
      1 - first.width::double precision * second.height / nullif(first.height::double precision * second.width, 0)
    ) <= 0.03
    and first.model = second.model
    and 1 - (first.embedding operator(extensions.<=>) second.embedding) >= 0.25,
    false
  )
$$;
comment on function neural_search.are_duplicates is
  'Whether two documents of one model show the same picture: the same bytes, or all but the same perceptual hash, the '
  'same proportions, and embeddings that aren''t strangers to each other.';


-- Definer, because callers can't tell from the documents that they may see whether others come after them. It tells
-- about how many there ever were, and of no single one.
create or replace function neural_search.last_document_id() returns bigint
language sql stable security definer set search_path = '' as $$
  select coalesce(max(d.id), 0) / 10000 * 10000 + 10000 from neural_search.documents as d
$$;
comment on function neural_search.last_document_id is
  'The ids of all documents lie below this multiple of 10,000, where paging through them ends.';


-- To ask policies about 10,000 documents takes a while: a caller who may see few of them gets few in a page, or none.
create or replace function public.list_fingerprints(
  bucket text default null, name_prefix text default null, after_id bigint default 0, max_rows integer default 1000
) returns table (
  id bigint, bucket_id text, content text, content_hash text, perceptual_hash text, width integer, height integer,
  byte_size bigint, mime_type text, uploaded_at timestamptz
)
language plpgsql stable set search_path = '' as $$
declare
  searched constant text := (select m.name from public.active_model() as m);
  most constant integer := least(greatest(coalesce(max_rows, 1000), 0), 1000);
  beginning constant bigint := least(coalesce(after_id, 0), 9000000000000000000); -- with room for one page
  looked_through bigint := beginning + 10000;
  listed integer;
begin
  perform neural_search.check_sizes('{bucket,name_prefix}', array[octet_length(bucket), octet_length(name_prefix)]);
  if not neural_search.policies_work() then
    return;
  end if;
  return query
  select d.id, d.bucket_id, d.content, d.content_hash, d.perceptual_hash::text, d.width, d.height, d.byte_size,
    d.mime_type, d.uploaded_at
  from neural_search.seen_documents(concat(
    format('d.id > %s and d.id <= %s and d.model = %L', beginning, looked_through, searched),
    ' and d.bucket_id = ' || quote_literal(bucket),
    ' and d.content ^@ ' || quote_literal(name_prefix) -- leakproof, so asked before the policy
  ), most) as d;
  get diagnostics listed = row_count;
  if listed < most and looked_through < neural_search.last_document_id() then
    id = looked_through;
    return next;
  end if;
end
$$;
comment on function public.list_fingerprints is
  'The fingerprints of documents that the caller may see, without their embeddings: of the active model, by id. The '
  'last row''s id is the next page''s after_id. Where a page ends before max_rows and more may come, that row has an id '
  'alone, which is no document''s.';


create or replace function public.confirm_duplicates(first_ids bigint[], second_ids bigint[])
returns table (first_id bigint, second_id bigint)
language plpgsql stable set search_path = '' as $$
begin
  perform neural_search.check_count('first_ids', cardinality(first_ids));
  perform neural_search.check_count('second_ids', cardinality(second_ids));
  if not neural_search.policies_work() then
    return;
  end if;
  return query
  with seen as materialized (
    select d.* from neural_search.seen_documents(format('d.id = any (%L)', first_ids || second_ids)) as d
  )
  select first.id, second.id
  from rows from (unnest(first_ids), unnest(second_ids)) as pair (first_id, second_id)
  join seen as first on first.id = pair.first_id
  join seen as second on second.id = pair.second_id
  where neural_search.are_duplicates(
      row(
        first.content_hash, first.perceptual_hash, first.width, first.height, first.model, first.embedding
      )::neural_search.fingerprint,
      row(
        second.content_hash, second.perceptual_hash, second.width, second.height, second.model, second.embedding
      )::neural_search.fingerprint
    )
  order by first.id, second.id;
end
$$;
comment on function public.confirm_duplicates is
  'Those of the pairs, at most 1000, that are duplicates, of documents that the caller may see.';
