-- neural-search 0.2.0, made by `neural-search migrations generate`: edit supabase/sql instead.
-- Does nothing where it has been run before.
do $migration$
declare
  by_whom text := nullif(pg_catalog.current_setting('neural_search.applied_by', true), '');
  session_path constant text := pg_catalog.current_setting('search_path');
begin
  by_whom = coalesce(by_whom, 'a repository''s migration');
  perform pg_catalog.pg_advisory_xact_lock(1852142962);
  if to_regclass('neural_search.migrations') is not null then
    if exists (
      select from neural_search.migrations as m where m.name = '20261128140541_neural_search_0_2_0' and m.sha256 = '6e53097ba14964888f96b4f8b5c82ce174e94e792243cbe0968f1cc8bb71387a'
    ) then
      return;
    end if;
  end if;
  -- In `public` another role's function may suit a call better than PostgreSQL's.
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  execute $statements$
do $$
declare
  taken text;
begin
  select string_agg(p.oid::regprocedure::text, ', ') into taken from pg_catalog.pg_proc as p
  where p.pronamespace = 'public'::regnamespace and p.proname in (
    'activate_model',
    'active_model',
    'add_model',
    'backfill_documents',
    'claim_embedding_jobs',
    'claim_object',
    'confirm_duplicates',
    'embedding_report',
    'explain_object',
    'fail_embedding_job',
    'finish_embedding_job',
    'finish_embedding_jobs',
    'get_embeddings',
    'index_bucket',
    'index_status',
    'list_embedding_jobs',
    'list_fingerprints',
    'list_models',
    'match_documents',
    'object_states',
    'recommend_documents',
    'reconcile_documents',
    'release_embedding_jobs',
    'remove_model',
    'retry_embedding_jobs',
    'reuse_embedding',
    'search_documents',
    'similar_documents',
    'unindex_bucket'
  ) and (
    array[
    p.proname || ' ' || md5(obj_description(p.oid, 'pg_proc')), p.proname || ' ' || md5(p.prosrc)
  ] && array[
    'activate_model 4f611bdf7421bbf865184b793615f071',
    'activate_model 764bc2d81627eb4ff9697fbdb318d333',
    'activate_model afa55a6b18c2bb3161e9b7d4e669583c',
    'active_model 70decacbfbf53ff3a1353d236307c1d3',
    'active_model e20ddb318a22a02a8707be8040a6b4a8',
    'add_model 76b72eaa73d4a29256ea2b7f3f265d77',
    'add_model b880368b5b4e7acc64bf9f1940a0560c',
    'add_model bb5cacc034baf090dbf08be2339293f4',
    'add_model ced7015032f4910859681c0b3966f941',
    'backfill_documents 612d0fdff422b827a1938e391f70026f',
    'backfill_documents 73112d23469f6b345d09647fbea0ad45',
    'backfill_documents 877e95a4eed03eef0468b655a8fa6d68',
    'backfill_documents c8bf69aa9704d04e26f8c9ee2adf5d9f',
    'claim_embedding_jobs 8d9d1b175643c813c354048ac15f15ae',
    'claim_embedding_jobs 98f331b87e6fe3ee25b14f5a2e368440',
    'claim_embedding_jobs 9adbd6f617cf3f61e60a3ec296b4875c',
    'claim_embedding_jobs b949727516b4dd127a42eaca735d27b0',
    'claim_object 04f213f77ce53a17c3d4416b7404bebe',
    'claim_object 3c338ee9e6c8c5afeaeaccdacafebf0c',
    'claim_object b9079d5c620f9f2b2db8e71626b895eb',
    'confirm_duplicates 2fa34e32d82b9018d7adb50e773bc587',
    'confirm_duplicates 347f52f9f8f5345b0ebdaddfcf757df4',
    'confirm_duplicates 8f8392b47d55335db7d4a619d24d0c0d',
    'embedding_report b6146a51986fb4d2c53cf468f6bd8a66',
    'embedding_report cf0636879c95ad2084eb596070b5537e',
    'embedding_report d26826a2821204729fca5597bf838dad',
    'embedding_report fcf5474d25fc897dfbe23320d1651762',
    'explain_object 7579a55d0b050218c1e1e810c6cef9ea',
    'explain_object 84401e90b33d597d06829ab86a875feb',
    'fail_embedding_job 05a676ffaf6ea26daef989a0af1b2a57',
    'fail_embedding_job 106f7248fee487e07e8227ca63e2ed7c',
    'fail_embedding_job 73a04fe7685aef6ea42407e04b837c5c',
    'fail_embedding_job f439ac40c67bc2eac7fe3ef6b1a1c756',
    'finish_embedding_job 20938cff04ad1992cb842f1e838b57c4',
    'finish_embedding_job 3ae1d6e1c8ced93a9bfcead080734119',
    'finish_embedding_job dd3537bac7f59c20400c1c073db8b2e2',
    'finish_embedding_jobs 1443c9bb98cbf7c774e7aaffe702a798',
    'finish_embedding_jobs c95511e269a26086dd913d4726817237',
    'get_embeddings 3d59fee97a4528ed963d9ac3f9b7b355',
    'get_embeddings 4262e403aa2e019eedc2577a7541b537',
    'get_embeddings b263d9fc9e09e1a122ab04f89683660d',
    'get_embeddings f1eadb7aa1e870d28dc2925b1629728c',
    'index_bucket 11b3cb2fcd0497c9c6b54d6f994f6af1',
    'index_bucket 7d49e6fc4136e4b4e23fd2f0854fc197',
    'index_bucket f2e9dbeb299c2663bdfb7060df01c3eb',
    'index_bucket ffaf51eaed3333e358ec1fc6ba6dea17',
    'index_status 407879e9d2f23086b44f0e0d989976ec',
    'index_status 5c07571ec23f8260f506c012a4432fcf',
    'index_status 900e1c1040925c40d3716cec8eb4e68e',
    'list_embedding_jobs 0091b4e378065fe91138db43e2fdec8a',
    'list_embedding_jobs 3d4fb0a60fc22bae8c4366f8969952ba',
    'list_embedding_jobs 55767c7fb4f6b0358c1c6bd429fc9b72',
    'list_fingerprints 0febe647d0f4f8e1e4f4ff44b6049381',
    'list_fingerprints 91803348b41efa53b019292bd28bef92',
    'list_fingerprints c90fa7c6d23ee69feda09f80a26bf9c7',
    'list_fingerprints cc164a1ad6f9fd8e5b6d7280d9724f5a',
    'list_models 160ac0c2bc6f4d4b7f36e29ed2abd066',
    'list_models 8693ff0922887705e63995cb80f52945',
    'list_models fe62daf74260e3a0c39083950257fa74',
    'match_documents dfdfc066ffee17abb75befe94df303f4',
    'match_documents efeb1a0fd10a68870513e78cc46bf123',
    'match_documents f9a0eed30bb16147fc3b8462425ab4a9',
    'object_states 1b3b25870db18a8e74ccd1f1c42450ae',
    'object_states 1f6b4cc5cc594d411b32ae4ad9167524',
    'object_states 4641ed89c1ac510bbc6efa096b7582fd',
    'object_states 6b67e1c9ce348c08551500fcc201767f',
    'recommend_documents 84230e232a0005d6e6f26047149931f3',
    'recommend_documents 85771704948a1e0bd25a072a73296b8d',
    'recommend_documents 8865a709dd4d0075bbacf38d5f4b317a',
    'recommend_documents 962cff0cd748da2342696b83e3fa85f2',
    'reconcile_documents 8193f288025da68f6d2d28739d64e260',
    'reconcile_documents 9d780fd588c0df5b90445ff536096fb2',
    'reconcile_documents d7a9c4ff15d7135f79cb654ab8a306e5',
    'reconcile_documents fe73711411a4e64fea9bbba669fa4442',
    'release_embedding_jobs 2ad24f21594925ad5d4c3d275a5f844c',
    'release_embedding_jobs 2ba2c4897cee8c317aa55fe5e4858692',
    'release_embedding_jobs a2b7b3323fada7ca8361c81ba5632ca0',
    'release_embedding_jobs f084bd1bba2a8c5ff7c4bd844411eaca',
    'remove_model 21712d6e097ede9199d00c80fc89ef98',
    'remove_model 5466b56f76f60aa28322749f94ddaf58',
    'remove_model 5495ab85088e609c5527400a58cde3d0',
    'retry_embedding_jobs 8eb6d408bc44b4492c08c311a272cec3',
    'retry_embedding_jobs 91623a81cad700332a9279dfe7b44089',
    'retry_embedding_jobs 95494e493cb7884fe8656ffb53b0b6dd',
    'retry_embedding_jobs bde2a752f566a844ecce464993f08b70',
    'reuse_embedding 357a6d49cfeca762196f36946e0e2a5f',
    'reuse_embedding 45d0e47a3f13bfd88163943431a10285',
    'reuse_embedding 89e713aee17e6246125793327d9813e0',
    'reuse_embedding f064bc8cb8dc9c0010de0b96f4ba4bef',
    'search_documents 0a787606ddff9a52ea80e33fe5a8544c',
    'search_documents 8125cfde138b74e802c90cd0ee0f97cd',
    'similar_documents 67cb36c22110cd8dc7b561e0eac8fb9b',
    'similar_documents c9f3ec572391a5aa54c9f44ffe7d3b8e',
    'unindex_bucket 691ffe2cc382c4e8a8895904c44393ba',
    'unindex_bucket 885ee09401b7ea9d0a614e3a3f6fe32d',
    'unindex_bucket 8c6a0c2bbe0f4fe99e013d708ae062a2',
    'unindex_bucket e6f7d9af42318036678a47b71ec813d0'
  ]
  ) is not true;
  if taken is not null then
    raise exception 'These functions have names of ours, and no release of ours made them: %.', taken
      using errcode = 'duplicate_function',
        hint = 'Rename each of your own: alter function … rename to …. Drop those of an '
          'unreleased neural-search, which are made anew: drop function …';
  end if;
end
$$;


-- From sql/incremental/0.2.0/00_record.sql

-- The record of the migrations that have been run, in our own schema: supabase_migrations.schema_migrations belongs to
-- the user's repository. Written by the migrations themselves; read by `neural-search install` and `doctor`.
create table if not exists neural_search.migrations (
  name text primary key,
  sha256 text not null,
  release text not null,
  applied_at timestamptz not null default now(),
  applied_by text not null
);
comment on table neural_search.migrations is 'The migrations of neural-search that have been run here.';
comment on column neural_search.migrations.name is 'The file''s name, without its ending.';
comment on column neural_search.migrations.sha256 is 'Of its statements.';
comment on column neural_search.migrations.release is 'The release that it came with.';
comment on column neural_search.migrations.applied_at is
  'When it was run; for those before this table, when a later one found their work in place.';
comment on column neural_search.migrations.applied_by is
  'The version of neural-search whose `install` ran it, or that it was run as a migration of a repository.';

alter table neural_search.migrations enable row level security;


-- From sql/incremental/0.2.0/10_documents.sql

-- The table of documents moves into the private schema; views and foreign keys that use it follow.
select set_config('lock_timeout', '10s', true);
lock table neural_search.jobs in access exclusive mode; -- before documents, as workers take them

do $$
begin
  if to_regclass('neural_search.documents') is null then
    alter table public.documents set schema neural_search;
  end if;
end
$$;


-- From sql/incremental/0.2.0/20_default_model.sql

-- The default model of new projects. One that has a bucket, a document or another model keeps the model that it has, and
-- moves when its owner says so: `models add efficientnet-lite0-concepts`, then `models activate`.

do $$
begin
  if not exists (select from neural_search.documents) and not exists (select from neural_search.buckets)
    and not exists (select from neural_search.models as m where m.name <> 'efficientnet-lite0')
  then
    delete from neural_search.models as m where m.name = 'efficientnet-lite0';
    insert into neural_search.models (name, dimensions, state) values ('efficientnet-lite0-concepts', 1408, 'active');
  end if;
end
$$;

-- In every project, so that all have the same objects: empty at first, and filled by `models add` or by uploads.
create index if not exists documents_efficientnet_lite0_concepts_idx on neural_search.documents
  using hnsw ((embedding::extensions.halfvec(1408)) extensions.halfvec_cosine_ops)
  where model = 'efficientnet-lite0-concepts';
comment on index neural_search.documents_efficientnet_lite0_concepts_idx is 'For match_documents while this model is active.';


-- From sql/incremental/0.2.0/20_search.sql

-- Functions whose arguments changed, and the options that searches hand on as one.
drop function if exists neural_search.check_page(jsonb);
drop function if exists public.recommend_documents(
  jsonb, jsonb, text, integer, integer, jsonb, double precision, text, double precision, text, text, text, text
);
drop function if exists neural_search.average_candidates(
  neural_search.example[], neural_search.example[], integer, boolean, jsonb, double precision, text, text, text, text
);
drop function if exists neural_search.best_score_pool(
  neural_search.example[], neural_search.example[], integer, jsonb, double precision, text, text, text
);
drop function if exists neural_search.best_score_candidates(
  neural_search.example[], neural_search.example[], integer, jsonb, double precision, text, text, text
);
drop function if exists neural_search.check_recommendation(
  integer, integer, text, integer, integer, double precision, text, text, text, integer
);

do $$
begin
  if to_regtype('neural_search.search_options') is null then
    create type neural_search.search_options as (
      filter jsonb,
      similarity_threshold double precision,
      model text,
      query_kind text,
      min_confidence text,
      best_confidence text
    );
  end if;
end
$$;
comment on type neural_search.search_options is 'The arguments of match_documents that recommend_documents hands on.';


-- From sql/incremental/0.2.0/30_levels.sql

-- Levels of confidence are similarities, independent of other images: the former yardstick held every
-- bucket's images, so that one bucket moved another's levels. Rows in its units mean nothing any more.

do $$
begin
  if exists (
    select from pg_catalog.pg_attribute as a
    where a.attrelid = 'neural_search.calibrations'::regclass and a.attname = 'unit' and not a.attisdropped
  ) then
    delete from neural_search.calibrations;
    alter table neural_search.calibrations drop column unit;
  end if;
end
$$;
comment on table neural_search.calibrations is
  'The least similarity of each level of confidence, as `python -m evaluation.levels` measured it.';
comment on column neural_search.calibrations.model is 'Null: for models that weren''t measured.';
comment on column neural_search.calibrations.related is 'Reached by 5% of pairs of different images, or of a text and an image.';
comment on column neural_search.calibrations.strong is 'Less than 95% of copies reach: cropped to 75%, JPEG of quality 20, half the size.';
comment on column neural_search.calibrations.same is 'Reached by hardly another image. Null where a query can''t be the image itself.';

insert into neural_search.calibrations (model, query_kind, related, strong, same) values
  ('efficientnet-lite0', 'image', 0.44, 0.57, 0.975),
  ('efficientnet-lite0', 'text', 0.18, 0.29, null),
  ('efficientnet-lite0', 'mixed', 0.32, 0.47, null),
  ('efficientnet-lite0-concepts', 'image', 0.345, 0.53, 0.975),
  ('efficientnet-lite0-concepts', 'text', 0.184, 0.287, null),
  ('efficientnet-lite0-concepts', 'mixed', 0.3, 0.47, null),
  (null, 'image', 0.75, 0.85, 0.975)
on conflict (model, query_kind) do nothing;

drop function if exists neural_search.refresh_backgrounds();
drop function if exists neural_search.refresh_background(text);
drop table if exists neural_search.background_samples, neural_search.backgrounds;


-- From sql/incremental/0.2.0/30_lint.sql

-- Taken into their callers.
drop function if exists neural_search.check_lease_seconds(integer);
drop function if exists neural_search.check_embedding(text, extensions.vector);
drop function if exists neural_search.check_words(double precision);
drop function if exists neural_search.lsh_statement(text, integer, text);
drop function if exists neural_search.check_query(
  extensions.vector, text, integer, double precision, integer, integer, text, text, text
);
drop function if exists neural_search.reweighed(neural_search.example[], double precision);
drop function if exists neural_search.best_score_candidates(
  neural_search.example[], neural_search.example[], integer, jsonb, neural_search.search_options
);
drop function if exists neural_search.is_blank(text, extensions.vector);
drop function if exists neural_search.search_parameters();
drop function if exists neural_search.search_settings();
drop function if exists neural_search.forget(uuid);
drop function if exists neural_search.kick(jsonb, boolean);
drop function if exists neural_search.note_burst(text);
drop function if exists neural_search.identity_of(jsonb);
drop function if exists neural_search.first_depth(integer, jsonb);
drop function if exists neural_search.check_depth(bigint);
-- Other arguments or results than before the release.
drop function if exists neural_search.note_request(text[]);
drop function if exists neural_search.copy_again(storage.objects);
drop function if exists neural_search.queue_missing(integer, text, text, integer);
drop function if exists neural_search.write_words();
drop function if exists neural_search.attach_words();
drop function if exists neural_search.lease_due(text, smallint, integer, integer, uuid);
drop function if exists public.search_documents(
  extensions.vector, text, double precision, double precision, integer, integer, jsonb, jsonb, text, text, text, text
);
drop function if exists neural_search.find_similar(
  extensions.vector, double precision, integer, integer, jsonb, jsonb, text, text, text, text
);
drop function if exists neural_search.average_pool(
  neural_search.example[], neural_search.example[], integer, jsonb, neural_search.search_options
);


-- From sql/incremental/0.2.0/40_words.sql

-- The words of documents: the names and the metadata of images.
create table if not exists neural_search.words (
  lexeme text not null,
  document_id bigint not null references neural_search.documents (id) on delete cascade,
  source smallint not null check (source between 1 and 3),
  primary key (lexeme, document_id)
);
comment on table neural_search.words is
  'The lexemes of each document''s path and metadata. Row level security lets no operator of text search use an index '
  'for callers under policies; equality of text may.';
comment on column neural_search.words.lexeme is 'As the configuration in neural_search.text_search makes it.';
comment on column neural_search.words.document_id is 'neural_search.documents.id.';
comment on column neural_search.words.source is 'Where it is from: 1 the path, 2 the metadata, 3 both.';

create index if not exists words_document_id_idx on neural_search.words (document_id);
comment on index neural_search.words_document_id_idx is 'For the words that go or change with a document.';

alter table neural_search.words enable row level security;

create table if not exists neural_search.text_search (
  id boolean primary key default true check (id),
  configuration text not null
);
comment on table neural_search.text_search is 'How lexemes are made of words: one row.';
comment on column neural_search.text_search.id is 'Always true.';
comment on column neural_search.text_search.configuration is
  'A text search configuration of Postgres, by name: a regconfig would be in the way of pg_upgrade.';
alter table neural_search.text_search add column if not exists missing int8range not null default 'empty';
comment on column neural_search.text_search.missing is
  'The ids between which documents are that were there before words, and may have none yet.';
insert into neural_search.text_search (configuration) values ('pg_catalog.simple') on conflict do nothing;

alter table neural_search.text_search enable row level security;

do $$
declare
  added text;
begin
  if not exists (select from pg_policy as p where p.polrelid = 'neural_search.words'::regclass) then
    create policy "As the policy on documents says" on neural_search.words
      for select to anon, authenticated using (false);
  end if;

  for added in
    select format('alter type neural_search.%s add attribute %I %s', n.type, n.attribute, n.kind)
    from (
      values ('match', 'score', 'double precision'), ('match', 'source', 'smallint'),
        ('search', 'same', 'double precision'), ('search', 'strong', 'double precision'),
        ('search', 'related', 'double precision'), ('search', 'threshold', 'double precision'),
        ('search', 'weight', 'double precision'), ('search', 'lexemes', 'text[]'), ('search', 'read_lexemes', 'text[]'),
        ('search', 'declared', 'boolean')
    ) as n (type, attribute, kind)
    where not exists (
      select from pg_attribute as a
      where a.attrelid = format('neural_search.%s', n.type)::regclass and a.attname = n.attribute
    )
  loop
    execute added;
  end loop;
end
$$;
comment on type neural_search.match is
  'A document that a search came across; its score, and where it has words of the query (words.source).';

-- Other arguments.
drop function if exists neural_search.check_page(jsonb, text);
drop function if exists neural_search.expected_rows(neural_search.search);
drop function if exists neural_search.find_page(neural_search.search, integer, integer, jsonb, text);
drop function if exists neural_search.find_page(neural_search.search, integer, integer, jsonb);
drop function if exists neural_search.find_page_by_words(neural_search.search, integer, jsonb);
drop function if exists neural_search.last_one(neural_search.search, neural_search.match[], integer);


-- From sql/incremental/0.2.0/50_follow.sql

-- Versions of an object may share an id, so rows and no longer ids are asked whether they are live. The sources make the views anew.
drop view if exists neural_search.outdated, neural_search.failures, neural_search.backlog, neural_search.progress;
drop function if exists neural_search.dead_objects();

-- The calls of embed_on_upload that haven't answered yet. One row each: who locks it may call.
create table if not exists neural_search.kicks (
  slot integer primary key check (slot between 1 and 100),
  request_id bigint,
  kicked_at timestamptz not null default '-infinity'
);
alter table neural_search.kicks enable row level security;
comment on table neural_search.kicks is 'A row for each call of embed_on_upload that may be in flight at a time.';
comment on column neural_search.kicks.slot is 'The first is kept for the schedule.';
comment on column neural_search.kicks.request_id is 'The id that pg_net gave to its latest call.';
comment on column neural_search.kicks.kicked_at is 'When that was. After 15 seconds it doesn''t count as in flight any more.';
insert into neural_search.kicks (slot) select s from generate_series(1, 4) as s
where not exists (select from neural_search.kicks);
drop function if exists neural_search.kick(jsonb);
drop function if exists neural_search.try_kick(jsonb);

alter table neural_search.models add column if not exists burst_at timestamptz;
comment on column neural_search.models.burst_at is
  'When somebody last took as many uploads as they could, give or take half a second. In seconds they come back for more.';

-- Uploads come before backfill.
alter table neural_search.jobs add column if not exists priority smallint not null default 0 check (priority in (0, 1));
comment on column neural_search.jobs.priority is
  '0: an upload; 1: backfill and retries, which come after all uploads that are due.';
drop index if exists neural_search.jobs_due_idx;
create index jobs_due_idx on neural_search.jobs (model, priority, next_attempt_at, object_id) where state = 'pending';
comment on index neural_search.jobs_due_idx is 'For claims: the jobs of a model and priority in the order of their turns.';
drop function if exists neural_search.lease_due(text, integer, integer, uuid);

-- Jobs live for seconds, and each leaves three dead rows behind, so a part of the table is no measure. It is small: no pauses.
alter table neural_search.jobs set (
  autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 500
);
-- Dead entries in an index of vectors cost every search; a vacuum that comes often has little to repair.
alter table neural_search.documents set (
  autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500, autovacuum_analyze_scale_factor = 0.02
);


-- From sql/incremental/0.2.0/60_decoder.sql

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


-- From sql/incremental/0.2.0/70_judge.sql

-- Pictures without content, as the default model embeds them.

create table if not exists neural_search.blanks (
  model text primary key,
  embedding extensions.vector not null
);
alter table neural_search.blanks enable row level security;
comment on table neural_search.blanks is
  'The middle of the embeddings of pictures of one colour, as `python -m evaluation.levels` measured it: nobody is the same as '
  'a picture that is near to it.';
comment on column neural_search.blanks.model is 'The model that embedded them.';
comment on column neural_search.blanks.embedding is 'Their mean, in whole hundredths of its greatest number.';

insert into neural_search.blanks (model, embedding) values
  ('efficientnet-lite0-concepts', '[-4, -11, -11, -2, -6, -10, -8, -14, -7, -5, -4, -5, -8, -9, -5, -4, -10, 1, -12, -7, -14, -3, -16, -14, -4, -8, -7,
-19, -13, 0, -14, -9, 18, -14, -16, -13, -21, -8, -4, -12, -18, -13, -9, -3, -8, -4, -21, -11, 3, -10, -11, -2, -6,
-15, -10, -6, 1, -5, -13, -9, -7, -6, -2, -12, -8, -2, 1, -2, -8, -7, -2, -6, -9, -6, -7, -4, -7, -19, -8, -11, -11,
-11, -3, -13, -7, -7, -5, -10, -10, -9, -3, -6, -6, -10, -7, -17, -11, -3, -3, -7, -3, -9, 4, -7, -8, -10, -7, -2,
-21, -4, -24, -12, -8, 77, -6, 1, 1, -12, -10, -9, -3, -5, -5, -2, -6, -6, -20, -27, 6, -6, -21, -14, -18, -9, -17,
-3, -3, -17, -8, -23, 20, -5, -7, -6, -10, -9, -7, -18, -15, -10, -12, -13, -4, -2, -11, -15, -2, -10, -4, -18, -17,
-9, -7, -12, -10, -2, -10, -6, -11, -6, -7, -4, -14, -5, 4, -9, -3, -6, -14, -10, -3, -11, -3, -10, -6, -7, -9, -9,
-7, -4, -15, -3, -5, -13, -7, -18, -8, -4, -3, -10, -21, -15, -4, -15, -16, -4, -6, -3, 1, -24, -9, -10, -1, -20, -2,
5, -6, -4, -6, -3, 3, -9, -3, -5, -19, -8, 21, -8, -18, -4, -8, -4, -20, -22, -7, -15, -7, -14, -6, -2, -9, -8, -5,
-13, -3, -25, -10, -12, -18, -8, -3, -4, -6, -9, -4, -14, -19, -15, -3, -13, -8, -18, -4, -9, -16, 3, -9, -8, -6, -7,
-9, -11, -24, -28, -11, -18, -6, -8, -11, -8, -5, -16, -7, -5, -11, -14, -13, 8, -5, -11, -20, -9, -5, -12, -8, -5,
-13, -3, -5, -10, -11, -2, -12, -15, -11, -7, -15, -3, -9, -4, 11, -12, -3, -15, -9, -3, -4, -18, -7, -12, -15, -12,
-9, -3, -1, 17, -17, -13, -6, -3, -1, -11, -14, -11, -4, -6, -3, -8, -6, -1, -6, -14, 1, -5, -10, -12, -7, -3, -7, -7,
-14, -7, -17, 12, -10, -3, -7, -2, -7, -6, 15, -8, -9, -12, -7, -11, -9, 2, -5, -5, -6, -5, -14, 5, -9, -8, -18, -4,
-10, -8, -5, -7, -12, -15, -2, -9, -10, -14, -9, -2, -6, -2, -4, -8, -11, -14, -4, -8, -2, -6, 25, -12, -11, -12, -2,
-1, -7, -16, -9, -12, -9, -5, -4, 1, -16, -12, -10, -8, -15, -5, -14, -9, -7, 48, -16, -11, -12, -11, -8, -4, -21,
-21, -4, -4, 19, -20, -7, 28, -8, -15, -4, -16, -9, -6, 12, -4, -12, 0, -3, -8, -5, -8, -13, -13, 0, 42, -8, -4, -1,
-13, -13, -9, -7, -7, -9, -11, -13, -7, 48, -1, -8, -8, -14, 26, -10, -15, -16, 4, -9, -3, -5, -4, -4, -8, -22, -6,
-17, -5, -6, -3, -10, -13, -2, -6, -2, -8, -6, -2, -10, 11, -8, -13, -7, -8, 42, -14, 7, -8, -7, -3, 7, -3, -13, -7,
-14, -6, -9, -3, -7, -12, -7, -1, -8, -12, -12, -6, -3, -4, -8, -9, -3, 0, -18, -9, -13, -2, -5, -15, -7, 19, -9, -11,
-14, -10, -15, 1, -13, -4, -11, -9, -10, -1, -10, -19, -19, -16, -20, -21, -9, -10, -10, -3, -2, -8, -4, -8, -7, -7,
-9, -11, -22, 1, -23, -2, -8, -8, -3, 3, -6, -4, -1, -8, -8, -10, 5, -7, -10, -5, -6, -8, -7, -16, -6, -11, -9, -15,
-16, -2, -5, -3, -4, -4, -6, -4, -11, -4, -3, -6, -3, -9, -4, -5, -17, -10, -3, -4, 10, -5, 14, -9, -7, -1, -12, -10,
-13, -20, 23, -3, -11, -8, -1, -5, -5, -6, -3, -4, -6, -4, -9, -9, -6, -29, -11, -5, -10, -12, -7, -7, -12, -13, -8,
-15, -4, -15, 6, -8, -15, -19, 8, -2, -10, -7, -13, -10, -10, -4, -4, -12, -9, -7, -7, -8, -9, -1, -10, -13, -2, -10,
-18, -16, -2, -10, -2, -7, -9, -14, -8, -10, -5, -1, -7, -7, -16, -10, -18, -10, -23, -19, -6, -9, -20, -16, -15, -11,
-7, -1, -7, -41, -9, -13, -12, -3, -12, -5, 6, -17, -3, -18, -3, -4, -11, -9, -7, -9, -6, -14, -11, -11, -6, -6, -21,
3, -4, -4, -16, -6, -9, -6, -11, -20, -9, -12, -11, -20, -7, 14, -7, 20, -15, -15, -9, -6, -3, -20, -14, 13, -7, -5,
-8, -7, -9, -5, -10, -7, -6, -2, -5, -9, -10, -7, -5, -4, -7, -12, -13, -15, -10, -10, 11, -9, -3, -6, 20, -14, -10,
-6, -4, -10, -1, -13, -7, -9, -6, -12, -2, -16, -7, -9, -5, -3, -6, 1, -17, -7, -9, -7, 5, -18, 0, -3, 7, -8, -9, -14,
-14, -14, -3, -3, -8, -9, -13, -5, 0, -4, 5, -9, -4, -3, 13, 24, -5, -8, -10, -23, -21, -26, -11, -5, -2, -4, -12,
-13, -9, -6, -9, -3, -10, -8, -15, -3, -3, -2, -8, -5, -11, -13, -7, -19, -4, -7, -6, -20, -16, -5, -6, -11, -3, -3,
-29, -3, -3, -14, 0, -5, -7, -9, -4, -15, -10, 5, -8, -8, -1, 4, -7, -12, -10, -1, -16, -25, -9, -9, -8, -6, -11, -10,
-8, -1, -6, -4, 26, -9, -6, 0, -7, -6, -2, -7, -13, -5, -9, 2, -13, -9, -8, -7, -4, -17, -12, -7, -12, -12, -9, -11,
-13, -5, -9, -8, -8, -13, 6, -10, -9, -7, -3, -17, -21, -1, -6, -5, -18, -4, -10, -4, -4, -10, -5, -5, -11, 30, -11,
-1, -18, 4, -7, -7, -3, 0, -5, -14, 0, -10, -4, -12, -5, -6, -11, 15, -12, -6, 0, -10, -6, -13, 15, -6, -8, -18, 0,
-14, -9, -14, -7, -13, -3, -8, -5, -8, -5, 23, -10, -16, -9, -11, 0, -8, -8, -6, -10, -8, -8, -3, -8, -16, -5, -13,
21, -9, -16, -9, -6, -7, -1, -7, -6, -7, -9, -12, -6, -9, -6, -9, -11, -7, -14, -7, 0, -12, -4, -4, -6, -12, -6, -12,
-11, -7, -17, -17, -3, -7, -13, 10, 33, -5, -14, -9, -7, -6, -5, -7, -7, -20, -4, -8, -8, -12, -16, -4, -3, -2, -14,
-4, -7, -4, -14, -12, -20, -13, -7, -3, -6, -6, -6, -5, -7, -6, -10, -7, -1, -3, -9, -13, -16, -11, -1, -5, -7, -10,
-16, -11, -11, -17, -5, -16, -5, -1, -5, -4, -3, 1, -3, -15, -9, -3, -10, 0, -11, -3, -4, -16, -12, -13, 4, -8, -16,
-20, -12, -6, -14, -6, -6, 7, -5, -15, 0, -8, -8, 9, -2, -7, -5, -5, -16, -22, 0, 1, -15, 6, -12, -3, -6, -7, -7, -12,
-9, -6, -5, -10, -11, -11, -1, -6, -8, -12, -17, -1, -14, -4, -8, -1, -5, -6, -24, -16, -14, -11, -11, -10, -19, -14,
-1, -9, -12, -6, -9, -14, -6, 9, -10, -7, -6, -4, -2, -11, -12, -11, -10, -8, -7, -6, -19, -6, -7, -5, -6, -20, -11,
14, -2, -16, -5, -11, -4, -6, 0, -17, -4, -9, -10, -2, -7, -2, -11, -6, -4, -14, -10, -2, -5, -5, -16, -6, -8, -11,
-11, 6, 16, -12, -9, 0, -11, -18, -9, -1, -9, -7, -1, -3, -9, -2, -6, -6, -7, -17, 1, -3, -8, -7, -9, -6, -6, 6, -16,
-3, -16, -13, -6, -15, -7, -1, -6, -14, -12, -8, -11, -12, -9, -14, -12, 1, -11, -4, 10, -9, -11, -7, -10, 18, -13,
-15, -99, -24, -13, -2, -37, 14, -41, 12, 19, -3, -8, 10, 2, -9, -7, -9, -6, 10, 13, -10, 2, -10, -9, 1, 0, -3, -4,
-12, 8, -1, 1, -6, -3, 4, -11, 2, 1, -1, -2, 3, 3, 4, -3, 5, -9, 4, -5, -2, -3, -8, 0, -9, -6, -9, -6, -1, 4, -4, 7,
-2, 5, 3, 2, 1, 5, 1, -1, 0, -8, 7, -1, -1, -1, 1, -3, 3, -6, -2, 0, -1, -2, -4, 3, -1, 2, 5, -3, -1, 3, -1, -3, -1,
-2, 0, -2, -2, -1, 2, 2, -2, -1, -3, 1, -1, -1, 4, 3, 0, -5, 1, -3, 2, -3, -1, -3, 1, 1, 0, 1, 2, -3, 3, -3, 1, -2, 4,
1, -2]')
on conflict (model) do nothing;


