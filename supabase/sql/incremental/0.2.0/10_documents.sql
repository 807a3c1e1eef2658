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
