"""A project with one bucket for each kind of policy, and by hand who sees which objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.testing import picture
from support.running_project import Running

OWNER = "11111111-1111-4111-8111-111111111111"
MEMBER = "22222222-2222-4222-8222-222222222222"
STRANGER = "33333333-3333-4333-8333-333333333333"

CLAIMS: dict[str, dict[str, object]] = {
    "owner": {"sub": OWNER, "aal": "aal2", "app_metadata": {"tenant": "acme"}},
    "member": {"sub": MEMBER, "aal": "aal1", "app_metadata": {"tenant": "globex"}},
    "stranger": {"sub": STRANGER, "aal": "aal1"},
}
CALLERS = ("anon", *CLAIMS, "service")
EVERYBODY = " ".join(CALLERS)
USERS = " ".join([*CLAIMS, "service"])

LISTED = "what Storage lists for the caller"
DOWNLOADED = "what Storage lets the caller download"
PUBLISHED = "what Storage lets anybody download"


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Who may see which of its objects, and the policies that say so."""

    seen_by: Mapping[str, str]  # an object's name -> the callers who see it
    policies: tuple[str, ...] = ()  # the rest of `create policy … on storage.objects`
    public: bool = False
    public_search: bool = False
    told_by: tuple[str, ...] = (LISTED, DOWNLOADED)  # which answers of Storage the search must agree with
    owners: Mapping[str, str] = field(default_factory=dict)  # an object's name -> who uploads it


BUCKETS = {
    "owned": Bucket(
        seen_by={"owners.png": "owner service", "members.png": "member service", "nobodys.png": "service"},
        owners={"owners.png": "owner", "members.png": "member"},
        policies=("for select to authenticated using (bucket_id = 'owned' and owner_id = auth.uid()::text)",),
    ),
    "unlisted": Bucket(  # its names are the secret: to know one is to be able to download it
        seen_by={"listed/a.png": USERS, "4711/b.png": "service"},
        policies=(
            "for select to authenticated using (bucket_id = 'unlisted' and starts_with(name, 'listed/'))",
        ),
        public=True,
        told_by=(LISTED,),
    ),
    "published": Bucket(
        seen_by={"a.png": EVERYBODY, "b/c.png": EVERYBODY},
        public=True,
        public_search=True,
        told_by=(PUBLISHED,),
    ),
    "half": Bucket(seen_by={"a.png": "service"}, public_search=True),  # registered so, but private
    "folders": Bucket(
        seen_by={f"{OWNER}/a.png": "owner service", f"{MEMBER}/b.png": "member service", "c.png": "service"},
        policies=(
            "for select to authenticated using "
            "(bucket_id = 'folders' and (storage.foldername(name))[1] = auth.uid()::text)",
        ),
    ),
    "claims": Bucket(
        seen_by={"acme/a.png": "owner service", "globex/b.png": "member service", "c.png": "service"},
        policies=(
            "for select to authenticated using (bucket_id = 'claims' "
            "and auth.jwt() -> 'app_metadata' ->> 'tenant' = (storage.foldername(name))[1])",
        ),
    ),
    "teams": Bucket(
        seen_by={
            "reds/a.png": "owner member service",
            "blues/b.png": "member service",
            "greens/c.png": "service",
        },
        policies=(
            "for select to authenticated using (bucket_id = 'teams' and exists "
            "(select from public.members as m "
            "where m.user_id = auth.uid() and m.team = (storage.foldername(objects.name))[1]))",
        ),
    ),
    "restricted": Bucket(
        seen_by={"a.png": "owner service"},
        policies=(
            "for select to authenticated using (bucket_id = 'restricted')",
            "as restrictive for select to authenticated "
            "using (bucket_id <> 'restricted' or auth.jwt() ->> 'aal' = 'aal2')",
        ),
    ),
    "downloads": Bucket(  # may be downloaded by name, but not listed
        seen_by={"shown/a.png": EVERYBODY, "b.png": "service"},
        policies=(
            "for select to anon, authenticated using (bucket_id = 'downloads' "
            "and starts_with(name, 'shown/') and storage.operation() = 'storage.object.get_authenticated')",
        ),
        told_by=(DOWNLOADED,),
    ),
    "listings": Bucket(  # may be listed, but not downloaded
        seen_by={"a.png": "service"},
        policies=(
            "for select to anon, authenticated using "
            "(bucket_id = 'listings' and storage.operation() = 'storage.object.list')",
        ),
        told_by=(DOWNLOADED,),
    ),
    "casting": Bucket(  # for a folder that is no UUID the policy fails
        seen_by={f"{OWNER}/a.png": "owner service", "holiday/b.png": "service"},
        policies=(
            "for select to authenticated using "
            "(bucket_id = 'casting' and (storage.foldername(name))[1]::uuid = auth.uid())",
        ),
        told_by=(DOWNLOADED,),
    ),
    "raising": Bucket(
        seen_by={"good/a.png": USERS, "bad/b.png": "service"},
        policies=("for select to authenticated using (bucket_id = 'raising' and public.is_good(name))",),
        told_by=(DOWNLOADED,),
    ),
    "looking-up": Bucket(  # the policy's function finds no row, or too many
        seen_by={"reds/a.png": "owner member service", "blues/b.png": "member service", "c.png": "service"},
        policies=(
            "for select to authenticated using (bucket_id = 'looking-up' and "
            "public.team_of((storage.foldername(name))[1]) is not null)",
        ),
        told_by=(DOWNLOADED,),
    ),
}