-- From sql/incremental/0.2.0/80_declared.sql

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


-- From sql/incremental/0.2.0/90_pages.sql

-- Wide columns are read for the final page alone.
alter type neural_search.match
  drop attribute if exists content, drop attribute if exists bucket_id, drop attribute if exists metadata;
comment on type neural_search.match is
  'A document that a search came across, with all that decides about it; its score, and where it has words of the query '
  '(words.source).';
alter type neural_search.candidate
  drop attribute if exists content, drop attribute if exists bucket_id, drop attribute if exists object_id,
  drop attribute if exists metadata, drop attribute if exists embedding;
drop function if exists neural_search.average_pool(
  neural_search.example[], neural_search.example[], integer, boolean, jsonb, neural_search.search_options
);
drop function if exists neural_search.average_candidates(
  neural_search.example[], neural_search.example[], integer, boolean, jsonb, neural_search.search_options
);
drop function if exists neural_search.described(bigint[], text);
drop type if exists neural_search.description;


-- From sql/incremental/0.2.0/95_best_score.sql

-- Lists of the nearest, and documents as copies of each other are told by: without their metadata.
do $$
begin
  if to_regtype('neural_search.nearest_list') is null then
    create type neural_search.nearest_list as (
      is_ended boolean,
      reach double precision,
      ids bigint[],
      scores double precision[]
    );
    create type neural_search.fingerprint as (
      content_hash text,
      perceptual_hash bit(64),
      width integer,
      height integer,
      model text,
      embedding extensions.vector
    );
  end if;
end
$$;
comment on type neural_search.nearest_list is
  'The nearest to one of several queries, each with its similarity times the query''s weight, and the reach that no document '
  'outside of it goes beyond; is_ended where none of those is wanted.';
comment on type neural_search.fingerprint is 'The columns of a document that are_duplicates compares.';

drop function if exists neural_search.are_duplicates(neural_search.documents, neural_search.documents);
drop function if exists neural_search.squashed(double precision);
drop function if exists neural_search.compared(extensions.vector, neural_search.example[]);
drop function if exists neural_search.best_score_pool(
  neural_search.example[], neural_search.example[], integer, neural_search.search_options
);
drop function if exists neural_search.find_candidates(
  text, neural_search.example[], neural_search.example[], integer, jsonb, neural_search.search_options
);
drop function if exists neural_search.best_scored(
  bigint[], double precision, neural_search.example[], neural_search.example[], integer, jsonb,
  neural_search.search_options
);


-- From sql/incremental/0.2.0/97_policies.sql

-- Functions whose arguments changed, as policies are asked in one statement where they were asked about one after another.
drop function if exists neural_search.visible_ids(neural_search.search);
drop function if exists neural_search.find_seen(text, text);
drop function if exists neural_search.find_public(text, text);


-- From sql/incremental/0.2.0/98_judged.sql

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


-- From sql/checks.sql

-- Checks: conditions of arguments, and the errors that they raise.
-- Callers: the functions of all other chapters.

-- Null passes: most arguments may be left out.
create or replace function neural_search.check_that(
  is_met boolean, message text, remedy text, code text default 'invalid_parameter_value'
) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if not is_met then
    raise exception '%', message using errcode = code, hint = remedy;
  end if;
end
$$;
comment on function neural_search.check_that is 'Raises, with the remedy, where a condition isn''t met.';


-- Plain conditions here: each search asks these several times.
create or replace function neural_search.check_range(
  name text, value integer, lowest integer, highest integer, remedy text
) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if (value between lowest and highest) is not true then
    raise exception '% is %, expected % to %.', name, coalesce(value::text, 'null'), lowest, highest
      using errcode = 'invalid_parameter_value', hint = remedy;
  end if;
end
$$;
comment on function neural_search.check_range is 'Raises, with the remedy, for a number out of its range, or null.';


-- Before anything else is done with arguments: they would be copied, planned with and told back.
create or replace function neural_search.check_sizes(names text[], sizes integer[], most integer default 2000)
returns void
language plpgsql immutable set search_path = '' as $$
begin
  for place in 1 .. cardinality(names) loop
    if sizes[place] > most then
      raise exception '% has % bytes, expected at most %.', names[place], sizes[place], most
        using errcode = 'invalid_parameter_value', hint = 'Give a shorter one.';
    end if;
  end loop;
end
$$;
comment on function neural_search.check_sizes is 'Raises for arguments of more bytes than any of theirs has; none has null.';


create or replace function neural_search.check_vector(
  name text, embedding extensions.vector, model text, dimensions integer
) returns void
language plpgsql immutable set search_path = '' as $$
declare
  given constant integer := coalesce(extensions.vector_dims(embedding), 0);
begin
  if given <> dimensions then
    raise exception '% has % dimensions, the model % has %.', name, given, quote_literal(model), dimensions
      using errcode = 'invalid_parameter_value', hint = 'Embed it with the model that is named here.';
  elsif extensions.vector_norm(embedding) = 0 then
    raise exception '% is all zeros and has no direction.', name
      using errcode = 'invalid_parameter_value', hint = 'Check how it was embedded.';
  end if;
end
$$;
comment on function neural_search.check_vector is
  'Raises, with the remedy, for an embedding of another length, or of none.';


-- A zero keeps its digits, too, which no comparison in a path tells: 0e-16383 is nine bytes of JSON, 16,385 as text.
create or replace function neural_search.zeros_are_short(value jsonb) returns boolean
language sql immutable set search_path = '' as $$
  select coalesce(max(scale(zero::numeric)) < 324, true)
  from jsonb_path_query(value, 'strict $.**{0 to 64} ? (@.type() == "number" && @ == 0)') as zero
$$;
comment on function neural_search.zeros_are_short is
  'Whether all zeros in JSON of at most 64 levels have no more digits than a double may need.';


-- Nine bytes of JSON, 1e131071, are 131,072 as text. No look goes deeper than 64 levels: 12,000 of them, which fit into
-- 24 kB, would exceed the stack. Without a SET clause, as live_objects: may_copy, of which it is a part, has none.
create or replace function neural_search.has_common_numbers(value jsonb) returns boolean
language sql immutable as $$
  select case
    when value @? 'strict $.**{65}' or value @?
      'strict $.**{0 to 64} ? (@.type() == "number" && (@.abs() >= 1e309 || @ != 0 && @.abs() < 1e-324))' then false
    when value @? 'strict $.**{0 to 64} ? (@.type() == "number" && @ == 0)' then neural_search.zeros_are_short(value)
    else true
  end
$$;
comment on function neural_search.has_common_numbers is
  'Whether all numbers in JSON of at most 64 levels are in the range of double precision, so that its text isn''t far '
  'longer than itself.';


create or replace function neural_search.check_json(name text, value jsonb, most integer) returns void
language plpgsql immutable set search_path = '' as $$
begin
  perform neural_search.check_that(
    pg_column_size(value) <= most,
    format('The JSON in %s has %s bytes, expected at most %s.', name, pg_column_size(value), most),
    'Give fewer or shorter values.'
  );
  perform neural_search.check_that(
    neural_search.has_common_numbers(value),
    format('The JSON in %s has a number beyond 1e309 or below 1e-324, which no double can be, a zero of as many digits, or more than 64 levels.', name),
    'Correct it or leave it out.'
  );
end
$$;
comment on function neural_search.check_json is
  'Raises, with the remedy, for JSON of more bytes, or with numbers whose text would be far longer, before any work on it.';


create or replace function neural_search.check_count(name text, count integer) returns void
language plpgsql immutable set search_path = '' as $$
begin
  perform neural_search.check_that(
    count <= 1000, format('%s are %s, expected at most 1000.', name, count), 'Ask for some at a time.'
  );
end
$$;
comment on function neural_search.check_count is 'Raises, with the remedy, for more than one call may name.';


create or replace function neural_search.is_outage(code text) returns boolean
language sql immutable set search_path = '' as $$
  select code ~ '^(08|40|53|57P)' or code in ('55P03', '57014')
$$;
comment on function neural_search.is_outage is
  'Whether a SQLSTATE speaks of the database or of a time-out, and not of the row that was worked on.';


-- From sql/documents.sql

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


-- From sql/decoder.sql

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


-- From sql/jobs.sql

-- Jobs: the queue. A row says that an object still needs a vector, or why it will never have one.
-- Callers: the triggers; claims, outcomes and reports.

-- Storage writes a few hundred bytes, but takes a megabyte of media type from an uploader. Of more than 8 KiB nothing is
-- read, or one such object would end everybody's claims, whose answers can't be endless. As a value comes from a table
-- it may be compressed, from a variable not. Without a SET clause, as live_objects.
create or replace function neural_search.read_metadata(metadata jsonb) returns jsonb
language sql immutable as $$
  select case when pg_column_size(metadata) <= 8192 and pg_column_size(metadata #> '{}') <= 8192 then metadata end
$$;
comment on function neural_search.read_metadata is 'The metadata that Storage keeps of an object; null for more than 8 KiB.';


create or replace function neural_search.file_facts(metadata jsonb) returns table (
  byte_size bigint, mime_type text, etag text
)
language sql immutable as $$
  select
    -- A size that isn't one is no reason to fail, or the object would end everybody's claims.
    case when known.facts ->> 'size' ~ '^[0-9]{1,18}$' then (known.facts ->> 'size')::bigint end,
    case when octet_length(known.facts ->> 'mimetype') <= 255 then known.facts ->> 'mimetype' end,
    case when octet_length(known.facts ->> 'eTag') <= 255 then known.facts ->> 'eTag' end
  from neural_search.read_metadata(metadata) as known (facts)
$$;
comment on function neural_search.file_facts is
  'An object''s size, media type and entity tag as its metadata have them; null for those of more than 255 bytes, and for '
  'all of metadata of more than 8 KiB.';


-- Megabytes of metadata would be read for each question about an object that needs none of them.
create or replace function neural_search.json_of(object storage.objects) returns jsonb
language sql stable set search_path = '' as $$
  select to_jsonb(jsonb_populate_record(object, jsonb_build_object(
    'user_metadata', null, 'metadata', neural_search.read_metadata(object.metadata)
  )))
$$;
comment on function neural_search.json_of is
  'A row of storage.objects as jsonb, without the user''s metadata, and without others of more than 8 KiB.';


-- Versioned buckets are announced: then rows may be delete markers or old versions. The columns may not be there yet.
create or replace function neural_search.is_live(object jsonb) returns boolean
language sql immutable set search_path = '' as $$
  select object ->> 'id' is not null -- all of a row that wasn't found is null
    and object ->> 'archived_at' is null
    and coalesce((object ->> 'is_delete_marker')::boolean, false) = false
$$;
comment on function neural_search.is_live is
  'Whether a row of storage.objects, as jsonb, stands for bytes that are there now.';


-- Without a SET clause, because only then the planner puts its body in its place and an index serves what is asked of
-- it. In the private schema, because a planned count of such a function tells of its body's tables. Rows are deleted or
-- archived by columns that older projects lack: a name that storage.objects doesn't know is taken from the values.
create or replace function neural_search.live_objects() returns setof storage.objects
language sql stable as $$
  select object.* from (values (null::timestamptz, false)) as older (archived_at, is_delete_marker),
    lateral (
      select o.* from storage.objects as o where archived_at is null and is_delete_marker is not true
    ) as object
$$;
comment on function neural_search.live_objects is
  'The objects whose bytes are there now, as the caller may see them: neither archived versions nor delete markers.';


-- Versions may share an id. All are locked first: when an overwrite that was under way has ended, the second statement
-- sees which version is live now.
create or replace function neural_search.lock_live_object(target_object_id uuid) returns storage.objects
language plpgsql set search_path = '' as $$
declare
  object storage.objects;
begin
  perform from storage.objects as o where o.id = target_object_id for share;
  select o.* into object from storage.objects as o
  where o.id = target_object_id and neural_search.is_live(neural_search.json_of(o)) for share;
  return object;
end
$$;
comment on function neural_search.lock_live_object is
  'Locks an object against changes and returns the row of its live version, or nulls where there is none.';


-- The one rule for whether a registration holds: a bucket made anew under an old name inherits neither that it is indexed
-- nor who may search it.
create or replace view neural_search.indexed_buckets with (security_invoker = true) as
select b.bucket_id, b.public_search, b.created_at, b.visible_by
from neural_search.buckets as b
join storage.buckets as s on s.id = b.bucket_id and (s.created_at > b.created_at) is not true;
comment on view neural_search.indexed_buckets is
  'The registered buckets that are still those that were registered. One that is no longer there, or was deleted and made '
  'anew, isn''t indexed until somebody says so again.';


create or replace function neural_search.is_indexed(object jsonb) returns boolean
language sql stable set search_path = '' as $$
  select neural_search.is_live(object)
    and exists (select from neural_search.indexed_buckets as b where b.bucket_id = object ->> 'bucket_id')
$$;
comment on function neural_search.is_indexed is 'Whether a row of storage.objects, as jsonb, is to be searchable.';


-- Without a SET clause, as live_objects. Storage takes a megabyte of metadata, and a page may have a thousand results, each
-- with its own: a few uploaders could end everybody's searches with the time-out.
-- Text of 16 KiB takes at most 64 KiB and some bytes as jsonb: of more no text is made.
create or replace function neural_search.may_copy(user_metadata jsonb) returns boolean
language sql immutable as $$
  select case
    when pg_column_size(user_metadata) > 66000 or pg_column_size(user_metadata #> '{}') > 66000
      or not neural_search.has_common_numbers(user_metadata) then false
    else octet_length(user_metadata::text) <= 16384
  end
$$;
comment on function neural_search.may_copy is
  'Whether an object''s user metadata are short enough, 16 KiB of text, for its documents; null for none. Many numbers take '
  '20 ms.';


-- Without a SET clause, as live_objects.
create or replace function neural_search.copied_columns(object storage.objects) returns table (
  bucket_id text, content text, object_version text, byte_size bigint, owner_id text, uploaded_at timestamptz,
  metadata jsonb, judged_at timestamptz
)
language sql stable as $$
  select object.bucket_id, object.name, coalesce(object.version, ''),
    facts.byte_size, object.owner_id, object.created_at,
    case when judged.is_copied then coalesce(object.user_metadata, '{}') else '{}' end,
    case when judged.is_copied then '-infinity' else coalesce(object.updated_at, 'infinity') end
  from neural_search.file_facts(object.metadata) as facts
  cross join lateral (
    select coalesce(neural_search.may_copy(object.user_metadata), true) as is_copied
    offset 0 -- once
  ) as judged
$$;
comment on function neural_search.copied_columns is
  'All that a document copies from its object, under its names there; no metadata of more than 16 KiB.';


-- A constraint is named along with all of its name in its schema. None may lie on another role's table: its triggers and
-- expressions would run as us.
create or replace function neural_search.deferred_constraints(out every text, out again text)
language sql stable set search_path = '' as $$
  with recursive ours (id) as (
    select c.oid from pg_class as c
    where c.relowner = (select d.relowner from pg_class as d where d.oid = 'neural_search.documents'::regclass)
  ),
  reached (id) as (
    select 'neural_search.documents'::regclass::oid
    union
    select o.id from reached as r
    join pg_constraint as c on c.confrelid = r.id and array[c.confdeltype, c.confupdtype] && '{c,n,d}'
    join ours as o on o.id = c.conrelid
  ),
  named (name, is_deferred) as (
    select format('%I.%I', n.nspname, c.conname), bool_and(c.condeferred)
    from pg_constraint as c join pg_namespace as n on n.oid = c.connamespace
    where has_schema_privilege(n.oid, 'usage')
    group by n.nspname, c.conname
    having bool_or(c.condeferred and exists (select from reached as r where r.id in (c.conrelid, c.confrelid)))
      and bool_and(c.conrelid in (select o.id from ours as o))
  )
  select string_agg(n.name, ', '), string_agg(n.name, ', ') filter (where n.is_deferred) from named as n
$$;
comment on function neural_search.deferred_constraints is
  'The constraints of the owner''s that a change of documents, or of the rows that go with them, meets at the transaction''s '
  'end alone; and those of them whose name can be deferred again. Null where there are none.';


-- A project's own foreign keys, checks and triggers on documents may refuse a change, and a tenant may choose of which row.
-- That row stays, hidden by its version or its object, and stops nothing else. By halves, so that few refusals cost
-- few steps; after many, what is left waits for a later call.
create or replace function neural_search.change_documents(
  change text, ids bigint[], object storage.objects default null, most_refused integer default 500,
  out changed bigint[], out refused integer, out refusal text
)
language plpgsql set search_path = '' as $$
declare
  half constant integer := cardinality(ids) / 2;
  deferred record;
  rest record;
begin
  refused = 0;
  execute change into changed using ids, object;
  changed = coalesce(changed, '{}');
  if changed = '{}' then
    return;
  end if;
  deferred = neural_search.deferred_constraints();
  -- At the transaction's end one would refuse all of it.
  if deferred.every is not null then
    execute format('set constraints %s immediate', deferred.every);
  end if;
  if deferred.again is not null then
    execute format('set constraints %s deferred', deferred.again);
  end if;
exception when assert_failure or others then
  if neural_search.is_outage(sqlstate) then
    raise;
  end if;
  changed = '{}';
  refused = 1;
  refusal = format('document %s: %s (%s)', ids[1], sqlerrm, sqlstate);
  if half > 0 then
    select c.* into changed, refused, refusal
    from neural_search.change_documents(change, ids[:half], object, most_refused) as c;
    if refused < most_refused then
      select c.* into rest
      from neural_search.change_documents(change, ids[half + 1:], object, most_refused - refused) as c;
      changed = changed || rest.changed;
      refused = refused + rest.refused;
      refusal = coalesce(refusal, rest.refusal);
    end if;
  end if;
end
$$;
comment on function neural_search.change_documents is
  'Makes a change, a statement that returns an array of ids, of the documents with these ids ($1; $2 is the object), but of '
  'those that something of the project''s own refuses: the ids of the changed ones, how many were refused, and why one was.';


create or replace function neural_search.remove_documents(ids bigint[]) returns bigint[]
language plpgsql set search_path = '' as $$
declare
  removal constant record := neural_search.change_documents(
    'with removed as (delete from neural_search.documents as d where d.id = any ($1) returning d.id)
    select array_agg(r.id) from removed as r', ids
  );
begin
  if removal.refusal is not null then
    raise warning 'neural-search could not remove % of % documents, as of %',
      cardinality(ids) - cardinality(removal.changed), cardinality(ids), removal.refusal;
  end if;
  return removal.changed;
end
$$;
comment on function neural_search.remove_documents is
  'Removes documents; the ids of those removed. A refusal is a warning: they stay, hidden.';


-- The caller holds a lock on the object's row.
create or replace function neural_search.copy_again(object storage.objects, version_before text) returns void
language plpgsql set search_path = '' as $$
declare
  change constant record := neural_search.change_documents(
    'with copied as (
      update neural_search.documents as d set
        (bucket_id, content, object_version, byte_size, owner_id, uploaded_at, metadata, judged_at) = row(c.*),
        updated_at = now()
      from neural_search.copied_columns($2) as c
      where d.id = any ($1)
      returning d.id
    )
    select array_agg(c.id) from copied as c', array(
      select d.id from neural_search.documents as d
      where d.object_id = object.id and d.object_version = coalesce(version_before, '')
    ), object
  );
begin
  if change.refusal is not null then
    raise warning 'neural-search could not bring object % up to date, as of %', object.id, change.refusal;
  end if;
end
$$;
comment on function neural_search.copy_again is
  'Brings the documents of an object''s former version into line with its row; none of it needs the bytes. A refusal is a '
  'warning: they stay.';


-- The caller holds a lock on the object's row, so that no other version can come in between the statements.
create or replace function neural_search.bring_up_to_date(target_object_id uuid, current_version text) returns void
language sql set search_path = '' as $$
  delete from neural_search.jobs as j
  where j.object_id = target_object_id and j.version is distinct from current_version;
  select neural_search.remove_documents(array_agg(d.id)) from neural_search.documents as d
  where d.object_id = target_object_id and d.object_version is distinct from current_version
  having count(*) > 0;

  insert into neural_search.jobs (object_id, model, version)
  select target_object_id, m.name, current_version
  from neural_search.models as m
  where current_version is not null and m.state in ('active', 'standby') and not exists (
    select from neural_search.documents as d
    where d.object_id = target_object_id and d.model = m.name and d.object_version = current_version
  )
  on conflict (object_id, model) do nothing;
$$;
comment on function neural_search.bring_up_to_date is
  'Removes documents and jobs of other versions and makes a job for each model that lacks a document of this one; null '
  'where the object is gone.';


-- From sql/claims.sql

-- Claims: jobs that a worker leases.
-- Callers: embed_on_upload and the worker, as service_role.

create or replace function neural_search.max_attempts() returns integer
language sql immutable set search_path = '' as $$
  select 5
$$;
comment on function neural_search.max_attempts is 'How often a job is tried before it counts as failed.';


create or replace function neural_search.give_up_exhausted() returns void
language sql set search_path = '' as $$
  update neural_search.jobs as j set
    state = 'failed', lease_id = null, updated_at = now(),
    error_class = coalesce(j.error_class, 'LeaseExpired'),
    error_message = coalesce(j.error_message, 'No worker came to an end with this object. Its log may say why.')
  from (
    select e.object_id, e.model from neural_search.jobs as e
    where e.state = 'pending' and e.next_attempt_at <= now() and e.attempts >= neural_search.max_attempts()
    for update skip locked
  ) as exhausted
  where j.object_id = exhausted.object_id and j.model = exhausted.model
$$;
comment on function neural_search.give_up_exhausted is 'Makes jobs failed whose last attempt was abandoned.';


-- Each at most once in a while: workers ask often, and all write the same row.
create or replace function neural_search.note_request(loaded_models text[], is_burst boolean default false) returns void
language sql set search_path = '' as $$
  update neural_search.models as m set
    asked_at = now(), burst_at = case when is_burst then clock_timestamp() else m.burst_at end
  from (
    select s.name from neural_search.models as s
    where s.name = any (loaded_models) and case
        when is_burst then (s.burst_at >= clock_timestamp() - interval '0.5 seconds') is not true
        else (s.asked_at >= now() - interval '1 minute') is not true
      end
    for no key update skip locked -- somebody else is just writing the same
  ) as stale
  where m.name = stale.name
$$;
comment on function neural_search.note_request is
  'Notes that somebody who can load these models asks for work; in a burst that they took as many uploads as they could, '
  'so that they come back for more.';


-- So that workers, with the bytes, ask reuse_embedding only where it will answer. By their size and not by an eTag,
-- which needn't be a hash of the content: identical bytes may have different ones, where a file came in parts.
create or replace function neural_search.known_hashes(model_name text, size bigint) returns text[]
language sql stable set search_path = '' as $$
  select case when size is not null and count(*) <= 50 then coalesce(array_agg(same.content_hash), '{}') end
  from (
    select d.content_hash from neural_search.documents as d where d.byte_size = size and d.model = model_name limit 51
  ) as same
$$;
comment on function neural_search.known_hashes is
  'The content hashes of the model''s documents whose files have this size; null where that can''t be told in short.';


create or replace function neural_search.lease(
  object_ids uuid[], models text[], lease_seconds integer, claim_id uuid
) returns table (
  object_id uuid, model text, version text, bucket_id text, name text, size bigint, mime_type text, etag text,
  attempt integer, lease_id uuid, waited_seconds double precision, known_hashes text[]
)
language sql set search_path = ''
set enable_seqscan = off set jit = off as $$ -- a few rows by their keys, against all statistics
  update neural_search.jobs as j set
    attempts = j.attempts + 1, lease_id = gen_random_uuid(), claim_id = lease.claim_id,
    next_attempt_at = now() + make_interval(secs => lease_seconds), updated_at = now()
  from unnest(object_ids) as chosen (id) join neural_search.live_objects() as o on o.id = chosen.id
    cross join lateral neural_search.file_facts(o.metadata) as f
  where j.object_id = o.id and j.model = any (models)
  returning j.object_id, j.model, j.version, o.bucket_id, o.name, f.byte_size, f.mime_type, f.etag, j.attempts,
    j.lease_id, extract(epoch from now() - j.queued_at)::double precision,
    neural_search.known_hashes(j.model, f.byte_size)
$$;
comment on function neural_search.lease is
  'Leases the jobs of these objects for these models, which the caller has locked, and charges an attempt for each.';


create or replace function public.claim_embedding_jobs(
  loaded_models text[], max_jobs integer default 1, lease_seconds integer default 120, claim_id uuid default null
) returns table (
  object_id uuid, model text, version text, bucket_id text, name text, size bigint, mime_type text, etag text,
  attempt integer, lease_id uuid, waited_seconds double precision, known_hashes text[]
)
-- Without sorting, jobs are read in the order of jobs_due_idx until there are enough. Statistics from before a burst
-- would have the planner sort all that is due, which takes most of a second for 100,000. Before PostgreSQL 18 the setting
-- makes a plan look so dear that it would be compiled, which takes a second for each claim.
language plpgsql set search_path = '' set enable_sort = off set jit = off as $$
declare
  model_name text;
  job_priority smallint;
  chosen uuid[];
begin
  perform neural_search.check_range('lease_seconds', lease_seconds, 1, 86400, 'Leave it out for two minutes.');
  perform neural_search.note_request(loaded_models);
  perform neural_search.give_up_exhausted();

  -- Uploads go before backfill, and both before a standby model's backlog.
  for model_name, job_priority in
    select m.name, p::smallint from neural_search.models as m cross join generate_series(0, 1) as p
    where m.name = any (loaded_models) and m.state in ('active', 'standby')
    order by m.state = 'active' desc, m.name, p
  loop
    -- An object that may have killed its worker is handed out alone: it can't cost others their attempts.
    select case when (array_agg(due.abandoned))[1] then (array_agg(due.object_id))[1:1]
      else array_agg(due.object_id) filter (where not due.abandoned) end
    into chosen
    from (
      select j.object_id, j.lease_id is not null as abandoned
      from neural_search.jobs as j join neural_search.live_objects() as o on o.id = j.object_id
      where j.state = 'pending' and j.next_attempt_at <= now() and j.model = model_name and j.priority = job_priority
      order by j.next_attempt_at, j.object_id
      limit greatest(max_jobs, 0)
      for update of j skip locked
    ) as due;
    return query select * from neural_search.lease(chosen, array[model_name], lease_seconds, claim_id);
    if cardinality(chosen) = max_jobs and job_priority = 0 then
      perform neural_search.note_request(array[model_name], true);
    end if;
    exit when chosen is not null;
  end loop;
end
$$;
comment on function public.claim_embedding_jobs is
  'Leases due jobs of one model to the caller, uploads before backfill, the longest waiting first, and charges an attempt '
  'for each: the active model''s, or where it has none, a standby model''s.';


create or replace function public.claim_object(
  target_object_id uuid, loaded_models text[], lease_seconds integer default 120, claim_id uuid default null
) returns table (
  status text, reason text, object_id uuid, model text, version text, bucket_id text, name text, size bigint,
  mime_type text, etag text, attempt integer, lease_id uuid, waited_seconds double precision, known_hashes text[]
)
-- While it waits for a lock of ours, Storage waits for it to change the object.
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
  object storage.objects;
  job neural_search.jobs;
begin
  perform neural_search.check_range('lease_seconds', lease_seconds, 1, 86400, 'Leave it out for two minutes.');
  -- Waits for an overwrite that is under way, and makes the next one wait for these few statements.
  object = neural_search.lock_live_object(target_object_id);
  select target_object_id, object.version, object.bucket_id, object.name into object_id, version, bucket_id, name;
  if object.id is null then
    perform neural_search.bring_up_to_date(target_object_id, null);
    status = 'gone';
    reason = 'There is no such object.';
  elsif not neural_search.is_indexed(neural_search.json_of(object)) then
    status = 'ignored';
    reason = format('Bucket %L isn''t indexed. Register it with index_bucket.', object.bucket_id);
  else
    perform neural_search.bring_up_to_date(object.id, coalesce(object.version, ''));
    perform neural_search.note_request(loaded_models);
    perform neural_search.give_up_exhausted();
    return query
    select 'claimed', null::text, l.* from neural_search.lease(array[target_object_id], array(
      select j.model from neural_search.jobs as j
      where j.object_id = target_object_id and j.state = 'pending' and j.next_attempt_at <= now()
        and j.model = any (loaded_models)
      for update skip locked
    ), lease_seconds, claim_id) as l join neural_search.models as m on m.name = l.model
    order by m.state = 'active' desc, m.name;
    if found then
      return;
    end if;

    -- Nothing to do: the row that says most about why. Pending jobs go before those given up.
    select j.* into job from neural_search.jobs as j where j.object_id = target_object_id
    order by array_position(array['pending', 'failed', 'skipped'], j.state), j.next_attempt_at limit 1;
    status = case when job.object_id is null then 'unchanged' else replace(job.state, 'pending', 'waiting') end;
    reason = case
      when job.object_id is null then 'The document is up to date.'
      when job.state <> 'pending' then job.error_message
      when job.next_attempt_at <= now() and job.model <> all (loaded_models)
        then format('Model %L is needed and isn''t loaded here. Add it to EMBEDDING_MODELS.', job.model)
      when job.next_attempt_at <= now() or job.lease_id is not null then 'Another worker has it.'
      else format('The next attempt is due at %s. The last error: %s', job.next_attempt_at, job.error_message)
    end;
    select job.model, f.byte_size, f.mime_type, f.etag, job.attempts into model, size, mime_type, etag, attempt
    from neural_search.file_facts(object.metadata) as f;
  end if;
  return next;
end
$$;
comment on function public.claim_object is
  'Leases an object''s due jobs, having made those that are missing; or says in one row why there is nothing to do.';


-- From sql/outcomes.sql

-- Outcomes: how leased jobs end.
-- Callers: embed_on_upload and the worker, as service_role.

create or replace function neural_search.store_embedding(
  object_id uuid, model text, object_version text, embedding extensions.vector, content_hash text,
  width integer, height integer, mime_type text, perceptual_hash text, shown real, decoder_version integer
) returns text
language plpgsql set search_path = '' as $$
declare
  expected integer;
  object storage.objects;
  job neural_search.jobs;
  copied record;
begin
  select m.dimensions into expected from neural_search.models as m where m.name = store_embedding.model;
  perform neural_search.check_that(
    found, format('There is no model %L.', model), 'The models are listed in neural_search.models.'
  );
  perform neural_search.check_vector('The embedding', embedding, model, expected);

  -- The uploader's order of locks: object, job, document. KEY SHARE wouldn't stop an overwrite.
  object = neural_search.lock_live_object(store_embedding.object_id);
  if object.id is null then
    perform neural_search.bring_up_to_date(store_embedding.object_id, null);
    return 'gone';
  elsif not neural_search.is_indexed(neural_search.json_of(object)) then
    return 'superseded';
  elsif coalesce(object.version, '') <> object_version then
    perform neural_search.bring_up_to_date(object.id, coalesce(object.version, ''));
    return 'superseded';
  end if;

  select j.* into job from neural_search.jobs as j
  where j.object_id = store_embedding.object_id and j.model = store_embedding.model for update;
  if not found then
    -- Somebody else finished it, or it isn't wanted any more. Either way there is nothing to write.
    return case when exists (
      select from neural_search.documents as d
      where d.object_id = store_embedding.object_id and d.model = store_embedding.model
        and d.object_version = store_embedding.object_version
    ) then 'embedded' else 'superseded' end;
  end if;

  -- By itself: a fault of ours in it is none of the insert's, see finish_embedding_job.
  select c.* into copied from neural_search.copied_columns(object) as c;
  insert into neural_search.documents as d (
    object_id, bucket_id, content, object_version, byte_size, owner_id, uploaded_at, metadata, judged_at, model, embedding,
    content_hash, width, height, mime_type, queued_at, embedded_at, perceptual_hash, shown, decoder_version
  )
  values (
    object.id, copied.bucket_id, copied.content, copied.object_version, copied.byte_size, copied.owner_id, copied.uploaded_at,
    copied.metadata, copied.judged_at, model, embedding, content_hash, width, height, mime_type, job.queued_at, now(),
    perceptual_hash::bit(64), shown, decoder_version
  )
  on conflict on constraint documents_object_id_model_key do update set
    bucket_id = excluded.bucket_id, content = excluded.content, embedding = excluded.embedding,
    object_version = excluded.object_version, content_hash = excluded.content_hash, width = excluded.width,
    height = excluded.height, mime_type = excluded.mime_type, byte_size = excluded.byte_size,
    owner_id = excluded.owner_id, uploaded_at = excluded.uploaded_at, metadata = excluded.metadata,
    judged_at = excluded.judged_at, queued_at = excluded.queued_at, embedded_at = excluded.embedded_at,
    perceptual_hash = excluded.perceptual_hash, shown = excluded.shown, decoder_version = excluded.decoder_version,
    updated_at = now();
  delete from neural_search.jobs as j where j.object_id = job.object_id and j.model = job.model;
  return 'embedded';
