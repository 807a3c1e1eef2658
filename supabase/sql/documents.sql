-- Documents: the view through which the service reads and writes them.
-- Callers: service_role, through PostgREST.

-- Planner statistics of exposed tables tell of hidden rows (PostgREST's Prefer: count=planned), so the table lies in the
-- private schema, and callers have functions. No star: a new column is shown when somebody adds it here.
create or replace view public.documents with (security_invoker = true) as
  select
    d.id, d.object_id, d.bucket_id, d.content, d.model, d.embedding, d.object_version, d.content_hash, d.perceptual_hash,
    d.width, d.height, d.mime_type, d.byte_size, d.owner_id, d.uploaded_at, d.metadata, d.queued_at, d.embedded_at,
    d.created_at, d.updated_at, d.shown, d.decoder_version
  from neural_search.documents as d;
comment on view public.documents is
  'All documents, for service_role alone. Callers search, and name documents by get_embeddings.';
