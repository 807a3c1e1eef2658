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
