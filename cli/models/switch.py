"""A model added to a project, and searched in place of another."""

from __future__ import annotations

import time
from typing import Any

from cli.client import backfill
from cli.client.project import Project
from cli.console import output
from shared.errors import ModelNotLoaded, RequestError
from shared.settings import Settings

DEFAULT_STRATEGY = "hnsw"
LOOK_EVERY = 0.5  # seconds
LONGEST_LOOK = 30.0  # seconds between two looks at many rows: counting them takes the database a while
LEFT_OUT = 0.01  # share of the images that the index needn't wait for, as uploads may never stop

Row = dict[str, Any]


def add(target: Settings, name: str, strategy: str | None = None, *, index_after: bool = False) -> Row:
    """Makes the model's index, registers it and queues every image; the output of `models add --json`.

    `index_after`: the index when the images are embedded, which takes less than row by row. RequestError for
    a model that is searched.
    """
    from cli.client.project_identity import require_one_project
    from cli.installer.connection import connect
    from cli.models import vector_index  # psycopg
    from shared import embedding

    url = target.need("database_url")
    with connect(url) as database:
        require_one_project(target, database)
    embedder = embedding.load(name, configuration=target)
    with Project(target) as project:
        chosen = strategy or _strategy(_registered(project), name, index_after=index_after)
    filled = _fill(target, name, embedder.dimensions) if index_after else 0
    with Project(target) as project, connect(url) as database:
        output.warn(f"{name} has {embedder.dimensions} dimensions. Making its index …")
        index = vector_index.ensure(database, name, embedder.dimensions, chosen)
        state = _register(project, name, embedder.dimensions, chosen)
        vector_index.drop_others(database, name, chosen)
        queued = filled + backfill.queue_all(project)
    about = {"name": name, "dimensions": embedder.dimensions, "state": state}
    return about | {"text": embedder.supports_text, "index": index, "queued": queued}


def activate(target: Settings, name: str, force: bool = False) -> Row:
    """Has searches use the model; the output of `models activate --json`. RequestError without it."""
    with Project(target) as project:
        require(_registered(project), name)
        _require_loaded(target, name)
        [done] = project.call_as("secret_key", "activate_model", name=name, force_unaccounted=force)
    return dict(done)


def use(target: Settings, name: str) -> None:
    """Has searches use the model, whether or not it is there yet, when all images have its vectors."""
    with Project(target) as project:
        if _state(project, name) == "active":
            return
        add(target, name)
        while _pending(project, name):
            time.sleep(LOOK_EVERY)
    activate(target, name)


def require(registered: list[Row], name: str) -> Row:
    """The model's row; RequestError with the models that there are."""
    for row in registered:
        if row["name"] == name:
            return row
    there = ", ".join(row["name"] for row in registered)
    raise RequestError(
        f"The project has no model {name!r}, only {there}. Add it: `neural-search models add`."
    )


def _registered(project: Project) -> list[Row]:
    rows: list[Row] = project.call_as("secret_key", "list_models")
    return rows


def _register(project: Project, name: str, dimensions: int, strategy: str) -> str:
    """Adds the model, or changes the strategy of one that is there; its state."""
    arguments = {"name": name, "dimensions": dimensions, "search_strategy": strategy}
    return str(project.call_as("secret_key", "add_model", **arguments))


def _strategy(registered: list[Row], name: str, *, index_after: bool) -> str:
    """That of a model which is registered already, else the default: also where it waits for its index."""
    found = [row["search_strategy"] for row in registered if row["name"] == name]
    return str(found[0]) if found and not (index_after and found[0] == "exact") else DEFAULT_STRATEGY


def _fill(target: Settings, name: str, dimensions: int) -> int:
    """Registers the model without an index, and waits until its images are embedded; how many it queued."""
    from cli.installer.connection import connect
    from cli.models import vector_index  # psycopg

    with Project(target) as project, connect(target.need("database_url")) as database:
        _require_unsearched(_registered(project), name)
        _register(project, name, dimensions, "exact")
        vector_index.drop_others(database, name)
        queued = backfill.queue_all(project)
    output.warn(
        f"{name} has no index until its images are embedded. `neural-search worker --model {name}` helps; "
        "Ctrl-C ends the waiting, and the same command goes on with it."
    )
    with Project(target) as project:
        _wait_until_embedded(project, name)
    return queued


def _require_unsearched(registered: list[Row], name: str) -> None:
    for row in registered:
        is_searched = row["state"] == "active" and row["documents"]
        if row["name"] == name and is_searched and row["search_strategy"] != "exact":  # has one to lose
            raise RequestError(
                f"{name!r} is active and has {output.count(row['documents'], 'document')}: without its index "
                "searches would read all of them. Leave out `--index after`."
            )


def _wait_until_embedded(project: Project, name: str) -> None:
    pause = LOOK_EVERY
    with output.progress("embedded", total=None) as show:
        while (row := require(_registered(project), name))["pending"] > LEFT_OUT * row["objects"]:
            show("embedded", row["searchable"])
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK)


def _state(project: Project, name: str) -> str | None:
    return next((row["state"] for row in _registered(project) if row["name"] == name), None)


def _pending(project: Project, name: str) -> int:
    return int(require(_registered(project), name)["pending"])


def _require_loaded(target: Settings, name: str) -> None:
    from cli.client.function_health import models_of

    url = target.need("query_url")
    loaded = models_of(url, apikey=str(target.publishable_key))
    if name not in loaded:
        raise ModelNotLoaded(
            f"The query function at {url} has only {', '.join(loaded)}, not {name!r}: searches would stop. "
            "Add it to its EMBEDDING_MODELS (the container: build it in), restart it, and try again.",
            value=name,
        )
    if loaded[name]:
        raise ModelNotLoaded(
            f"The query function at {url} can't embed with {name!r}: searches would stop. {loaded[name]}",
            value=name,
        )
