"""The SQL that people edit under supabase/sql, and the one migration that a release makes of it.

- `supabase/sql/TOPIC.sql`: everything that can be replaced at any time, as functions, views and privileges.
- `supabase/sql/incremental/VERSION/NN_TOPIC.sql`: changes made once, as tables, types, indexes and drops.
- `supabase/sql/released.json`: the migrations that are out and their hashes. Those files never change again.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path

from cli.installer.migration_file import digest, unwrap, wrap
from shared.errors import SettingsError
from shared.settings import CHECKOUT

SUPABASE = CHECKOUT / "supabase"

# Beside a namesake PostgREST couldn't tell which of the two is meant.
FREE_NAMES = """\
do $$
declare
  taken text;
begin
  select string_agg(p.oid::regprocedure::text, ', ') into taken from pg_catalog.pg_proc as p
  where p.pronamespace = 'public'::regnamespace and p.proname in (
    {names}
  ) and (
    {is_ours}
  ) is not true;
  if taken is not null then
    raise exception 'These functions have names of ours, and no release of ours made them: %.', taken
      using errcode = 'duplicate_function',
        hint = 'Rename each of your own: alter function … rename to …. Drop those of an '
          'unreleased neural-search, which are made anew: drop function …';
  end if;
end
$$;
"""

LITERALS = r"((?:'(?:[^']|'')*'\s*)+);"
COMMENT = re.compile(rf"comment on function public\.(\w+)(?:\([^)]*\))? is\s+{LITERALS}")
BODY = re.compile(r"create (?:or replace )?function public\.(\w+)[^$;]*\bas \$(\w*)\$(.*?)\$\2\$", re.DOTALL)
COMMENT_ON_VIEW = re.compile(rf"comment on view public\.documents is\s+{LITERALS}")
VIEW = re.compile(r"create or replace view public\.documents with \([^)]*\) as\s+(select\s[^;]*;)")
# Of a view's definition, for Python and Postgres, which shows the same with other spaces and qualifications.
VARIABLE = r"\sas\s|\s|d\.|neural_search(_kept)?\."

FOOTER = """\
select neural_search.attach();

notify pgrst, 'reload schema';
"""


def sources(supabase: Path = SUPABASE) -> list[Path]:
    """The files that people edit, in the order in which they are run."""
    folder = supabase / "sql"
    return [folder / f"{topic}.sql" for topic in (folder / "order.txt").read_text().split()]


def source_text(supabase: Path = SUPABASE) -> str:
    """All sources in order."""
    return "\n".join(path.read_text() for path in sources(supabase))


def incremental(version: str, supabase: Path = SUPABASE) -> list[Path]:
    """The changes made once on the way to this version, in order; they run before the sources."""
    return sorted((supabase / "sql" / "incremental" / version).glob("*.sql"))


def next_version(supabase: Path = SUPABASE) -> str:
    """The version that is being worked on: the highest folder of incremental files."""
    folders = [folder.name for folder in (supabase / "sql" / "incremental").iterdir() if folder.is_dir()]
    return max(folders, key=lambda name: tuple(map(int, name.split("."))))


def statements(version: str, supabase: Path = SUPABASE) -> str:
    """The way to this version: incremental files, then all sources."""
    guard = FREE_NAMES.format(names=_quoted(public_names(source_text(supabase))), is_ours=is_ours(supabase))
    chapters = [
        f"-- From {path.relative_to(supabase)}\n\n{path.read_text()}"
        for path in [*incremental(version, supabase), *sources(supabase)]
    ]
    return "\n\n".join([guard, *chapters, FOOTER])


def text(version: str, supabase: Path = SUPABASE) -> str:
    """The migration that leads to this version, as its file holds it."""
    return wrap(
        statements(version, supabase),
        name=migration(version, supabase).stem,
        release=version,
        earlier=[
            (Path(entry["file"]).stem, entry["sha256"], release)
            for release, entries in _releases(supabase).items()
            for entry in entries
            if "in_place" in entry
        ],
    )


def generate(supabase: Path = SUPABASE) -> Path:
    """Writes the newest migration from its sources; SettingsError where it is released already."""
    version = next_version(supabase)
    path = migration(version, supabase)
    if path.name in released(supabase):
        raise SettingsError(
            f"{path.name} is released and can't change. Begin the next version with a file in a folder like "
            "supabase/sql/incremental/0.3.0; a comment will do."
        )
    path.write_text(text(version, supabase))
    return path


def freeze(supabase: Path = SUPABASE) -> Path:
    """Generates the newest migration and lists it as released."""
    path = generate(supabase)
    releases = _releases(supabase)
    releases[next_version(supabase)] = [{"file": path.name, "sha256": digest(unwrap(path.read_text()))}]
    (supabase / "sql" / "released.json").write_text(json.dumps(releases, indent=2) + "\n")
    return path


def migration(version: str, supabase: Path = SUPABASE) -> Path:
    """The file of this version's migration, which keeps the time at which it was first generated."""
    topic = f"neural_search_{version.replace('.', '_')}"
    for path in (supabase / "migrations").glob(f"[0-9]*_{topic}.sql"):
        return path
    return supabase / "migrations" / f"{datetime.now(UTC):%Y%m%d%H%M%S}_{topic}.sql"


