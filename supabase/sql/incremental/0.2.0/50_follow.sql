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
