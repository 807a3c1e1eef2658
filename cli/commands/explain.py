"""`neural-search explain`: is this image found, and if not, which condition drops it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.client.project import Project
from cli.commands.query import post, read_filter, read_image
from cli.console import output
from cli.console.output import AsJson
from shared import settings
from shared.errors import DatabaseError, RequestError, SettingsError
from shared.search import filters
from shared.search.query import CONFIDENCES, MAX_LIMIT
from shared.settings import Secret, Settings

if TYPE_CHECKING:
    from cli.checks.explanation import Condition, Search
    from cli.checks.policies import Caller
    from cli.checks.sql_callers import SqlCaller
    from cli.installer.connection import Database

WORDS = {True: "yes", False: "NO", None: ""}


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    image: Annotated[str, typer.Argument(metavar="BUCKET/NAME", help="The image that isn't found.")],
    text: Annotated[str | None, typer.Option(metavar="STR", help="The search: by this text …")] = None,
    picture: Annotated[
        Path | None, typer.Option("--image", metavar="PATH", help="… or by this picture.")
    ] = None,
    narrow: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="KEY=VALUE", help=f"Its filter: {', '.join(filters.KEYS)}."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="How many results it asks for.")] = 10,
    min_confidence: Annotated[
        str | None, typer.Option(metavar="LEVEL", help=f"Its min_confidence: {', '.join(CONFIDENCES)}.")
    ] = None,
    best_confidence: Annotated[str | None, typer.Option(metavar="LEVEL", help="Its best_confidence.")] = None,
    by_words: Annotated[
        float | None, typer.Option("--words", min=0, max=1, help="How much words count in it.")
    ] = None,
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Read the user's token from standard input.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether an image is found, and if not, which condition drops it: for operators.

    Needs SUPABASE_SECRET_KEY or DATABASE_URL; with the latter it names a policy that fails, and the way that
    the database took. Looks through the eyes of the user whose access token is in SUPABASE_USER_TOKEN or
    comes with --token-stdin, else of anon.
    """
    target = settings.load()
    bucket, _, name = image.partition("/")
    if not name or not image.isprintable():  # as where its bytes are no UTF-8
        raise RequestError(f"The image is {image!r}. Expected BUCKET/NAME, as in images/cat.jpg.")
    if text is not None and picture is not None:
        raise typer.BadParameter("--text and --image are both given. Leave one of them out")
    token = Secret(sys.stdin.readline().strip()) if token_stdin else target.user_token
    search = _search(
        target,
        text,
        picture,
        words=by_words,
        limit=limit,
        min_confidence=_level(min_confidence, "--min-confidence"),
        best_confidence=_level(best_confidence, "--best-confidence"),
        filter=read_filter(narrow or []),
    )
    conditions = list(_conditions(target, token, bucket, name, search))
    _show(image, conditions, as_json)


def _level(level: str | None, option: str) -> str | None:
    if level is not None and level not in CONFIDENCES:
        raise RequestError(f"{option} is {level!r}. Expected {' or '.join(CONFIDENCES)}.")
    return level


def _search(target: Settings, text: str | None, picture: Path | None, **options: Any) -> Search | None:
    from cli.checks.explanation import Search

    if text is None and picture is None:
        return None
    body = {"text": text} if picture is None else {"image": read_image(picture, target)}
    vector = post(target, "/vector", body, expected="vector")["vector"]
    return Search(vector=vector, kind="image" if text is None else "text", text=text, **options)


def _conditions(
    target: Settings, token: Secret, bucket: str, name: str, search: Search | None
) -> Iterator[Condition]:
    from cli.checks import explanation
    from cli.checks.explanation import Condition
    from cli.checks.sql_callers import DirectCaller, read_token, through_api
    from cli.client.project_identity import require_one_project
    from cli.installer.connection import connect

    if not (target.database_url or target.secret_key):
        raise SettingsError(
            "Neither DATABASE_URL nor SUPABASE_SECRET_KEY is set: `explain` is for operators. Set one."
        )
    caller = read_token(token)
    who = f"{caller.role} {caller.claims.get('sub', '')}".strip()
    with ExitStack() as open_:
        database = open_.enter_context(connect(str(target.database_url))) if target.database_url else None
        if database:
            require_one_project(target, database)
        viewer: SqlCaller = (
            DirectCaller(database, caller) if database else open_.enter_context(through_api(target, token))
        )
        facts = _facts(target, database, bucket=bucket, name=name, search=search)
        yield from explanation.stored(facts)
        if facts["object"] is None:
            return
        seen = explanation.visible(viewer, who, bucket, name)
        failure = None if seen.met else _failure(database, caller, facts["object"]["id"], bucket, name)
        yield Condition(name="visible", met=False, detail=failure) if failure else seen
        if search and facts["document"] and seen.met:
            yield from explanation.searched(facts, viewer, search)
        if isinstance(viewer, DirectCaller) and viewer.log:
            yield Condition(name="way", met=None, detail="; ".join(dict.fromkeys(viewer.log)))


def _facts(target: Settings, database: Database | None, *, search: Search | None, **place: str) -> Any:
    """The answer of `explain_object`."""
    query = {
        "query_embedding": search and search.vector,
        "filter": dict(search.filter) if search else {},
        "query_kind": search.kind if search else "image",
    }
    if database is None:
        with Project(target) as project:
            return project.call_as("secret_key", "explain_object", **place, **query)
    from psycopg.types.json import Jsonb

    vector = query["query_embedding"]
    ((facts,),) = database.execute(
        "select public.explain_object(%s, %s, %s::extensions.vector, %s, %s)",
        [
            *(place["bucket"], place["name"]),
            *(vector and str(vector), Jsonb(query["filter"]), query["query_kind"]),
        ],
    )
    return facts


def _failure(database: Database | None, caller: Caller, object_id: str, bucket: str, name: str) -> str | None:
    """The policy that fails on the object, with the remedy; None where none does, or it can't be told."""
    from cli.checks.policies import sees

    if database is None:
        return None
    try:
        sees(database, caller, object_id, bucket, name)
    except DatabaseError as error:
        return str(error)
    return None


def _show(image: str, conditions: list[Condition], as_json: bool) -> None:
    missed = next((one for one in conditions if one.met is False), None)
    if as_json:
        listed = [asdict(one) for one in conditions]
        output.print_json({"image": image, "dropped_by": missed and missed.name, "conditions": listed})
        return
    output.print_table(
        ("condition", "met", ""), [(one.name, WORDS[one.met], one.detail) for one in conditions]
    )
    output.say()
    output.say(f"{image} is dropped by: {missed.name}." if missed else f"Nothing drops {image}.")
