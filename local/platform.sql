-- The Supabase platform before any migration of ours, as far as this project can notice it.
-- Applied once per database by the bootstrap superuser `supabase_admin`. Roles are cluster-wide: made where missing.
-- Stand-ins: `vault` doesn't encrypt, and the workers of `net` and `cron` run outside the server (local/gateway).

-- Roles ---------------------------------------------------------------------------------------------------------

do $$
declare
  role record;
begin
  for role in
    select * from (values
      ('anon', 'nologin noinherit'),
      ('authenticated', 'nologin noinherit'),
      ('service_role', 'nologin noinherit bypassrls'),
      ('authenticator', 'login noinherit'),
      ('supabase_auth_admin', 'login noinherit createrole'),
      ('supabase_storage_admin', 'login noinherit createrole'),
      ('postgres', 'login createdb createrole replication bypassrls')
    ) as roles (name, options)
  loop
    if to_regrole(role.name) is null then
      execute format('create role %I with nosuperuser %s', role.name, role.options);
    end if;
  end loop;
end
$$;

grant anon, authenticated, service_role to authenticator, supabase_storage_admin;
grant anon, authenticated, service_role, authenticator to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;

-- PostgREST applies these when it takes on the role; a service_role request runs under authenticator's.
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role postgres set search_path = "$user", public, extensions;

do $$
begin
  execute format('alter database %I owner to postgres', current_database());
end
$$;

-- Projects made since 30 May 2026, and all projects since 30 October 2026, grant nothing on what is new in public.
-- On older ones three default privileges of role postgres in schema public gave anon, authenticated and
-- service_role everything: `grant all on tables`, `on functions` and `on sequences`. The tests try both.
grant usage on schema public to anon, authenticated, service_role;
grant all on schema public to postgres;

create schema extensions;
grant all on schema extensions to postgres;
grant usage on schema extensions to anon, authenticated, service_role;

-- Hosted projects let `postgres` enable the extensions of a list; here only a superuser can, so it is enabled already.
create extension vector with schema extensions;

-- auth: who is asking, from the claims that PostgREST and Storage set ---------------------------------------------

create schema auth authorization supabase_auth_admin;
grant usage on schema auth to postgres, anon, authenticated, service_role, supabase_storage_admin;

set local role supabase_auth_admin;

create function auth.jwt() returns jsonb language sql stable as $$
  select nullif(current_setting('request.jwt.claims', true), '')::jsonb
$$;

create function auth.uid() returns uuid language sql stable as $$
  select (auth.jwt() ->> 'sub')::uuid
$$;

create function auth.role() returns text language sql stable as $$
  select auth.jwt() ->> 'role'
$$;

create function auth.email() returns text language sql stable as $$
  select auth.jwt() ->> 'email'
$$;

reset role;

-- storage: the tables of storage-api, owned by its own role -------------------------------------------------------

create schema storage authorization supabase_storage_admin;
grant usage on schema storage to postgres with grant option;
grant usage on schema storage to anon, authenticated, service_role;

set local role supabase_storage_admin;

create type storage.buckettype as enum ('STANDARD', 'ANALYTICS', 'VECTOR');

create table storage.buckets (
  id text primary key,
  name text not null,
  owner uuid,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  public boolean default false,
  avif_autodetection boolean default false,
  file_size_limit bigint,
  allowed_mime_types text[],
  owner_id text,
  type storage.buckettype not null default 'STANDARD',
  versioning_status text not null default 'DISABLED' check (versioning_status = 'DISABLED')
);
create unique index bname on storage.buckets (name);

