"""What `visible_by` declares of buckets, compared with the policies, and what it could."""

from __future__ import annotations

import re

import psycopg

from cli.installer.connection import Database, connect
from shared.errors import DatabaseError
from shared.settings import Settings

# The policies of Supabase's guides by which callers see their own, as PostgreSQL prints them without NOISE.
SHAPES = {"owner_id = auth.uid": "owner", "storage.foldernamename[1] = auth.uid": "folder"}
NOISE = re.compile(r"SELECT | AS \w+|[()\s]*::text|[()]")
BUCKET = re.compile(r"bucket_id = '((?:[^']|'')*)'::text")
TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|[()]| AND """)


def visibility(target: Settings) -> str:
    """What is declared and hides nothing that sampled callers may see, and what could be declared besides.
    DatabaseError where a declaration fails, or hides an image from somebody who may see it."""
    with connect(str(target.database_url)) as database:
        buckets = database.execute(
            "select bucket_id, visible_by, public_search from neural_search.indexed_buckets order by 1"
        ).fetchall()
        declared = [bucket for bucket, visible_by, _ in buckets if visible_by]
        for bucket in declared:
            _compare(database, bucket)
        hints = [
            _suggestion(database, bucket)
            for bucket, visible_by, public in buckets
            if not (visible_by or public)
        ]
    found = f"declared of {', '.join(declared)}, as the policies say" if declared else "nothing is declared"
    return ". ".join([found, *filter(None, hints)])


def _compare(database: Database, bucket: str) -> None:
    try:
        hidden = database.execute(
            "select caller, content from neural_search.hidden_by_declaration(%s)", [bucket]
        ).fetchone()
    except psycopg.Error as error:
        raise DatabaseError(
            f"What is declared of the bucket {bucket} fails ({error.diag.message_primary}). Index it anew: "
            f"`neural-search buckets index {bucket}`, with another --visible-by or without."
        ) from error
    if hidden:
        raise DatabaseError(
            f"What is declared of the bucket {bucket} hides {hidden[1]} from {hidden[0]}, who may see it. "
            f"Index it anew: `neural-search buckets index {bucket}`, with another --visible-by or without."
        )


def _suggestion(database: Database, bucket: str) -> str:
    """A declaration that follows from the text of the policies; empty where one of them has another shape, or
    is for a role of the project's own, as which no caller is compared."""
    conditions = database.execute(
        """
        select case when roles <@ array['public', 'anon', 'authenticated', 'service_role', 'postgres']::name[]
          then qual else 'another role' end
        from pg_policies where schemaname = 'storage' and tablename = 'objects'
          and permissive = 'PERMISSIVE' and cmd in ('SELECT', 'ALL')
          and not roles <@ array['service_role', 'postgres']::name[]
        """
    ).fetchall()
    keys = {key for (condition,) in conditions for key in _keys(str(condition), bucket)}
    if not keys or None in keys:
        return ""
    options = " ".join(f"--visible-by {key}" for key in sorted(filter(None, keys)))
    return f"Searches in {bucket} can be made faster: `neural-search buckets index {bucket} {options}`"


def _keys(condition: str, bucket: str) -> list[str | None]:
    """By which keys a policy's condition narrows the bucket: none where it is about
    others, [None] where it isn't known."""
    parts = _conjuncts(condition)
    if any(found[1].replace("''", "'") != bucket for part in parts if (found := BUCKET.fullmatch(part))):
        return []
    plain = [" ".join(NOISE.sub("", part).split()) for part in parts]
    return [next((SHAPES[part] for part in plain if part in SHAPES), None)]


def _conjuncts(condition: str) -> list[str]:
    """The parts that must all hold. PostgreSQL prints each in its own parentheses."""
    depth, begin, whole, parts = 0, 0, condition.startswith("("), list[str]()
    for token in TOKEN.finditer(condition):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0 and token.end() < len(condition):
            whole = False
            if token[0] == " AND ":
                parts.append(condition[begin : token.start()])
                begin = token.end()
    if whole:
        return _conjuncts(condition[1:-1])
    if not parts:
        return [condition]
    return [one for part in [*parts, condition[begin:]] for one in _conjuncts(part)]