SCHEMA = """
create table public.members (user_id uuid, team text);
alter table public.members enable row level security;
grant select on public.members to authenticated;
create policy own on public.members for select to authenticated using (user_id = auth.uid());

create function public.is_good(name text) returns boolean language plpgsql stable as $$
begin
  if starts_with(name, 'bad/') then
    raise exception using message = 'SECRET: ' || name;
  end if;
  return true;
end
$$;

create function public.team_of(folder text) returns text language plpgsql stable as $$
declare
  team text;
begin
  select m.team into strict team from public.members as m where m.team = folder;
  return team;
end
$$;
"""

MEMBERS = [(OWNER, "reds"), (MEMBER, "reds"), (MEMBER, "blues")]


# Without the buckets for which the search asks about each object by itself: its faster ways count too.
CALM = {
    name: about
    for name, about in BUCKETS.items()
    if not about.public_search and name not in ("casting", "raising", "looking-up")
}


def seen(caller: str, bucket: str) -> set[str]:
    """The names that this caller may see there, as written by hand above."""
    return {name for name, callers in BUCKETS[bucket].seen_by.items() if caller in callers.split()}


def token(project: Running, caller: str) -> str:
    """This caller's bearer token."""
    if caller in CLAIMS:
        return project.keys.mint("authenticated", CLAIMS[caller])
    return project.keys.secret if caller == "service" else project.keys.publishable


def headers(project: Running, caller: str) -> dict[str, str]:
    """As supabase-js sends them."""
    key = project.keys.secret if caller == "service" else project.keys.publishable
    return {"apikey": key, "Authorization": f"Bearer {token(project, caller)}"}


def build(project: Running, buckets: Mapping[str, Bucket] = BUCKETS) -> None:
    """Policies, buckets and images; returns once all of them are searchable."""
    project.execute(SCHEMA)
    for user, team in MEMBERS:
        project.execute("insert into public.members values (%s, %s)", user, team)
    for name, bucket in buckets.items():
        _build(project, name, bucket)
    for name, bucket in buckets.items():
        for object_name in bucket.seen_by:
            project.eventually(lambda path=object_name, at=name: project.state(path, at)[0], "searchable")


def _build(project: Running, name: str, bucket: Bucket) -> None:
    service = project.service()
    service.storage.create_bucket(name, options={"public": bucket.public})
    service.rpc("index_bucket", {"bucket_id": name, "public_search": bucket.public_search}).execute()
    for number, policy in enumerate(bucket.policies):
        project.execute(f'create policy "{name} {number}" on storage.objects {policy}')
    for object_name in bucket.seen_by:
        owner = CLAIMS.get(bucket.owners.get(object_name, ""), {})
        # Storage's own rights, in the name of a user: the owner is all that this tells policies.
        project.supabase(project.keys.mint("service_role", owner)).storage.from_(name).upload(
            object_name, picture("red"), {"content-type": "image/png", "metadata": SECRET}
        )


SECRET = {"note": "SECRET"}  # every object's user_metadata
