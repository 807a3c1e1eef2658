"""`neural-search evaluate`: how good the results are, on any collection."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.client.project import Project
from cli.console import output
from cli.console.output import AsJson, count
from cli.console.progress import Show, steps
from shared import settings
from shared.errors import RequestError, SettingsError
from shared.settings import Settings

if TYPE_CHECKING:
    from evaluation.baseline import Change
    from evaluation.collection import Collection
    from evaluation.run import Report
    from shared.images import Decode
    from shared.supabase.credentials import Identity

TASKS = ("label", "pairs", "copies", "text")
NEEDED = {
    "evaluation": ("cv2", "imagehash", "ir_measures", "jinja2", "matplotlib", "psycopg", "scipy", "sklearn"),
    "quantisation": ("nncf",),
}
FEWEST_FOR_INDEXES = 50  # images: of fewer an index is no matter
SOURCE = "A folder, a CSV or JSONL file, bucket:NAME[/FOLDER], emoji or samples (emoji:dev for tuning)."


def register(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE)],
    tasks: Annotated[str | None, typer.Option(help=f"Only these, with commas: {', '.join(TASKS)}.")] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Only these, with commas: models, phash, orb, random, … (default: all)."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="For a bucket: take labels from this key of the metadata."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Evaluate a sample of so many images.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="What samples and edits are drawn by.")] = 0,
    folder: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Write report.html and report.json there.")
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="FILE", help="Fail where results are worse than this report's."),
    ] = None,
    max_drop: Annotated[float, typer.Option(min=0, max=1, help="What --baseline still tolerates.")] = 0.01,
    indexes: Annotated[bool, typer.Option(help="Compare index strategies in Postgres.")] = True,
    as_json: AsJson = False,
) -> None:
    """Measure how good search results are on a collection, method by method, with 95% intervals."""
    need_the_extra()
    from evaluation import baseline
    from evaluation.report import files

    before = baseline.load(kept) if kept else None  # before the work, not after it
    if folder:
        files.prepare(folder)
    configuration = settings.load()
    with ExitStack() as stack:
        collection = _sampled(_collection(source, label, configuration, stack), limit, seed)
        decode = _decoders(configuration, stack)
        report = _evaluated(collection, _split(tasks), _split(methods), seed, configuration, decode, indexes)
        if folder:
            page = _write(report, folder, decode)
    changes = baseline.changes(report.data, before) if before else []
    drops = [change for change in changes if change.is_drop(max_drop)]
    if as_json:
        output.print_json(report.data | ({"drops": [str(drop) for drop in drops]} if before else {}))
    else:
        _print(report.data)
        if folder:
            output.say(f"\nThe report: {page}")
    if before:
        _judge(changes, drops, max_drop, as_json)


def need_the_extra(extra: str = "evaluation") -> None:
    """SettingsError, with the remedy, where packages that an extra brings aren't installed."""
    missing = [name for name in NEEDED[extra] if not find_spec(name)]
    if missing:
        raise SettingsError(
            f"This command needs packages that aren't installed ({', '.join(missing)}). Install them with "
            f"`pip install -c constraints.txt -e '.[cli,local,torch,{extra}]'` in the checkout, or `make "
            "test`."
        )


def _collection(source: str, label: str | None, configuration: Settings, stack: ExitStack) -> Collection:
    from evaluation.sources import emoji, folder, image_table, samples

    kind, _, rest = source.partition(":")
    if kind == "emoji" and not Path(source).exists():
        return emoji.public_set(configuration, rest or "test", output.warn)
    if kind == "samples" and not Path(source).exists():
        return samples.collection(rest or "test")
    if kind == "bucket" and rest:
        return _bucket(rest, label, configuration, stack)
    if label:
        raise RequestError(
            "--label is for buckets. A folder's labels are its sub-folders, a table has its own."
        )
    path = Path(source).expanduser()
    return (
        image_table.collection(path, max_bytes=configuration.max_image_bytes)
        if path.suffix.lower() in image_table.SUFFIXES
        else folder.collection(path, max_bytes=configuration.max_image_bytes)
    )