def released(supabase: Path = SUPABASE) -> dict[str, dict[str, str]]:
    """By its file's name each migration that is out.

    `sha256`: of its statements; `formerly`: the version that it had, where that was another one; `in_place`:
    of the first release, an expression that is null before it has been run.
    """
    return {entry["file"]: entry for entries in _releases(supabase).values() for entry in entries}


def _releases(supabase: Path) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = json.loads((supabase / "sql" / "released.json").read_text())
    return found


def public_names(statements: str) -> list[str]:
    """The names of the functions in public that these statements make."""
    return sorted(set(re.findall(r"create (?:or replace )?function public\.(\w+)", statements)))


def is_ours(supabase: Path = SUPABASE) -> str:
    """The condition by which a function in public, as p, is ours: a release's comment or body, to the letter.

    A project's own may have the name, the signature, and calls of neural_search's functions. Comments alone
    wouldn't do, as projects change them: pg_graphql's directives are comments.
    """
    known = {f"{name} {_hash(text)}" for made in _made(supabase) for name, text in _functions(made)}
    return f"""\
array[
    p.proname || ' ' || md5(obj_description(p.oid, 'pg_proc')), p.proname || ' ' || md5(p.prosrc)
  ] && array[
    {_quoted(sorted(known))}
  ]"""


def is_our_view(supabase: Path = SUPABASE) -> str:
    """The condition by which a relation, as c, is our view of documents, likewise."""
    known = {_hash(text) for made in _made(supabase) for text in _views(made)}
    return f"""\
c.oid = to_regclass('public.documents') and c.relkind = 'v' and array[
    md5(obj_description(c.oid, 'pg_class')),
    md5(lower(regexp_replace(pg_get_viewdef(c.oid), '{VARIABLE}', '', 'g')))
  ] && array[
    {_quoted(sorted(known))}
  ]"""


def _made(supabase: Path) -> list[str]:
    """The statements of all releases, and of the next one."""
    texts = [unwrap((supabase / "migrations" / name).read_text()) for name in released(supabase)]
    return [*texts, source_text(supabase)]


def _functions(made: str) -> list[tuple[str, str]]:
    """The names of functions in public with a comment, or with a body."""
    comments = [(name, _unquoted(literals)) for name, literals in COMMENT.findall(made)]
    return [*comments, *((name, body) for name, _, body in BODY.findall(made))]


def _views(made: str) -> list[str]:
    """The comments of our view of documents, and its definitions without their varying parts."""
    definitions = [re.sub(VARIABLE, "", text).lower() for text in VIEW.findall(made)]
    return [*map(_unquoted, COMMENT_ON_VIEW.findall(made)), *definitions]


def _hash(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _unquoted(literals: str) -> str:
    """The value of string constants that follow each other, each on a line of its own."""
    return "".join(one.replace("''", "'") for one in re.findall(r"'((?:[^']|'')*)'", literals))


def _quoted(names: list[str]) -> str:
    return ",\n    ".join(f"'{name}'" for name in names)
