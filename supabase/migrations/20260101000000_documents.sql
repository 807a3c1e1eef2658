-- Part of neural-search 0.1.0. Does nothing where it has been run before.
do $migration$
begin
  perform pg_advisory_xact_lock(1852142962);
  if to_regclass('neural_search.migrations') is not null or to_regclass('neural_search.models') is not null then
    return;
  end if;
  execute $statements$
-- Documents: one row per object of Storage and embedding model, with the tables that say what is to be indexed.
-- Callers: PostgREST reads public.documents; everything else goes through the functions of the later chapters.
-- Objects: extension vector; schema neural_search with models and buckets; public.documents.

do $$
declare
  taken text;
begin
  -- Names that tutorials use as well. Beside a namesake PostgREST couldn't tell which of the two is meant.
  select p.oid::regprocedure into taken from pg_catalog.pg_proc as p
  where p.pronamespace = 'public'::regnamespace and p.proname in (
    'activate_model', 'active_model', 'add_model', 'backfill_documents', 'claim_embedding_jobs',
    'claim_object', 'confirm_duplicates', 'embedding_report', 'fail_embedding_job', 'finish_embedding_job', 'get_embeddings',
    'index_bucket', 'index_status', 'list_embedding_jobs', 'list_fingerprints', 'list_models', 'match_documents', 'object_states',
    'recommend_documents', 'reconcile_documents', 'release_embedding_jobs', 'remove_model', 'retry_embedding_jobs',
    'reuse_embedding', 'unindex_bucket'
  );
  if found then
    raise exception 'There is a function % already, which isn''t neural-search''s.', taken
      using errcode = 'duplicate_function', hint = 'Rename it: alter function ' || taken || ' rename to …';
  end if;
end
$$;

create schema if not exists extensions;

do $$
declare
  found record;
begin
  -- Asked first, because creating it needs rights that this role may lack where it is there already.
  if not exists (select from pg_catalog.pg_extension where extname = 'vector') then
    create extension if not exists vector with schema extensions;
  end if;
  select n.nspname as schema, string_to_array(e.extversion, '.')::integer[] as version into found
  from pg_catalog.pg_extension as e join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
  where e.extname = 'vector';
  if found.schema <> 'extensions' then
    raise exception 'The extension vector is in schema %, expected in schema extensions.', found.schema
      using errcode = 'feature_not_supported', hint = 'Run: alter extension vector set schema extensions;';
  end if;
  if found.version < array[0, 8] then
    raise exception 'The extension vector is older than 0.8, which brought iterative index scans.'
      using errcode = 'feature_not_supported', hint = 'Upgrade the database, then: alter extension vector update;';
  end if;
end
$$;

create schema neural_search;
comment on schema neural_search is 'What only the image search itself uses. Not to be exposed through PostgREST.';
revoke all on schema neural_search from public;
-- anon and authenticated come here only through functions of ours that run as the caller; no table is granted to them.
grant usage on schema neural_search to anon, authenticated, service_role;


create table neural_search.models (
  name text primary key check (name <> ''),
  dimensions integer not null check (dimensions between 1 and 4000), -- the most that an index of halfvec takes
  state text not null default 'standby' check (state in ('active', 'standby', 'retired')),
  search_strategy text not null default 'hnsw' check (search_strategy in ('exact', 'hnsw', 'lsh')),
  asked_at timestamptz,
  created_at timestamptz not null default now()
);
comment on table neural_search.models is 'The embedding models whose vectors are kept.';
comment on column neural_search.models.name is 'As processes name it in EMBEDDING_MODELS.';
comment on column neural_search.models.dimensions is 'The length of its vectors.';
comment on column neural_search.models.state is
  'active: searched and kept up to date; standby: kept up to date, to be compared or activated; retired: neither.';
comment on column neural_search.models.search_strategy is
  'How match_documents finds its rows. exact: reads them all, no index; hnsw: pgvector''s graph, in half precision; '
  'lsh: sign bits by Hamming distance, ranked again exactly.';
comment on column neural_search.models.asked_at is
  'When a process that can load it last asked for work, give or take a minute; null: none ever did.';
comment on column neural_search.models.created_at is 'When it was added.';

create unique index models_one_active_idx on neural_search.models (state) where state = 'active';
comment on index neural_search.models_one_active_idx is 'Searches need exactly one answer to which model is active.';

alter table neural_search.models enable row level security;
grant select, insert, update, delete on neural_search.models to service_role;

insert into neural_search.models (name, dimensions, state) values ('efficientnet-lite0', 1280, 'active');


create table neural_search.buckets (
  bucket_id text primary key,
  public_search boolean not null default false,
  created_at timestamptz not null default now()
);
comment on table neural_search.buckets is 'The buckets of Storage that are indexed; none by default.';
comment on column neural_search.buckets.bucket_id is
  'storage.buckets.id; no foreign key, which would make Storage wait for us.';
comment on column neural_search.buckets.public_search is
  'While the bucket is public, everybody may find what is in it, whatever the policies on storage.objects say.';
