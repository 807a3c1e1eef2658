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
