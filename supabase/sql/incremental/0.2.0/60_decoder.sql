-- How much of a picture its file shows, and which version of the decoder read or refused it.
select set_config('lock_timeout', '10s', true);

-- Present documents were decoded by 0.1.0, which refused all that was cut off.
alter table neural_search.documents add column if not exists shown real not null default 1
  constraint documents_shown_check check (shown > 0 and shown <= 1);
comment on column neural_search.documents.shown is
  'The share of the picture''s rows that the file has: less than 1 where it is cut off.';
alter table neural_search.documents add column if not exists decoder_version integer not null default 1;
comment on column neural_search.documents.decoder_version is
  'Of the decoder that made the picture which was embedded; see neural_search.decoder_changes.';

create index if not exists documents_shown_idx on neural_search.documents (shown) where shown < 1;
comment on index neural_search.documents_shown_idx is
  'For finding images that are cut off: few, and no other row is in it.';

alter table neural_search.jobs add column if not exists decoder_version integer;
comment on column neural_search.jobs.decoder_version is
  'Of the decoder that refused the file, the last time; null where none did.';
alter table neural_search.jobs add column if not exists decoder_before integer;
comment on column neural_search.jobs.decoder_before is
  'Set by backfill_documents: a document of an older decoder than this stays searchable until the job is done.';

-- The causes that 0.1.0 had for its decoder's refusals.
update neural_search.jobs as j set decoder_version = 1
where j.decoder_version is null and j.state <> 'pending' and j.error_class in (
  'NotAnImage', 'BrokenImage', 'TooManyPixels', 'DecodingTimedOut', 'DecoderCrashed', 'DecodingOutOfMemory'
);

-- Functions with new arguments, and one taken into its callers.
drop function if exists public.finish_embedding_job(
  uuid, text, text, extensions.vector, text, integer, integer, text, text
);
drop function if exists public.reuse_embedding(uuid, text, text, text);
drop function if exists public.fail_embedding_job(uuid, text, uuid, text, text, text);
drop function if exists public.retry_embedding_jobs(text, text);
drop function if exists public.backfill_documents(text, text, integer, boolean);
drop function if exists neural_search.queue_missing(integer, text, text);
drop function if exists neural_search.is_outdated(text, integer, integer);
