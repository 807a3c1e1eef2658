-- The demo's bucket: private, and open to everybody who has a key of the project. For trying it out, not for production.

insert into storage.buckets (id, name, public) values ('images', 'images', false) on conflict (id) do nothing;

do $$
begin
  if not exists (
    select from pg_policies where schemaname = 'storage' and policyname = 'Demo: everybody may use images'
  ) then
    create policy "Demo: everybody may use images" on storage.objects for all to anon, authenticated
      using (bucket_id = 'images') with check (bucket_id = 'images');
  end if;
end
$$;

select public.index_bucket('images');
