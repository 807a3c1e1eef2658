-- Duplicates: copies of one image, also resized, recompressed or saved in another format.
-- Callers: recommend_documents, as the caller; the command line, with either key.
-- Objects: are_duplicates, list_fingerprints, confirm_duplicates.

-- Written for precision: what `python -m evaluation.duplicates` measures is in docs/confidence.md. An embedding alone
-- doesn't do: it moves further by making an image small than by cutting off a tenth or by mirroring it. The hash of a
-- picture with something on it has 32 ones; that of a plain one has few, and says nothing.
create or replace function neural_search.are_duplicates(first public.documents, second public.documents)
returns boolean
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
revoke execute on function neural_search.are_duplicates from public, anon, authenticated, service_role;
grant execute on function neural_search.are_duplicates to anon, authenticated, service_role;


create or replace function public.list_fingerprints(
  bucket text default null, name_prefix text default null, after_id bigint default 0, max_rows integer default 1000
) returns table (
  id bigint, bucket_id text, content text, content_hash text, perceptual_hash text, width integer, height integer,
  byte_size bigint, mime_type text, uploaded_at timestamptz
)
language sql stable set search_path = '' as $$
  select d.id, d.bucket_id, d.content, d.content_hash, d.perceptual_hash::text, d.width, d.height, d.byte_size,
    d.mime_type, d.uploaded_at
  from public.documents as d
  where d.id > coalesce(after_id, 0) and d.model = (select m.name from public.active_model() as m)
    and (bucket is null or d.bucket_id = bucket)
    and (list_fingerprints.name_prefix is null or starts_with(d.content, list_fingerprints.name_prefix))
    and (row_security_active('public.documents') or neural_search.can_see(d.object_id, d.object_version))
  order by d.id limit least(greatest(coalesce(max_rows, 1000), 0), 1000)
$$;
comment on function public.list_fingerprints is
  'What documents that the caller may see are told apart by, without their embeddings: of the active model, by id.';
revoke execute on function public.list_fingerprints from public, anon, authenticated, service_role;
grant execute on function public.list_fingerprints to anon, authenticated, service_role;


create or replace function public.confirm_duplicates(first_ids bigint[], second_ids bigint[])
returns table (first_id bigint, second_id bigint)
language sql stable set search_path = '' as $$
  select first.id, second.id
  from rows from (unnest(first_ids), unnest(second_ids)) as pair (first_id, second_id)
  join public.documents as first on first.id = pair.first_id
  join public.documents as second on second.id = pair.second_id
  where neural_search.are_duplicates(first, second)
    and (row_security_active('public.documents') or (
      neural_search.can_see(first.object_id, first.object_version)
      and neural_search.can_see(second.object_id, second.object_version)
    ))
  order by first.id, second.id
$$;
comment on function public.confirm_duplicates is
  'Those of the pairs that are duplicates, of documents that the caller may see.';
revoke execute on function public.confirm_duplicates from public, anon, authenticated, service_role;
grant execute on function public.confirm_duplicates to anon, authenticated, service_role;