end
$$;
comment on function neural_search.store_embedding is
  'Writes the document and removes the job where the object still has this version: embedded, superseded or gone.';


-- Errors of a trigger or a check of the project's own would be taken for the function's own fault, as which they stop all
-- work. A check has no function: Postgres names then the statement that it ran, as it does for a right that is missing, and
-- none where it couldn't read ours.
create or replace function public.finish_embedding_job(
  object_id uuid, model text, object_version text, embedding extensions.vector, content_hash text,
  width integer, height integer, mime_type text, perceptual_hash text default null, shown real default 1,
  decoder_version integer default 1 -- a worker that doesn't tell is of the first release
) returns text
-- While it waits for a lock of ours, Storage waits for it to change the object.
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
  context text;
begin
  return neural_search.store_embedding(
    object_id, model, object_version, embedding, content_hash, width, height, mime_type, perceptual_hash, shown,
    decoder_version
  );
exception when syntax_error_or_access_rule_violation then
  get stacked diagnostics context = pg_exception_context;
  if substring(context from '(?n)^\S+ function "?(\w+)') = 'neural_search' -- the innermost one's schema
    and not (context ^@ 'SQL statement "insert into neural_search.documents '
      and not exists (
        select from unnest(array['select', 'insert', 'update']) as r where not has_table_privilege('neural_search.documents', r)
      ))
  then
    raise;
  end if;
  raise exception 'The document was refused: % (%)', sqlerrm, sqlstate using errcode = 'integrity_constraint_violation',
    hint = 'Look at the triggers and constraints of your own on neural_search.documents: name tables with their schema there.';
end
$$;
comment on function public.finish_embedding_job is
  'Writes the document and removes the job where the object still has this version: embedded, superseded or gone.';


-- A change of an object in the batch waits for all of it. So it waits for no row that another holds, lest two wait
-- for each other, and begins no image after half a second. Each is written in a subtransaction of its own: Postgres has
-- 64 of a session at hand, with more all sessions get slow.
create or replace function public.finish_embedding_jobs(
  object_ids uuid[], models text[], object_versions text[], embeddings text[], content_hashes text[], widths integer[],
  heights integer[], mime_types text[], perceptual_hashes text[], shown real[], decoder_versions integer[]
) returns text[]
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
  lengths constant integer[] := array[
    cardinality(object_ids), cardinality(models), cardinality(object_versions), cardinality(embeddings),
    cardinality(content_hashes), cardinality(widths), cardinality(heights), cardinality(mime_types),
    cardinality(perceptual_hashes), cardinality(shown), cardinality(decoder_versions)
  ];
  statuses text[] := '{}'::text[];
begin
  perform neural_search.check_that(
    coalesce(lengths[1] between 1 and 64 and lengths[1] = all (lengths), false),
    format('The arrays have %s elements, expected as many in each, 1 to 64.', lengths),
    'Give a value for each image, and more images in further calls.'
  );
  for i in 1 .. lengths[1] loop
    statuses[i] = 'busy';
    continue when clock_timestamp() > statement_timestamp() + interval '500ms';
    begin
      perform from storage.objects as o where o.id = object_ids[i] for share nowait;
      perform from neural_search.jobs as j where j.object_id = object_ids[i] and j.model = models[i]
        for update nowait;
      statuses[i] = neural_search.store_embedding(
        object_ids[i], models[i], object_versions[i], embeddings[i]::extensions.vector, content_hashes[i], widths[i],
        heights[i], mime_types[i], perceptual_hashes[i], shown[i], decoder_versions[i]
      );
    exception
      when lock_not_available then null;
      when assert_failure or others then
        if neural_search.is_outage(sqlstate) then
          raise;
        end if;
        statuses[i] = 'refused';
    end;
  end loop;
  return statuses;
end
$$;
comment on function public.finish_embedding_jobs is
  'As finish_embedding_job, for 1 to 64 images in one round trip: a status for each, in the order given. An image that '
  'can''t be stored here harms no other: busy where somebody else holds its rows or time is up, refused where its values '
  'aren''t valid. Ask finish_embedding_job for those: it waits, and tells why.';


-- Vectors are reused from the documents themselves, and gone with the last of them. Uploaders aren't told that others have
-- the same bytes.
create or replace function public.reuse_embedding(
  object_id uuid, model text, object_version text, content_hash text, decoder_version integer default 1
) returns text
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
  twin neural_search.documents;
begin
  select d.* into twin from neural_search.documents as d
  where d.content_hash = reuse_embedding.content_hash and d.model = reuse_embedding.model
    and neural_search.decodes_alike(d.mime_type, d.decoder_version, reuse_embedding.decoder_version)
  limit 1;
  if not found then
    return 'unknown';
  end if;
  return public.finish_embedding_job(
    reuse_embedding.object_id, reuse_embedding.model, reuse_embedding.object_version, twin.embedding,
    reuse_embedding.content_hash, twin.width, twin.height, twin.mime_type, twin.perceptual_hash::text,
    twin.shown, twin.decoder_version
  );
end
$$;
comment on function public.reuse_embedding is
  'As finish_embedding_job, with the values of a document of the same model whose bytes have this hash and were decoded as '
  'decoder_version decodes them; unknown where there is none.';


create or replace function public.fail_embedding_job(
  object_id uuid, model text, lease_id uuid, outcome text, error_class text, error_message text,
  decoder_version integer default null
) returns text
language plpgsql set search_path = '' set lock_timeout = '500ms' as $$
declare
  result text;
begin
  perform neural_search.check_that(
    coalesce(outcome in ('skipped', 'failed', 'retry', 'doubtful'), false),
    format('outcome is %L, expected skipped, failed, retry or doubtful.', outcome),
    'Give retry where another attempt may succeed.'
  );
  update neural_search.jobs as j set
    (state, attempts, faults, next_attempt_at) = (
      select
        case
          when outcome in ('skipped', 'failed') then outcome
          when j.attempts >= neural_search.max_attempts() and uncharged = 0 then 'failed'
          else 'pending'
        end,
        greatest(j.attempts - uncharged, 0), j.faults + uncharged,
        now() + make_interval(secs => case
          -- 10, 20, 40 s and so on, never more than 5 minutes: 20 to 30 minutes in all, which most outages don't last.
          when uncharged = 1 then least(10 * 2 ^ j.faults, 300) * (1 + random() / 2)
          -- 10, 20, 40, 80 s and up to half of that more or less, so that joint failures aren't retried together.
          else 5 * 2 ^ j.attempts * (0.5 + random())
        end)
      from (select (outcome = 'doubtful' and j.faults < 8)::integer) as w (uncharged)
    ),
    lease_id = null,
    error_class = fail_embedding_job.error_class,
    error_message = left(fail_embedding_job.error_message, 2000),
    decoder_version = fail_embedding_job.decoder_version,
    updated_at = now()
  where j.object_id = fail_embedding_job.object_id and j.model = fail_embedding_job.model
    and j.lease_id = fail_embedding_job.lease_id
  returning j.state into result;

  -- A job beside a document is to decode the file anew. A file that no decoder takes for an image now is none.
  if result in ('skipped', 'failed') and fail_embedding_job.decoder_version is not null then
    perform neural_search.remove_documents(array[d.id]) from neural_search.documents as d
    where d.object_id = fail_embedding_job.object_id and d.model = fail_embedding_job.model;
  end if;

  return case when result is null then 'superseded' when result = 'pending' then 'retry' else result end;
end
$$;
comment on function public.fail_embedding_job is
  'Records why a leased job has no result: skipped, failed, retry (later, and failed after the last attempt) or '
  'doubtful (it may lie with the surroundings: as retry, but the first 8 times are not charged as attempts); '
  'superseded where the lease isn''t held any more. decoder_version: of the decoder that refused the '
  'file, if one did.';


-- A row that somebody else holds is left out, lest all wait for it, and those behind it: it is about to be changed or deleted,
-- or comes back when its lease ends.
create or replace function public.release_embedding_jobs(
  lease_ids uuid[], delay_seconds integer, error_class text, error_message text, claim_ids uuid[] default '{}'
) returns integer
language sql set search_path = '' as $$
  with released as (
    update neural_search.jobs as j set
      -- A claim that rests was of one object, whose row may be beyond answering: as if it were doubtful.
      attempts = greatest(j.attempts - (delay = 0 or j.faults < 8 or j.lease_id = any (lease_ids))::integer, 0),
      faults = j.faults + (delay > 0)::integer, -- a lease that is due again at once was given back in good order
      -- Twice as long each time, up to 5 minutes, and up to half as much more: jobs that a fault stopped together don't
      -- come back together. Never earlier than asked for.
      next_attempt_at = now() + make_interval(
        secs => greatest(delay, least(delay * 2 ^ least(j.faults, 10), 300)) * (1 + random() / 2)),
      lease_id = null,
      error_class = release_embedding_jobs.error_class,
      error_message = left(release_embedding_jobs.error_message, 2000),
      updated_at = now()
    from (select greatest(coalesce(delay_seconds, 0), 0)::double precision as delay) as asked, (
      select h.object_id, h.model from neural_search.jobs as h
      where h.lease_id = any (lease_ids) or (h.claim_id = any (claim_ids) and h.lease_id is not null)
      for update skip locked
    ) as held
    where j.object_id = held.object_id and j.model = held.model
    returning j.model
  )
  select count(*)::integer from released
$$;
comment on function public.release_embedding_jobs is
  'Gives leases back, and those of whole claims, without charging the attempt, where the fault lies with no single '
  'object. The wait doubles with each such fault, from delay_seconds to 5 minutes. A claim with a delay, which is to be of '
  'one object, is charged from the ninth fault on.';


-- From sql/triggers.sql

-- Triggers: each change of an object is recorded in its own transaction, and then embed_on_upload is kicked.
-- Callers: Storage, through the trigger on storage.objects; the schedule.
-- The trigger itself is made by attach.sql.

create or replace function neural_search.limit_kicks(most integer) returns void
language sql set search_path = '' as $$
  select neural_search.check_range('most', most, 2, 100, 'One is kept for the schedule, or a transaction that uploads '
    'and stays open would keep all from being called.');
  delete from neural_search.kicks as k where k.slot > most;
  insert into neural_search.kicks (slot) select s from generate_series(1, most) as s on conflict do nothing;
$$;
comment on function neural_search.limit_kicks is
  'How many calls of embed_on_upload may be in flight at a time: as many as its instances answer together.';


-- A slot that somebody else has locked is about to be used. One transaction that uploads much and stays open may hold all
-- but the schedule's.
create or replace function neural_search.free_slot(scheduled boolean) returns integer
language plpgsql set search_path = '' as $$ -- the schema net may come later
begin
  return (
    select k.slot from neural_search.kicks as k
    where (scheduled or k.slot > 1)
      and (
        k.kicked_at < clock_timestamp() - interval '15 seconds'
        or k.request_id in (select r.id from net._http_response as r where r.created > now() - interval '15 seconds')
      )
    order by k.slot desc limit 1 for update of k skip locked
  );
end
$$;
comment on function neural_search.free_slot is
  'Locks a slot whose call has been answered or is forgotten after 15 seconds; null where there is none.';


-- Asked of the clock and not of the transaction, which may have begun long ago.
create or replace function neural_search.in_burst() returns boolean
language sql volatile set search_path = '' as $$
  select exists (
    select from neural_search.models as m
    where m.state = 'active' and m.burst_at > clock_timestamp() - interval '3 seconds'
  )
$$;
comment on function neural_search.in_burst is
  'Whether somebody works on uploads of the active model and will come back for more within seconds: no call is needed.';


-- Without the extension, a schema of its name may be anybody's who may make one: ours call none of its functions as their owner.
create or replace function neural_search.is_platforms(relation text) returns boolean
language sql stable set search_path = '' as $$
  select exists (
    select from pg_class as c join pg_roles as r on r.oid = c.relowner
    where c.oid = to_regclass(relation) and (r.rolsuper or exists (
      select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    ))
  )
$$;
comment on function neural_search.is_platforms is 'Whether this table of an extension is the extension''s, or a superuser''s.';


-- pg_net gives everybody all rights on its queue: a trigger there is anybody's, and would run as who inserts. An older snapshot
-- wouldn't show one that was hung on it meanwhile.
create or replace function neural_search.may_write(relation text) returns boolean
language plpgsql set search_path = '' as $$
begin
  if not neural_search.is_platforms(relation) or current_setting('transaction_isolation') <> 'read committed' then
    return false;
  end if;
  execute format('lock table only %s in row exclusive mode nowait', relation);
  return not exists (select from pg_trigger as t where t.tgrelid = to_regclass(relation) and not t.tgisinternal);
end
$$;
comment on function neural_search.may_write is
  'Whether this table of an extension may be written to: none but the extension''s own code runs by it, until the '
  'transaction ends.';


create or replace function neural_search.try_kick(body jsonb, scheduled boolean default false) returns boolean
language plpgsql set search_path = '' as $$
declare
  free_slot integer;
  request bigint;
  url text;
  secret text;
begin
  if not neural_search.is_platforms('vault.decrypted_secrets') then
    raise exception 'Vault isn''t there, or the schema vault is another''s'
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  select s.decrypted_secret into url from vault.decrypted_secrets as s where s.name = 'neural_search_embed_url';
  select s.decrypted_secret into secret from vault.decrypted_secrets as s where s.name = 'neural_search_webhook_secret';
  if url is null or secret is null or not scheduled and neural_search.in_burst() then
    return false;
  end if;
  if not neural_search.may_write('net.http_request_queue') then
    raise exception 'pg_net isn''t there, its queue is another''s or has a trigger, or this transaction isn''t read committed'
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  -- One slow batch of pg_net holds up all that follows it; the schedule comes back for jobs that aren't kicked now.
  if (select count(*) from (select from net.http_request_queue limit 200) as waiting) >= 200 then
    return false;
  end if;
  -- More calls at a time than are answered would fill pg_net's batches, and the project's other webhooks wait for those.
  -- Who is called works on beyond the object that it is called for.
  free_slot = neural_search.free_slot(scheduled);
  if free_slot is null then
    return false;
  end if;
  request = net.http_post(
    url => url,
    body => body,
    headers => jsonb_build_object('Content-Type', 'application/json', 'x-webhook-secret', secret),
    timeout_milliseconds => 10000
  );
  update neural_search.kicks as k set request_id = request, kicked_at = clock_timestamp() where k.slot = free_slot;
  return true;
exception when others then
  -- Without the secret: others may read the log of the database.
  raise warning 'neural-search could not call embed_on_upload: % (%)',
    coalesce(replace(sqlerrm, secret, '…'), sqlerrm), sqlstate;
  return false;
end
$$;
comment on function neural_search.try_kick is
  'Posts a body to embed_on_upload; false where URL or secret aren''t in Vault, as many calls are in flight as may be, '
  'too much is waiting to be sent, or an upload''s call isn''t needed in a burst. A failure is a warning: the schedule '
  'will try again.';


create or replace function neural_search.kick_due() returns integer
language plpgsql set search_path = '' as $$
declare
  per_kick constant integer := 50; -- who is called does all that is due; the limit is for a function of 0.1.0
  -- In a burst one tells one more instance of the function, where there are several.
  most_kicks constant integer := (
    select case when neural_search.in_burst() then 1 else count(*) end from neural_search.kicks
  );
  kicks integer;
begin
  perform neural_search.give_up_exhausted();
  -- For a standby model that nobody has loaded lately, one kick finds out whether somebody can.
  select least(most_kicks, coalesce(sum(ceil(due.jobs / per_kick::numeric)), 0)) into kicks
  from neural_search.models as m
  cross join lateral (
    select count(*) as jobs from (
      select from neural_search.jobs as j
      where j.state = 'pending' and j.next_attempt_at <= now() and j.model = m.name and j.priority in (0, 1)
      limit case
        when m.state = 'active' or m.asked_at > now() - interval '10 minutes' then per_kick * most_kicks else 1
      end
    ) as first_ones
  ) as due
  where m.state in ('active', 'standby');
  for _ in 1 .. kicks loop
    exit when not neural_search.try_kick(jsonb_build_object('type', 'KICK', 'wait', false, 'limit', 10 * per_kick), true);
  end loop;
  return kicks;
end
$$;
comment on function neural_search.kick_due is
  'Kicks once for each 50 jobs that are due, as far as calls may be in flight, and only once for a standby model that nobody '
  'loads; how often it would where all were free.';


-- The uploader's statement holds the lock on the object's row while this runs.
create or replace function neural_search.record_change(before jsonb, after jsonb, object storage.objects) returns boolean
language plpgsql set search_path = '' as $$
declare
  target_object_id constant uuid := (coalesce(after, before) ->> 'id')::uuid;
  old_version constant text := coalesce(before ->> 'version', '');
  new_version constant text := coalesce(after ->> 'version', '');
  was_indexed constant boolean := neural_search.is_indexed(before);
  is_move constant boolean := was_indexed and neural_search.is_move(before, after);
  has_same_etag constant boolean := before #>> '{metadata,eTag}' = after #>> '{metadata,eTag}';
begin
  if not neural_search.is_indexed(after) then
    if not was_indexed then
      return false;
    end if;
    -- The version that took its place may share its id, and may have come first.
    perform neural_search.bring_up_to_date(target_object_id, (
      select coalesce(o.version, '')
      from storage.objects as o where o.id = target_object_id and neural_search.is_indexed(neural_search.json_of(o)) limit 1
    ));
    return false;
  end if;

  if is_move then
    update neural_search.jobs as j set
      version = new_version, updated_at = now(),
      -- Its present worker comes back with the old version, which won't be accepted, and is no attempt: an image may be moved
      -- often. It is one where that worker is late, and may have died of it.
      attempts = j.attempts - (j.lease_id is not null and j.next_attempt_at > now())::integer,
      next_attempt_at = case when j.lease_id is null then j.next_attempt_at else now() end, lease_id = null
    where j.object_id = target_object_id and j.version = old_version and has_same_etag
      -- A job that failed for its old name is made anew below.
      and coalesce(j.error_class not in ('InvalidObjectName', 'StorageRefused', 'ObjectBlocked'), true);
    perform neural_search.copy_again(object, old_version);
  end if;

  perform neural_search.bring_up_to_date(target_object_id, new_version);
  if is_move and not has_same_etag then
    -- Storage copies first: an upload in parts may have come between, of as many bytes. The document stays until they are read,
    -- and isn't this job's work done, by whatever decoder it was made.
    insert into neural_search.jobs (object_id, model, version, decoder_before)
    select d.object_id, d.model, new_version, 2147483647
    from neural_search.documents as d
    join neural_search.models as m on m.name = d.model and m.state in ('active', 'standby')
    where d.object_id = target_object_id
    on conflict (object_id, model) do nothing;
  end if;
  return exists (
    select from neural_search.jobs as j
    where j.object_id = target_object_id and j.state = 'pending' and j.next_attempt_at <= now()
  );
end
$$;
comment on function neural_search.record_change is
  'Brings documents and jobs into line with a change of a row of storage.objects; true where work is due for it.';


