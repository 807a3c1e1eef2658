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
