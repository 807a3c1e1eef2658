-- Versions of an object may share an id, so what is live is asked of rows and no longer of ids. The sources make the views anew.
drop view if exists neural_search.failures, neural_search.backlog, neural_search.progress;
drop function if exists neural_search.dead_objects();

-- The calls of embed_on_upload that haven't answered yet. One row each: who locks it may call.
create table if not exists neural_search.kicks (
  slot integer primary key check (slot between 1 and 100),
  request_id bigint,
  kicked_at timestamptz not null default '-infinity'
);
alter table neural_search.kicks enable row level security;
comment on table neural_search.kicks is 'A row for each call of embed_on_upload that may be in flight at a time.';
comment on column neural_search.kicks.slot is 'The first is kept for the schedule, where there are more.';
comment on column neural_search.kicks.request_id is 'The id that pg_net gave to its latest call.';
comment on column neural_search.kicks.kicked_at is 'When that was. After 15 seconds it doesn''t count as in flight any more.';
insert into neural_search.kicks (slot) select s from generate_series(1, 4) as s
where not exists (select from neural_search.kicks);
drop function if exists neural_search.kick(jsonb);
drop function if exists neural_search.try_kick(jsonb);