create table storage.objects (
  id uuid primary key default gen_random_uuid(),
  bucket_id text constraint "objects_bucketId_fkey" references storage.buckets (id),
  name text,
  owner uuid,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  last_accessed_at timestamptz default now(),
  metadata jsonb,
  path_tokens text[] generated always as (string_to_array(name, '/')) stored,
  version text,
  owner_id text,
  user_metadata jsonb,
  archived_at timestamptz,
  is_delete_marker boolean not null default false,
  is_versioned boolean not null default false
);
create unique index bucketid_objname on storage.objects (bucket_id, name);
create index name_prefix_search on storage.objects (name text_pattern_ops);

alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;

create function storage.update_updated_at_column() returns trigger language plpgsql as $$
begin
  new.updated_at = now();
  return new;
end
$$;

create trigger update_objects_updated_at before update on storage.objects
  for each row execute function storage.update_updated_at_column();

create function storage.protect_delete() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('storage.allow_delete_query', true), '') <> 'true' then
    raise exception 'Direct deletion from storage tables is not allowed. Use the Storage API instead.'
      using errcode = '42501', hint = 'A direct deletion leaves the stored bytes behind.';
  end if;
  return null;
end
$$;

create trigger protect_objects_delete before delete on storage.objects
  for each statement execute function storage.protect_delete();
create trigger protect_buckets_delete before delete on storage.buckets
  for each statement execute function storage.protect_delete();

-- 'a/b/c.png' -> {a,b}
create function storage.foldername(name text) returns text[] language sql immutable as $$
  select tokens[1 : cardinality(tokens) - 1] from string_to_array(name, '/') as tokens
$$;

-- 'a/b/c.png' -> 'c.png'
create function storage.filename(name text) returns text language sql immutable as $$
  select split_part(name, '/', -1)
$$;

-- 'a/b/c.png' -> 'png'
create function storage.extension(name text) returns text language sql immutable as $$
  select split_part(split_part(name, '/', -1), '.', -1)
$$;

-- The operation of storage-api, such as 'storage.object.upload'; null outside of it.
create function storage.operation() returns text language sql stable as $$
  select current_setting('storage.operation', true)
$$;

grant all on storage.buckets, storage.objects to postgres with grant option;
grant all on storage.buckets, storage.objects to anon, authenticated, service_role;

reset role;

-- On hosted projects the extension supautils lets `postgres` create and drop policies, and drop triggers, on tables of
-- storage that it doesn't own, and nothing else: ALTER TABLE and CREATE INDEX fail. Here the two event triggers make
-- `postgres` a member of the owner for the length of such a command; where it fails, its rollback takes that back.
create schema supautils;
grant usage on schema supautils to public;

create function supautils.lend(granted boolean) returns void language plpgsql security definer set search_path = '' as $$
begin
  if granted then
    grant supabase_storage_admin to postgres;
  else
    revoke supabase_storage_admin from postgres;
  end if;
end
$$;
revoke execute on function supautils.lend from public;
grant execute on function supautils.lend to postgres;

create function supautils.watch() returns event_trigger language plpgsql as $$
begin
  if current_user = 'postgres' then
    perform supautils.lend(tg_event = 'ddl_command_start');
  end if;
end
$$;

create event trigger supautils_before on ddl_command_start
  when tag in ('CREATE POLICY', 'ALTER POLICY', 'DROP POLICY', 'DROP TRIGGER') execute function supautils.watch();
create event trigger supautils_after on ddl_command_end
  when tag in ('CREATE POLICY', 'ALTER POLICY', 'DROP POLICY', 'DROP TRIGGER') execute function supautils.watch();

-- vault: secrets by name ------------------------------------------------------------------------------------------

create schema vault;
grant usage on schema vault to postgres with grant option;
grant usage on schema vault to service_role;

