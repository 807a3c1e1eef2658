"""`neural-search models`: which models there are, and how one takes another's place without downtime."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from cli.client.project import Project
from cli.console import output
from cli.console.output import AsJson, count
from cli.models import importing, listing, switch
from shared import settings
from shared.errors import NeuralSearchError, RequestError
from shared.settings import Settings

Row = dict[str, Any]

BATCH = 5000  # rows for each call, which has to fit into the API's time-out

commands = typer.Typer(no_args_is_help=True, help="List, import, add, compare, activate and remove models.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="As in EMBEDDING_MODELS: a name, or a path.")]


class Strategy(StrEnum):
    exact = "exact"
    hnsw = "hnsw"
    lsh = "lsh"


class IndexTime(StrEnum):
    before = "before"
    after = "after"


commands.command("import")(importing.import_model)


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="models")


@commands.command("list")
def show(
    speed: Annotated[bool, typer.Option(help="Measure each converted model for a second.")] = True,
    suggested: Annotated[
        bool, typer.Option("--suggested", help="Show models to choose from as well, by purpose.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the models that this machine knows and those of the project, and how far each is."""
    target = settings.load()
    registered = {row["name"]: row for row in _registered(target)}
    rows = listing.rows(target, registered, speed)
    if as_json:
        output.print_json(rows)
        return
    listing.show(rows)
    if not target.supabase_url:
        output.say("\nNo project is named (SUPABASE_URL), so this is only what this machine knows.")
    if suggested:
        listing.show_suggestions()


@commands.command()
def add(
    name: Name,
    strategy: Annotated[
        Strategy | None,
        typer.Option(help="How to search its documents; lsh needs that there are some. [default: hnsw]"),
    ] = None,
    index: Annotated[
        IndexTime,
        typer.Option(help="Make it before the images are embedded, or wait and make it then: for millions."),
    ] = IndexTime.before,
    as_json: AsJson = False,
) -> None:
    """Have a second model embed everything in the background, while the first one is searched.

    It makes the model's index, registers it and queues every image. It can be run again at any time, and then
    makes the missing parts.
    """
    target = settings.load()
    after = index is IndexTime.after
    added = switch.add(target, name, strategy and strategy.value, index_after=after)
    if as_json:
        output.print_json(added)
        return
    state, made, queued = added["state"], added["index"], added["queued"]
    made = "it is searched without an index" if made == "none" else f"its index was {made}"
    output.say(f"{name} is {state}; {made}; {count(queued, 'image')} queued.")
    for line in _who_embeds(target, name):
        output.say(line)
    output.say(
        "\n`neural-search jobs` shows how far it is. Then:\n"
        f"  neural-search models compare {name}\n  neural-search models activate {name}"
    )


@commands.command()
def compare(
    one: Annotated[str, typer.Argument(metavar="NAME", help="A model of the project.")],
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="Another. [default: the active one]")
    ] = None,
    sample: Annotated[int, typer.Option(min=2, max=10_000, help="How many images at most.")] = 2000,
    as_json: AsJson = False,
) -> None:
    """Show how two models' results differ on the images that both have embedded.

    Each image of a sample searches the others, exactly. Where images lie in folders, those of the same folder
    count as right answers.
    """
    from cli.commands.evaluate import need_the_extra

    need_the_extra()
    from cli.models import model_comparison

    target = settings.load()
    registered = _registered(target)
    names = (other or _active(registered), one)
    for name in names:
        switch.require(registered, name)
    if names[0] == names[1]:
        raise RequestError(f"{one!r} can't be compared with itself. Name another model.")
    found = model_comparison.compare(target, names, sample)
    if as_json:
        output.print_json(found)
    else:
        model_comparison.show(found)