-- Storage moves by copying. A copy keeps its eTag, but for bytes that came in parts (resumable uploads, files beyond 5 MB):
-- '"…-3"' becomes the eTag of one part, which can't be compared.
create or replace function neural_search.is_move(before jsonb, after jsonb) returns boolean
language sql immutable set search_path = '' as $$
  select (before ->> 'bucket_id', before ->> 'name') is distinct from (after ->> 'bucket_id', after ->> 'name')
    and coalesce(before #>> '{metadata,size}' = after #>> '{metadata,size}', false)
    and coalesce(before #>> '{metadata,eTag}' = after #>> '{metadata,eTag}'
      or before #>> '{metadata,eTag}' ~ '-[0-9]+"?$' and after #>> '{metadata,eTag}' !~ '-[0-9]+"?$', false)
$$;
comment on function neural_search.is_move is 'Whether an update changed where an object is, and not its bytes.';


-- Definer, because Storage runs it as the uploader, who may not touch our tables, nor Vault. It never raises, or the
-- upload would fail; changes that it can't record in time are found by reconcile_documents.
create or replace function neural_search.on_object_change() returns trigger
language plpgsql security definer set search_path = '' set lock_timeout = '200ms' as $$
declare
  before jsonb;
  after jsonb;
  due boolean := false;
begin
  -- Set below: having waited in vain once, the other rows of this transaction don't wait as well.
  if current_setting('neural_search.gave_up', true) = 'true' then
    return null;
  end if;

  begin
    before = case when tg_op <> 'INSERT' then neural_search.json_of(old) end;
    after = case when tg_op <> 'DELETE' then neural_search.json_of(new) end;
    -- A change must touch these to make work; Storage also writes times and metadata.
    if tg_op = 'UPDATE' and not exists (
      select from unnest(array['bucket_id', 'name', 'version', 'is_delete_marker', 'archived_at']) as key
      where before -> key is distinct from after -> key
    ) then
      if neural_search.copied_columns(old) is distinct from neural_search.copied_columns(new) then
        perform neural_search.copy_again(new, old.version);
      end if;
      return null;
    end if;
    due = neural_search.record_change(before, after, new);
  exception when assert_failure or others then
    if sqlstate in ('55P03', '40P01') then
      perform set_config('neural_search.gave_up', 'true', true);
    end if;
    raise warning 'neural-search could not record the % of object %: % (%)',
      tg_op, coalesce(after, before) ->> 'id', sqlerrm, sqlstate;
  end;

  if due then
    -- A block of its own: a failure here doesn't undo the record. It names the object by its id alone: every database role
    -- can read pg_net's queue.
    perform neural_search.try_kick(jsonb_build_object(
      'type', tg_op, 'table', tg_table_name, 'schema', tg_table_schema, 'wait', false,
      'record', jsonb_build_object('id', after -> 'id')));
  end if;
  return null;
end
$$;
comment on function neural_search.on_object_change is 'Follows the objects of Storage: records a change, then kicks.';


-- From sql/reports.sql

-- Reports: how far each object in an indexed bucket is, and why it can't be found yet.
-- Callers: the command line as service_role; operators in the database.

create or replace view neural_search.progress with (security_invoker = true) as
select o.id as object_id, o.bucket_id, o.name, m.name as model, coalesce(o.version, '') as version,
  case
    when d.id is not null then 'searchable'
    when j.object_id is null then 'unrecorded'
    when j.state <> 'pending' then j.state
    when j.next_attempt_at <= now() then 'due'
    when j.lease_id is not null then 'running'
    else 'waiting'
  end as state,
  j.attempts, j.queued_at, j.next_attempt_at, j.error_class, j.error_message, j.created_at, j.updated_at,
  d.shown, coalesce(d.mime_type, f.mime_type) as mime_type,
  coalesce(d.decoder_version, j.decoder_version) as decoder_version,
  coalesce(greatest(o.created_at, o.updated_at) > greatest(b.created_at, m.created_at), false) as is_upload
from neural_search.indexed_buckets as b
join neural_search.live_objects() as o on o.bucket_id = b.bucket_id
join neural_search.models as m on m.state in ('active', 'standby')
cross join lateral neural_search.file_facts(o.metadata) as f
left join neural_search.documents as d
  on d.object_id = o.id and d.model = m.name and d.object_version = coalesce(o.version, '')
left join neural_search.jobs as j
  on j.object_id = o.id and j.model = m.name and j.version = coalesce(o.version, '')
where o.name not like '%.emptyFolderPlaceholder'; -- by which the dashboard makes a folder: no image that is missing
comment on view neural_search.progress is
  'Each object in an indexed bucket with each model that is kept up to date: searchable, due, waiting (for the next '
  'attempt), running, skipped, failed, or unrecorded: neither a document nor a job of its present version. An upload came '
  'after its bucket and its model were registered; the rest is backfill.';


create or replace view neural_search.backlog with (security_invoker = true) as
select b.bucket_id, m.name as model, m.state as model_state,
  count(p.object_id) as objects,
  count(*) filter (where p.state = 'searchable') as searchable,
  count(*) filter (where p.state = 'due') as due,
  count(*) filter (where p.state = 'waiting') as waiting,
  count(*) filter (where p.state = 'running') as running,
  count(*) filter (where p.state = 'skipped') as skipped,
  count(*) filter (where p.state = 'failed') as failed,
  count(*) filter (where p.state = 'unrecorded') as unrecorded,
  extract(epoch from now() - min(p.queued_at) filter (where p.state in ('due', 'waiting', 'running')))::double precision
    as oldest_seconds,
  count(*) filter (where p.shown < 1) as cut_off
from neural_search.indexed_buckets as b
join neural_search.models as m on m.state in ('active', 'standby')
left join neural_search.progress as p on p.bucket_id = b.bucket_id and p.model = m.name
group by b.bucket_id, m.name;
comment on view neural_search.backlog is
  'How many objects of each indexed bucket are in which state of neural_search.progress, the age of the oldest job '
  'that is still to be done, and how many of the searchable ones are cut off.';


create or replace view neural_search.failures with (security_invoker = true) as
select p.bucket_id, p.model, p.state, p.error_class, count(*) as objects,
  (array_agg(p.name order by p.updated_at desc, p.object_id))[1] as example_name,
  (array_agg(p.error_message order by p.updated_at desc, p.object_id))[1] as example_message
from neural_search.progress as p
where p.state <> 'searchable' and p.error_class is not null
group by p.bucket_id, p.model, p.state, p.error_class;
comment on view neural_search.failures is
  'The causes for which objects can''t be found, how many each, and the latest of them. Those that are due, waiting or '
  'running had this error the last time and will be tried again.';


create or replace view neural_search.outdated with (security_invoker = true) as
select p.object_id, p.bucket_id, p.name, p.model, p.version, p.mime_type, p.decoder_version,
  case when p.state <> 'searchable' then p.error_class end as refused_for
from neural_search.progress as p, (select max(c.version) as version from neural_search.decoder_changes() as c) as newest
where p.state in ('searchable', 'skipped', 'failed') and p.decoder_version < newest.version
  and not neural_search.decodes_alike(
    case when p.state = 'searchable' then p.mime_type end, -- of others it is only the uploader's word
    p.decoder_version, newest.version
  );
comment on view neural_search.outdated is
  'Objects that an older decoder refused (for refused_for), or may have embedded as another picture than today''s.';


create or replace view neural_search.freshness with (security_invoker = true) as
select d.model, count(*) as documents,
  percentile_cont(0.5) within group (order by extract(epoch from d.embedded_at - d.queued_at)) as p50_seconds,
  percentile_cont(0.95) within group (order by extract(epoch from d.embedded_at - d.queued_at)) as p95_seconds
from neural_search.documents as d
where d.embedded_at > now() - interval '24 hours'
group by d.model;
comment on view neural_search.freshness is
  'How long it took from upload to searchable, by model, for documents embedded in the last 24 hours.';


create or replace function public.index_status() returns table (
  bucket_id text, model text, objects bigint, documents bigint, pending bigint, running bigint, skipped bigint,
  failed bigint
)
language sql stable set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
  select b.bucket_id, b.model, b.objects, b.searchable, b.due + b.waiting, b.running, b.skipped, b.failed
  from neural_search.backlog as b
  order by b.bucket_id, b.model
$$;
comment on function public.index_status is 'How far each indexed bucket is, for each model that is kept up to date.';


create or replace function public.list_embedding_jobs(
  job_state text default null, max_rows integer default 100, bucket text default null, name_prefix text default null,
  after_object_id uuid default null, after_model text default null
) returns table (
  object_id uuid, bucket_id text, name text, model text, state text, attempts integer, next_attempt_at timestamptz,
  error_class text, error_message text, queued_at timestamptz, created_at timestamptz, updated_at timestamptz
)
-- Planned for the state that is asked for: of a million objects few have a job. The time-out, which PostgREST heeds, is
-- for the case that all are compared.
language plpgsql stable set search_path = '' set plan_cache_mode = force_custom_plan set statement_timeout = '60s' as $$
begin
  perform neural_search.check_that(
    job_state in ('due', 'waiting', 'running', 'skipped', 'failed', 'unrecorded'),
    format('job_state is %L, expected due, waiting, running, skipped, failed or unrecorded.', job_state),
    'Leave it out for all of them.'
  );
  return query
  select p.object_id, p.bucket_id, p.name, p.model, p.state, coalesce(p.attempts, 0), p.next_attempt_at,
    case when p.state = 'unrecorded' then 'NotRecorded' else p.error_class end,
    case when p.state = 'unrecorded'
      then 'Nothing was recorded of this version. It is queued within 5 minutes, when the scheduled reconciliation '
        'runs, or at once by `neural-search backfill`.'
      else p.error_message
    end,
    p.queued_at, p.created_at, p.updated_at
  from neural_search.progress as p
  where p.state <> 'searchable'
    and (job_state is null or p.state = job_state)
    and (job_state is null or job_state = 'unrecorded' or p.queued_at is not null) -- begins with the jobs
    and (bucket is null or p.bucket_id = bucket)
    and (name_prefix is null or starts_with(p.name, name_prefix))
    and p.object_id >= coalesce(after_object_id, '00000000-0000-0000-0000-000000000000')
    and (after_object_id is null or (p.object_id, p.model) > (after_object_id, coalesce(after_model, '')))
  order by p.object_id, p.model
  limit max_rows;
end
$$;
comment on function public.list_embedding_jobs is
  'Every object in an indexed bucket that can''t be found yet, with the cause, ordered by object and model: due, waiting '
  '(for the next attempt), running, skipped, failed, unrecorded. The last row''s object_id and model lead to the next '
  'page.';


create or replace function public.embedding_report() returns jsonb
-- PostgREST heeds the time-out: 8 seconds, as hosted projects have it, are too few for millions of objects.
language sql stable set search_path = '' set statement_timeout = '60s' as $$
  select jsonb_build_object(
    'backlog', (
      select coalesce(jsonb_agg(to_jsonb(b) order by b.bucket_id, b.model), '[]') from neural_search.backlog as b
    ),
    'failures', (
      select coalesce(jsonb_agg(to_jsonb(f) order by f.bucket_id, f.model, f.state, f.objects desc, f.error_class), '[]')
      from neural_search.failures as f
    ),
    'freshness', (
      select coalesce(jsonb_agg(to_jsonb(f) order by f.model), '[]') from neural_search.freshness as f
    ),
    'reconciled', (
      select jsonb_build_object('at', r.at, 'missing', r.missing, 'stale', r.stale, 'orphaned', r.orphaned)
      from neural_search.reconciliations as r order by r.reconciliation_id desc limit 1
    ),
    'unindexed', (
      select coalesce(jsonb_agg(s.id order by s.id), '[]') from storage.buckets as s
      where not exists (select from neural_search.indexed_buckets as b where b.bucket_id = s.id)
    )
  )
$$;
comment on function public.embedding_report is
  'The state of the index: backlog, failures by cause, freshness, the last reconciliation, and the buckets that '
  'aren''t indexed.';


-- From sql/models.sql

-- Models: how one takes another's place while searches go on.
-- Callers: the command line, as service_role.

-- A readable name that no two models share, and no model with the table's other indexes; one that isn't plain gets a
-- digest. Each strategy has its own, so that one index can be made while the other serves.
create or replace function neural_search.index_name(model_name text, search_strategy text default 'hnsw') returns text
language sql immutable set search_path = '' as $$
  select 'documents_' || case
    when model_name ~ '^[a-z0-9-]{1,40}$' and model_name !~ '-lsh$' and replace(model_name, '-', '_') not in (
      'bucket_id', 'byte_size', 'content', 'content_hash', 'embedded_at', 'metadata', 'mime_type', 'owner_id', 'prefix',
      'shown', 'uploaded_at'
    ) then replace(model_name, '-', '_')
    else left(trim('_' from regexp_replace(lower(model_name), '[^a-z0-9]+', '_', 'g')), 31)
      || '_' || left(md5(model_name), 8)
  end || case search_strategy when 'hnsw' then '_idx' when 'lsh' then '_lsh_idx' end
$$;
comment on function neural_search.index_name is 'The name of a model''s index; null where its strategy has none.';


create or replace function neural_search.index_definition(model_name text, dimensions integer, search_strategy text)
returns text
language sql immutable set search_path = '' as $$
  select neural_search.check_that(
    coalesce(search_strategy in ('hnsw', 'lsh', 'exact'), false),
    format('search_strategy is %L, expected hnsw, lsh or exact.', search_strategy), 'Leave it out for hnsw.'
  );
  select case search_strategy
    when 'hnsw' then format(
      'using hnsw ((embedding::extensions.halfvec(%s)) extensions.halfvec_cosine_ops) where model = %L',
      dimensions, model_name
    )
    when 'lsh' then format(
      'using hnsw ((lsh::bit(%s)) extensions.bit_hamming_ops) where model = %L',
      neural_search.lsh_length(dimensions), model_name
    )
  end;
$$;
comment on function neural_search.index_definition is
  'The rest of `create index … on neural_search.documents` for a model that is searched like this; null where that takes none.';


-- `create index concurrently` leaves an index behind, to be dropped, where it is stopped.
create or replace function neural_search.has_index(model_name text, search_strategy text default 'hnsw')
returns boolean
language sql stable set search_path = '' as $$
  select exists (
    select from pg_catalog.pg_index as i
    where i.indexrelid = to_regclass(format('neural_search.%I', neural_search.index_name(model_name, search_strategy)))
      and i.indrelid = 'neural_search.documents'::regclass and i.indisvalid and i.indisready
  )
$$;
comment on function neural_search.has_index is 'Whether the index over a model''s documents is there and complete.';


create or replace function neural_search.require_model(model_name text) returns neural_search.models
language sql set search_path = '' as $$
  select neural_search.check_that(
    exists (select from neural_search.models as m where m.name = model_name),
    format('There is no model %L, only %s.', model_name, (
      select string_agg(quote_literal(m.name), ', ' order by m.name) from neural_search.models as m
    )), 'Add it first: `neural-search models add`.'
  );
  select m.* from neural_search.models as m where m.name = model_name;
$$;
comment on function neural_search.require_model is 'The model of this name; raises 22023 where there is none.';


create or replace function public.list_models() returns table (
  name text, state text, dimensions integer, search_strategy text, created_at timestamptz, asked_at timestamptz,
  documents bigint, objects bigint, searchable bigint, pending bigint, given_up bigint, index_name text,
  index_valid boolean, index_bytes bigint
)
language sql stable set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
  select m.name, m.state, m.dimensions, m.search_strategy, m.created_at, m.asked_at,
    (select count(*) from neural_search.documents as d where d.model = m.name),
    coalesce(sum(b.objects), 0)::bigint, coalesce(sum(b.searchable), 0)::bigint,
    coalesce(sum(b.objects - b.searchable - b.skipped - b.failed), 0)::bigint,
    coalesce(sum(b.skipped + b.failed), 0)::bigint, i.name,
    case when i.name is not null then neural_search.has_index(m.name, m.search_strategy) end,
    pg_relation_size(to_regclass('neural_search.' || quote_ident(i.name)))
  from neural_search.models as m
  left join neural_search.backlog as b on b.model = m.name
  cross join neural_search.index_name(m.name, m.search_strategy) as i (name)
  group by m.name, i.name
  order by array_position(array['active', 'standby', 'retired'], m.state), m.name
$$;
comment on function public.list_models is
  'Each model: its state, how far it is with the objects of all indexed buckets, and whether its index is complete.';


create or replace function public.add_model(name text, dimensions integer, search_strategy text default 'hnsw')
returns text
language plpgsql set search_path = '' as $$
declare
  known neural_search.models;
begin
  perform neural_search.check_that(
    coalesce(add_model.name, '') <> '', format('name is %L, expected a model''s.', add_model.name),
    'Name it as processes do in EMBEDDING_MODELS.'
  );
  perform neural_search.check_range('dimensions', dimensions, 1, 4000, 'An index of half precision takes no more.');
  perform neural_search.index_definition(add_model.name, add_model.dimensions, add_model.search_strategy);

  insert into neural_search.models as m (name, dimensions, search_strategy)
  values (add_model.name, add_model.dimensions, add_model.search_strategy)
  on conflict do nothing;
  select m.* into known from neural_search.models as m where m.name = add_model.name for no key update;
  perform neural_search.check_that(
    known.dimensions = add_model.dimensions,
    format('Model %L is here with %s dimensions, not %s.', known.name, known.dimensions, add_model.dimensions),
    'Remove it first, or add this one under another name.', 'object_not_in_prerequisite_state'
  );
  if add_model.search_strategy = 'lsh' then
    perform neural_search.check_that(
      exists (select from neural_search.lsh_planes as p where p.model = known.name),
      format('Model %L has no planes for locality-sensitive hashing.', known.name),
      'Add it with hnsw, and when it has documents: `neural-search models add --strategy lsh`.',
      'object_not_in_prerequisite_state'
    );
    perform neural_search.check_that(
      not exists (select from neural_search.documents as d where d.model = known.name and d.lsh is null),
      format('Some documents of model %L have no bits yet, and would not be found.', known.name),
      'Run `neural-search models add --strategy lsh`.', 'object_not_in_prerequisite_state'
    );
  end if;
  if known.state = 'active' then
    perform neural_search.check_has_index(known.name, add_model.search_strategy);
  end if;
  update neural_search.models as m set
    search_strategy = add_model.search_strategy,
    state = case when m.state = 'retired' then 'standby' else m.state end
  where m.name = known.name
  returning m.* into known;
  return known.state;
end
$$;
comment on function public.add_model is
  'Registers a model, whose documents are then made beside the active one''s; its state. backfill_documents queues the '
  'objects that are there. For one that is registered it sets the strategy, and takes it back from being retired.';


create or replace function neural_search.check_has_index(model_name text, search_strategy text) returns void
language sql stable set search_path = '' as $$
  select neural_search.check_that(
    search_strategy = 'exact' or neural_search.has_index(model_name, search_strategy),
    format('The index %L is missing or incomplete.', neural_search.index_name(model_name, search_strategy)),
    format('Make it: `neural-search models add %s --strategy %s`.', model_name, search_strategy),
    'object_not_in_prerequisite_state'
  )
$$;
comment on function neural_search.check_has_index is 'Raises 55000 where a model''s index, if its strategy has one, isn''t complete.';


-- A new upload has a job for each model. The active one lacks it as well, so a switch takes it from nobody, and where
-- uploads never stop there always is one.
create or replace function neural_search.readiness(model_name text)
returns table (searchable bigint, given_up bigint, unaccounted bigint, arriving bigint)
language sql stable set search_path = '' as $$
  select count(*) filter (where p.state = 'searchable'), count(*) filter (where p.state in ('skipped', 'failed')),
    count(*) filter (where p.state not in ('searchable', 'skipped', 'failed') and not a.arriving),
    count(*) filter (where a.arriving)
  from neural_search.progress as p
  cross join lateral (
    select p.state not in ('searchable', 'skipped', 'failed') and exists (
      select from neural_search.jobs as j join neural_search.models as m on m.name = j.model and m.state = 'active'
      where j.object_id = p.object_id and j.version = p.version and j.state = 'pending' and j.model <> p.model
    ) as arriving
  ) as a
  where p.model = model_name
$$;
comment on function neural_search.readiness is
  'How many objects a model has made searchable, given up with a reason, not accounted for, and not yet come to, as the '
  'active model hasn''t either.';


create or replace function public.activate_model(name text, force_unaccounted boolean default false)
returns table (active text, standby text, searchable bigint, given_up bigint, unaccounted bigint, arriving bigint)
language plpgsql set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
declare
  known constant neural_search.models := neural_search.require_model(activate_model.name);
begin
  perform neural_search.check_that(
    known.state <> 'retired', format('Model %L is retired: its documents aren''t kept up to date.', known.name),
    format('Add it again: `neural-search models add %s`.', known.name), 'object_not_in_prerequisite_state'
  );
  perform neural_search.check_has_index(known.name, known.search_strategy);
  select r.* into searchable, given_up, unaccounted, arriving from neural_search.readiness(known.name) as r;
  perform neural_search.check_that(
    known.state = 'active' or unaccounted = 0 or coalesce(force_unaccounted, false),
    format('Model %L isn''t ready: %s of %s images are neither searchable with it nor given up with a reason.',
      known.name, unaccounted, searchable + given_up + unaccounted + arriving),
    'Wait until `neural-search jobs` shows none that is due, waiting, running or unrecorded.',
    'object_not_in_prerequisite_state'
  );

  -- No key of theirs changes, so that uploads, whose jobs refer to these rows, don't wait.
  perform from neural_search.models as m where m.name = known.name or m.state = 'active' order by m.name
  for no key update;
  update neural_search.models as m set state = 'standby' where m.state = 'active' and m.name <> known.name
  returning m.name into standby;
  update neural_search.models as m set state = 'active' where m.name = known.name and m.state <> 'retired';
  perform neural_search.check_that(
    found, format('Model %L was retired meanwhile.', known.name), 'Add it again.', 'object_not_in_prerequisite_state'
  );
  active = known.name;
  return next;
end
$$;
comment on function public.activate_model is
  'Has searches use this model from now on, in one step; the former one becomes standby, so the same call leads back. '
  'Raises 55000 while its index isn''t complete or, unless forced, objects aren''t accounted for.';


-- Rows locked by others, as by an uploader who goes on to the next object, are left for a later call: waiting, with locks
-- of our own held, might be waiting in a circle. Only where no others are left are they waited for, so that 0 is true.
-- As arrays, because a subquery with a limit that is joined may be run, and lock others, more than once.
create or replace function neural_search.delete_rows_of(model_name text, most integer) returns bigint
language plpgsql set search_path = '' as $$
declare
  jobs bigint;
  documents bigint;
begin
  delete from neural_search.jobs as j
  where j.model = model_name and j.object_id = any (array(
    select l.object_id from neural_search.jobs as l where l.model = model_name limit most for update skip locked
  ));
  get diagnostics jobs = row_count;

  -- By documents_bucket_id_idx: reading the table again for each batch, the last ones would take longest.
  documents = cardinality(neural_search.remove_documents(array(
    select l.id from storage.buckets as b
    join neural_search.documents as l on l.bucket_id = b.id and l.model = model_name
    limit greatest(most - jobs, 0) for update of l skip locked
  )));
  if jobs + documents > 0 then
    return jobs + documents;
  end if;

  delete from neural_search.jobs as j where j.model = model_name; -- no more than others have locked
  get diagnostics jobs = row_count;
  -- Also of buckets that are gone. What holds one is told.
  delete from neural_search.documents as d where d.id in (
    select l.id from neural_search.documents as l where l.model = model_name limit most
  );
  get diagnostics documents = row_count;
  return jobs + documents;
end
$$;
comment on function neural_search.delete_rows_of is 'Deletes some jobs and documents of a model; 0 where none are left.';


create or replace function public.remove_model(name text, max_rows integer default 1000)
returns table (removed bigint, finished boolean)
language plpgsql set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
declare
  known constant neural_search.models := neural_search.require_model(remove_model.name);
begin
  perform neural_search.check_range('max_rows', max_rows, 1, 100000, 'Leave it out for 1000, and call until it is finished.');
  -- First and for all to see, so that no job or document comes after those deleted here.
  update neural_search.models as m set state = 'retired' where m.name = known.name and m.state <> 'active';
  perform neural_search.check_that(
    found, format('Model %L is active.', known.name), 'Activate another one first.', 'object_not_in_prerequisite_state'
  );
  removed = neural_search.delete_rows_of(known.name, max_rows);
  finished = removed = 0 and known.state = 'retired';
  if finished then
    delete from neural_search.models as m where m.name = known.name;
  end if;
  return next;
end
$$;
comment on function public.remove_model is
  'Retires a model and deletes some of its jobs and documents; finished when the model itself is gone. To be called '
  'until then. Its index isn''t dropped here, which would make searches wait.';


-- From sql/buckets.sql

-- Buckets: their registration, and the repair of changes that no event announced.
-- Callers: the command line as service_role, and the schedule.

-- Without a SET clause, as live_objects, so that nothing beyond a limit is read. An upload whose event was lost is as
-- urgent as one whose event was heard.
create or replace function neural_search.to_queue(bucket text, name_prefix text, decoder_before integer)
returns table (object_id uuid, model text, version text, priority integer)
language sql stable as $$
  select p.object_id, p.model, p.version, case when p.state = 'unrecorded' and p.is_upload then 0 else 1 end
  from neural_search.progress as p
  where (p.state = 'unrecorded' or p.state = 'searchable' and p.queued_at is null
      and p.decoder_version < to_queue.decoder_before
      and not neural_search.decodes_alike(p.mime_type, p.decoder_version, to_queue.decoder_before))
    and (bucket is null or p.bucket_id = bucket)
    and (to_queue.name_prefix is null or starts_with(p.name, to_queue.name_prefix))
$$;
comment on function neural_search.to_queue is
  'Objects in indexed buckets without a job or document of their version; with decoder_before outdated ones too.';


-- A document or a job that came in meanwhile wins. A job whose version was old by the time that it was written is put
-- right when it is finished.
create or replace function neural_search.queue_missing(
  most integer, bucket text default null, name_prefix text default null, decoder_before integer default null
) returns table (queued bigint, outdated bigint)
language plpgsql set search_path = '' as $$
begin
  return query
  with missing as materialized (
    select * from neural_search.to_queue(bucket, name_prefix, decoder_before) limit most
  ),
  other as (
    delete from neural_search.jobs as j using (
      select j.object_id, j.model
      from missing as m
      join neural_search.jobs as j on j.object_id = m.object_id and j.model = m.model and j.version <> m.version
      for update of j skip locked
    ) as locked
    where j.object_id = locked.object_id and j.model = locked.model
    returning j.model
  ),
  replaced as materialized (select count(*) as jobs from other), -- all of them, before the first is inserted
  added as (
    insert into neural_search.jobs (object_id, model, version, decoder_before, priority)
    select m.object_id, m.model, m.version, queue_missing.decoder_before, m.priority from replaced, missing as m
    on conflict do nothing
    returning model
  )
  select (select count(*) from added), r.jobs from replaced as r;
end
$$;
comment on function neural_search.queue_missing is
  'Makes at most so many jobs for the objects that are to_queue; how many, and how many of them in place of a job that '
  'spoke of another version.';


create or replace function public.index_bucket(
  bucket_id text, public_search boolean default false, visible_by jsonb default null
) returns bigint
language plpgsql set search_path = '' as $$
declare
  hidden record;
  made timestamptz;
begin
  select b.created_at into made from storage.buckets as b where b.id = index_bucket.bucket_id;
  perform neural_search.check_that(
    found, format('There is no bucket %L.', index_bucket.bucket_id), 'Create it in Storage first.'
  );
  perform neural_search.check_that( -- a registration holds for no bucket that is made after it
    (made > clock_timestamp()) is not true,
    format('Bucket %L has the created_at %s, expected no time in the future.', index_bucket.bucket_id, made),
    format('Correct it: update storage.buckets set created_at = now() where id = %L;', index_bucket.bucket_id)
  );
  perform neural_search.check_declaration(index_bucket.visible_by);
  insert into neural_search.buckets as b (bucket_id, public_search, created_at, visible_by)
  values (
    index_bucket.bucket_id, coalesce(index_bucket.public_search, false), clock_timestamp(), index_bucket.visible_by
  )
  on conflict on constraint buckets_pkey do update set
    public_search = excluded.public_search, created_at = excluded.created_at, visible_by = excluded.visible_by;
  select h.* into hidden from neural_search.hidden_by_declaration(index_bucket.bucket_id) as h limit 1;
  perform neural_search.check_that(
    hidden.content is null,
    format('visible_by hides %L from %s, who may see it by the policies.', hidden.content, hidden.caller),
    'Declare all that lets callers see images, null for those whom nothing narrows, or leave it out.'
  );
  -- More than those are queued by later calls of it or, within 5 minutes, by reconcile_documents, so that a large
  -- bucket fits into a time-out.
  return public.backfill_documents(index_bucket.bucket_id, null, 10000, false, null);
end
$$;
comment on function public.index_bucket is
  'Makes a bucket searchable, now and from now on; the number of jobs queued at once for the objects in it. visible_by '
  'declares which of its images a caller may see ({"owner": "auth.uid()"}), which makes searches faster.';


create or replace function public.unindex_bucket(bucket_id text) returns bigint
language sql set search_path = '' as $$
  delete from neural_search.buckets as b where b.bucket_id = unindex_bucket.bucket_id;
  delete from neural_search.jobs as j using storage.objects as o
  where o.id = j.object_id and o.bucket_id = unindex_bucket.bucket_id;
  select cardinality(neural_search.remove_documents(array(
    select d.id from neural_search.documents as d where d.bucket_id = unindex_bucket.bucket_id
  )))
$$;
comment on function public.unindex_bucket is
  'Takes a bucket out of the search with its documents and jobs; the number of documents removed. One that something of '
  'the project''s own holds, of which a warning tells, can be found until that is gone.';


create or replace function public.backfill_documents(
  bucket text default null, name_prefix text default null, max_jobs integer default 10000,
  dry_run boolean default false, decoder_before integer default null
) returns bigint
language plpgsql set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
declare
  newest constant integer := (select max(c.version) from neural_search.decoder_changes() as c);
  queued bigint;
begin
  perform neural_search.check_that(
    bucket is null or exists (select from neural_search.indexed_buckets as b where b.bucket_id = bucket),
    format('Bucket %L isn''t indexed.', bucket), 'Register it with index_bucket first.'
  );
  perform neural_search.check_that(
    decoder_before <= newest,
    format('decoder_before is %s, expected at most %s, the version of today''s decoder.', decoder_before, newest),
    'Run `neural-search install` where the decoder is newer.'
  );
  if dry_run then
    return (select count(*) from neural_search.to_queue(bucket, name_prefix, decoder_before));
  end if;
  select m.queued into queued
  from neural_search.queue_missing(greatest(coalesce(max_jobs, 10000), 0), bucket, name_prefix, decoder_before) as m;
  perform neural_search.kick_due();
  return queued;
end
$$;
comment on function public.backfill_documents is
  'Queues objects in indexed buckets that have neither a job nor an up-to-date document, at most max_jobs at a time; how '
  'many, or with dry_run how many there are. With decoder_before also documents of older decoders whose picture may '
  'differ, which stay searchable meanwhile.';


create or replace function public.retry_embedding_jobs(
  bucket text default null, name_prefix text default null, causes text[] default null
) returns integer
language plpgsql set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
declare
  retried integer;
begin
  update neural_search.jobs as j set
    state = 'pending', attempts = 0, faults = 0, next_attempt_at = now(), lease_id = null, error_class = null,
    error_message = null, decoder_version = null, priority = 1, updated_at = now()
  from storage.objects as o
  where o.id = j.object_id and j.state in ('skipped', 'failed')
    and (causes is null or j.error_class = any (causes))
    and (bucket is null or o.bucket_id = bucket) and (name_prefix is null or starts_with(o.name, name_prefix));
  get diagnostics retried = row_count;
  perform neural_search.kick_due();
  return retried;
end
$$;
comment on function public.retry_embedding_jobs is
  'Makes skipped and failed jobs due again, with all their attempts, or those with one of these causes; the number of '
  'them.';


-- Each step compares whole tables, some 6 seconds for a million objects, and trusts no event; its repairs are
-- bounded. Rows that somebody else has locked are changing right now, and are left for next time.
create or replace function public.reconcile_documents() returns table (missing bigint, stale bigint, orphaned bigint)
language plpgsql set search_path = '' set statement_timeout = '60s' as $$ -- as in embedding_report
declare
  most constant integer := 10000;
  wrong_ids bigint[];
  superfluous record;
  rewriting record;
begin
  -- The documents that the next steps look at once more, and lock. Found in one pass over the tables: with the limit
  -- within, they would be read by an index each, that is in random order. Any of them, as refused ones come again each time.
  with wrong as materialized (
    select d.id from neural_search.documents as d
    left join (
      neural_search.live_objects() as o join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
      cross join lateral neural_search.file_facts(o.metadata) as f
    ) on o.id = d.object_id
    where o.id is null
      or (d.bucket_id, d.content, d.object_version, d.byte_size, d.owner_id, d.uploaded_at)
        is distinct from (o.bucket_id, o.name, coalesce(o.version, ''), f.byte_size, o.owner_id, o.created_at)
      -- Metadata are judged once: some thousand uploads whose metadata take long could take all the time.
      or not case d.judged_at
        when '-infinity' then d.metadata = coalesce(o.user_metadata, '{}')
        when coalesce(o.updated_at, 'infinity') then true
        else false
      end
  )
  select array_agg(w.id) into wrong_ids from (select wrong.id from wrong order by random() limit most) as w;

  -- Documents without an object in an indexed bucket, and those of other bytes or of another place.
  select coalesce(array_agg(w.id), '{}') as ids, array_agg(w.id) filter (where w.is_orphan) as orphans into superfluous
  from (
    select d.id, o.id is null as is_orphan
    from neural_search.documents as d left join (
      neural_search.live_objects() as o join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
    ) on o.id = d.object_id
    where d.id = any (wrong_ids)
      and (d.object_version, d.bucket_id, d.content) is distinct from (coalesce(o.version, ''), o.bucket_id, o.name)
    for update of d skip locked
  ) as w;
  select count(*) filter (where r.id = any (superfluous.orphans)),
    count(*) filter (where (r.id = any (superfluous.orphans)) is not true)
  into orphaned, stale from unnest(neural_search.remove_documents(superfluous.ids)) as r (id);

  -- Jobs without such an object or that nobody wants, and those whose work is done.
  with removed as (
    delete from neural_search.jobs as j using (
      select j.object_id, j.model, o.id is not null and m.state <> 'retired' as is_done
      from neural_search.jobs as j join neural_search.models as m on m.name = j.model
      left join (
        neural_search.live_objects() as o join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
      ) on o.id = j.object_id
      left join neural_search.documents as d
        on d.object_id = o.id and d.model = j.model and d.object_version = coalesce(o.version, '')
        and coalesce(d.decoder_version >= j.decoder_before, true)
      where m.state = 'retired' or o.id is null or d.id is not null
      limit most for update of j skip locked
    ) as unwanted
    where j.object_id = unwanted.object_id and j.model = unwanted.model
    returning unwanted.is_done
  )
  select orphaned + count(*) filter (where not r.is_done), stale + count(*) filter (where r.is_done)
  into orphaned, stale from removed as r;

  -- The other columns that documents copy: fewer at a time, as each rewrites the index of its vectors. Locked first, so
  -- that the objects are read after all that others wrote.
  wrong_ids = array(
    select d.id from neural_search.documents as d where d.id = any (wrong_ids) and d.id <> all (superfluous.ids)
    limit most / 10 for update skip locked
  );
  rewriting = neural_search.change_documents(
    'with rewritten as (
      update neural_search.documents as d set
        byte_size = c.byte_size, owner_id = c.owner_id, uploaded_at = c.uploaded_at, metadata = c.metadata,
        judged_at = c.judged_at, updated_at = now()
      from neural_search.live_objects() as o cross join lateral neural_search.copied_columns(o) as c
      where d.id = any ($1) and o.id = d.object_id and d.object_version = c.object_version
        and (d.byte_size, d.owner_id, d.uploaded_at, d.metadata, d.judged_at)
          is distinct from (c.byte_size, c.owner_id, c.uploaded_at, c.metadata, c.judged_at)
      returning d.id
    )
    select array_agg(r.id) from rewritten as r', wrong_ids
  );
  if rewriting.refusal is not null then
    raise warning 'neural-search could not bring the copied columns of documents up to date, as of %', rewriting.refusal;
  end if;
  stale = stale + cardinality(rewriting.changed);

  -- Enough for all uploads since the last run. Jobs that speak of another version are replaced here.
  select m.queued - m.outdated, stale + m.outdated into missing, stale
  from neural_search.queue_missing(100000) as m;
  insert into neural_search.reconciliations (missing, stale, orphaned) values (missing, stale, orphaned);
  perform neural_search.write_missing_words(2000);
  if missing + stale > 0 then
    perform neural_search.kick_due();
  end if;
  return next;
end
$$;
comment on function public.reconcile_documents is
  'Repairs the effects of lost events; how many objects had nothing, how many rows were outdated, how many superfluous.';


create or replace function neural_search.tidy() returns void
language plpgsql set search_path = '' as $$
begin
  delete from neural_search.reconciliations as r
  where r.at < now() - interval '7 days'
    and r.reconciliation_id < (select max(last.reconciliation_id) from neural_search.reconciliations as last);
  -- pg_cron never forgets a run, and ours are thousands a day.
  if neural_search.may_write('cron.job_run_details') then
    delete from cron.job_run_details as d
    where d.end_time < now() - interval '2 days'
      and d.jobid in (
        select j.jobid from cron.job as j join neural_search.schedules() as s on (s.name, s.command) = (j.jobname, j.command)
      );
  end if;
end
$$;
comment on function neural_search.tidy is 'Forgets old reconciliations and old runs of our schedules.';


-- From sql/confidence.sql

-- Confidence: how much a similarity means, by the similarities of copies and strangers with this model.
-- Callers: match_documents and recommend_documents, as the caller.

-- Definer, because callers may not read the tables. It looks at nothing that is indexed: no bucket moves another's levels,
-- and none tells of hidden images. In plpgsql, which keeps the plan: it is called once for each search.
create or replace function neural_search.confidence_levels(
  model text, query_kind text, query extensions.vector
) returns table (same double precision, strong double precision, related double precision)
language plpgsql stable security definer set search_path = '' as $$
begin
  return query
  select
    coalesce(case when not exists ( -- an image like a picture without content has none itself: the query tells enough
      select from neural_search.blanks as b
      where b.model = confidence_levels.model and 1 - (b.embedding operator(extensions.<=>) query) > 0.6
    ) then c.same end, 'Infinity'),
    c.strong, c.related
  from neural_search.calibrations as c
  where c.query_kind = confidence_levels.query_kind and (c.model = confidence_levels.model or c.model is null)
  order by c.model nulls last limit 1;
end
$$;
comment on function neural_search.confidence_levels is
  'The least similarity that a result of this query needs for each level of confidence; no row where the model was '
  'measured for no such queries.';


create or replace function neural_search.check_confidence(name text, confidence text) returns void
language plpgsql immutable strict set search_path = '' as $$
begin
  if confidence not in ('same', 'strong', 'related', 'unrelated') then
    raise exception '% is %, expected same, strong, related or unrelated.', name, quote_literal(left(confidence, 100))
      using errcode = 'invalid_parameter_value', hint = case name
        when 'best_confidence' then 'Leave it out to be answered whatever the best result is.'
        else 'Leave it out for all results.'
      end;
  end if;
end
$$;
comment on function neural_search.check_confidence is 'Raises, with the remedy, for an argument that is no confidence.';


create or replace function neural_search.level_of(
  confidence text, same double precision, strong double precision, related double precision
) returns double precision
language sql immutable set search_path = '' as $$
  select case confidence when 'same' then same when 'strong' then strong when 'related' then related end
$$;
comment on function neural_search.level_of is
  'The least similarity of this confidence by the levels of a query; null where there is none.';


create or replace function neural_search.confidence_of(
  similarity double precision, same double precision, strong double precision, related double precision
) returns text
language sql immutable set search_path = '' as $$
  select case
    when similarity >= same then 'same'
    when similarity >= strong then 'strong'
    when similarity >= related then 'related'
    when related is not null then 'unrelated'
  end
$$;
comment on function neural_search.confidence_of is
  'A similarity''s confidence by the levels of a query; null where there are none.';


-- From sql/policies.sql

-- Policies: the statements that ask the policies on storage.objects, as the caller.
-- Callers: every function that searches or names documents.

-- Functions that policies call may rely on Storage's search path, under which the planner opens them, too. So a statement that
-- reads objects or documents as the caller has that path. There a function or an operator of Postgres comes before one of that
-- name in public only where its arguments have the very types: all that is called under it is such, cast to be or named in full,
-- and functions with it do little else. tests/database/test_twins.py makes a twin of each.
--
-- A policy may call a function that is said to be immutable and reads the caller all the same. Its value becomes a part of the
-- plan, which must not answer the session's next caller: these statements are planned anew for each, by execute or
-- force_custom_plan.


-- To policies a search looks like a download. Not the others that Storage sets, request.jwt.claim.sub and .role above all: a
-- session that hasn't had them, as PostgREST's, would have them empty ever after, and others' functions read them there.
create or replace function neural_search.storage_parameters() returns text[]
language sql immutable set search_path = '' as $$
  select array['storage.operation', 'request.method']
$$;
comment on function neural_search.storage_parameters is
  'The parameters that policies may read and that Storage sets otherwise than PostgREST.';


create or replace function neural_search.storage_settings() returns text[]
language sql immutable set search_path = '' as $$
  select array['storage.object.get_authenticated', 'GET']
$$;
comment on function neural_search.storage_settings is 'The values of storage_parameters, as Storage sets them for a download.';


create or replace function neural_search.act_as_storage(settings text[] default neural_search.storage_settings())
returns text[]
language plpgsql set search_path = '' as $$
begin
  return neural_search.set_parameters(neural_search.storage_parameters(), settings);
end
$$;
comment on function neural_search.act_as_storage is
  'Sets storage_parameters for the questions that follow; returns their former values, for restoring them by another call.';


-- A policy that reads a table on which the caller lacks a privilege fails before it is asked for any object, and so does
-- every statement that reads documents. So does one with a stable function, as auth.uid() is, that fails for the caller:
-- the planner calls it.
create or replace function neural_search.policies_work() returns boolean
language plpgsql stable set search_path = storage, public, extensions as $$
declare
  former text[] := neural_search.act_as_storage();
  works boolean := true;
begin
  begin
    execute 'select from storage.objects limit 0';
  exception when query_canceled or assert_failure or others then
    perform neural_search.note_failure(sqlstate);
    works = false;
  end;
  former = neural_search.act_as_storage(former);
  if not works then
    perform neural_search.log_failures();
  end if;
  return works;
end
$$;
comment on function neural_search.policies_work is
  'Whether the policies on storage.objects can be asked at all, as the caller; who can''t ask them sees nothing.';


-- Volatile, because no other function may use EXPLAIN.
create or replace function neural_search.ask(statement text) returns json
language plpgsql volatile set search_path = storage, public, extensions as $$
declare
  answer json;
begin
  for answer in execute statement loop -- which takes a single statement: EXECUTE by itself would run several
  end loop;
  return answer;
end
$$;
comment on function neural_search.ask is 'The one value of a statement that asks policies.';


create or replace function neural_search.ask_documents(statement text) returns setof neural_search.documents
language plpgsql stable set search_path = storage, public, extensions as $$
begin
  return query execute statement;
end
$$;
comment on function neural_search.ask_documents is 'The documents of a statement that asks policies; all of them or a failure.';


-- As can_see asks it, but in one statement, unless a policy fails on some object. The policy on documents shows those of archived
-- objects, and callers who are exempt from it all: of what a search has found, seen_among has asked the rest.
create or replace function neural_search.seen_documents(
  condition text, most integer default null, is_found boolean default false, prepared text default 'on'
) returns setof neural_search.documents
language plpgsql stable set search_path = '' as $$
declare
  names constant text[] := array['neural_search.prepared'] || neural_search.storage_parameters();
  former text[] := neural_search.set_parameters(names, array[prepared] || neural_search.storage_settings());
begin
  begin
    return query select d.* from neural_search.ask_documents(format(
      'select d.* from neural_search.documents as d where (%s) and (%s) order by d.id limit %L', condition,
      case when is_found then 'true' when prepared = 'on' then
        'coalesce(('
        ' select true from neural_search.live_objects() as o'
        ' where o.id = d.object_id and coalesce(o.version, '''') = d.object_version'
        '), false) or neural_search.is_public(d.object_id, d.object_version)'
      else 'neural_search.can_see(d.object_id, d.object_version)' end,
      most
    )) as d;
  exception when query_canceled or assert_failure or others then
    perform neural_search.check_failure(sqlstate);
    if prepared <> 'on' then
      perform neural_search.end_search(sqlstate, sqlerrm);
    end if;
    return query select d.* from neural_search.seen_documents(condition, most, is_found, 'off') as d;
    perform neural_search.log_failures();
  end;
  former = neural_search.set_parameters(names, former);
end
$$;
comment on function neural_search.seen_documents is
  'The documents, as d, that fulfil a condition and that the caller may see, by id; no more than so many.';


create or replace function neural_search.found_documents(ids bigint[]) returns setof neural_search.documents
language sql stable set search_path = '' as $$
  select d.* from neural_search.seen_documents(format('d.id = any (%L)', ids), is_found => true) as d
$$;
comment on function neural_search.found_documents is 'These documents, which a search has found for the caller, by id.';


create or replace function neural_search.ask_objects(bucket text, names text[])
returns table (name text, object_id uuid, version text)
language plpgsql stable set search_path = storage, public, extensions set plan_cache_mode = force_custom_plan
set enable_seqscan = off set jit = off -- as can_see
as $$
begin
  return query select o.name, o.id, coalesce(o.version, '') from neural_search.live_objects() as o
    where o.bucket_id = bucket and o.name = any (names);
end
$$;
comment on function neural_search.ask_objects is 'The live objects of these names that policies show; all of them or a failure.';


-- From sql/visible.sql

-- Visible: who may see which object, by the policies on storage.objects, and how a policy that fails is treated.
-- Callers: every function that searches or names documents, as the caller.

-- A policy is arbitrary SQL and can fail on a single object: on a folder's name that is no uuid, on a check of a domain,
-- on a missing table. Storage hides nothing then, it fails; a search hides that object and goes on, or one upload would
-- end everybody's searches, with a message that may tell its name. Trouble of the database itself ends the search, in our
-- own words for the same reason.
create or replace function neural_search.check_failure(code text) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if neural_search.is_outage(code) then
    raise exception 'The database broke off the search (SQLSTATE %).', code
      -- PostgREST repeats a transaction that fails with class 40, without an end where a policy always does.
      using errcode = case when code ~ '^40' then '53000' else code end,
        hint = 'Try again; where it goes on, narrow the search by a filter, or declare its bucket''s visible_by.';
  end if;
end
$$;
comment on function neural_search.check_failure is
  'Raises, without the failure''s own message, where a SQLSTATE speaks of the database and not of an object.';


-- can_see hides objects that a policy fails on. Another failure may be a policy's function that the planner calls and that
-- fails now and then, so its message is for the operator alone; it may be a fault of ours, too.
create or replace function neural_search.end_search(code text, message text) returns void
language plpgsql set search_path = '' as $$
begin
  raise log 'neural-search broke off a search: % (SQLSTATE %)', message, code;
  raise exception 'The database broke off the search: a statement that asks the policies failed (SQLSTATE %).', code
    using errcode = case when code = '42501' then code else '53000' end, -- PostgREST's 503
      hint = 'Try again. Where it goes on, the database''s log has the cause, and `neural-search doctor` may name it.';
end
$$;
comment on function neural_search.end_search is
  'Raises, without the failure''s own message, which is logged, where a statement that asks policies fails though objects are '
  'asked one by one.';


create or replace function neural_search.note_failure(code text) returns void
language plpgsql set search_path = '' as $$
declare
  count constant integer := coalesce(nullif(current_setting('neural_search.policy_failures', true), ''), '0')::integer;
begin
  perform neural_search.check_failure(code);
  perform set_config('neural_search.policy_failures', (count + 1)::text, true);
  perform set_config('neural_search.failed_with', code, true);
end
$$;
comment on function neural_search.note_failure is
  'Counts that a policy failed on an object, which is hidden for it, and remembers the last SQLSTATE.';


-- To the server's log alone: nobody but the operator is to learn that objects were hidden.
create or replace function neural_search.log_failures() returns void
language plpgsql set search_path = '' as $$
declare
  count constant text := coalesce(current_setting('neural_search.policy_failures', true), '');
begin
  if count <> '' then
    raise log 'neural-search hid objects on which a policy on storage.objects failed: % times, the last with SQLSTATE %.',
      count, current_setting('neural_search.failed_with', true)
      using hint = 'neural-search doctor names the policy and the object.';
    perform set_config('neural_search.policy_failures', '', true);
  end if;
end
$$;
comment on function neural_search.log_failures is 'Tells the operator that a search hid objects, and why.';


-- Definer, because callers may read neither the registered buckets nor, mostly, storage.buckets. It answers for one
-- object and version whose id the caller already holds, from the object's own row and not from our copies.
-- In PL/pgSQL, which keeps the plan: it is called for many candidates in one search.
create or replace function neural_search.is_public(target_object_id uuid, target_version text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return exists (
    select from neural_search.live_objects() as o
    join storage.buckets as s on s.id = o.bucket_id and s.public
    join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id and b.public_search
    where o.id = target_object_id and coalesce(o.version, '') = target_version
  );
end
$$;
comment on function neural_search.is_public is
  'Whether everybody may find this version of an object: its bucket is public and registered with public_search.';


-- Definer, because callers may not read the registered buckets. That everybody may search these is no secret.
create or replace function neural_search.public_buckets() returns text[]
language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(b.bucket_id), '{}') from neural_search.indexed_buckets as b
  join storage.buckets as s on s.id = b.bucket_id
  where b.public_search and s.public
$$;
comment on function neural_search.public_buckets is
  'Where is_public may say yes: asked once in a statement, it spares asking is_public for everything else.';


-- Without a path of its own: it is called under both of can_see's.
create or replace function neural_search.is_shown(target_object_id uuid, target_version text) returns boolean
language plpgsql stable as $$
begin
  return exists (
    select from neural_search.live_objects() as o
    where o.id = target_object_id and coalesce(o.version, '') = target_version
  );
end
$$;
comment on function neural_search.is_shown is 'Whether the policies show an object that still has this version.';


-- Called as the caller, for each candidate where nothing was prepared. It isn't parallel safe: it sets a parameter.
-- Without a scan of the whole table, which the planner prefers for a small one: a policy that looks cheaper than our condition
-- would be asked about all rows, of which one may fail.
--
-- To plan is_shown's statement takes ten times as long as to run it, so its plan is kept. The next caller gets another by a path
-- of other words, as a plan lasts no longer than the path that it was made for.
create or replace function neural_search.can_see(target_object_id uuid, target_version text) returns boolean
language plpgsql stable cost 1000 set search_path = storage, public, extensions set enable_seqscan = off set jit = off as $$
declare
  former text[];
  caller constant text := current_user::text || ' ' || coalesce(current_setting('request.jwt.claims', true), '');
  seen boolean;
begin
  if current_setting('storage.operation', true) is distinct from 'storage.object.get_authenticated'
      or current_setting('request.method', true) is distinct from 'GET' then
    former = neural_search.act_as_storage(); -- a search has done so
  end if;
  begin
    if current_setting('neural_search.planned_for', true) is distinct from caller then -- until the transaction's end
      perform set_config('search_path', 'pg_catalog, storage, public, extensions, pg_temp', true);
      perform neural_search.is_shown(target_object_id, target_version);
      perform set_config('search_path', 'storage, public, extensions, pg_temp', true);
      perform set_config('neural_search.planned_for', caller, true);
    end if;
    seen = neural_search.is_shown(target_object_id, target_version);
  exception when query_canceled or assert_failure or others then
    perform neural_search.note_failure(sqlstate);
    seen = false;
  end;
  if former is not null then
    former = neural_search.act_as_storage(former);
  end if;
  return seen or neural_search.is_public(target_object_id, target_version);
end
$$;
comment on function neural_search.can_see is
  'Whether the caller may see an object that still has this version: by the policies on storage.objects, or because '
  'everybody may.';


-- The first branch takes a tenth of the time, but needs the parameters to be set as can_see sets them, and one object
-- that a policy fails on fails the statement: find_similar and seen_documents see to both. Its subquery is a scalar one,
-- because the planner would turn an EXISTS into a hash of all objects that the caller may see, made anew in each search.
alter policy "As the policies on storage.objects say" on neural_search.documents
  to anon, authenticated using (
    case when (select current_setting('neural_search.prepared', true)) = 'on'
        and (select current_setting('storage.operation', true)) = 'storage.object.get_authenticated'
        and (select current_setting('request.method', true)) = 'GET'
      then
        coalesce((
          select true from storage.objects as o
          where o.id = documents.object_id and coalesce(o.version, '') = documents.object_version
        ), false)
        or documents.bucket_id = any ((select neural_search.public_buckets())::text[])
          and neural_search.is_public(documents.object_id, documents.object_version)
      else neural_search.can_see(documents.object_id, documents.object_version)
    end
  );
comment on policy "As the policies on storage.objects say" on neural_search.documents is
  'Who sees an object sees its document, as long as the object has the bytes that were embedded.';


-- Not live_objects(), whose rows have no place. Without a path of its own, as is_shown.
create or replace function neural_search.objects_between(first tid, beyond tid) returns uuid[]
language plpgsql stable as $$
begin
  return array(
    select object.id
    from (values (null::timestamptz, false)) as older (archived_at, is_delete_marker),
      lateral (
        select o.id from storage.objects as o
        where o.ctid >= first and o.ctid < beyond and archived_at is null and is_delete_marker is not true
      ) as object
  );
end
$$;
comment on function neural_search.objects_between is 'The ids of the live objects in these places that the policies show.';


-- Runs as the caller, so that the caller's policies decide and nothing but their answers is ever known here. Reads
-- ranges of the table's own places, (block, line), each in a subtransaction: a range with an object that a policy
-- chokes on is read again in parts, and such an object by itself is left out. No index would do: who may not see the
-- names or ids can't tell where to halve between them, while the places are known from the table's size alone. They
-- are also in the order of the disk, and images uploaded together, into one folder, mostly lie together. Rows stay
-- in their places as far as one snapshot is concerned, and all that a stable function reads is of one.
--
-- The part read next is twice as long after a success and a 16th after a failure, down to a single place. Measured in
-- 2026 with 100,000 objects in 6,700 blocks, beside asking can_see for each: about a sixth of the time (0.45 s) with one
-- bad object or 1% in a row, a third with 1% here and there, four fifths with every other one at random. Halving took 1.2
-- times as long as can_see with those.
create or replace function neural_search.visible_objects() returns setof uuid
language plpgsql stable set search_path = storage, public, extensions set enable_seqscan = off set jit = off -- as can_see
set plan_cache_mode = 'force_generic_plan' -- the planner, who thinks a single place so cheap, would plan anew for each
as $$
declare
  former text[];
  block_size constant integer := current_setting('block_size')::integer;
  lines constant bigint := block_size / 28; -- at most: a row has a pointer of 4 bytes and a header of 24
  ending bigint;
  longest bigint; -- a failure costs no more than this again
  place bigint := 0; -- block * lines + line - 1
  step bigint;
  used bigint := 0; -- no line of a block after this one is known to hold a row
  length bigint;
  ids uuid[];
begin
  -- Nobody rewrites this transaction's rows before its end: they keep their places after a failure, too.
  if not neural_search.policies_work() then
    return;
  end if;
  ending = pg_catalog.pg_relation_size('storage.objects') / block_size * lines;
  longest = greatest(ending / 16, 1);
  step = longest;
  former = neural_search.act_as_storage();
  -- For a plan of this caller's, as in can_see.
  perform set_config('search_path', 'pg_catalog, storage, public, extensions, pg_temp', true);
  perform neural_search.objects_between('(0,1)', '(0,1)');
  perform set_config('search_path', 'storage, public, extensions, pg_temp', true);
  while place < ending loop
    length = case
      when step >= lines then step
      when place % lines > used then lines - place % lines -- the rest of the block, which seems to be empty
      else least(step, lines - place % lines)
    end;
    begin
      ids = neural_search.objects_between(
        pg_catalog.format('(%s,%s)', place / lines, place % lines + 1)::tid,
        pg_catalog.format('(%s,%s)', (place + length) / lines, (place + length) % lines + 1)::tid
      );
      place = place + length;
      step = least(2 * step, longest);
      return query select pg_catalog.unnest(ids);
    exception when query_canceled or assert_failure or others then
      perform neural_search.check_failure(sqlstate);
      if length = 1 then
        perform neural_search.note_failure(sqlstate);
        used = greatest(used, place % lines);
        place = place + 1;
      elsif place % lines > used and length < lines then
        used = place % lines + length / 16;
      end if;
      step = greatest(length / 16, 1);
    end;
  end loop;
  former = neural_search.act_as_storage(former);
end
$$;
comment on function neural_search.visible_objects is
  'The ids of the live objects that the policies on storage.objects show to the caller, without those that a policy '
  'chokes on.';


-- From sql/declared.sql

-- Declared visibility: an operator's word, by the policies, on a bucket, so that searches can begin with the few
-- images that a caller may see. It narrows and never grants: the policies are asked for each result all the same.
-- Callers: searches, as the caller; index_bucket and `neural-search doctor`, as the operator.

-- Leakproof conditions, each with an index, as those of filter_keys. A new one is a row here.
create or replace function neural_search.declared_keys() returns table (key text, condition text)
language sql immutable set search_path = '' as $$
  values
    ('owner', 'd.owner_id = %L'),
    ('folder', 'd.content ^@ (%L::text || ''/'')'),
    ('prefix', 'd.content ^@ %L')
$$;
comment on function neural_search.declared_keys is
  'The keys of visible_by, and the condition for each value that its expression has for the caller.';


-- Definer, because callers may not read the registered buckets. One where everybody may search is narrowed by nothing.
create or replace function neural_search.declarations(bucket text)
returns table (bucket_ids text[], visible_by jsonb)
language sql stable security definer set search_path = '' as $$
  select array_agg(b.bucket_id order by b.bucket_id), case when not b.public_search then b.visible_by end
  from neural_search.indexed_buckets as b
  where (declarations.bucket is null or b.bucket_id = declarations.bucket)
    and exists (select from neural_search.buckets as one where one.visible_by is not null)
  group by 2
$$;
comment on function neural_search.declarations is
  'The declarations of all indexed buckets, or of this one: a row for each declaration, one for none; no row where nothing '
  'is declared anywhere.';


-- As the caller, as policies are asked: an expression may call all that they call.
create or replace function neural_search.declared_values(expression text) returns text[]
language plpgsql stable strict set search_path = '' as $$
declare
  former text[];
  answer jsonb;
begin
  former = neural_search.act_as_storage(); -- as the policies are asked, whose words it may have
  answer = neural_search.ask(format(E'select pg_catalog.to_json(v.found) from (select (%s\n) as found) as v', expression));
  former = neural_search.act_as_storage(former);
  return case when jsonb_typeof(answer) = 'array' then array(select jsonb_array_elements_text(answer))
    when answer is not null then array[answer #>> '{}'] end;
exception when query_canceled or assert_failure or others then
  perform neural_search.check_failure(sqlstate);
  raise exception 'What is declared of a bucket''s visibility failed (SQLSTATE %).', sqlstate
    using errcode = 'object_not_in_prerequisite_state',
      hint = '`neural-search doctor` names it. Index the bucket anew with another declaration, or without.';
end
$$;
comment on function neural_search.declared_values is
  'The values that an expression of visible_by has for the caller; null where it narrows nothing for them.';


-- Every value becomes a condition of the statement: more than a hundred would take longer to plan than they spare.
create or replace function neural_search.declared_condition(visible_by jsonb) returns text
language sql stable strict set search_path = '' as $$
  select case when bool_and(v.found is not null) and sum(cardinality(v.found)) <= 100
    then coalesce(string_agg(c.condition, ' or '), 'false') end
  from jsonb_each_text(visible_by) as given
  join neural_search.declared_keys() as k on k.key = given.key
  cross join lateral (select neural_search.declared_values(given.value) as found) as v
  cross join lateral (select string_agg(format(k.condition, one), ' or ') as condition from unnest(v.found) as one) as c
$$;
comment on function neural_search.declared_condition is
  'A declaration as a condition on documents as d, for the caller; null where it narrows nothing for them.';


-- All are evaluated, those of other buckets too: the searches that a failing one ends would tell its bucket's name. Offset 0
-- keeps the planner from leaving out those that aren't needed.
create or replace function neural_search.declared_conditions(bucket text) returns text
language sql stable set search_path = '' as $$
  select ' and (' || string_agg(
    format('d.bucket_id = any (%L) and (%s)', c.bucket_ids, coalesce(c.condition, 'true')), ' or '
  ) || ')'
  from (
    select case when bucket is null then d.bucket_ids when bucket = any (d.bucket_ids) then array[bucket] end as bucket_ids,
      neural_search.declared_condition(d.visible_by) as condition
    from neural_search.declarations(null) as d offset 0
  ) as c
  where c.bucket_ids is not null
  having count(c.condition) > 0
$$;
comment on function neural_search.declared_conditions is
  'The declarations of all buckets or of one, as conditions on documents as d; null where it narrows nothing.';


create or replace function neural_search.check_declaration(visible_by jsonb) returns void
language plpgsql immutable set search_path = '' as $$
declare
  keys constant text := (select string_agg(k.key, ', ') from neural_search.declared_keys() as k);
  wrong text;
begin
  perform neural_search.check_that(
    jsonb_typeof(visible_by) = 'object' and visible_by <> '{}',
    format('visible_by is %s, expected an object.', left(visible_by::text, 100)),
    format('Give an SQL expression for one or more of %s.', keys)
  );
  select given.key into wrong
  from jsonb_each(visible_by) as given left join neural_search.declared_keys() as k on k.key = given.key
  where k.key is null or jsonb_typeof(given.value) <> 'string' limit 1;
  perform neural_search.check_that(
    not found, format('visible_by has %L, expected a string for one or more of %s.', left(wrong, 100), keys),
    'For example {"owner": "auth.uid()"}.'
  );
end
$$;
comment on function neural_search.check_declaration is 'Raises, with the remedy, for a visible_by that makes no sense.';


create or replace function neural_search.sample_callers(document_ids bigint[]) returns jsonb[]
language plpgsql stable set search_path = '' as $$
declare
  owners jsonb[] := array(
    select jsonb_build_object('role', 'authenticated', 'sub', d.owner_id)
    from neural_search.documents as d where d.id = any (document_ids) and d.owner_id is not null
    group by d.owner_id limit 20
  );
  users jsonb[] := '{}'::jsonb[];
begin
  if has_table_privilege(to_regclass('auth.users'), 'select') then
    users = array(
      select jsonb_build_object(
        'role', 'authenticated', 'sub', u.id, 'email', u.email,
        'app_metadata', u.raw_app_meta_data, 'user_metadata', u.raw_user_meta_data
      )
      from auth.users as u order by u.last_sign_in_at desc nulls last limit 20
    );
  end if;
  return array['{"role": "anon"}'::jsonb] || owners || users;
end
$$;
comment on function neural_search.sample_callers is
  'The claims of some who may search: anon, owners of these documents and, where the table may be read, the latest users.';


-- Foreign code runs in this: declared expressions, and functions that policies call. It could lay down a role that was merely
-- taken on (reset role), and go on as the operator; Postgres refuses that in a function that runs as its owner, which here is
-- the caller's role. Nothing of it stays, no settings either, as all is undone.
create or replace function neural_search.ask_as(claims jsonb, query text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  answer jsonb;
begin
  perform set_config('request.jwt.claims', claims::text, true), set_config('role', claims ->> 'role', true);
  create function pg_temp.neural_search_asked(query text) returns jsonb
  language plpgsql security definer set search_path = storage, public, extensions, pg_temp as $asked$
  declare
    answer jsonb;
  begin
    execute pg_catalog.format('select pg_catalog.jsonb_agg(pg_catalog.to_jsonb(a)) from (%s) as a', query) into answer;
    return answer;
  end
  $asked$;
  perform set_config('transaction_read_only', 'on', true); -- as PostgREST has it for searches
  execute 'select pg_temp.neural_search_asked($1)' into answer using query;
  raise exception using errcode = 'NS000';
exception when sqlstate 'NS000' then
  return coalesce(answer, '[]');
end
$$;
comment on function neural_search.ask_as is
  'The rows that a query answers to the caller of these claims, as PostgREST would ask it, in an array.';


create or replace function neural_search.hidden_by_declaration(bucket text)
returns table (caller text, content text)
language plpgsql set search_path = '' as $$
declare
  sample bigint[];
  visible_by constant jsonb := (select d.visible_by from neural_search.declarations(bucket) as d);
  claims jsonb;
  condition text;
begin
  if visible_by is null then
    return;
  end if;
  sample = array(select d.id from neural_search.documents as d where d.bucket_id = bucket order by random() limit 200);
  foreach claims in array neural_search.sample_callers(sample) loop
    condition = neural_search.ask_as(claims, -- of this bucket alone: another's may fail
      format('select neural_search.declared_condition(%L) as condition', visible_by)) #>> '{0, condition}';
    content = neural_search.ask_as(claims, format(
      'select d.content from neural_search.documents as d where d.id = any (%L) and (%s) is not true limit 1',
      sample, coalesce(condition, 'true')
    )) #>> '{0, content}';
    if content is not null then
      caller = coalesce('the user ' || (claims ->> 'sub'), claims ->> 'role');
      return next;
    end if;
  end loop;
end
$$;
comment on function neural_search.hidden_by_declaration is
  'For each of some callers an image that the policies show to them and that the bucket''s declaration hides.';


-- From sql/filter.sql

-- Filters: the narrowing of a search by bucket, path, owner, kind, size, time and metadata.
-- Callers: read_search, as the caller of a search.

create or replace function neural_search.is_time(value jsonb) returns boolean
language plpgsql stable set search_path = '' as $$
begin
  perform (value #>> '{}')::timestamptz;
  return jsonb_typeof(value) = 'string';
exception when data_exception then
  return false;
end
$$;
comment on function neural_search.is_time is 'Whether a value in JSON is a string that names a point in time.';


-- The filter's keys, each with its condition on documents as d. Row level security lets only leakproof operators look at
-- rows before the policy has, or use an index: =, <, <=, >= and ^@ are, jsonb's @> isn't. A number can be any bigint. For a
-- new key see CONTRIBUTING.md.
create or replace function neural_search.filter_keys()
returns table (key text, kind text, condition text, is_leakproof boolean)
language sql immutable set search_path = '' as $$
  values
    ('bucket', 'text', 'd.bucket_id = %L', true),
    ('prefix', 'text', 'd.content ^@ %L', true),
    ('owner', 'text', 'd.owner_id = %L', true),
    ('mime_type', 'texts', 'd.mime_type = any (%L)', true),
    ('min_bytes', 'number', 'd.byte_size >= %L::bigint', true),
    ('max_bytes', 'number', 'd.byte_size <= %L::bigint', true),
    ('uploaded_after', 'time', 'd.uploaded_at >= %L', true),
    ('uploaded_before', 'time', 'd.uploaded_at < %L', true),
    ('min_shown', 'share', 'd.shown >= %L', true),
    ('metadata', 'object', 'd.metadata @> %L', false)
$$;
comment on function neural_search.filter_keys is
  'The keys that a filter may have, the kind of value that each takes, and the condition that it stands for.';


create or replace function neural_search.is_kind(value jsonb, kind text) returns boolean
language sql stable set search_path = '' as $$
  select case kind
    when 'text' then jsonb_typeof(value) = 'string'
    when 'texts' then jsonb_typeof(value) = 'string'
      or value @? 'strict $ ? (@.type() == "array" && !(exists (@[*] ? (@.type() != "string"))))'
    when 'number' then
      value @? 'strict $ ? (@.type() == "number" && @ >= 0 && @ < 9223372036854775808 && @.floor() == @)'
    when 'share' then value @? 'strict $ ? (@.type() == "number" && @ >= 0 && @ <= 1)'
    when 'time' then neural_search.is_time(value)
    when 'object' then jsonb_typeof(value) = 'object'
  end
$$;
comment on function neural_search.is_kind is 'Whether a filter''s value is of the kind that its key takes.';


create or replace function neural_search.check_filter(filter jsonb) returns void
language plpgsql stable set search_path = '' as $$
declare
  wrong record;
begin
  perform neural_search.check_json('filter', filter, 131072); -- before it is taken apart, and planned with
  -- jsonb's @> compares each element of a list with each of a document's, and heeds no time-out meanwhile.
  perform neural_search.check_json('filter.metadata', filter -> 'metadata', 4096);
  perform neural_search.check_that(
    jsonb_typeof(filter) = 'object', format('filter is %s, expected an object.', left(filter::text, 100)),
    'For example {"bucket": "images", "prefix": "cats/"}.'
  );
  select given.key, left(given.value::text, 100) as value, k.kind into wrong
  from jsonb_each(filter) as given left join neural_search.filter_keys() as k on k.key = given.key
  where k.key is null or not neural_search.is_kind(given.value, k.kind) limit 1;
  perform neural_search.check_that(
    not found or wrong.kind is not null, format('filter has a key %L, which there isn''t.', left(wrong.key, 100)),
    'There are ' || (select string_agg(k.key, ', ') from neural_search.filter_keys() as k) || '.'
  );
  perform neural_search.check_that(
    wrong.key is null, format('filter.%s is %s, expected %s.', wrong.key, wrong.value, case wrong.kind
      when 'text' then 'a string' when 'texts' then 'a string or a list of some' when 'number' then 'a whole number'
      when 'share' then 'a number from 0 to 1'
      when 'time' then 'a time like "2026-01-31T12:00:00Z"' when 'object' then 'an object' end),
    'Correct it or leave it out.'
  );
end
$$;
comment on function neural_search.check_filter is 'Raises, with the remedy, for a filter that makes no sense.';


create or replace function neural_search.filter_conditions(filter jsonb, leakproof boolean) returns text
language sql stable set search_path = '' as $$
  select coalesce(string_agg(' and ' || format(k.condition, case k.kind
    when 'texts' then array(
      select jsonb_array_elements_text(
        case jsonb_typeof(given.value) when 'array' then given.value else jsonb_build_array(given.value) end
      )
    )::text
    when 'number' then given.value::bigint::text
    when 'share' then round(given.value::numeric, 9)::text -- as exact as a real, and none is too small for one
    when 'object' then given.value::text
    else given.value #>> '{}'
  end), '' order by k.key), '')
  from jsonb_each(filter) as given join neural_search.filter_keys() as k on k.key = given.key
  where k.is_leakproof = leakproof
$$;
comment on function neural_search.filter_conditions is
  'A checked filter as conditions on documents as d: the leakproof ones, or the others.';


-- Definer, because jsonb's @> isn't leakproof: the caller's own statement could use its index only for rows that all policies
-- had been asked about. The search asks them about these ids. Of more than so many no list is made: they narrow little.
create or replace function neural_search.ids_with_metadata(model text, metadata jsonb) returns bigint[]
language sql stable strict security definer set search_path = '' as $$
  select case when count(*) <= 4000 then coalesce(array_agg(d.id), '{}') end
  from (
    select d.id from neural_search.documents as d
    where d.model = ids_with_metadata.model and d.metadata @> ids_with_metadata.metadata limit 4001
  ) as d
$$;
comment on function neural_search.ids_with_metadata is
  'The ids of a model''s documents, hidden ones too, that have this metadata; null where they are more than 4000.';


-- From sql/statements.sql

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


-- From sql/estimates.sql

-- Estimates: how many rows a search would read.
-- Callers: the other functions of a search, as its caller.

-- The planner's expectation is good enough for how long a search takes. It counts hidden rows, too: no result may depend on
-- it. Volatile, as ask.
create or replace function neural_search.expected_rows(tables_and_conditions text) returns double precision
language plpgsql volatile set search_path = '' as $$
begin
  return (neural_search.ask('explain (format json) select from ' || tables_and_conditions)
    -> 0 -> 'Plan' ->> 'Plan Rows')::double precision;
exception when query_canceled or assert_failure or others then
  perform neural_search.note_failure(sqlstate);
  return null;
end
$$;
comment on function neural_search.expected_rows is
  'How many rows the planner expects to fulfil these conditions; null where it calls a policy''s function, which fails.';


create or replace function neural_search.expected_matches(search neural_search.search) returns double precision
language sql stable set search_path = '' as $$
  select case when search.narrowing <> '' then neural_search.expected_rows(
    format('neural_search.documents as d where d.model = %L%s', search.model, search.narrowing)
  ) end
$$;
comment on function neural_search.expected_matches is
  'How many documents the planner expects an index to leave for a search; null where nothing narrows it.';


-- Few rows are compared exactly, others by an index that leaves out some: the caller's own rows decide, since results
-- tell which it was. Far from the limit the planner's expectation does, as counting a few among many takes long: it tells
-- of hidden rows only where these are several times as many. Without sequential scans: the planner would expect to find
-- enough rows near the table's beginning. A policy that fails: as in find_matches.
create or replace function neural_search.are_few(rows text, most double precision) returns boolean
language plpgsql volatile set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  expected constant double precision := neural_search.expected_rows(rows);
  count bigint;
begin
  if expected not between most / 4 and 4 * most then
    return expected < most;
  end if;
  begin
    count = neural_search.ask(
      format('select pg_catalog.to_json(count(*)) from (select from %s limit %s) as seen', rows, ceil(most))
    )::text;
    return count < most;
  exception when query_canceled or assert_failure or others then
    perform neural_search.check_failure(sqlstate);
    if current_setting('neural_search.prepared', true) <> 'on' then
      perform neural_search.end_search(sqlstate, sqlerrm);
    end if;
  end;
  perform set_config('neural_search.prepared', 'off', true);
  return neural_search.are_few(rows, most);
end
$$;
comment on function neural_search.are_few is 'Whether the caller sees fewer than so many of these rows.';


-- At most half as many as ids_with_metadata lists: beyond those a filter by metadata narrows nothing.
create or replace function neural_search.narrows_to_few(search neural_search.search, most double precision)
returns boolean
language sql stable set search_path = '' as $$
  select search.narrowing <> '' and neural_search.are_few(
    format('neural_search.documents as d where d.model = %L%s', search.model, search.narrowing), least(most, 2000)
  )
$$;
comment on function neural_search.narrows_to_few is
  'Whether an index leaves so few documents, of which the caller sees fewer than so many, that comparing them is cheaper.';


create or replace function neural_search.expected_objects() returns double precision
language sql stable set search_path = '' as $$
  select greatest(c.reltuples, 0)::double precision from pg_catalog.pg_class as c where c.oid = 'storage.objects'::regclass
$$;
comment on function neural_search.expected_objects is 'How many objects the planner takes Storage to hold.';


-- From sql/nearest.sql

-- Nearest: the documents most similar to a query, by the way that finds them soonest.
-- Callers: find_page, as its caller.

-- Null where it brings too few: the missing ones aren't even known then.
create or replace function neural_search.walked(search neural_search.search, depth integer)
returns neural_search.match[]
language plpgsql stable set search_path = '' as $$
declare
  by_bits constant boolean := search.strategy = 'lsh';
  total constant double precision := neural_search.expected_objects();
  -- Where the look brings too few that the caller may see and the filter takes, pgvector goes on, no longer the nearest
  -- first: half as many again make up for that.
  needed constant integer := depth + depth / 2;
  -- Those that share most bits aren't the nearest: these are among many more.
  enough constant integer := case when by_bits then greatest(400, 4 * needed) else needed end;
  -- The yield of the first look into the index. No more than are wanted would miss some, and of more documents more: of
  -- 1,000,000, 52 held 0.965 of the ten nearest, and 72 held 0.979.
  looked integer := least(
    case when by_bits then enough else depth + 40 + 20 * log(greatest(total, 100000) / 100000) end, 1000
  );
  -- Where reading all there are begins to be cheaper.
  bound integer := least(greatest(25 * depth, total / 100), 20000);
  index constant regclass := to_regclass('neural_search.' || neural_search.index_name(search.model, search.strategy));
  came bigint; -- rows from the index, seen or not
  found neural_search.match[];
  too_few boolean;
  is_prepared boolean;
  again boolean;
begin
  if search.strategy = 'exact' then
    return null;
  end if;
  for attempt in 1 .. 2 loop
    perform neural_search.set_parameters(
      array['hnsw.iterative_scan', 'hnsw.ef_search', 'hnsw.max_scan_tuples'],
      array['relaxed_order', looked::text, bound::text]
    );
    came = pg_stat_get_xact_tuples_returned(index);
    found = neural_search.find_matches(search, search.strategy, enough);
    came = pg_stat_get_xact_tuples_returned(index) - came;
    too_few = (cardinality(found) >= needed or not by_bits and (found[cardinality(found)].similarity < search.floor
      or found[1].similarity < search.best_floor)) is not true;
    is_prepared = current_setting('neural_search.prepared', true) = 'on';
    -- At its bound pgvector brings the rows that it came across and left aside. Far beyond the look these are no longer the
    -- nearest: where the caller may not see hundreds that are, the look is to be that wide. Not where few are as similar as is
    -- wanted, or the look can't be wider; nor where all were compared without the index, as while it is being built. Where a
    -- policy failed, can_see is asked for each: to read all takes so long that a fifth of them is looked at before.
    again = came > 0 and case
      when not is_prepared then (too_few or came > 2 * looked) and bound < least(total / 5, 20000)
      when too_few then false
      when by_bits then cardinality(found) < enough or came > 2 * looked
      -- Rows that a filter leaves out mostly lie anywhere, so more of them may come.
      else looked < 1000 and cardinality(found) = enough and came > looked * case when search.narrowing = '' then 2 else 5 end
    end;
    exit when attempt = 2 or again is not true;
    -- As many are to be compared as without the hidden ones, unless that takes longer than reading all.
    if is_prepared and by_bits
        and total * cardinality(found) / came < least(enough * came / cardinality(found), 20000) then
      return null;
    end if;
    looked = least(2 * came, 1000);
    bound = case when is_prepared then 20000 else least(total / 5, 20000) end;
  end loop;
  return case when not too_few then found[:needed] end;
end
$$;
comment on function neural_search.walked is
  'More than so many of the nearest documents that the caller may see, by one scan of the vectors'' index, or by two.';


create or replace function neural_search.exact_way(search neural_search.search) returns text
language plpgsql stable set search_path = '' as $$
begin
  return case
    when search.declared or neural_search.expected_matches(search) < neural_search.expected_objects() / 20 then 'documents'
    -- A filter that leaves more would have can_see asked for each of them.
    when current_setting('neural_search.prepared', true) <> 'on' then 'visible'
    when neural_search.public_buckets() <> '{}' then 'documents'
    else 'objects'
  end;
end
$$;
comment on function neural_search.exact_way is 'How all that the caller may see and that a search wants is read.';


-- Not an array: beyond work_mem these are kept on the disk. Of the vectors no more than where they are kept.
create or replace function neural_search.visible_vectors(search neural_search.search, ids bigint[])
returns table (id bigint, object_id uuid, object_version text, embedding extensions.vector)
language plpgsql stable set search_path = storage, public, extensions as $$ -- it asks policies
declare
  without_query neural_search.search := search;
begin
  without_query.query = null;
  return query execute
    'select d.id, d.object_id, d.object_version, d.embedding from ('
    || case when ids is null then neural_search.search_statement(without_query, neural_search.exact_way(search))
      else 'select pg_catalog.unnest($2) as id' end
    || ') as listed cross join lateral ('
    ' select * from neural_search.documents as one where one.id = listed.id offset 0'
    ') as d'
    using search.query, ids;
end
$$;
comment on function neural_search.visible_vectors is
  'The vectors of these documents, or of all that a search wants, as far as the caller may see them.';


-- One way, in three steps, of which most searches take one.
create or replace function neural_search.nearest(search neural_search.search, depth integer)
returns neural_search.match[]
language plpgsql stable set search_path = '' as $$
declare
  found neural_search.match[];
begin
  -- 1. A filter that leaves few is answered from its own index, exactly.
  if neural_search.narrows_to_few(search, sqrt(neural_search.expected_objects() * depth)) then
    return neural_search.find_matches(search, 'documents', depth);
  end if;

  -- 2. One scan of the vectors' index.
  found = neural_search.walked(search, depth);
  if found is not null then
    return found;
  end if;

  -- 3. All that the caller may see, read exactly.
  return neural_search.find_matches(search, neural_search.exact_way(search), depth);
end
$$;
comment on function neural_search.nearest is
  'So many or more of the nearest documents that the caller may see, or all there are.';


-- From sql/search.sql

-- Search: the functions that find documents.
-- Callers: the query function and any client, as anon, authenticated or service_role.

-- Definer, because callers may not read the table of models; the answer is the same for all.
create or replace function public.active_model() returns table (name text, dimensions integer)
language sql stable security definer set search_path = '' as $$
  select m.name, m.dimensions from neural_search.models as m where m.state = 'active'
$$;
comment on function public.active_model is 'The model that searches use, and the length of its vectors.';


-- Definer, because callers may not read the table of models; which there are is no secret.
create or replace function neural_search.searchable_model(model text)
returns table (name text, dimensions integer, search_strategy text)
language plpgsql stable security definer set search_path = '' as $$
begin
  return query select m.name, m.dimensions, m.search_strategy from neural_search.models as m
    where case when model is null then m.state = 'active' else m.name = model and m.state <> 'retired' end;
  if found then
    return;
  elsif model is null then
    raise exception 'No model is active.'
      using errcode = 'object_not_in_prerequisite_state', hint = 'Activate one of neural_search.models.';
  end if;
  raise exception 'model is %, expected one that is active or standby.', quote_literal(left(model, 100))
    using errcode = 'invalid_parameter_value', hint = 'Leave it out to search with the one that active_model() names.';
end
$$;
comment on function neural_search.searchable_model is
  'The model of this name, by default the active one; raises, with the remedy, where it can''t be searched.';


-- `ranked_by`: similarity, or score in recommend_documents and search_documents.
create or replace function neural_search.check_page(
  page_after jsonb, ranked_by text, greatest_value double precision default 1.1
) returns void
language plpgsql immutable strict set search_path = '' as $$
begin
  perform neural_search.check_json('page_after', page_after, 2000);
  perform neural_search.check_that(
    coalesce(
      jsonb_typeof(page_after) = 'object' and page_after @? 'strict $.id ? (@.type() == "number")'
      and jsonb_path_exists(
        page_after -> ranked_by, 'strict $ ? (@ >= -1.1 && @ <= $most)', jsonb_build_object('most', greatest_value)
      )
      and page_after ->> 'id' ~ '^\d{1,18}$' and coalesce(page_after ->> 'rank', '0') ~ '^\d{1,9}$'
      and page_after - array['id', 'rank', ranked_by] = '{}', false
    ),
    format('page_after is %s, expected {"%s": …, "id": …, "rank": …}.', left(page_after::text, 100), ranked_by),
    format('Give %s and id of the last result that you have, and how many there were up to it.', ranked_by)
  );
  perform neural_search.check_range( -- so far is looked at once, for any caller
    'page_after.rank', coalesce((page_after ->> 'rank')::integer, 0), 0, 10000,
    'Give 10000 where there were more: it only says how far to look at first.'
  );
end
$$;
comment on function neural_search.check_page is 'Raises, with the remedy, for a page that can''t follow any result.';


-- By hand and not by SET clauses: a role that is no superuser can't name pgvector's parameters in those before the
-- session has loaded it. check_vector has loaded it by the time that this is called.
create or replace function neural_search.set_parameters(names text[], settings text[]) returns text[]
language plpgsql set search_path = '' as $$
declare
  former text[];
begin
  if array_to_string(names, ' ') !~ '^((hnsw\.\w+|neural_search\.prepared|storage\.operation|request\.method) ?)+$' then
    raise exception 'names are %, expected those that a search sets.', names -- `role` least of all
      using errcode = 'invalid_parameter_value', hint = 'Set others by set_config.';
  end if;
  for i in 1 .. cardinality(names) loop
    former[i] = coalesce(current_setting(names[i], true), '');
    settings[i] = set_config(names[i], settings[i], true); -- assigned, because a perform takes ten times as long
  end loop;
  return former;
end
$$;
comment on function neural_search.set_parameters is
  'Sets parameters until the end of the transaction; returns their former values, for restoring them.';


create or replace function neural_search.set_for_search(
  settings text[] default array['on', 'off', '100', '20000', '8'] || neural_search.storage_settings()
) returns text[]
language sql set search_path = '' as $$
  select neural_search.set_parameters(
    array['neural_search.prepared', 'hnsw.iterative_scan', 'hnsw.ef_search', 'hnsw.max_scan_tuples',
      'hnsw.scan_mem_multiplier'] || neural_search.storage_parameters(),
    settings
  )
$$;
comment on function neural_search.set_for_search is
  'Sets the parameters that a search begins with, or the former values that it returned then.';


create or replace function neural_search.find_matches(search neural_search.search, way text, depth integer)
returns neural_search.match[]
language plpgsql stable set search_path = storage, public, extensions as $$ -- it asks policies
declare
  found neural_search.match[];
begin
  begin
    execute neural_search.scored_statement(search, way) into found using search.query, depth, search.weight, search.lexemes;
    if current_setting('neural_search.explain', true) = 'on' then
      raise log 'neural-search looked for % by the way of %: % found', depth, way, pg_catalog.cardinality(found);
    end if;
    return found;
  exception when query_canceled or assert_failure or others then
    perform neural_search.check_failure(sqlstate);
    if not neural_search.policies_work() then
      return '{}'::neural_search.match[];
    elsif current_setting('neural_search.prepared', true) <> 'on' then
      perform neural_search.end_search(sqlstate, sqlerrm);
    end if;
  end;
  -- A policy failed on some object. From here on can_see is asked for each that is come across, which hides those.
  perform set_config('neural_search.prepared', 'off', true);
  return neural_search.find_matches(
    search, case when way in ('documents', 'objects') then neural_search.exact_way(search) else way end, depth
  );
end
$$;
comment on function neural_search.find_matches is
  'So many matches or all there are, found in this way, the nearest first, or those with the best score where words are '
  'read.';


-- The policies have shown them all; the question left is whether their objects are still there. As can_see asks it, but
-- once for all of them, unless a policy fails here that didn't before.
create or replace function neural_search.seen_among(matches neural_search.match[], wanted integer, skipped integer)
returns neural_search.match[]
language plpgsql stable set search_path = storage, public, extensions set plan_cache_mode = force_custom_plan -- it asks policies
as $$
begin
  if current_setting('neural_search.prepared', true) = 'on' then
    begin
      return array(
        select row(m.*)::neural_search.match from pg_catalog.unnest(matches) as m
        where coalesce((
            -- A scalar one, as in the policy: an EXISTS would be a hash of all objects.
            select true from neural_search.live_objects() as o
            where o.id = m.object_id and coalesce(o.version, '') = m.object_version
          ), false)
          or neural_search.is_public(m.object_id, m.object_version)
        limit wanted offset skipped
      );
    exception when query_canceled or assert_failure or others then
      perform neural_search.check_failure(sqlstate);
    end;
  end if;
  return array(
    select row(m.*)::neural_search.match from pg_catalog.unnest(matches) as m
    where neural_search.can_see(m.object_id, m.object_version) limit wanted offset skipped
  );
end
$$;
comment on function neural_search.seen_among is
  'Of these matches those that the caller may see, in their order: so many, after so many that are skipped.';


create or replace function neural_search.read_search(
  query_embedding extensions.vector, similarity_threshold double precision, match_count integer, skip_count integer,
  filter jsonb, model text, query_kind text, min_confidence text, best_confidence text
) returns neural_search.search
language plpgsql stable set search_path = '' as $$
declare
  narrow constant jsonb := coalesce(filter, '{}');
  others text; -- conditions that no index may serve
  declared text;
  search neural_search.search;
begin
  select m.* into search.model, search.dimensions, search.strategy from neural_search.searchable_model(model) as m;
  perform neural_search.check_vector('query_embedding', query_embedding, search.model, search.dimensions);
  search.threshold = coalesce(similarity_threshold, 0);
  perform neural_search.check_that(
    search.threshold <> 'NaN', 'similarity_threshold is NaN, expected a number from -1 to 1.',
    'Leave it out for all results above 0.'
  );
  perform neural_search.check_range(
    'match_count', match_count, 0, 1000, 'Page through more results with skip_count or page_after.'
  );
  perform neural_search.check_range('skip_count', skip_count, 0, 10000, 'Page through more results with page_after.');
  perform neural_search.check_that(
    query_kind in ('image', 'text', 'mixed'), format('query_kind is %L, expected image, text or mixed.', left(query_kind, 100)),
    'Say what query_embedding was made from.'
  );
  perform neural_search.check_confidence('min_confidence', min_confidence);
  perform neural_search.check_confidence('best_confidence', best_confidence);
  if narrow <> '{}' then
    perform neural_search.check_filter(narrow);
  end if;
  -- Of unit length: half precision has no place for very long or very short vectors.
  search.query = extensions.l2_normalize(query_embedding);
  select l.* into search.same, search.strong, search.related
  from neural_search.confidence_levels(search.model, query_kind, search.query) as l;
  search.floor = greatest(
    search.threshold, neural_search.level_of(min_confidence, search.same, search.strong, search.related)
  );
  search.best_floor = neural_search.level_of(best_confidence, search.same, search.strong, search.related);
  search.narrowing = case when narrow = '{}' then '' else neural_search.filter_conditions(narrow, true) end;
  others = case when narrow ? 'metadata' then neural_search.filter_conditions(narrow, false) else '' end;
  if not row_security_active('neural_search.documents') then
    search.narrowing = search.narrowing || others; -- every index may be used
    -- Not even a caller exempt from policies is to find objects that aren't there any more.
    search.conditions = search.narrowing || ' and (select true from storage.objects as o'
      ' where o.id = d.object_id and coalesce(o.version, '''') = d.object_version)';
  else
    declared = neural_search.declared_conditions(narrow ->> 'bucket');
    search.declared = declared is not null;
    search.narrowing = concat(search.narrowing, declared, ' and d.id = any ('
      || quote_literal(neural_search.ids_with_metadata(search.model, narrow -> 'metadata')::text) || ')');
    search.conditions = search.narrowing || others;
  end if;
  search.objects = concat(' and o.bucket_id = ' || quote_literal(narrow ->> 'bucket'),
    ' and o.name ^@ ' || quote_literal(narrow ->> 'prefix'));
  return search;
end
$$;
comment on function neural_search.read_search is 'The arguments of a search, checked; raises, with the remedy.';


-- page_after, checked, has the score of the last result in its similarity or score.
create or replace function neural_search.following(
  matches neural_search.match[], search neural_search.search, page_after jsonb
) returns neural_search.match[]
language plpgsql immutable set search_path = '' as $$
declare
  after_score constant double precision := coalesce(page_after ->> 'score', page_after ->> 'similarity')::double precision;
  after_id constant bigint := (page_after ->> 'id')::bigint;
begin
  return array(
    select row(m.*)::neural_search.match from (select distinct on (m.score, m.id) m.* from unnest(matches) as m) as m
    where m.similarity > search.threshold and m.similarity >= search.floor
      and (page_after is null or m.score < after_score or m.score = after_score and m.id > after_id)
    order by m.score desc, m.id
  );
end
$$;
comment on function neural_search.following is 'Of these matches those that follow a page, each once, by score.';


create or replace function neural_search.last_one(
  matches neural_search.match[], depth integer, floor double precision
) returns neural_search.match
language plpgsql immutable set search_path = '' as $$
begin
  return case when cardinality(matches) >= depth and matches[cardinality(matches)].similarity >= floor
    then matches[cardinality(matches)] end;
end
$$;
comment on function neural_search.last_one is 'The last of so many matches; null where these are all that may be wanted.';


-- The threshold algorithm of Fagin, Lotem and Naor (Optimal aggregation algorithms for middleware, 2003): the nearest
-- documents, those with rare words, and those with so many of the common ones are read until no other can have a better
-- score than the last of the page. Without words the similarity is the score.
create or replace function neural_search.find_page(
  search neural_search.search, wanted integer, page_after jsonb
) returns neural_search.match[]
language plpgsql stable set search_path = '' as $$
declare
  -- With some to spare, pages follow each other.
  depth integer := wanted + 2 + case
    when page_after is null then 0 else 1 + coalesce((page_after ->> 'rank')::integer, 0)
  end;
  -- What is read without an index is in its order, equals by id. An index orders by half precision, and equals not at all:
  -- they are to come in the order of their ids, as long as they aren't a thousand.
  noise constant double precision := case when search.strategy = 'exact' then 0 else 0.0001 end;
  rare text[] := '{}'::text[];
  common text[] := '{}'::text[];
  looked integer;
  found neural_search.match[];
  named neural_search.match[];
  ended neural_search.match; -- the last of these
  all_named neural_search.match[] := '{}'::neural_search.match[]; -- with so many of the common words, any of them
  most integer;
  page neural_search.match[];
  last neural_search.match; -- of the page
  beyond neural_search.match; -- no other document is more similar, or as similar by a lower id
  best neural_search.match; -- nor has any that was to be found by its words a better score, or that one by a lower id
  lead double precision; -- of the page's last result before all that may be left
begin
  <<deeper>>
  loop
    if search.lexemes <> '{}' then
      select coalesce(array_agg(r.lexeme) filter (where not r.is_common), '{}'),
          coalesce(array_agg(r.lexeme) filter (where r.is_common), '{}')
        into rare, common from neural_search.rarest_first(search.lexemes, depth) as r;
    end if;
    -- Where words are common, the nearest may have them. Looked for beside rare ones, too: else a search's results would
    -- tell which words are common among hidden documents.
    looked = depth + case when search.lexemes <> '{}' then least(3 * depth, 100) else 0 end;
    found = neural_search.nearest(search, looked);
    beyond = neural_search.last_one(found, looked, search.floor);
    found = found || all_named;
    best = null;
    if rare <> '{}' and beyond.id is not null then
      search.read_lexemes = rare;
      named = neural_search.find_matches(search, 'words', depth);
      found = found || named;
      best = neural_search.last_one(named, depth, search.floor);
    end if;
    for fewest in reverse least(cardinality(common), most) .. 0 loop
      page = neural_search.seen_among(neural_search.following(found, search, page_after), wanted, 0);
      -- Reckoned as scored_statement does it, to the last bit.
      beyond.score = beyond.similarity + coalesce(search.weight * fewest / nullif(cardinality(search.lexemes), 0), 0);
      last = page[wanted];
      lead = last.score - greatest(best.score, beyond.score);
      exit deeper when beyond.id is null and best.id is null or found[1].similarity < search.best_floor
        or cardinality(page) = wanted and (wanted = 0
          or lead > case when depth > 1000 + wanted then -noise else noise end
          or noise = 0 and fewest = 0 and lead = 0 -- more words and less similar come to the same score by any id
            and (last.score > best.score or last.id <= best.id) is not false
            and (last.score > beyond.score or last.id <= beyond.id) is not false);
      exit when fewest = 0 or lead > -noise; -- only equals are left: those with fewer words tell nothing of them
      named = neural_search.nearest_with_words(search, common, fewest, depth);
      found = found || named;
      ended = neural_search.last_one(named, depth, search.floor);
      if ended.id is null then
        all_named = named; -- the deeper looks, whose common words are among these, would find no others
        most = fewest - 1;
      elsif (best.score, -best.id) >= (ended.score, -ended.id) is not true then
        best = ended;
      end if;
    end loop;
    perform neural_search.check_that( -- each round reads four times as much, and holds it
      depth <= 50000, format('The page lies deeper than %s results.', depth),
      'Narrow the search by filter, or ask for what is more similar by similarity_threshold.'
    );
    depth = 4 * depth;
  end loop;
  -- The best of all decides for every page; a later one says enough where it is as near.
  if page[1].similarity < search.best_floor then
    found = array(select row(m.*)::neural_search.match from unnest(found) as m where m.similarity >= search.best_floor);
    if neural_search.seen_among(found, 1, 0) = '{}' then
      page = '{}';
    end if;
  end if;
  return page;
end
$$;
comment on function neural_search.find_page is
  'A page of the documents with the best scores that the caller may see; none where the nearest of all is below best_floor.';


create or replace function neural_search.find_similar(
  query_embedding extensions.vector, similarity_threshold double precision, match_count integer, skip_count integer,
  filter jsonb, page_after jsonb, model text, query_kind text, min_confidence text, best_confidence text,
  query_text text default null, weight double precision default 0
) returns table (id bigint, similarity double precision, confidence text, score double precision, source smallint)
language plpgsql stable set search_path = ''
-- Without sorting for once: where the index is to be walked, the planner is to walk it. Where it has to sort all the
-- same, that looks so dear that it would have the statement compiled. Generic plans, since the few statements of ours
-- would else be planned anew for each search, which takes longer than they do.
set enable_sort = off set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  wanted constant integer := coalesce(match_count, 10);
  skipped constant integer := coalesce(skip_count, 0);
  search neural_search.search := neural_search.read_search(
    query_embedding, similarity_threshold, wanted, skipped, filter, model, query_kind, min_confidence, best_confidence
  );
  former text[] := neural_search.set_for_search();
  page neural_search.match[];
begin
  if weight > 0 then
    search.weight = weight;
    search.lexemes = array(
      select l.lexeme from neural_search.lexemes(query_text, neural_search.text_configuration()) as l
      order by l.place limit 16
    );
  end if;
  page = (neural_search.find_page(search, wanted + skipped, page_after))[skipped + 1:];
  former = neural_search.set_for_search(former);
  perform neural_search.log_failures();

  return query
  select m.id, m.similarity, neural_search.confidence_of(m.similarity, search.same, search.strong, search.related),
    m.score, m.source
  from unnest(page) as m;
end
$$;
comment on function neural_search.find_similar is
  'match_documents and, with words of a weight, search_documents, of which nothing wide is read.';


-- On the way to a page a search comes across thousands: wide columns, metadata above all, are read of the page alone.
create or replace function public.match_documents(
  query_embedding extensions.vector,
  similarity_threshold double precision default 0,
  match_count integer default 10,
  skip_count integer default 0,
  filter jsonb default '{}',
  page_after jsonb default null,
  model text default null,
  query_kind text default 'image',
  min_confidence text default null,
  best_confidence text default null
) returns table (
  id bigint, content text, similarity double precision, bucket_id text, object_id uuid, metadata jsonb, confidence text
)
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan -- as find_similar has it
as $$
begin
  perform neural_search.check_sizes('{model,query_kind,min_confidence,best_confidence}', array[
    octet_length(model), octet_length(query_kind), octet_length(min_confidence), octet_length(best_confidence)
  ]);
  perform neural_search.check_page(page_after, 'similarity');
  if not neural_search.policies_work() then
    return;
  end if;
  return query
  with found as materialized (
    select f.* from neural_search.find_similar(
      query_embedding, similarity_threshold, match_count, skip_count, filter, page_after, model,
      coalesce(query_kind, 'image'), min_confidence, best_confidence
    ) as f
  )
  select f.id, d.content, f.similarity, d.bucket_id, d.object_id, d.metadata, f.confidence
  from found as f
  join neural_search.found_documents(array(select w.id from found as w)) as d on d.id = f.id
  order by f.similarity desc, f.id;
end
$$;
comment on function public.match_documents is
  'The documents nearest to query_embedding that the caller may see, by the active model or the one named: similarity '
  'is 1 - cosine distance, above similarity_threshold, the best first, equals by id. None where the best has less than '
  'best_confidence.';


-- From sql/objects.sql

-- Objects by id or name: their embeddings, and how far they are.
-- Callers: the query function and any client, as anon, authenticated or service_role.

-- Storage's names have at most 1,024 bytes; longer ones would be sorted and told back for nothing.
create or replace function neural_search.check_names(names text[]) returns void
language plpgsql immutable set search_path = '' as $$
begin
  perform neural_search.check_count('names', cardinality(names));
  perform neural_search.check_that(
    names is null or pg_column_size(names) <= 2000000,
    format('names have %s bytes, expected at most 2000000.', pg_column_size(names)),
    'Give the paths of objects, some at a time.'
  );
end
$$;
comment on function neural_search.check_names is 'Raises, with the remedy, for more or longer names than one call may give.';


create or replace function public.get_embeddings(
  document_ids bigint[] default null, names text[] default null, bucket text default null, model text default null
) returns table (id bigint, object_id uuid, bucket_id text, content text, embedding extensions.vector)
language plpgsql stable set search_path = '' as $$
declare
  searched text;
begin
  perform neural_search.check_count('document_ids', cardinality(document_ids));
  perform neural_search.check_names(names);
  perform neural_search.check_sizes('{bucket,model}', array[octet_length(bucket), octet_length(get_embeddings.model)]);
  -- Before any document is looked for: else a wrong name would be refused only where one is found.
  searched = (select m.name from neural_search.searchable_model(get_embeddings.model) as m);
  if not neural_search.policies_work() then
    return;
  end if;
  return query
  with wanted as materialized (
    select null as bucket_id, name as content from unnest(names) as name
    union
    select split_part(name, '/', 1), substr(name, strpos(name, '/') + 1) from unnest(names) as name
  ),
  seen as materialized ( -- and others, of the one bucket and the other path
    select d.id, d.object_id, d.bucket_id, d.content, d.embedding
    from neural_search.seen_documents(concat(
      format('d.model = %L and (d.id = any (%L) or d.content = any (%L) or d.bucket_id = any (%L) and d.content = any (%L))',
        searched, document_ids, names, array(select w.bucket_id from wanted as w where w.bucket_id is not null),
        array(select w.content from wanted as w where w.bucket_id is not null)),
      ' and d.bucket_id = ' || quote_literal(bucket)
    )) as d
  )
  select s.* from seen as s
  where s.id in (
    select unnest(document_ids)
    union all
    select n.id from wanted as w join seen as n on n.content = w.content
    where w.bucket_id is null or w.bucket_id = n.bucket_id
  )
  order by s.id;
end
$$;
comment on function public.get_embeddings is
  'The embeddings, by the active model or the one named, of documents that the caller may see: by id, by path, or by '
  'bucket and path (b/p); at most 1000 of each.';


-- Definer, because callers may not read the registered buckets. As is_public, by name alone. Of other buckets' objects
-- none is looked up: time would tell those that are there.
create or replace function neural_search.find_public(target_bucket text, target_names text[])
returns table (name text, object_id uuid, version text)
language sql stable security definer set search_path = '' as $$
  select o.name, o.id, coalesce(o.version, '')
  from storage.objects as o
  where target_bucket = any ((select neural_search.public_buckets())::text[])
    and o.bucket_id = target_bucket and o.name = any (target_names)
    and neural_search.is_public(o.id, coalesce(o.version, ''))
$$;
comment on function neural_search.find_public is 'The objects of these names, where everybody may find them.';


-- As can_see, by name alone. By halves where a policy fails on some: each by itself would take so long that a single one told
-- of a hidden object.
create or replace function neural_search.find_seen(target_bucket text, target_names text[])
returns table (name text, object_id uuid, version text)
language plpgsql stable set search_path = '' as $$
declare
  former text[] := neural_search.act_as_storage();
  half constant integer := cardinality(target_names) / 2;
begin
  begin
    return query select o.* from neural_search.ask_objects(target_bucket, target_names) as o;
  exception when query_canceled or assert_failure or others then
    perform neural_search.check_failure(sqlstate);
    if half > 0 then
      return query select o.* from neural_search.find_seen(target_bucket, target_names[:half]) as o;
      return query select o.* from neural_search.find_seen(target_bucket, target_names[half + 1:]) as o;
    else
      perform neural_search.note_failure(sqlstate);
    end if;
  end;
  former = neural_search.act_as_storage(former);
end
$$;
comment on function neural_search.find_seen is 'The live objects of these names that policies show to the caller.';


-- Definer, because callers may not read jobs. It answers for an id and version that the caller already holds.
create or replace function neural_search.state_of(target_object_id uuid, target_version text)
returns table (state text, reason text)
language sql stable security definer set search_path = '' as $$
  select
    case
      when b.bucket_id is null then 'ignored'
      when d.id is not null then 'searchable'
      else coalesce(j.state, 'pending')
    end,
    case
      when b.bucket_id is null then format('Bucket %L isn''t indexed.', o.bucket_id)
      when d.id is not null or j.error_class is null then null
      -- The words of all others, faults of Storage, the database or the model, hold addresses, paths and settings.
      when j.error_class in (
        'ImageError', 'EmptyImage', 'NotAnImage', 'BrokenImage', 'IncompleteImage', 'UnsupportedImage',
        'ImageTooLarge', 'TooManyPixels', 'ImageTooLong', 'TooManyScans', 'DecodingTimedOut', 'DecoderCrashed',
        'DecodingOutOfMemory', 'DecoderStalled', 'InvalidObjectName', 'LeaseExpired'
      ) then j.error_message
      else format('The last attempt failed (%s). The project''s operator sees why in `neural-search jobs`.', j.error_class)
    end
  from neural_search.live_objects() as o
  left join neural_search.indexed_buckets as b on b.bucket_id = o.bucket_id
  join neural_search.models as m on m.state = 'active'
  left join neural_search.documents as d on d.object_id = o.id and d.model = m.name and d.object_version = target_version
  left join neural_search.jobs as j on j.object_id = o.id and j.model = m.name and j.version = target_version
  where o.id = target_object_id and coalesce(o.version, '') = target_version
$$;
comment on function neural_search.state_of is 'How far this version of an object is under the active model, and why.';


-- Each name is looked up once, however often it is asked for: else time would tell a hidden object from none.
create or replace function public.object_states(bucket text, names text[])
returns table (name text, object_id uuid, state text, reason text)
language plpgsql stable set search_path = '' as $$
declare
  once text[];
begin
  perform neural_search.check_names(names);
  perform neural_search.check_sizes('{bucket}', array[octet_length(bucket)]);
  once = array(select distinct n from unnest(names) as n);
  return query
  with seen as materialized (
    select * from neural_search.find_seen(bucket, once)
    union
    select * from neural_search.find_public(bucket, once)
  ),
  looked_up as materialized (
    select s.name, s.object_id, known.state, known.reason
    from seen as s cross join lateral neural_search.state_of(s.object_id, s.version) as known
  )
  select asked.name, l.object_id, coalesce(l.state, 'unknown'),
    case when l.state is null then 'There is no such object, or you may not see it.' else l.reason end
  from unnest(names) with ordinality as asked (name, place) left join looked_up as l on l.name = asked.name
  order by asked.place;
  perform neural_search.log_failures();
end
$$;
comment on function public.object_states is
  'How far at most 1000 objects are: searchable, pending, skipped, failed, ignored (not indexed), unknown (not there or '
  'not yours to see).';


-- From sql/explain.sql

-- Explain: the facts about one object that decide whether a search finds it.
-- Callers: `neural-search explain`, as service_role or through a direct connection.

create or replace function public.explain_object(
  bucket text, name text, query_embedding extensions.vector default null, filter jsonb default '{}',
  query_kind text default 'image'
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  active constant text := (select m.name from neural_search.searchable_model(null) as m);
  object record;
  document record;
  work record;
  level record;
  narrow constant jsonb := coalesce(filter, '{}');
  given record;
  fulfilled boolean;
  kept jsonb := '{}'::jsonb;
begin
  perform neural_search.check_filter(narrow);
  select o.id, coalesce(o.version, '') as version, o.created_at, o.owner_id into object
  from neural_search.live_objects() as o where o.bucket_id = bucket and o.name = explain_object.name;
  select p.state, p.attempts, p.next_attempt_at, p.error_class, p.error_message into work
  from neural_search.progress as p where p.object_id = object.id and p.model = active;
  select d.id, d.object_version, d.decoder_version, d.embedded_at,
    1 - (d.embedding operator(extensions.<=>) query_embedding) as similarity into document
  from neural_search.documents as d where d.object_id = object.id and d.model = active;
  select l.* into level from neural_search.confidence_levels(active, query_kind, query_embedding) as l;
  for given in select * from jsonb_each(narrow) loop
    execute 'select exists (select from neural_search.documents as d where d.id = $1'
      || neural_search.filter_conditions(jsonb_build_object(given.key, given.value), true)
      || neural_search.filter_conditions(jsonb_build_object(given.key, given.value), false) || ')'
    into fulfilled using document.id;
    kept = kept || jsonb_build_object(given.key, fulfilled);
  end loop;
  return jsonb_build_object(
    'model', active,
    'object', case when object.id is not null then to_jsonb(object) end,
    'indexed', exists (select from neural_search.indexed_buckets as b where b.bucket_id = bucket),
    'declared', (
      select b.visible_by from neural_search.indexed_buckets as b where b.bucket_id = bucket and not b.public_search
    ),
    'state', work.state,
    'job', case when work.state <> 'searchable' then to_jsonb(work) end,
    'document', case when document.id is not null then to_jsonb(document) end,
    'confidence', case when document.similarity is not null
      then neural_search.confidence_of(document.similarity, level.same, level.strong, level.related) end,
    'filter', kept
  );
end
$$;
comment on function public.explain_object is
  'The facts about the live object of this name: its job, its document of the active model, its bucket''s declaration, the '
  'keys of a filter that it fulfils, and its similarity to a query.';


-- From sql/words.sql

-- Words: the names and the metadata of images, beside their pixels.
-- Callers: the trigger on documents, as the role that changes one; search_documents, as the caller.

-- Definer, because callers may not read the table; how words are compared is no secret.
create or replace function neural_search.text_configuration() returns regconfig
language sql stable security definer set search_path = '' as $$
  select t.configuration::regconfig from neural_search.text_search as t
$$;
comment on function neural_search.text_configuration is 'The text search configuration that lexemes are made by.';


-- To put combining marks in their order, Postgres takes a time that grows with the square of their number. A combining
-- grapheme joiner ends a run of them, as in the stream-safe format of Unicode's annex 15, and is taken out again.
create or replace function neural_search.composed(source text) returns text
language sql immutable set search_path = '' as $$
  select left(replace(
    normalize(regexp_replace(source, '([^\u0001-\u007f]{200})', '\1' || chr(847), 'g'), nfkc), chr(847), ''
  ), length(source))
$$;
comment on function neural_search.composed is
  'A text in the form NFKC, no longer than it was; marks stay in their order beyond 200 characters without one of ASCII.';


-- Camel case, digits and ASCII's other non-letters separate words: which other letters there are depends on the
-- database's locale, and is left to the parser. Composed, because macOS uploads names in decomposed characters. Words
-- that say nothing of a picture are left out by a list: frequency would tell of hidden rows. 4,000 characters,
-- words of at most 64.
create or replace function neural_search.lexemes(source text, configuration regconfig)
returns table (lexeme text, place integer)
language sql stable set search_path = '' as $$
  with words as (
    select lower(w.word) as word, w.place
    from regexp_split_to_table(
      regexp_replace(
        regexp_replace(neural_search.composed(left(source, 4000)), '([[:lower:]])([[:upper:]])', '\1 \2', 'g'),
        '([[:upper:]])([[:upper:]][[:lower:]])', '\1 \2', 'g'
      ),
      '[\u0001-\u0040\u005b-\u0060\u007b-\u007f]+'
    ) with ordinality as w (word, place)
  )
  select l.lexeme, min(l.positions[1])::integer
  from unnest(to_tsvector(configuration, (
    select string_agg(w.word, ' ' order by w.place)
    from words as w
    where length(w.word) <= 64 and w.word !~ '^[a-z]?$' and w.word <> all (array[
      'avif', 'bmp', 'gif', 'heic', 'heif', 'ico', 'jpeg', 'jpg', 'png', 'svg', 'tif', 'tiff', 'webp',
      'cimg', 'dcim', 'dji', 'dsc', 'dscf', 'dscn', 'gopr', 'image', 'images', 'img', 'imgp', 'mvimg', 'photo', 'photos',
      'pic', 'pict', 'pics', 'picture', 'pictures', 'pxl', 'vid',
      'an', 'and', 'at', 'by', 'for', 'from', 'in', 'is', 'of', 'on', 'or', 'the', 'to', 'with'
    ])
  ))) as l
  group by l.lexeme
$$;
comment on function neural_search.lexemes is
  'The lexemes in a path or in any text, and where they come first; without numbers, single letters, file types, '
  'cameras'' names for files, and little words.';


-- The path without its file's type; of the metadata strings and lists of strings, not their keys. At most 100 in all.
create or replace function neural_search.words_of(content text, metadata jsonb)
returns table (lexeme text, source smallint)
language sql stable set search_path = '' as $$
  with configured as materialized (select neural_search.text_configuration() as configuration),
  strings as (
    select item.value #>> '{}' as string
    from jsonb_each(case jsonb_typeof(metadata) when 'object' then metadata else '{}' end) as given,
      jsonb_array_elements(
        case jsonb_typeof(given.value) when 'array' then given.value else jsonb_build_array(given.value) end
      ) as item
    where jsonb_typeof(item.value) = 'string'
  ),
  found as (
    select l.lexeme, l.place, 1 as source
    from configured as c, neural_search.lexemes(content, c.configuration) as l
    union all
    select l.lexeme, l.place, 2
    from configured as c,
      neural_search.lexemes((
        select string_agg(f.string, ' ')
        from (select left(s.string, 4000) as string from strings as s limit 1000) as f
      ), c.configuration) as l
  )
  select f.lexeme, bit_or(f.source)::smallint
  from found as f
  group by f.lexeme
  order by min(f.source), min(f.place), f.lexeme limit 100
$$;
comment on function neural_search.words_of is
  'The lexemes that a document is found by, and where each is from: 1 the path, 2 the metadata, 3 both.';


create or replace function neural_search.write_words(ids bigint[] default null) returns bigint
language plpgsql set search_path = '' set plan_cache_mode = force_custom_plan as $$ -- one for all, one for some
declare
  count bigint;
begin
  delete from neural_search.words as w where ids is null or w.document_id = any (ids);
  insert into neural_search.words (lexeme, document_id, source)
  select w.lexeme, d.id, w.source
  from neural_search.documents as d cross join lateral neural_search.words_of(d.content, d.metadata) as w
  where ids is null or d.id = any (ids);
  get diagnostics count = row_count;
  return count;
end
$$;
comment on function neural_search.write_words is 'Makes the words of these documents anew, or of all; how many.';


create or replace function neural_search.use_text_search(configuration text) returns bigint
language plpgsql set search_path = '' as $$
declare
  found text;
begin
  select format('%I.%I', n.nspname, c.cfgname) into found
  from pg_ts_config as c join pg_namespace as n on n.oid = c.cfgnamespace
  where use_text_search.configuration in (c.cfgname, n.nspname || '.' || c.cfgname)
  order by n.nspname = 'pg_catalog' desc, n.nspname limit 1;
  perform neural_search.check_that(
    found is not null, format('configuration is %L, which isn''t a text search configuration of this database.',
      left(use_text_search.configuration, 100)),
    'Take one that `select cfgname from pg_ts_config` lists, like english.', 'undefined_object'
  );
  lock table neural_search.documents in share mode; -- or uploads meanwhile would keep words of the former kind
  update neural_search.text_search as t set configuration = found, missing = 'empty' where true;
  return neural_search.write_words();
end
$$;
comment on function neural_search.use_text_search is
  'Has lexemes made by another text search configuration from now on, and those of all documents anew; how many.';


-- It never raises, or an upload or a move could fail: such a document is found by its vector alone.
create or replace function neural_search.on_document_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  if (old.content, old.metadata) is distinct from (new.content, new.metadata) then -- of a new document old is null
    delete from neural_search.words as w where w.document_id = new.id;
    insert into neural_search.words (lexeme, document_id, source)
    select w.lexeme, new.id, w.source from neural_search.words_of(new.content, new.metadata) as w;
  end if;
  return null;
exception when others then
  raise warning 'neural-search could not write the words of document %: % (%)', new.id, sqlerrm, sqlstate;
  return null;
end
$$;
comment on function neural_search.on_document_change is 'Keeps words as the document''s path and metadata are.';


-- So many at a time, because a million documents take minutes, and moves and overwrites of these wait.
create or replace function neural_search.write_missing_words(max_documents integer) returns bigint
language plpgsql set search_path = '' as $$
declare
  ids constant int8range := (select t.missing from neural_search.text_search as t for update);
  written bigint[];
begin
  if isempty(ids) then
    return 0;
  end if;
  select coalesce(array_agg(d.id), '{}') into written from (
    select d.id from neural_search.documents as d
    where d.id >= lower(ids) and d.id < upper(ids) order by d.id limit max_documents for share
  ) as d;
  perform neural_search.write_words(written);
  update neural_search.text_search as t set missing = case
    when cardinality(written) < max_documents then 'empty'
    else int8range(written[cardinality(written)] + 1, upper(ids))
  end where true;
  return cardinality(written);
end
$$;
comment on function neural_search.write_missing_words is
  'Makes the words of some documents that were there before the trigger; how many documents these were.';


-- A scalar subquery, because the planner would turn an EXISTS into a hash of all documents that the caller may see.
alter policy "As the policy on documents says" on neural_search.words
  to anon, authenticated using (
    coalesce((select true from neural_search.documents as d where d.id = words.document_id), false)
  );
comment on policy "As the policy on documents says" on neural_search.words is
  'A word is seen by those who see its document.';


-- Documents that have few words in common with others are all read, from the index of lexemes; for common words the
-- vectors are walked, as for a filter, with the same measure. Each word is measured by itself, by documents that the
-- caller sees: by others, or all together, hidden documents with one word would change the results of another.
create or replace function neural_search.rarest_first(lexemes text[], depth integer)
returns table (lexeme text, is_common boolean)
language sql stable set search_path = '' as $$
  select l.lexeme, not neural_search.are_few(
    w.rows, sqrt(neural_search.expected_objects() * depth) / cardinality(lexemes)
  )
  from unnest(lexemes) as l (lexeme)
  cross join lateral (select format('neural_search.words as w where w.lexeme = %L', l.lexeme) as rows) as w
  order by neural_search.expected_rows(w.rows), l.lexeme
$$;
comment on function neural_search.rarest_first is
  'Lexemes by how many documents the planner expects to have them, and which have too many to read them all.';


create or replace function neural_search.nearest_with_words(
  search neural_search.search, rarest_first text[], fewest integer, depth integer
) returns neural_search.match[]
language plpgsql stable set search_path = '' as $$
declare
  narrowed neural_search.search := search;
  found neural_search.match[];
begin
  narrowed.conditions = search.conditions || format(
    ' and (select count(*) from neural_search.words as w where w.document_id = d.id and w.lexeme = any (%L)) >= %s',
    rarest_first::text, fewest
  );
  narrowed.best_floor = null; -- the nearest of all may have no such word
  found = neural_search.walked(narrowed, depth);
  if found is null then -- who has two of three words has one of any two
    narrowed.read_lexemes = rarest_first[1:cardinality(rarest_first) - fewest + 1];
    found = neural_search.find_matches(narrowed, 'words', depth);
  end if;
  return found;
end
$$;
comment on function neural_search.nearest_with_words is
  'So many or more of the documents that the caller may see and that have so many of these lexemes, or all there are.';


create or replace function public.search_documents(
  query_embedding extensions.vector,
  query_text text,
  words double precision default 0.5,
  similarity_threshold double precision default 0,
  match_count integer default 10,
  skip_count integer default 0,
  filter jsonb default '{}',
  page_after jsonb default null,
  model text default null,
  query_kind text default 'text',
  min_confidence text default null,
  best_confidence text default null,
  diversity double precision default 0,
  collapse text default null
) returns table (
  id bigint, content text, similarity double precision, bucket_id text, object_id uuid, metadata jsonb, confidence text,
  score double precision, found_by text[], duplicates jsonb
)
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan -- as find_similar has it
as $$
declare
  weight constant double precision := coalesce(search_documents.words, 0.5);
  wanted constant integer := coalesce(match_count, 10);
  skipped constant integer := coalesce(skip_count, 0);
  -- The pool is the same for every page, as in recommend_documents.
  is_pooled constant boolean := coalesce(diversity, 0) <> 0 or collapse is not null;
begin
  perform neural_search.check_that(
    weight between 0 and 1, format('words is %s, expected a number from 0 to 1.', weight),
    'Leave it out, or give 0 to search by what images show alone.'
  );
  perform neural_search.check_sizes('{query_text}', array[octet_length(query_text)], 65536);
  perform neural_search.check_sizes('{collapse,model,query_kind,min_confidence,best_confidence}', array[
    octet_length(collapse), octet_length(model), octet_length(query_kind), octet_length(min_confidence),
    octet_length(best_confidence)
  ]);
  perform neural_search.check_page(page_after, 'score', 2.1);
  if is_pooled then
    perform neural_search.check_recommendation(
      1, 'average', wanted, skipped, coalesce(diversity, 0), page_after, collapse, min_confidence, best_confidence, 200
    );
  end if;
  if not neural_search.policies_work() then
    return;
  end if;
  return query
  with found as materialized (
    select f.* from neural_search.find_similar(
      query_embedding, similarity_threshold, case when is_pooled then 200 else wanted end,
      case when is_pooled then 0 else skipped end, filter, page_after, model,
      coalesce(query_kind, 'text'), min_confidence, best_confidence, query_text, weight
    ) with ordinality as f (id, similarity, confidence, score, source, place)
  )
  select f.id, a.content, f.similarity, a.bucket_id, a.object_id, a.metadata, f.confidence, f.score,
    array_remove(array[
      case when f.source is null or f.confidence <> 'unrelated' then 'image' end,
      case when f.source & 1 > 0 then 'name' end,
      case when f.source & 2 > 0 then 'metadata' end
    ], null), a.duplicates
  from neural_search.arranged(
    array(select p.id from found as p order by p.place), array(select p.score from found as p order by p.place),
    coalesce(diversity, 0), collapse, wanted, case when is_pooled then skipped else 0 end
  ) as a join found as f on f.id = a.id
  order by a.rank;
end
$$;
comment on function public.search_documents is
  'match_documents, with the words of paths and metadata beside the images: score is similarity plus words times the share '
  'of query_text''s words that a document has, the best first, equals by id; found_by says image, name, metadata. More '
  'varied or with copies folded as recommend_documents does it, by score.';


-- From sql/lsh.sql

-- Locality-sensitive hashing: on which side of random planes through the collection's middle a vector lies.
-- Callers: match_documents, for models whose search_strategy is lsh; prepare_lsh and fill_lsh before that.
-- Charikar, "Similarity estimation techniques from rounding algorithms", 2002: the share of planes that part two
-- vectors is their angle. Ji et al., "Super-bit locality-sensitive hashing", 2012: more so where they are perpendicular.

create or replace function neural_search.lsh_length(dimensions integer) returns integer
language sql immutable set search_path = '' as $$
  select least(512, dimensions)
$$;
comment on function neural_search.lsh_length is 'How many planes divide vectors of so many dimensions.';


-- Definer, because callers may read no table of ours; it tells only of the vector that they bring, and on which side of
-- the collection's mean that lies.
create or replace function neural_search.lsh_bits(embedding extensions.vector, model_name text) returns bit varying
language plpgsql stable strict security definer set search_path = '' as $$
declare
  -- Once out of where wide values are kept, and of a length that half precision has room for.
  flat constant extensions.halfvec := extensions.l2_normalize(embedding)::extensions.halfvec;
  sides bit varying;
begin
  select extensions.binary_quantize(array_agg(s.side order by s.number)::extensions.vector) into sides from (
    select p.number, (-(p.normal operator(extensions.<#>) flat) - p.distance)::real as side
    from neural_search.lsh_planes as p where p.model = model_name
    offset 0 -- computed before they are sorted, and not the planes themselves
  ) as s;
  return sides;
end
$$;
comment on function neural_search.lsh_bits is
  'One bit for each of the model''s planes: 1 on the side that its normal points to; null where it has none. The more '
  'bits two vectors share, the smaller is their angle.';


create or replace function neural_search.set_lsh() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.lsh = neural_search.lsh_bits(new.embedding, new.model);
  return new;
end
$$;
comment on function neural_search.set_lsh is 'Keeps documents.lsh true to the embedding.';


create or replace function neural_search.prepare_lsh(model_name text) returns integer
language plpgsql set search_path = '' as $$
declare
  most_documents constant integer := 10000;
  known constant neural_search.models := neural_search.require_model(model_name);
  bits constant integer := neural_search.lsh_length(known.dimensions);
  centre extensions.vector;
  drawn extensions.vector;
begin
  lock table neural_search.lsh_planes in share row exclusive mode;
  if exists (select from neural_search.lsh_planes as p where p.model = known.name) then
    return bits;
  end if;
  select extensions.avg(d.embedding) into centre from (
    select l.embedding from neural_search.documents as l where l.model = known.name limit most_documents
  ) as d;
  perform neural_search.check_that(
    centre is not null, format('Model %L has no documents, whose mean the planes go through.', known.name),
    'Search it exactly or by hnsw until it has some.', 'object_not_in_prerequisite_state'
  );
  for place in 1 .. bits loop
    select array_agg(sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))::real[]::extensions.vector into drawn
    from generate_series(1, known.dimensions);
    -- Less its shadows on those before it (Gram and Schmidt); rounding's remainder of them goes the second time.
    for _ in 1 .. 2 loop
      select extensions.l2_normalize(coalesce(drawn operator(extensions.-) extensions.sum(
        p.normal::extensions.vector operator(extensions.*) array_fill(
          (-(p.normal::extensions.vector operator(extensions.<#>) drawn))::real, array[known.dimensions]
        )::extensions.vector
      ), drawn)) into drawn
      from neural_search.lsh_planes as p where p.model = known.name;
    end loop;
    insert into neural_search.lsh_planes (model, number, normal, distance)
    values (known.name, place, drawn, -(drawn operator(extensions.<#>) centre));
  end loop;
  return bits;
end
$$;
comment on function neural_search.prepare_lsh is
  'Draws the planes of a model, where that wasn''t done; how many there are. To be called when it has documents; '
  'then fill_lsh, and then its index is made.';


-- From after_id on by the primary key (without sorting, the planner reads in no other way), so that no call reads again
-- the rows filled before. Rows locked by others, as by a second caller, come last.
create or replace function neural_search.fill_lsh(
  model_name text, max_rows integer default 1000, after_id bigint default 0,
  out filled integer, out last_id bigint
)
language plpgsql set search_path = '' set enable_sort = off set jit = off as $$
declare
  without bigint[];
begin
  perform neural_search.check_that(
    exists (select from neural_search.lsh_planes as p where p.model = model_name),
    format('Model %L has no planes for locality-sensitive hashing.', model_name),
    'Call neural_search.prepare_lsh first.', 'object_not_in_prerequisite_state'
  );
  without = array(
    select d.id from neural_search.documents as d where d.id > after_id and d.model = model_name and d.lsh is null
    order by d.id limit max_rows for no key update skip locked
  );
  if without = '{}' then
    without = array(
      select d.id from neural_search.documents as d where d.model = model_name and d.lsh is null
      order by d.id limit max_rows for no key update
    );
  end if;
  update neural_search.documents as d set lsh = neural_search.lsh_bits(d.embedding, d.model) where d.id = any (without);
  filled = cardinality(without);
  last_id = greatest(after_id, without[filled]);
end
$$;
comment on function neural_search.fill_lsh is
  'Gives some documents their bits that were there before the planes; how many, and the last one''s id. To be called '
  'with that as after_id until there are none.';


-- From sql/duplicates.sql

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


-- From sql/examples.sql

-- Examples: images and vectors that a caller likes or doesn't.
-- Callers: recommend_documents, as the caller.

create or replace function neural_search.check_keys(example jsonb, name text) returns void
language plpgsql immutable set search_path = '' as $$
declare
  others constant jsonb := case jsonb_typeof(example) when 'object' then example - array['id', 'embedding', 'kind', 'weight'] end;
begin
  perform neural_search.check_that(
    others = '{}',
    format('%s has a key %s, expected id or embedding, kind, weight.', name,
      to_jsonb(left((select min(key) from jsonb_object_keys(others) as key), 100))),
    'Leave it out.'
  );
end
$$;
comment on function neural_search.check_keys is 'Raises, with the remedy, for an example with a key that there isn''t.';


create or replace function neural_search.check_example(example jsonb, name text) returns void
language plpgsql immutable set search_path = '' as $$
declare
  wrong constant text[] := case
    when jsonb_typeof(example) is distinct from 'object' or (example ? 'id') = (example ? 'embedding') then array[
      format('%s is %s, expected an object with either id or embedding.',
        name, left(coalesce(example::text, 'null'), 100)),
      'Write {"id": 7} or {"embedding": [0.1, …], "weight": 2}.']
    when jsonb_typeof(example -> 'weight') <> 'number'
      or (example ->> 'weight')::numeric not between 0.001 and 1000 -- of less, single precision may keep nothing
      then array[
        format('%s.weight is %s, expected a number from 0.001 to 1000.', name, left(example ->> 'weight', 100)),
        'An example that should not count is one to leave out.']
    when example -> 'kind' not in ('"image"', '"text"') then array[
      format('%s.kind is %s, expected image or text.', name, left(example ->> 'kind', 100)),
      'Say what the embedding was made from, or leave it out.']
    when jsonb_typeof(example -> 'embedding') not in ('array', 'string')
      or example @? 'strict $.embedding ? (@.type() == "array" && exists (@[*] ? (@.type() != "number")))' then array[
      format('%s.embedding is %s, expected a list of numbers.', name, left((example -> 'embedding')::text, 100)),
      'Write {"embedding": [0.1, …]}.']
    when jsonb_typeof(example -> 'id') <> 'number'
      or (example ->> 'id')::numeric not between 1 and 9223372036854775807 or (example ->> 'id')::numeric % 1 <> 0
      then array[format('%s.id is %s, expected a document''s id.', name, left(example ->> 'id', 100)),
        'Take an id from a search''s results.']
  end;
begin
  perform neural_search.check_that(wrong is null, wrong[1], wrong[2]);
end
$$;
comment on function neural_search.check_example is 'Raises, with the remedy, for an example that makes no sense.';


-- Its own message would repeat the whole value.
create or replace function neural_search.read_vector(name text, value jsonb) returns extensions.vector
language plpgsql immutable set search_path = '' as $$
begin
  return (value #>> '{}')::extensions.vector;
exception when data_exception or program_limit_exceeded then
  raise exception '% is %, expected a list of numbers.', name, left(value #>> '{}', 100)
    using errcode = 'invalid_parameter_value', hint = 'Write {"embedding": [0.1, …]}, with as many as the model has.';
end
$$;
comment on function neural_search.read_vector is 'An embedding in JSON: a list, or text of one; raises, with the remedy.';


create or replace function neural_search.check_list(examples jsonb, name text, dimensions integer) returns void
language plpgsql immutable set search_path = '' as $$
begin
  -- As much as a hundred vectors may take.
  perform neural_search.check_that(
    pg_column_size(examples) <= 100000 + 6400 * dimensions,
    format('%s has %s bytes, expected at most %s.', name, pg_column_size(examples), 100000 + 6400 * dimensions),
    'Give fewer or shorter examples.'
  );
  if jsonb_typeof(examples) is distinct from 'array' then
    perform neural_search.check_json(name, examples, 1000);
    raise exception '% is %, expected a list of examples.', name, left(coalesce(examples::text, 'null'), 100)
      using errcode = 'invalid_parameter_value', hint = 'Write [{"id": 7}, {"embedding": [0.1, …], "weight": 2}].';
  end if;
  perform neural_search.check_that(
    jsonb_array_length(examples) <= 100,
    format('%s has %s examples, expected at most 100.', name, jsonb_array_length(examples)), 'Leave some out.'
  );
end
$$;
comment on function neural_search.check_list is
  'Raises, with the remedy, for no list of examples or too long a one, before the work of reading them.';


create or replace function neural_search.read_examples(examples jsonb, name text, model text)
returns setof neural_search.example
language plpgsql stable set search_path = '' as $$
declare
  dimensions constant integer := (select m.dimensions from neural_search.searchable_model(model) as m);
  example neural_search.example;
begin
  -- One example after another, and of each its keys before its numbers, so that the first wrong one ends the work. A look at
  -- all numbers of all at once would take a hundred times as much memory as they do; those of six bytes may be long as text.
  perform
    neural_search.check_keys(e.value, l.name),
    neural_search.check_that(
      l.given = dimensions,
      format('%s.embedding has %s dimensions, the model %L has %s.', l.name, l.given, model, dimensions),
      'Embed it with the model that is named here.'
    ),
    neural_search.check_json(
      l.name, e.value, 1000 + case when e.value -> 'embedding' is not null then 64 * dimensions else 0 end
    ),
    neural_search.check_example(e.value, l.name)
  from jsonb_array_elements(examples) with ordinality as e
  cross join lateral (
    select format('%s[%s]', read_examples.name, e.ordinality - 1) as name,
      case jsonb_typeof(e.value -> 'embedding') when 'array' then jsonb_array_length(e.value -> 'embedding') end as given
  ) as l;
  for example in
    select e.ordinality - 1, (e.value ->> 'id')::bigint, coalesce((e.value ->> 'weight')::double precision, 1),
      case when e.value ? 'id' then 'image' else e.value ->> 'kind' end,
      coalesce(
        s.embedding, neural_search.read_vector(format('%s[%s].embedding', name, e.ordinality - 1), e.value -> 'embedding')
      )
    from jsonb_array_elements(examples) with ordinality as e
    left join public.get_embeddings(array(
      select (i ->> 'id')::bigint from jsonb_array_elements(examples) as i where i ? 'id'
    ), null, null, model) as s on s.id = (e.value ->> 'id')::bigint
    order by e.ordinality
  loop
    if example.embedding is null then
      raise exception '%[%] is document %, which isn''t there or isn''t yours to see.',
        name, example.place, example.document_id
        using errcode = 'PT404', detail = example.document_id::text, hint = 'Take an id from a search''s results.';
    end if;
    perform neural_search.check_vector(
      format('%s[%s].embedding', name, example.place), example.embedding, model, dimensions
    );
    example.embedding = extensions.l2_normalize(example.embedding);
    return next example;
  end loop;
end
$$;
comment on function neural_search.read_examples is
  'The examples in a checked list, with their embeddings; SQLSTATE PT404 for a stored one that the caller may not see.';


-- From sql/diversity.sql

-- Diversity: results without copies of each other, or more varied.
-- Callers: recommend_documents and search_documents, as the caller.

-- The first of a group stays, the others go to it. Each is compared with those that stayed: no chain of small changes
-- leads from one image to quite another.
create or replace function neural_search.leaders(ids bigint[]) returns integer[]
language plpgsql stable set search_path = '' as $$
declare
  leader_of integer[] := array(select generate_subscripts(ids, 1));
  pair record;
begin
  for pair in
    with ranked as materialized (
      select array_position(ids, d.id) as place, d.content_hash, d.perceptual_hash, row(
        d.content_hash, d.perceptual_hash, d.width, d.height, d.model, d.embedding
      )::neural_search.fingerprint as fingerprint
      from neural_search.found_documents(ids) as d
    )
    select a.place as earlier, b.place as later
    from ranked as a join ranked as b on b.place > a.place
    -- To call the rule takes a while: only for pairs that come near to it.
    where (a.content_hash = b.content_hash or bit_count(a.perceptual_hash # b.perceptual_hash) <= 16)
      and neural_search.are_duplicates(a.fingerprint, b.fingerprint)
    order by 1, 2
  loop
    if leader_of[pair.earlier] = pair.earlier and leader_of[pair.later] = pair.later then
      leader_of[pair.later] = pair.earlier;
    end if;
  end loop;
  return leader_of;
end
$$;
comment on function neural_search.leaders is
  'For each of these documents, the best first, the place of the one that it is a copy of; its own where it stays.';


-- Maximal marginal relevance: Carbonell and Goldstein, The Use of MMR, Diversity-Based Reranking for Reordering
-- Documents and Producing Summaries, SIGIR 1998, with lambda = 1 - diversity. The next result is the one with the
-- greatest lambda * relevance - (1 - lambda) * (its similarity to the nearest result so far).
create or replace function neural_search.diversified(
  relevances double precision[], embeddings extensions.vector[], diversity double precision, wanted integer
) returns integer[]
language plpgsql stable set search_path = '' as $$
declare
  chosen integer[] := '{}'::integer[];
  best integer;
  newest extensions.vector;
  nearest double precision[]; -- of each: its similarity to the nearest of the chosen; null while there is none
begin
  for step in 1 .. least(wanted, cardinality(relevances)) loop
    select r.place into best
    from unnest(relevances) with ordinality as r (relevance, place)
    where r.place <> all (chosen)
    order by (1 - diversity) * r.relevance - diversity * coalesce(nearest[r.place], 0) desc, r.place limit 1;
    chosen = chosen || best;
    newest = embeddings[best];
    nearest = array(
      select greatest(nearest[e.place], 1 - (e.embedding operator(extensions.<=>) newest))
      from unnest(embeddings) with ordinality as e (embedding, place) order by e.place
    );
  end loop;
  return chosen;
end
$$;
comment on function neural_search.diversified is
  'The places of the first results by maximal marginal relevance, of these in the order of their relevance.';


-- The documents are ranked before, by the search. Their copies are folded first, and the rest varied.
create or replace function neural_search.arranged(
  ids bigint[], relevances double precision[], diversity double precision, collapse text, wanted integer, skipped integer
) returns table (
  rank bigint, id bigint, content text, bucket_id text, object_id uuid, metadata jsonb, duplicates jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  leaders constant integer[] := case when collapse is null then array(select generate_subscripts(ids, 1))
    else neural_search.leaders(ids) end; -- of each the place of the one that it is folded into
  places integer[] := array(
    select l.place from unnest(leaders) with ordinality as l (leader, place) where l.leader = l.place order by l.place
  );
  left_over double precision[];
  embeddings extensions.vector[];
begin
  if diversity > 0 then
    with stored as materialized (
      select d.id, d.embedding from neural_search.found_documents(ids) as d
    )
    select array_agg(relevances[p.place] order by p.rank), array_agg(s.embedding order by p.rank) into left_over, embeddings
    from unnest(places) with ordinality as p (place, rank) left join stored as s on s.id = ids[p.place];
    places = array(
      select places[chosen.place]
      from unnest(neural_search.diversified(left_over, embeddings, diversity, skipped + wanted))
        with ordinality as chosen (place, rank)
      order by chosen.rank
    );
  end if;
  places = places[skipped + 1:skipped + wanted];

  return query
  with told as materialized (
    select d.id, d.content, d.bucket_id, d.object_id, d.metadata
    from neural_search.found_documents(array(
      select ids[l.place] from unnest(leaders) with ordinality as l (leader, place) where l.leader = any (places)
    )) as d
  )
  select p.rank, t.id, t.content, t.bucket_id, t.object_id, t.metadata, (
    select coalesce(
      jsonb_agg(jsonb_build_object('id', c.id, 'bucket', c.bucket_id, 'name', c.content) order by l.place), '[]'
    )
    from unnest(leaders) with ordinality as l (leader, place) join told as c on c.id = ids[l.place]
    where l.leader = p.place and l.place <> p.place
  )
  from unnest(places) with ordinality as p (place, rank) join told as t on t.id = ids[p.place]
  order by p.rank;
end
$$;
comment on function neural_search.arranged is
  'Of these documents, the best first, so many after so many: their copies folded where these are to be, and varied by '
  'their relevance; as callers are told of them.';


-- From sql/recommend.sql

-- Recommendation: images like some examples and unlike others; more varied, or without copies.
-- Callers: the query function and any client, as anon, authenticated or service_role.
-- No tables: everything is found by find_similar, find_by_best_score and get_embeddings, as the caller.

create or replace function neural_search.scaled(embedding extensions.vector, factor double precision)
returns extensions.vector
language sql immutable set search_path = '' as $$
  select embedding operator(extensions.*)
    array_fill(factor::real, array[extensions.vector_dims(embedding)])::extensions.vector
$$;
comment on function neural_search.scaled is 'The embedding times a number.';


create or replace function neural_search.weighted_mean(examples neural_search.example[]) returns extensions.vector
language sql immutable set search_path = '' as $$
  select extensions.sum(neural_search.scaled(e.embedding, e.weight / total.weight))
  from unnest(examples) as e, (select sum(w.weight) as weight from unnest(examples) as w) as total
$$;
comment on function neural_search.weighted_mean is 'The examples'' mean by their weights; null of none.';


-- Qdrant's strategy average_vector, avg(likes) + (avg(likes) - avg(unlikes)), which knows no weights. Here they weigh
-- within each list, and how far away from the unlikes it goes is their mean weight over that of the likes: 1 without
-- weights, as in Qdrant. Where Qdrant wants a like, unlikes alone mean the direction away from them.
-- https://qdrant.tech/documentation/search/explore/#average-vector-strategy
create or replace function neural_search.average_vector(
  likes neural_search.example[], unlikes neural_search.example[]
) returns extensions.vector
language plpgsql immutable set search_path = '' as $$
declare
  liked constant extensions.vector := neural_search.weighted_mean(likes);
  unliked constant extensions.vector := neural_search.weighted_mean(unlikes);
  strength constant double precision := (select avg(u.weight) from unnest(unlikes) as u)
    / (select avg(l.weight) from unnest(likes) as l);
  average constant extensions.vector := case
    when unliked is null then liked
    when liked is null then neural_search.scaled(unliked, -1)
    else liked operator(extensions.+) neural_search.scaled(liked operator(extensions.-) unliked, strength)
  end;
begin
  -- Likes that cancel each other out leave nothing that a result could be judged by.
  perform neural_search.check_that(
    least(extensions.vector_norm(average), extensions.vector_norm(liked)) >= 1e-6,
    'The examples cancel each other out.', 'Leave one of them out, or weigh them differently.'
  );
  return extensions.l2_normalize(average);
end
$$;
comment on function neural_search.average_vector is 'The one vector to search with by the strategy average.';


create or replace function neural_search.stored_ids(examples neural_search.example[]) returns bigint[]
language sql immutable set search_path = '' as $$
  select array(select distinct e.document_id from unnest(examples) as e where e.document_id is not null)
$$;
comment on function neural_search.stored_ids is 'The documents among the examples: they are left out of the results.';


create or replace function neural_search.liked_kind(likes neural_search.example[], otherwise text) returns text
language sql immutable set search_path = '' as $$
  select case when count(distinct coalesce(l.kind, otherwise)) > 1 then 'mixed'
    else coalesce(min(coalesce(l.kind, otherwise)), otherwise) end
  from unnest(likes) as l
$$;
comment on function neural_search.liked_kind is
  'The likes'' source: image, text, or mixed where both; the given one where they don''t say.';


-- Subtraction turns the query to where nothing is near: its similarities order the results and don't tell their worth. So
-- confidence comes from the similarity to the likes' middle. Of unlikes alone nothing is liked; there the direction away
-- from them is all there is to judge by.
create or replace function neural_search.average_pool(
  likes neural_search.example[], unlikes neural_search.example[], depth integer, page_after jsonb,
  options neural_search.search_options
) returns setof neural_search.candidate
language plpgsql stable set search_path = '' as $$
declare
  left_out constant bigint[] := neural_search.stored_ids(likes || unlikes);
  searched constant extensions.vector := neural_search.average_vector(likes, unlikes);
  liked constant extensions.vector := case when cardinality(unlikes) > 0 then neural_search.weighted_mean(likes) end;
  kind constant text := neural_search.liked_kind(likes, options.query_kind);
  level record;
begin
  select * into level from neural_search.confidence_levels(options.model, kind, extensions.l2_normalize(liked));
  return query
  with found as materialized (
    select m.* from neural_search.find_similar(
      query_embedding => searched,
      similarity_threshold => options.similarity_threshold, match_count => depth + cardinality(left_out), skip_count => 0,
      filter => options.filter, page_after => page_after - 'score' || jsonb_build_object('similarity', page_after -> 'score'),
      model => options.model, query_kind => kind,
      -- Where it judges by the same vector, it spares much.
      min_confidence => case when liked is null then options.min_confidence end,
      best_confidence => case when liked is null then options.best_confidence end
    ) as m
    where m.id <> all (left_out)
    order by m.similarity desc, m.id limit depth
  ),
  examples as materialized (select l.place, l.embedding from unnest(likes) as l),
  -- Not read where a single like is everybody's closest and the only judge. Into memory once: each comparison would read
  -- it from the table's wide values.
  stored as materialized (
    select d.id, extensions.subvector(d.embedding, 1, extensions.vector_dims(searched)) as embedding
    from neural_search.found_documents(array(
      select f.id from found as f where liked is not null or cardinality(likes) > 1
    )) as d
  )
  select
    f.id, f.similarity,
    case
      when liked is null then f.confidence
      else neural_search.confidence_of(
        1 - (s.embedding operator(extensions.<=>) liked), level.same, level.strong, level.related
      )
    end,
    f.similarity, f.similarity,
    (
      select e.place from examples as e
      order by e.embedding operator(extensions.<=>) s.embedding, e.place limit 1
    )
  from found as f left join stored as s on s.id = f.id;
end
$$;
comment on function neural_search.average_pool is
  'So many documents nearest to average_vector that follow the page, with their confidence by the similarity to the likes.';


create or replace function neural_search.is_confident(confidence text, needed text) returns boolean
language sql immutable set search_path = '' as $$
  select needed is null or confidence is null -- the model has no levels to tell by
    or array_position(array['same', 'strong', 'related', 'unrelated'], confidence)
      <= array_position(array['same', 'strong', 'related', 'unrelated'], needed)
$$;
comment on function neural_search.is_confident is 'Whether a confidence is at least this one, or can''t be told yet.';


create or replace function neural_search.find_by_average(
  likes neural_search.example[], unlikes neural_search.example[], wanted integer, page_after jsonb,
  options neural_search.search_options
) returns neural_search.candidate[]
language plpgsql stable set search_path = '' as $$
declare
  deepest constant integer := 1000 - cardinality(neural_search.stored_ids(likes || unlikes)); -- find_similar returns no more
  first constant text := case when options.best_confidence is not null and unlikes <> '{}' then (
    select p.confidence from neural_search.average_pool(likes, unlikes, 1, null, options) as p
  ) end;
  depth integer := least(wanted, deepest);
  pool neural_search.candidate[];
  kept neural_search.candidate[] := '{}'::neural_search.candidate[];
begin
  while neural_search.is_confident(first, options.best_confidence) loop
    pool = array(select p from neural_search.average_pool(likes, unlikes, depth, page_after, options) as p);
    kept = array(
      select k from unnest(pool) as k
      where neural_search.is_confident(k.confidence, options.min_confidence) order by k.score desc, k.id limit wanted
    );
    exit when cardinality(kept) >= wanted or cardinality(pool) < depth or depth = deepest;
    depth = least(4 * depth, deepest); -- some are unlike the likes
  end loop;
  return kept;
end
$$;
comment on function neural_search.find_by_average is
  'The nearest to average_vector, the best first; fewer where, beside unlikes, few of the 1000 nearest are like the likes.';


create or replace function neural_search.check_recommendation(
  examples integer, strategy text, match_count integer, skip_count integer, diversity double precision,
  page_after jsonb, collapse text, min_confidence text, best_confidence text, pool_size integer
) returns void
language plpgsql immutable set search_path = '' as $$
begin
  perform neural_search.check_that(c.is_met, c.message, c.hint) from (values
    (examples between 1 and 100, format('likes and unlikes are %s in all, expected 1 to 100.', examples),
      'Give at least one of either.'),
    (strategy in ('average', 'best_score'),
      format('strategy is %s, expected average or best_score.', to_jsonb(left(strategy, 100))),
      'average searches the middle of the likes, best_score each.'),
    (diversity between 0 and 1, format('diversity is %s, expected 0 to 1.', diversity), 'Begin with 0.3; 0 is off.'),
    (collapse is null or collapse = 'duplicates',
      format('collapse is %s, expected duplicates or null.', to_jsonb(left(collapse, 100))),
      'Leave it out to see every copy.'),
    (match_count >= 0 and skip_count >= 0,
      format('match_count is %s and skip_count %s, expected 0 or more.', match_count, skip_count),
      'Leave them out for the first 10.'),
    (page_after is null or pool_size <> 200 and skip_count = 0,
      'page_after is given beside skip_count, diversity or collapse.',
      'Page by skip_count there, and by page_after alone elsewhere.'),
    (match_count::bigint + skip_count <= pool_size,
      format('match_count and skip_count are %s in all, expected at most %s.', match_count::bigint + skip_count, pool_size),
      'With diversity or collapse the best 200 are all there is, else 1000 less the stored examples.')
  ) as c (is_met, message, hint);
  perform neural_search.check_confidence('min_confidence', min_confidence);
  perform neural_search.check_confidence('best_confidence', best_confidence);
end
$$;
comment on function neural_search.check_recommendation is
  'Raises, with the remedy, for a recommendation that makes no sense.';


create or replace function public.recommend_documents(
  likes jsonb,
  unlikes jsonb default '[]',
  strategy text default 'average',
  match_count integer default 10,
  skip_count integer default 0,
  filter jsonb default '{}',
  diversity double precision default 0,
  collapse text default null,
  similarity_threshold double precision default 0,
  model text default null,
  query_kind text default 'image',
  min_confidence text default null,
  best_confidence text default null,
  page_after jsonb default null
) returns table (
  id bigint, content text, similarity double precision, bucket_id text, object_id uuid, metadata jsonb, confidence text,
  score double precision, closest integer, duplicates jsonb
)
language plpgsql stable set search_path = '' as $$
declare
  of_model constant text := coalesce(recommend_documents.model, (select m.name from public.active_model() as m));
  wanted constant integer := coalesce(match_count, 10);
  skipped constant integer := coalesce(skip_count, 0);
  options constant neural_search.search_options := row(
    filter, coalesce(similarity_threshold, 0), of_model, coalesce(query_kind, 'image'), min_confidence, best_confidence
  );
  -- The pool is the same for every page, so that pages follow each other.
  is_pooled constant boolean := coalesce(diversity, 0) > 0 or collapse is not null;
  liked neural_search.example[];
  unliked neural_search.example[];
  given integer;
  pool_size integer;
  depth integer;
  pool neural_search.candidate[];
begin
  perform neural_search.check_sizes(
    '{strategy,collapse,model,query_kind,min_confidence,best_confidence}', array[
      octet_length(strategy), octet_length(collapse), octet_length(recommend_documents.model), octet_length(query_kind),
      octet_length(min_confidence), octet_length(best_confidence)
    ]
  );
  perform neural_search.check_page(page_after, 'score');
  perform neural_search.check_filter(coalesce(filter, '{}'));
  perform neural_search.check_list(likes, 'likes', m.dimensions), neural_search.check_list(unlikes, 'unlikes', m.dimensions)
  from neural_search.searchable_model(of_model) as m;
  given = jsonb_array_length(likes) + jsonb_array_length(unlikes);
  perform neural_search.check_that(
    given <= 100, format('likes and unlikes are %s in all, expected 1 to 100.', given), 'Leave some out.'
  );
  liked = array(select e from neural_search.read_examples(likes, 'likes', of_model) as e);
  unliked = array(select e from neural_search.read_examples(unlikes, 'unlikes', of_model) as e);
  pool_size = case when is_pooled then 200 else 1000 - cardinality(neural_search.stored_ids(liked || unliked)) end;
  perform neural_search.check_recommendation(
    cardinality(liked || unliked), coalesce(strategy, 'average'), wanted, skipped, coalesce(diversity, 0),
    page_after, collapse, min_confidence, best_confidence, pool_size
  );
  depth = case when is_pooled then pool_size else wanted + skipped end;
  if wanted = 0 or not neural_search.policies_work() then
    return;
  end if;
  if strategy = 'best_score' then
    pool = neural_search.find_by_best_score(liked, unliked, depth, page_after, options);
  else
    pool = neural_search.find_by_average(liked, unliked, depth, page_after, options);
  end if;

  -- The best of all is in every page's pool; later pages are searched for by average alone.
  if page_after is null and not neural_search.is_confident(pool[1].confidence, best_confidence) then
    return;
  end if;

  return query
  select c.id, a.content, c.similarity, a.bucket_id, a.object_id, a.metadata, c.confidence, c.score, c.closest, a.duplicates
  from neural_search.arranged(
    array(select p.id from unnest(pool) with ordinality as p order by p.ordinality),
    array(select p.relevance from unnest(pool) with ordinality as p order by p.ordinality),
    coalesce(diversity, 0), collapse, wanted, skipped
  ) as a join unnest(pool) as c on c.id = a.id
  order by a.rank;
end
$$;
comment on function public.recommend_documents is
  'Documents like some documents or embeddings and unlike others, without those: score orders the results, '
  'similarity is that to the query or the closest like, closest the place of that like. None where the best has less '
  'than best_confidence.';


create or replace function public.similar_documents(
  name text,
  bucket text default null,
  match_count integer default 10,
  skip_count integer default 0,
  filter jsonb default '{}',
  page_after jsonb default null,
  model text default null,
  similarity_threshold double precision default 0,
  min_confidence text default null
) returns table (
  id bigint, content text, similarity double precision, bucket_id text, object_id uuid, metadata jsonb, confidence text,
  score double precision
)
language plpgsql stable set search_path = '' as $$
declare
  meant bigint[];
begin
  perform neural_search.check_sizes('{name,min_confidence}', array[
    octet_length(similar_documents.name), octet_length(min_confidence)
  ]);
  perform neural_search.check_page(page_after, 'score');
  perform neural_search.check_filter(coalesce(filter, '{}'));
  -- Exactly this bucket and path rather than such a path elsewhere: else somebody else's upload by that path ended the call.
  meant = array(
    select e.id from (
      select n.id, rank() over (order by concat(n.bucket_id, '/', n.content) = similar_documents.name desc) as place
      from public.get_embeddings(
        null, array[similar_documents.name], similar_documents.bucket, similar_documents.model
      ) as n
    ) as e
    where e.place = 1
  );
  perform neural_search.check_that(
    cardinality(meant) = 1,
    format('name is %L, which means %s images that you may see.', left(name, 200), cardinality(meant)),
    'Give the path of an indexed image, and its bucket where other buckets have the same path.',
    case cardinality(meant) when 0 then 'PT404' else 'PT409' end
  );
  return query
  select r.id, r.content, r.similarity, r.bucket_id, r.object_id, r.metadata, r.confidence, r.score
  from public.recommend_documents(
    likes => jsonb_build_array(jsonb_build_object('id', meant[1])), unlikes => '[]', strategy => 'average',
    match_count => match_count, skip_count => skip_count, filter => filter, diversity => 0, collapse => null,
    similarity_threshold => similarity_threshold, model => similar_documents.model, query_kind => 'image',
    min_confidence => min_confidence, best_confidence => null, page_after => page_after
  ) as r;
end
$$;
comment on function public.similar_documents is
  'Images like the stored one of this path, without it, the best first; SQLSTATE PT404 where the caller sees no such '
  'image, PT409 where several have the path.';


-- From sql/best_score.sql

-- The strategy best_score: images near to any of the likes, and nearer to it than to every unlike.
-- Callers: recommend_documents, as the caller.

-- As Qdrant's: a document is compared with every example; where the nearest is a like, its score is between 0 and 1,
-- x / (1 + |x|) of that similarity moved to there, else it is less than 0, by that to the nearest unlike. Weights, which
-- Qdrant doesn't know, multiply the similarities.
-- https://qdrant.tech/documentation/search/explore/#best-score-strategy
-- https://github.com/qdrant/qdrant/blob/master/lib/segment/src/vector_storage/query/reco_query.rs

-- With unlikes alone a document's score is that of the nearest of them, and at most that of their mean: one direction
-- bounds them all. Where they cancel each other out, any one of them does.
create or replace function neural_search.search_directions(
  likes neural_search.example[], unlikes neural_search.example[]
) returns neural_search.example[]
language plpgsql immutable set search_path = '' as $$
declare
  mean constant extensions.vector := neural_search.weighted_mean(unlikes);
begin
  if cardinality(likes) > 0 then
    return likes;
  elsif extensions.vector_norm(mean) < 0.001 then
    return array[row(
      0, null, unlikes[1].weight, null, neural_search.scaled(unlikes[1].embedding, -1)
    )::neural_search.example];
  end if;
  return array[row(
    0, null, extensions.vector_norm(mean) * (select avg(u.weight) from unnest(unlikes) as u), null,
    extensions.l2_normalize(neural_search.scaled(mean, -1))
  )::neural_search.example];
end
$$;
comment on function neural_search.search_directions is
  'Where to search: around each like; where there is none, away from the unlikes, with the weight that bounds theirs.';


-- The reach is the last one's similarity times the weight: nothing outside of the list has a greater one. More are found
-- than are counted, since those at the end aren't quite in their order.
create or replace function neural_search.list_around(
  search neural_search.search, direction neural_search.example, depth integer
) returns neural_search.nearest_list
language plpgsql stable set search_path = '' as $$
declare
  found neural_search.match[];
begin
  search.query = direction.embedding;
  found = neural_search.walked(search, depth);
  return row(
    coalesce(found[cardinality(found)].similarity < search.floor, false),
    direction.weight * found[least(depth, cardinality(found))].similarity,
    array(select m.id from unnest(found) as m),
    array(select direction.weight * m.similarity from unnest(found) as m)
  )::neural_search.nearest_list;
end
$$;
comment on function neural_search.list_around is
  'The nearest to one direction, from the vectors'' index; its reach is null where that brings too few.';


-- In one pass that holds no more than the results: compared documents are sorted, on the disk beyond work_mem.
-- A policy that fails only now: as in find_matches.
create or replace function neural_search.best_scored(
  search neural_search.search, ids bigint[], reach double precision, likes neural_search.example[],
  unlikes neural_search.example[], wanted integer, page_after jsonb, options neural_search.search_options
) returns neural_search.candidate[]
language plpgsql stable set search_path = '' as $$
declare
  has_likes constant boolean := cardinality(likes) > 0;
  left_out constant bigint[] := neural_search.stored_ids(likes || unlikes);
  heaviest constant double precision := (select max(e.weight) from unnest(likes || unlikes) as e);
  dimensions constant integer := extensions.vector_dims((likes || unlikes)[1].embedding);
  after_score constant double precision := (page_after ->> 'score')::double precision;
  after_id constant bigint := (page_after ->> 'id')::bigint;
  best neural_search.candidate[];
begin
  best = array(
    with examples as materialized (
      select e.place, e.weight, e.embedding, true as is_like from unnest(likes) as e
      union all
      select e.place, e.weight, e.embedding, false from unnest(unlikes) as e
    ),
    levels as materialized (
      select e.place, l.same, l.strong, l.related
      from unnest(case when has_likes then likes else unlikes end) as e
      left join lateral neural_search.confidence_levels(
        options.model, coalesce(e.kind, options.query_kind),
        case when has_likes then e.embedding else neural_search.scaled(e.embedding, -1) end
      ) as l on true
    ),
    compared as (
      select d.id, d.object_id, d.object_version, by_examples.*,
        coalesce(by_examples.liked > coalesce(by_examples.unliked, '-Infinity'), false) as is_liked
      from neural_search.visible_vectors(search, ids) as d
      -- Into memory once: each comparison would read it from the table's wide values.
      cross join lateral (select extensions.subvector(d.embedding, 1, dimensions) as embedding offset 0) as one
      cross join lateral (
        select max(e.weight * (1 - e.distance)) filter (where e.is_like) as liked,
          max(e.weight * (1 - e.distance)) filter (where not e.is_like) as unliked,
          case when has_likes then 1 else -1 end * (1 - min(e.distance) filter (where e.is_like = has_likes)) as similarity,
          (array_agg(e.place order by e.distance, e.place) filter (where e.is_like = has_likes))[1] as nearest
        from (
          select x.*, x.embedding operator(extensions.<=>) one.embedding as distance from examples as x offset 0
        ) as e
      ) as by_examples
      where d.id <> all (left_out)
    ),
    scored as (
      select c.id, c.object_id, c.object_version, c.similarity, c.nearest, r.relevance,
        case when c.is_liked then 0.5 else -0.5 end * (r.signed / (1 + abs(r.signed)) + 1) as score,
        neural_search.confidence_of(c.similarity, v.same, v.strong, v.related) as confidence
      from compared as c
      join levels as v on v.place = c.nearest
      cross join lateral (
        select case when c.is_liked then c.liked else c.unliked end / heaviest as signed,
          case when c.is_liked then c.liked / heaviest else -2 - c.unliked / heaviest end as relevance -- the latter less
      ) as r
      where c.similarity > options.similarity_threshold and (
        reach = '-Infinity'
        or case when has_likes then c.is_liked and c.liked >= reach
          else -c.unliked >= reach - 1e-6 * heaviest end -- as exact as the directions' mean
      )
    )
    select row(
      k.id, k.similarity, k.confidence, k.score, k.relevance, case when has_likes then k.nearest end
    )::neural_search.candidate
    from (
      select s.* from scored as s
      where neural_search.is_confident(s.confidence, options.min_confidence)
        and (page_after is null or s.score < after_score or s.score = after_score and s.id > after_id)
      order by s.score desc, s.id offset 0
    ) as k
    where neural_search.can_see(k.object_id, k.object_version) -- asked of no more than are wanted
    limit wanted
  );
  if current_setting('neural_search.prepared', true) = 'on'
      and current_setting('neural_search.policy_failures', true) <> '' then
    raise 'A policy failed that had not before.'; -- and can_see hid the object
  end if;
  return best;
exception when query_canceled or assert_failure or others then
  perform neural_search.check_failure(sqlstate);
  if current_setting('neural_search.prepared', true) <> 'on' then
    perform neural_search.end_search(sqlstate, sqlerrm);
  end if;
  perform set_config('neural_search.prepared', 'off', true);
  return neural_search.best_scored(search, ids, reach, likes, unlikes, wanted, page_after, options);
end
$$;
comment on function neural_search.best_scored is
  'Of these documents, or of all, those after the page that score best, as far as the reach proves that no other does, '
  'best first.';


create or replace function neural_search.listed_ids(lists neural_search.nearest_list[], lowest double precision)
returns bigint[]
language sql immutable set search_path = '' as $$
  select array(
    select s.id from unnest(lists) as l, unnest(l.ids, l.scores) as s (id, score)
    where s.score >= lowest
    group by s.id order by max(s.score) desc, s.id limit case when lowest = '-Infinity' then 1000 end
  )
$$;
comment on function neural_search.listed_ids is
  'The lists'' documents of at least this score; of any score the first 1000, so that comparing them stays cheap.';


-- One list of the nearest for each direction: a document in none of them has at most the greatest reach of all. So
-- lists are made longer where they reach beyond the last candidate that is needed, and no others (the threshold algorithm
-- of Fagin, Lotem and Naor, 2003), and only candidates beyond all reaches are compared with all examples. More than those
-- wanted are needed where unlikes are nearer, or the page begins later.
create or replace function neural_search.best_by_lists(
  search neural_search.search, directions neural_search.example[], floors double precision[],
  likes neural_search.example[], unlikes neural_search.example[], wanted integer, depth integer, page_after jsonb,
  options neural_search.search_options
) returns neural_search.candidate[]
language plpgsql stable set search_path = '' as $$
declare
  left_out constant bigint[] := neural_search.stored_ids(likes || unlikes);
  noise constant double precision := 0.0001 * (select max(d.weight) from unnest(directions) as d); -- of half precision
  needed integer := wanted + coalesce((page_after ->> 'rank')::integer, 0);
  places integer[] := array(select generate_subscripts(directions, 1)); -- of the lists to be made, or made longer
  place integer;
  enough integer;
  longest integer;
  longer integer;
  lists neural_search.nearest_list[];
  beyond double precision; -- no document outside of all lists has more
  last_needed double precision;
  reach double precision;
  best neural_search.candidate[];
begin
  loop
    foreach place in array places loop
      search.floor = floors[place];
      lists[place] = neural_search.list_around(search, directions[place], depth);
      if (lists[place]).reach is null then
        return null;
      end if;
    end loop;
    beyond = (select case when bool_and(l.is_ended) then '-Infinity' else max(l.reach) end from unnest(lists) as l);
    last_needed = coalesce((
      select max(s.score) from unnest(lists) as l, unnest(l.ids, l.scores) as s (id, score)
      where s.id <> all (left_out) group by s.id order by 1 desc limit 1 offset needed - 1
    ), '-Infinity');
    places = array(
      select l.place from unnest(lists) with ordinality as l (is_ended, reach, ids, scores, place)
      where not l.is_ended and l.reach > last_needed - noise
    );
    enough = needed + cardinality(left_out) + 2;
    longest = least(1000, neural_search.most_listed() / greatest(cardinality(places), 1));
    longer = least(4 * depth, longest);
    if depth < enough then
      longer = least(longer, enough); -- lists of so many prove all that are needed, unless they end with equals
    end if;
    if cardinality(places) > 0 and longer > depth then
      depth = longer;
      continue;
    end if;
    reach = greatest(beyond, last_needed);
    best = neural_search.best_scored(
      search, neural_search.listed_ids(lists, reach), reach, likes, unlikes, wanted, page_after, options
    );
    if cardinality(best) >= wanted or reach = '-Infinity' then
      return best;
    end if;
    if last_needed <= beyond and (places = '{}' or depth >= longest) then
      -- No more can be proven to be the best: the other listed ones follow in their order, so that the page is full.
      return neural_search.best_scored(
        search, neural_search.listed_ids(lists, '-Infinity'), '-Infinity', likes, unlikes, wanted, page_after, options
      );
    end if;
    needed = 4 * needed;
    places = '{}';
  end loop;
end
$$;
comment on function neural_search.best_by_lists is
  'The best by score from the nearest to each direction, and where not enough of these can be proven to be it, the best of '
  'the nearest; null where the vectors'' index brings too few.';


-- Each costs about 0.02 ms, its policies included, and half as many again are come across.
create or replace function neural_search.most_listed() returns integer
language sql immutable set search_path = '' as $$
  select 10000
$$;
comment on function neural_search.most_listed is
  'How many documents the lists of a search by best_score hold at most, all of them together.';


-- Where the filter leaves little more than the lists would hold, or the index brings too few of the
-- documents that the caller may see, all of these are read once, instead of once for each direction.
create or replace function neural_search.find_by_best_score(
  likes neural_search.example[], unlikes neural_search.example[], wanted integer, page_after jsonb,
  options neural_search.search_options
) returns neural_search.candidate[]
language plpgsql stable set search_path = ''
set enable_sort = off set jit = off set plan_cache_mode = force_generic_plan -- as find_similar has them
as $$
declare
  directions constant neural_search.example[] := neural_search.search_directions(likes, unlikes);
  count constant integer := cardinality(directions);
  floors constant double precision[] := array(
    select case when cardinality(likes) > 0 then greatest(options.similarity_threshold, neural_search.level_of(
      options.min_confidence, l.same, l.strong, l.related
    ) - 1e-9) end
    from unnest(directions) as d left join lateral neural_search.confidence_levels(
      options.model, coalesce(d.kind, options.query_kind), d.embedding
    ) as l on options.min_confidence is not null
    order by d.place
  );
  first constant integer := wanted + coalesce((page_after ->> 'rank')::integer, 0) + 2;
  depth constant integer := least(first, 2 * first / count + 10, 1000, neural_search.most_listed() / count);
  search neural_search.search := neural_search.read_search(
    directions[1].embedding, options.similarity_threshold, wanted, 0, options.filter, options.model, options.query_kind,
    null, null
  );
  total constant double precision := neural_search.expected_objects();
  former text[] := neural_search.set_for_search();
  best neural_search.candidate[];
begin
  if total >= depth * count / 4.0 and not neural_search.narrows_to_few(search, sqrt(total * depth * count / 4)) then
    best = neural_search.best_by_lists(search, directions, floors, likes, unlikes, wanted, depth, page_after, options);
  end if;
  if best is null then
    best = neural_search.best_scored(search, null, '-Infinity', likes, unlikes, wanted, page_after, options);
  end if;
  former = neural_search.set_for_search(former);
  perform neural_search.log_failures();
  return best;
end
$$;
comment on function neural_search.find_by_best_score is
  'The best by score that the caller may see, the best first.';


-- From sql/attach.sql

-- Attach: where the project takes hold of things not its own, the table of Storage and the schedule.
-- Callers: this migration and every later `neural-search install`, as a restore or a new branch loses both.
-- Objects beside functions: extensions pg_net and pg_cron, triggers on storage.objects and neural_search.documents, three
-- jobs of pg_cron.

create or replace function neural_search.enable(extension text, provides text, place text) returns void
language plpgsql set search_path = '' as $$
begin
  if to_regnamespace(provides) is null then
    execute format('create extension if not exists %I with schema %I', extension, place);
  end if;
exception when others then
  raise notice 'neural-search goes on without the extension %: %', extension, sqlerrm;
end
$$;
comment on function neural_search.enable is 'Creates an extension that we can do without, unless its schema is there.';


-- A project may have jobs of its own under such names: ours are told by name and command.
create or replace function neural_search.schedules() returns table (name text, times text, command text)
language sql immutable set search_path = '' as $$
  values
    ('neural-search-kick', '5 seconds', 'select neural_search.kick_due()'),
    ('neural-search-reconcile', '*/5 * * * *', 'select public.reconcile_documents()'),
    ('neural-search-tidy', '17 3 * * *', 'select neural_search.tidy()')
$$;
comment on function neural_search.schedules is 'Our jobs of pg_cron.';


create or replace function neural_search.schedule_jobs() returns void
language plpgsql set search_path = '' as $$
declare
  job record;
begin
  if not neural_search.is_platforms('cron.job') then
    raise notice 'neural-search isn''t scheduled, because pg_cron is missing: lost webhooks wait for a worker.'
      using hint = 'Enable pg_cron, then run `neural-search install` again.';
    return;
  end if;

  for job in select * from neural_search.schedules() loop
    -- One that was switched off would stay so: schedule() changes only times and command.
    perform cron.unschedule(j.jobid) from cron.job as j
    where j.jobname = job.name and j.command = job.command and j.username = current_user and not j.active;
    begin
      perform cron.schedule(job.name, job.times, job.command);
    exception when others then -- before pg_cron 1.5 there is nothing shorter than a minute
      perform cron.schedule(job.name, regexp_replace(job.times, '^.* seconds$', '* * * * *'), job.command);
    end;
  end loop;
  perform cron.unschedule(j.jobid) from cron.job as j
  where j.jobname = 'neural-search-backgrounds' and j.command = 'select neural_search.refresh_backgrounds()' -- 0.1.0's
    and j.username = current_user;
end
$$;
comment on function neural_search.schedule_jobs is
  'Schedules the kick, the reconciliation and the tidying with pg_cron.';


create or replace function neural_search.attach() returns void
language plpgsql set search_path = '' as $$
begin
  perform neural_search.enable('pg_net', 'net', 'extensions');
  perform neural_search.enable('pg_cron', 'cron', 'pg_catalog');
  perform neural_search.schedule_jobs();

  -- Only where not each event of each row fires one: it locks out writers of storage.objects for the moment that it takes.
  -- In place of a trigger of that name, which may be disabled or under a condition. It has no comment, which only the owner
  -- of the table may give it.
  if (
    select coalesce(bit_or(t.tgtype), 0) from pg_trigger as t
    where t.tgrelid = 'storage.objects'::regclass and t.tgfoid = 'neural_search.on_object_change'::regproc
      and t.tgenabled in ('O', 'A') and t.tgqual is null and cardinality(t.tgattr) = 0
      and t.tgtype & 67 = 1 -- for each row, after
  ) <> 29 then -- insert, update and delete
    create or replace trigger neural_search_objects after insert or update or delete on storage.objects
      for each row execute function neural_search.on_object_change();
  end if;
  if not exists (
    select from pg_trigger as t
    where t.tgrelid = 'neural_search.documents'::regclass and t.tgfoid = 'neural_search.on_document_change'::regproc
  ) then -- write_missing_words makes the words of the documents that are there
    create trigger neural_search_words after insert or update of content, metadata on neural_search.documents
      for each row execute function neural_search.on_document_change();
    update neural_search.text_search as t
      set missing = int8range(0, (select coalesce(max(d.id), -1) + 1 from neural_search.documents as d)) where true;
  end if;
end
$$;
comment on function neural_search.attach is
  'Makes the triggers and the schedules, where they are missing or don''t do their work.';


-- From sql/privileges.sql

-- Privileges: grants on everything of ours, which is closed first and then opened by a line.
-- Callers: the migrations; grants by the project's default privileges, Supabase's old ones too, are taken back.
-- Objects: all of ours. A new function in public goes into searches or work; one that callers execute into parts.

-- anon and authenticated come into the schema only through functions of ours that run as the caller; of its tables they
-- may read two, under their policies. An operator who has shut one of them out, by a revoke on active_model, has done so
-- for good.
revoke all on schema neural_search from public, anon, authenticated, service_role;
grant usage on schema neural_search to anon, authenticated, service_role;

revoke all on all tables in schema neural_search from public, anon, authenticated, service_role;
grant select on all tables in schema neural_search to service_role;
grant insert, update, delete on
  neural_search.blanks, neural_search.buckets, neural_search.calibrations, neural_search.jobs, neural_search.kicks,
  neural_search.lsh_planes, neural_search.models, neural_search.reconciliations, neural_search.text_search,
  neural_search.words
  to service_role;

grant insert, update, delete on neural_search.documents to service_role;
revoke all on all sequences in schema neural_search from public, anon, authenticated, service_role;
grant usage, select on sequence neural_search.documents_id_seq to service_role;
revoke all on public.documents from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.documents to service_role;

revoke execute on all functions in schema neural_search from public, anon, authenticated, service_role;
grant execute on all functions in schema neural_search to service_role;
do $$
declare
  searches text := '
    active_model, match_documents, search_documents, recommend_documents, similar_documents, get_embeddings,
    object_states, list_fingerprints, confirm_duplicates';
  -- Workers and the command line.
  work text := '
    claim_embedding_jobs, claim_object, finish_embedding_job, finish_embedding_jobs, reuse_embedding,
    fail_embedding_job, release_embedding_jobs, list_models, add_model, activate_model, remove_model, index_status,
    list_embedding_jobs, embedding_report, explain_object, index_bucket, unindex_bucket, backfill_documents,
    retry_embedding_jobs, reconcile_documents';
  -- Searches execute these as their caller. PostgREST doesn't expose their schema.
  parts constant text := '
    confidence_levels, check_confidence, level_of, confidence_of, live_objects, is_outage, check_failure, end_search,
    note_failure, log_failures, policies_work, ask, ask_documents, ask_objects, seen_documents, found_documents, is_shown,
    objects_between,
    declared_keys, declarations, declared_values, declared_condition, declared_conditions, visible_objects,
    filter_keys, is_kind, check_count, check_names, is_public, public_buckets, can_see,
    searchable_model, index_name, is_time, check_filter, check_page, filter_conditions, ids_with_metadata, set_parameters,
    storage_parameters, storage_settings, act_as_storage,
    set_for_search, search_statement, scored_statement, find_matches, seen_among, expected_rows, expected_matches,
    expected_objects, are_few, narrows_to_few, walked, exact_way, visible_vectors, nearest, find_public, find_seen, state_of,
    read_search, following,
    find_page, find_similar, text_configuration, composed, lexemes, rarest_first, nearest_with_words, last_one,
    lsh_length, lsh_bits, check_that, check_range, check_vector, check_sizes, zeros_are_short, has_common_numbers, check_json,
    are_duplicates, last_document_id, check_keys, check_example, read_vector,
    check_list, read_examples, scaled, weighted_mean, average_vector, stored_ids, average_pool, liked_kind,
    is_confident, find_by_average, search_directions, list_around, best_scored, listed_ids, best_by_lists,
    most_listed, find_by_best_score, leaders, diversified, arranged,
    check_recommendation';
  -- Only for their owner, its triggers and its schedules.
  own constant text := '
    record_change, is_move, on_object_change, tidy, use_text_search, set_lsh, enable, schedule_jobs,
    attach';
  callers constant text := (
    select string_agg(role, ', ') from unnest(array['anon', 'authenticated']) as role
    where has_function_privilege(role, 'public.active_model()', 'execute')
  );
  pinned text;
begin
  searches = regexp_replace(searches, '\w+', 'public.\&', 'g');
  work = regexp_replace(work, '\w+', 'public.\&', 'g');
  execute format('revoke execute on function %s, %s from public, anon, authenticated, service_role', searches, work);
  execute format('grant execute on function %s, %s to service_role', searches, work);
  if callers is not null then
    execute format('grant execute on function %s, %s to %s', searches,
      regexp_replace(parts, '\w+', 'neural_search.\&', 'g'), callers);
    execute format('grant select on neural_search.documents, neural_search.words to %s', callers); -- policies say which rows
  end if;
  execute format('revoke execute on function %s from service_role',
    regexp_replace(own, '\w+', 'neural_search.\&', 'g'));

  -- A session's temporary schema is searched for types before all others, unless a path names it: a caller who made a
  -- domain `text` there would have its checks run by functions of ours that run as their owner. So each path ends with it.
  for pinned in
    select format(
      'alter function %s set search_path = %s', p.oid::regprocedure,
      concat_ws(', ', nullif(substr(s.setting, length('search_path=') + 1), '""'), 'pg_temp')
    )
    from pg_catalog.pg_proc as p cross join lateral unnest(p.proconfig) as s (setting)
    where s.setting like 'search_path=%' and s.setting not like '%pg_temp' and (
      p.pronamespace = 'neural_search'::regnamespace
      or p.oid = any (regexp_split_to_array(trim(E' \n' from searches || ', ' || work), '\s*,\s*')::regproc[])
    )
  loop
    execute pinned;
  end loop;
end
$$;


select neural_search.attach();

notify pgrst, 'reload schema';
$statements$;

  insert into neural_search.migrations (name, sha256, release, applied_by) values
    ('20260101000000_documents', '66348840b1a81e1a46a09396e9cfdb98274385517bba44281ae6f7f6ddb13389', '0.1.0', by_whom),
    ('20260101000100_jobs', 'e7ec20c080864b725dae447f327d0bc0d2e9210c12f2edab215860db99c497a5', '0.1.0', by_whom),
    ('20260101000150_models', '912a99f76187f592e801e28ccb0a530eae3796b087ffa021bfc58374cd61b8e8', '0.1.0', by_whom),
    ('20260101000200_triggers', 'be8c38deffd0161a1a59c96ba92bc75858159e2dfa9f7b6f93eaf898b9a29734', '0.1.0', by_whom),
    ('20260101000250_reports', '51bf6f0844d5a09750febc3011a7d5429f20783343342f9818e6ee57f16a49ee', '0.1.0', by_whom),
    ('20260101000300_buckets', 'b003754d995bfa113c64749c145fd9333b522071f4246f5dc42ca55ac00a9b53', '0.1.0', by_whom),
    ('20260101000350_confidence', '461b06d675e380302d5037fbc91d89f32761327741035e52fe9569d5473d77da', '0.1.0', by_whom),
    ('20260101000355_visible', '949ae620a8163103959a7719c625c644d2a7bf1f3f4126f257d4a1434eae272b', '0.1.0', by_whom),
    ('20260101000400_search', '5e0286771e60b839901829f65af6ee6b50c1cef82162e826cd4a6a2c5e6a7874', '0.1.0', by_whom),
    ('20260101000420_lsh', 'eb1dcab487a2b7b46fa67c251cd71acff5b07565cd8ccfb5362f8bcb7d96cf12', '0.1.0', by_whom),
    ('20260101000440_duplicates', 'fe5e419f8363cd28f397fafb409d8a03bd1dde181b0f10a69c767b497f83a00f', '0.1.0', by_whom),
    ('20260101000450_recommend', '194f2a2546aba3fe49b816edcecb3f36e43b2f05ede477868d42e8de4c93d686', '0.1.0', by_whom),
    ('20260101000500_attach', '6f0bc365a0576e6601fa7f8dd7289ee8af53db70d770af2d50d70f961425bf20', '0.1.0', by_whom)
  on conflict (name) do nothing;
  insert into neural_search.migrations (name, sha256, release, applied_by)
  values ('20261128140541_neural_search_0_2_0', '6e53097ba14964888f96b4f8b5c82ce174e94e792243cbe0968f1cc8bb71387a', '0.2.0', by_whom)
  on conflict (name) do update
    set sha256 = excluded.sha256, applied_at = excluded.applied_at, applied_by = excluded.applied_by;
  perform set_config('search_path', session_path, true);
end
$migration$;
