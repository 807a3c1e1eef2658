-- For trying it out, not for production: two buckets, and two users whose passwords everybody knows.

-- Private, and open to everybody who has a key of the project.
insert into storage.buckets (id, name, public) values ('images', 'images', false) on conflict (id) do nothing;
-- Private, and each signed-in user sees their own images alone.
insert into storage.buckets (id, name, public) values ('albums', 'albums', false) on conflict (id) do nothing;

do $$
begin
  if not exists (
    select from pg_policies where schemaname = 'storage' and policyname = 'Demo: everybody may use images'
  ) then
    create policy "Demo: everybody may use images" on storage.objects for all to anon, authenticated
      using (bucket_id = 'images') with check (bucket_id = 'images');
  end if;
  if not exists (
    select from pg_policies where schemaname = 'storage' and policyname = 'Demo: users have albums of their own'
  ) then
    create policy "Demo: users have albums of their own" on storage.objects for all to authenticated
      using (bucket_id = 'albums' and owner_id = (select auth.uid()::text))
      with check (bucket_id = 'albums' and owner_id = (select auth.uid()::text));
  end if;
  if not exists (
    select from pg_policies where schemaname = 'storage' and policyname = 'Demo: callers see the buckets'
  ) then
    create policy "Demo: callers see the buckets" on storage.buckets for select to anon, authenticated
      using (id = 'images' or (id = 'albums' and (select auth.uid()) is not null));
  end if;
end
$$;

select public.index_bucket('images');
select public.index_bucket('albums');

-- ada@example.com with the password `ada-demo`, grace@example.com with `grace-demo`.
insert into auth.users (
  instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token, recovery_token,
  email_change_token_new, email_change, raw_app_meta_data, raw_user_meta_data, created_at, updated_at
)
select '00000000-0000-0000-0000-000000000000', id, 'authenticated', 'authenticated', email, encrypted_password, now(),
  '', '', '', '', '{"provider": "email", "providers": ["email"]}', jsonb_build_object('name', name), now(), now()
from (values
  ('ada00000-0000-4000-8000-000000000001'::uuid, 'ada@example.com', 'Ada',
    '$2b$08$mqabVS9EDo7Y7Dk29mbrO.xPxtaRkV6p3D3vYCMzyvdEDSr9jLpne'),
  ('97ace000-0000-4000-8000-000000000002'::uuid, 'grace@example.com', 'Grace',
    '$2b$08$MfwDsbjLiqIQ4Gl4425l9.z7GCdhRe.OjNAiWtjaaZDPkYKRqmuIi')
) as users (id, email, name, encrypted_password)
where not exists (select from auth.users as u where u.email = users.email);

insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
select u.id::text, u.id, jsonb_build_object('sub', u.id::text, 'email', u.email), 'email', now(), now()
from auth.users as u where u.email in ('ada@example.com', 'grace@example.com')
on conflict (provider_id, provider) do nothing;