@commands.command()
def activate(
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Even where images aren't searchable with it yet.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Have searches use this model from now on. The former one stays up to date: activating it goes back.

    Refused while the query function can't load it, its index isn't complete, or images are neither searchable
    with it nor given up with a reason.
    """
    target = settings.load()
    done = switch.activate(target, name, force)
    if as_json:
        output.print_json(done)
        return
    _tell_activated(done)
    for line in _who_embeds(target, name):
        output.say(line)


@commands.command()
def quantise(name: Name, as_json: AsJson = False) -> None:
    """Make a model's image side in 8 bits, and keep it where it still finds the same.

    It must have a mean cosine of at least 0.99 to float32's vectors, and lose less than 1% of recall@10 on
    the public set. EMBEDDING_PRECISION=int8 then serves it.
    """
    from cli.commands.evaluate import need_the_extra

    need_the_extra("quantisation")
    from cli.models import quantise as model_quantisation

    found = model_quantisation.quantise(name, settings.load())
    if as_json:
        output.print_json(found)
    else:
        model_quantisation.show(found)
    if not found["kept"]:
        raise typer.Exit(1)


@commands.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a model's documents, jobs and index. Searches with the active one go on meanwhile.

    Interrupted, it can be run again; `models add` takes back the rest.
    """
    from cli.client.project_identity import require_one_project
    from cli.installer.connection import connect
    from cli.models import vector_index  # psycopg

    target = settings.load()
    url = target.need("database_url")
    with Project(target) as project, connect(url) as database:
        require_one_project(target, database)
        row = switch.require(project.call_as("secret_key", "list_models"), name)
        if not yes:
            question = f"Delete {count(row['documents'], 'document')} of {name} in {target.supabase_url}?"
            typer.confirm(question, abort=True)
        # One row, and it is retired: nothing comes after the deletion.
        removed = project.call_as("secret_key", "remove_model", name=name, max_rows=1)[0]["removed"]
        dropped = bool(vector_index.drop_others(database, name))  # first: without it deleting is faster
        removed += _delete(project, name, row["documents"] + row["pending"] + row["given_up"])
    if as_json:
        output.print_json({"name": name, "removed": removed, "index_dropped": dropped})
    else:
        output.say(f"{name} is removed: {count(removed, 'document')} and jobs{', its index' * dropped}.")


def _delete(project: Project, name: str, total: int) -> int:
    removed: int = 0
    with output.progress("deleted", total=total) as show_progress:
        while True:
            [step] = project.call_as("secret_key", "remove_model", name=name, max_rows=BATCH)
            removed += step["removed"]
            show_progress("deleted", removed)
            if step["finished"]:
                return removed


def _registered(target: Settings) -> list[Row]:
    """The project's models; none where no project is named."""
    if not target.supabase_url:
        return []
    with Project(target) as project:
        rows: list[Row] = project.call_as("secret_key", "list_models")
    return rows


def _active(registered: list[Row]) -> str:
    for row in registered:
        if row["state"] == "active":
            return str(row["name"])
    raise RequestError("No model is active. Name two models.")


def _who_embeds(target: Settings, name: str) -> list[str]:
    """A warning where embed_on_upload doesn't have the model; nothing where it does."""
    from cli.client.function_health import models_of

    remedy = f"Add it to EMBEDDING_MODELS there, or run `neural-search worker --model {name}`."
    if not target.webhook_secrets:
        return [f"Whether embed_on_upload has it is unknown: EMBED_WEBHOOK_SECRET isn't set. {remedy}"]
    try:
        loaded = models_of(target.need("embed_url"), **{"x-webhook-secret": str(target.webhook_secrets[0])})
    except NeuralSearchError as error:
        return [f"Whether embed_on_upload has it is unknown: {error}"]
    if name not in loaded:
        return [f"embed_on_upload has only {', '.join(loaded)}. {remedy}"]
    return [f"embed_on_upload can't embed with it: {loaded[name]}"] if loaded[name] else []


def _tell_activated(done: Row) -> None:
    former = done["standby"]
    output.say(
        f"{done['active']} is searched now, with {count(done['searchable'], 'image')}. "
        "Query functions follow within 10 seconds."
    )
    missing = [
        ("given_up", "given up with a reason"),
        ("unaccounted", "still to come"),
        ("arriving", "just uploaded"),
    ]
    parts = [f"{done[field]:,} {words}" for field, words in missing if done[field]]
    if parts:
        output.say(f"Not searchable: {', '.join(parts)}. `neural-search jobs` says why.")
    if former:
        output.say(f"{former} stays up to date: `neural-search models activate {former}` goes back.")
