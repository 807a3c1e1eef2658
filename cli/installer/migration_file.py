"""One file under supabase/migrations: statements in a wrapper that runs them once.

So `neural-search install` and the Supabase CLI can both run it. The hash of a release is that of its
statements, without the wrapper.
"""

from __future__ import annotations

import hashlib

from shared.errors import SettingsError

ONE_AT_A_TIME = 0x6E65_7572  # the advisory lock's number, "neur"
BEGIN, END = "execute $statements$\n", "$statements$;\n"

# Before the record, which 0.2.0 brought: a chapter's objects say whether it has been run.
FIRST_RELEASE = """\
-- Part of neural-search {release}. Does nothing where it has been run before.
do $migration$
begin
  perform pg_advisory_xact_lock({lock});
  if to_regclass('neural_search.migrations') is not null or {in_place} is not null then
    return;
  end if;
  {begin}{statements}{end}end
$migration$;
"""

LATER_RELEASE = """\
-- neural-search {release}, made by `neural-search migrations generate`: edit supabase/sql instead.
-- Does nothing where it has been run before.
do $migration$
declare
  by_whom text := nullif(pg_catalog.current_setting('neural_search.applied_by', true), '');
  session_path constant text := pg_catalog.current_setting('search_path');
begin
  by_whom = coalesce(by_whom, 'a repository''s migration');
  perform pg_catalog.pg_advisory_xact_lock({lock});
  if to_regclass('neural_search.migrations') is not null then
    if exists (
      select from neural_search.migrations as m where m.name = '{name}' and m.sha256 = '{sha256}'
    ) then
      return;
    end if;
  end if;
  -- In `public` another role's function may suit a call better than PostgreSQL's.
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  {begin}{statements}{end}
  insert into neural_search.migrations (name, sha256, release, applied_by) values
    {earlier}
  on conflict (name) do nothing;
  insert into neural_search.migrations (name, sha256, release, applied_by)
  values ('{name}', '{sha256}', '{release}', by_whom)
  on conflict (name) do update
    set sha256 = excluded.sha256, applied_at = excluded.applied_at, applied_by = excluded.applied_by;
  perform set_config('search_path', session_path, true);
end
$migration$;
"""


def wrap_first(statements: str, *, release: str, in_place: str) -> str:
    """A chapter of the first release; `in_place` is an expression that is null before it has been run."""
    return FIRST_RELEASE.format(
        release=release,
        in_place=in_place,
        statements=statements,
        begin=BEGIN,
        end=END,
        lock=ONE_AT_A_TIME,
    )


def wrap(statements: str, *, name: str, release: str, earlier: list[tuple[str, str, str]]) -> str:
    """A later release's file; it records itself and, by (name, hash, release), those that never did."""
    rows = [f"('{stem}', '{sha256}', '{of}', by_whom)" for stem, sha256, of in earlier]
    return LATER_RELEASE.format(
        release=release,
        name=name,
        sha256=digest(statements),
        earlier=",\n    ".join(rows),
        statements=statements,
        begin=BEGIN,
        end=END,
        lock=ONE_AT_A_TIME,
    )


def unwrap(text: str) -> str:
    """The statements; SettingsError for a file that isn't one of ours."""
    if BEGIN not in text or END not in text:
        raise SettingsError(
            "A file in supabase/migrations isn't wrapped: `neural-search migrations generate`."
        )
    return text.split(BEGIN, 1)[1].rsplit(END, 1)[0]


def digest(statements: str) -> str:
    return hashlib.sha256(statements.encode()).hexdigest()