create table vault.secrets (
  id uuid primary key default gen_random_uuid(),
  name text,
  description text not null default '',
  secret text not null,
  key_id uuid,
  nonce bytea,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index secrets_name_idx on vault.secrets (name) where name is not null;

create view vault.decrypted_secrets as
  select id, name, description, secret, secret as decrypted_secret, key_id, nonce, created_at, updated_at
  from vault.secrets;

create function vault.create_secret(
  new_secret text, new_name text default null, new_description text default '', new_key_id uuid default null
) returns uuid language sql security definer set search_path = '' as $$
  insert into vault.secrets (secret, name, description) values (new_secret, new_name, new_description) returning id
$$;

create function vault.update_secret(
  secret_id uuid, new_secret text default null, new_name text default null, new_description text default null,
  new_key_id uuid default null
) returns void language sql security definer set search_path = '' as $$
  update vault.secrets set
    secret = coalesce(new_secret, secret),
    name = coalesce(new_name, name),
    description = coalesce(new_description, description),
    updated_at = now()
  where id = secret_id
$$;

revoke execute on function vault.create_secret, vault.update_secret from public;
grant select, delete on vault.secrets, vault.decrypted_secrets to postgres with grant option;
grant select, delete on vault.secrets, vault.decrypted_secrets to service_role;
grant execute on function vault.create_secret, vault.update_secret to postgres with grant option;
grant execute on function vault.create_secret, vault.update_secret to service_role;

-- net: the queue of pg_net, which a worker empties ------------------------------------------------------------------

create schema net;
create domain net.http_method as text check (value in ('GET', 'POST', 'DELETE'));

create unlogged table net.http_request_queue (
  id bigserial,
  method net.http_method not null,
  url text not null,
  headers jsonb,
  body bytea,
  timeout_milliseconds integer not null
);

create unlogged table net._http_response (
  id bigint,
  status_code integer,
  content_type text,
  headers jsonb,
  content text,
  timed_out boolean,
  error_msg text,
  created timestamptz not null default now()
);
create index on net._http_response (created);

-- The worker listens; a notification arrives at commit and never where the transaction is rolled back.
create function net.wake() returns void language sql as $$
  select pg_notify('net', '')
$$;

create function net._encode(value text) returns text language sql immutable strict as $$
  select string_agg(
    case when byte between 48 and 57 or byte between 65 and 90 or byte between 97 and 122 or byte in (45, 46, 95, 126)
      then chr(byte) else '%' || upper(lpad(to_hex(byte), 2, '0')) end, '' order by place)
  from (
    select get_byte(bytes, place) as byte, place
    from convert_to(value, 'UTF8') as bytes, generate_series(0, length(bytes) - 1) as place
  ) as bytes
$$;

create function net._with_params(url text, params jsonb) returns text language sql immutable as $$
  select url || coalesce(
    case when url like '%?%' then '&' else '?' end
      || string_agg(net._encode(key) || '=' || coalesce(net._encode(value), ''), '&'), '')
  from jsonb_each_text(coalesce(params, '{}'))
$$;

create function net.http_get(
  url text, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000
) returns bigint language plpgsql as $$
declare
  request_id bigint;
begin
  insert into net.http_request_queue (method, url, headers, timeout_milliseconds)
  values ('GET', net._with_params(url, params), jsonb_strip_nulls(headers), timeout_milliseconds)
  returning id into request_id;
  perform net.wake();
  return request_id;
end
$$;

create function net.http_delete(
  url text, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000,
  body jsonb default null
) returns bigint language plpgsql as $$
declare
  request_id bigint;
begin
  insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
  values ('DELETE', net._with_params(url, params), jsonb_strip_nulls(headers), convert_to(body::text, 'UTF8'),
    timeout_milliseconds)
  returning id into request_id;
  perform net.wake();
  return request_id;
end
$$;

create function net.http_post(
  url text, body jsonb default '{}', params jsonb default '{}',
  headers jsonb default '{"Content-Type": "application/json"}', timeout_milliseconds integer default 5000
) returns bigint language plpgsql as $$
declare
  request_id bigint;
  content_type text;
begin
  select header.value into content_type
  from jsonb_each_text(coalesce(headers, '{}')) as header where lower(header.key) = 'content-type' limit 1;
  if content_type is null then
    headers = coalesce(headers, '{}') || '{"Content-Type": "application/json"}';
  elsif content_type <> 'application/json' then
    raise exception 'Content-Type header must be "application/json"';
  end if;

  insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
  values ('POST', net._with_params(url, params), jsonb_strip_nulls(headers), convert_to(body::text, 'UTF8'),
    timeout_milliseconds)
  returning id into request_id;
  perform net.wake();
  return request_id;
end
$$;

grant usage on schema net to public;
grant all on all tables in schema net to public;
grant all on all sequences in schema net to public;

-- cron: the jobs of pg_cron, which a worker runs as their schedulers -------------------------------------------------

create schema cron;

create table cron.job (
  jobid bigserial primary key,
  schedule text not null,
  command text not null,
  nodename text not null default 'localhost',
  nodeport integer not null default 5432,
  database text not null default current_database(),
  username text not null default current_user,
  active boolean not null default true,
  jobname text,
  constraint jobname_username_uniq unique (jobname, username)
);

create table cron.job_run_details (
  jobid bigint,
  runid bigserial primary key,
  job_pid integer,
  database text,
  username text,
  command text,
  status text,
  return_message text,
  start_time timestamptz,
  end_time timestamptz
);

alter table cron.job enable row level security;
alter table cron.job_run_details enable row level security;
create policy cron_job_policy on cron.job using (username = current_user);
create policy cron_job_run_details_policy on cron.job_run_details using (username = current_user);

-- Nobody writes into cron.job but by these two: a job runs as its username, maybe the superuser. A definer can't tell its
-- caller, who is named to it, and is one that the session may become.
create function cron.write_job(who name, job_name text, schedule text, command text) returns bigint
language sql security definer set search_path = '' as $$
  insert into cron.job (jobname, schedule, command, username)
  select job_name, write_job.schedule, write_job.command, who where pg_catalog.pg_has_role(session_user, who, 'member')
  on conflict on constraint jobname_username_uniq
    do update set schedule = excluded.schedule, command = excluded.command, database = excluded.database
  returning jobid
$$;

create function cron.remove_jobs(who name, job_id bigint, job_name text) returns boolean
language sql security definer set search_path = '' as $$
  with removed as (
    delete from cron.job
    where (jobid = job_id or jobname = job_name) and username = who
      and pg_catalog.pg_has_role(session_user, who, 'member')
    returning jobid
  )
  select exists (select from removed)
$$;

create function cron.schedule(job_name text, schedule text, command text) returns bigint language plpgsql as $$
begin
  if schedule !~ '^\s*([1-9]|[1-5][0-9])\s+seconds?\s*$' and schedule !~ '^\s*([0-9*,/$-]+\s+){4}[0-9*,/-]+\s*$' then
    raise exception 'invalid schedule: %', schedule
      using hint = 'Use cron format (e.g. 5 4 * * *), or interval format ''[1-59] seconds''';
  end if;
  return cron.write_job(current_user, job_name, schedule, command);
end
$$;

create function cron.schedule(schedule text, command text) returns bigint language sql as $$
  select cron.schedule(null, schedule, command)
$$;

create function cron.unschedule(job_name text) returns boolean language plpgsql as $$
begin
  if not cron.remove_jobs(current_user, null, job_name) then
    raise exception 'could not find valid entry for job ''%''', job_name;
  end if;
  return true;
end
$$;

create function cron.unschedule(job_id bigint) returns boolean language plpgsql as $$
begin
  if not cron.remove_jobs(current_user, job_id, null) then
    raise exception 'could not find valid entry for job ''%''', job_id;
  end if;
  return true;
end
$$;

grant usage on schema cron to postgres with grant option;
grant all on all tables in schema cron to postgres;
revoke all on cron.job from postgres;
grant select on cron.job to postgres with grant option;
grant all on all sequences in schema cron to postgres;
