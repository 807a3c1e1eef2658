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