def _bucket(place: str, label: str | None, configuration: Settings, stack: ExitStack) -> Collection:
    from evaluation.sources import bucket
    from shared.supabase import credentials
    from shared.supabase.storage import Storage, http_session

    name, _, within = place.partition("/")
    who = credentials.service(configuration) if configuration.secret_key else _anon(configuration)
    with Project(configuration) as project:
        project.require_bucket(name)
    url = configuration.need("supabase_url")
    session = stack.enter_context(http_session(url))
    cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neural-search-")))
    return bucket.collection(
        Storage(url, who, session),
        name,
        folder=within,
        label_key=label,
        cache=cache,
        max_bytes=configuration.max_image_bytes,
    )


def _anon(configuration: Settings) -> Identity:
    from shared.supabase.credentials import caller

    return caller({}, configuration.need("publishable_key"))


def _decoders(configuration: Settings, stack: ExitStack) -> Decode:
    """Decoders apart from this process and its secrets. An image that harms one is among the failures."""
    from shared.images.sandbox import pool
    from shared.runtime import logs

    stack.enter_context(logs.silenced())
    return stack.enter_context(closing(pool.start(configuration))).decode


def _sampled(collection: Collection, limit: int | None, seed: int) -> Collection:
    from evaluation.sampling import sampled

    return sampled(collection, limit, seed) if limit else collection


def _evaluated(
    collection: Collection,
    kinds: list[str] | None,
    names: list[str] | None,
    seed: int,
    configuration: Settings,
    decode: Decode,
    with_indexes: bool,
) -> Report:
    from evaluation import run
    from evaluation.methods import choice

    methods = choice.load(names, seed=seed, configuration=configuration)
    with steps() as show:
        report = run.evaluate(collection, methods, kinds, seed=seed, progress=show, decode=decode)
        models = [method.name for method in methods if method.name in configuration.embedding_models]
        if with_indexes and models and len(report.items) >= FEWEST_FOR_INDEXES:
            report.data["indexes"] = _measured(report, models, configuration, show)
    return report


def _measured(report: Report, models: list[str], configuration: Settings, show: Show) -> list[dict[str, Any]]:
    from evaluation import indexes

    rows = []
    with _postgres(configuration) as url:
        for name in models:
            found = indexes.measure(
                url,
                report.features[name],
                seed=report.data["seed"],
                progress=lambda strategy, *numbers: show(f"Index: {strategy}", *numbers),
            )
            rows += [measurement.row(name) for measurement in found]
    return rows


@contextmanager
def _postgres(configuration: Settings) -> Iterator[str]:
    """The project's database, where we know it, else one that is there for this alone."""
    if configuration.database_url:
        yield str(configuration.database_url)
        return
    from local.folders import passable
    from local.postgres import SUPERUSER, Cluster

    with passable() as folder, Cluster(folder / "postgres", durable=False) as cluster:
        yield cluster.url(SUPERUSER)


def _write(report: Report, folder: Path, decode: Decode) -> Path:
    from evaluation.report import files

    command = shlex.join(["neural-search", *sys.argv[1:]])
    return files.write(report, folder, command=command, decode=decode)


def _print(report: dict[str, Any]) -> None:
    from evaluation.report import table, words

    place = report["collection"]
    output.say(f"{place['name']}: {count(place['items'], 'image')}, with 95% intervals")
    for kind in table.tasks(report):
        columns, rows = table.task_table(report, kind)
        asked = max(result["queries"] for result in report["results"] if result["task"] == kind)
        output.say(f"\n{words.task(kind).title} ({kind}, {asked:,} queries)")
        output.print_table(columns, rows)
    if report["indexes"]:
        output.say("\nWhat an index loses of the 10 nearest, and what it saves")
        output.print_table(*table.index_table(report))
    if failures := report["failures"]:
        output.warn(
            f"{count(len(failures), 'image')} left out, such as {failures[0]['key']}: "
            f"{failures[0]['message']}"
        )


def _judge(changes: list[Change], drops: list[Change], max_drop: float, quiet: bool) -> None:
    """Names the figures that fell; ends with status 1 where any did."""
    if not quiet:
        verdict = "worse" if drops else "no worse"
        output.say(
            f"\nAgainst the baseline: {verdict} ({count(len(changes), 'figure')} compared, a drop of "
            f"{max_drop:g} is tolerated)"
        )
    for drop in drops:
        output.warn(f"  {drop}")
    if drops:
        raise typer.Exit(1)


def _split(names: str | None) -> list[str] | None:
    return [name.strip() for name in names.split(",") if name.strip()] if names else None