comment on column neural_search.buckets.created_at is
  'When it was last registered; a bucket that is younger was made anew.';

alter table neural_search.buckets enable row level security;
grant select, insert, update, delete on neural_search.buckets to service_role;


create table public.documents (
  id bigint generated always as identity primary key,
  object_id uuid not null,
  bucket_id text not null,
  content text not null,
  model text not null references neural_search.models (name),
  embedding extensions.vector not null,
  object_version text not null,
  content_hash text,
  perceptual_hash bit(64),
  width integer,
  height integer,
  mime_type text,
  byte_size bigint,
  owner_id text,
  uploaded_at timestamptz,
  metadata jsonb not null default '{}',
  queued_at timestamptz not null default now(),
  embedded_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint documents_object_id_model_key unique (object_id, model)
);
comment on table public.documents is
  'What can be found: the embedding of one object of Storage by one model. Written by finish_embedding_job.';
comment on column public.documents.id is
  'Stable for as long as the object lives under this model without an overwrite.';
comment on column public.documents.object_id is
  'storage.objects.id. No foreign key: a cascade would make Storage wait for us; the trigger on it does the work.';
comment on column public.documents.bucket_id is 'The object''s bucket. May narrow a search, never grants anything.';
comment on column public.documents.content is 'The object''s path in its bucket.';
comment on column public.documents.model is 'The model that made the embedding.';
comment on column public.documents.embedding is 'Of the model''s dimensions, of unit length.';
comment on column public.documents.object_version is
  'storage.objects.version of the bytes that were embedded, empty for objects older than that column.';
comment on column public.documents.content_hash is
  'The SHA-256 of the bytes that were embedded. Other objects with the same bytes take over this row''s vector.';
comment on column public.documents.perceptual_hash is
  'What the picture shows, in 64 bits of which copies differ in few; see neural_search.are_duplicates.';
comment on column public.documents.width is 'In pixels, as displayed.';
comment on column public.documents.height is 'In pixels, as displayed.';
comment on column public.documents.mime_type is
  'As found in the bytes; what the uploader declared is in storage.objects.';
comment on column public.documents.byte_size is 'Of the file, as Storage says.';
comment on column public.documents.owner_id is
  'Whose object it is, as Storage says. May narrow a search, never grants anything.';
comment on column public.documents.uploaded_at is 'When the object was made; an overwrite or a move keeps it.';
comment on column public.documents.metadata is 'The object''s user_metadata, rewritten with each version.';
comment on column public.documents.queued_at is
  'When these bytes were queued: in the uploader''s own transaction, or later where no event announced them.';
comment on column public.documents.embedded_at is
  'When these bytes became searchable. Less queued_at it is the freshness: how long the upload had to wait.';
comment on column public.documents.created_at is 'When the first version was embedded.';
comment on column public.documents.updated_at is 'When the row was last written.';

-- For the filters of match_documents. Their operators are leakproof, so that they serve callers under row level security
-- as well; but for the last.
create index documents_bucket_id_idx on public.documents (bucket_id, model);
comment on index public.documents_bucket_id_idx is 'For searches in one bucket, index_status and unindex_bucket.';
create index documents_prefix_idx on public.documents (content collate "C");
comment on index public.documents_prefix_idx is 'For searches below a prefix: only in this collation ^@ is a range.';
create index documents_owner_id_idx on public.documents (owner_id);
comment on index public.documents_owner_id_idx is 'For searches among what one user owns.';
create index documents_mime_type_idx on public.documents (mime_type);
comment on index public.documents_mime_type_idx is 'For searches among files of a rare type.';
create index documents_byte_size_idx on public.documents (byte_size);
comment on index public.documents_byte_size_idx is 'For searches among small or large files, and for known_hashes.';
create index documents_uploaded_at_idx on public.documents (uploaded_at);
comment on index public.documents_uploaded_at_idx is 'For searches among what was uploaded in some time.';
create index documents_metadata_idx on public.documents using gin (metadata jsonb_path_ops);
comment on index public.documents_metadata_idx is
  'For searches by metadata as service_role. @> isn''t leakproof: for others the policy is asked first.';
create index documents_content_hash_idx on public.documents using hash (content_hash);
comment on index public.documents_content_hash_idx is 'For reuse_embedding.';
create index documents_content_idx on public.documents (content, bucket_id);
comment on index public.documents_content_idx is 'For get_embeddings by name.';
create index documents_embedded_at_idx on public.documents using brin (embedded_at) with (autosummarize = on);
comment on index public.documents_embedded_at_idx is
  'For neural_search.freshness. It costs writers next to nothing, and rows are written in the order of this column.';

alter table public.documents enable row level security;
revoke all on public.documents from anon, authenticated, service_role;
grant select on public.documents to anon, authenticated;
grant select, insert, update, delete on public.documents to service_role;
revoke all on sequence public.documents_id_seq from anon, authenticated, service_role;
grant usage, select on sequence public.documents_id_seq to service_role;
$statements$;
end
$migration$;
