"""`neural-search demo`: everything at once on this machine, as `make demo` runs it."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client.local_files import LocalFile, find_files
from cli.client.project import Project
from cli.client.transfer import Report
from cli.commands import albums, upload
from cli.commands.query import read_image, search
from cli.console import output
from cli.console.output import count
from cli.models import switch
from shared import settings
from shared.errors import NeuralSearchError, RequestError, StackError
from shared.settings import CHECKOUT, Settings

SAMPLES = CHECKOUT / "examples" / "images"
BUCKET = "images"  # made by supabase/seed.sql
RESULTS = 6
SAMPLE_IMAGE = "energy/windmill_1.jpg"
SAMPLE_TEXTS = ("a castle", "renewable energy")


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    images: Annotated[Path, typer.Option(help="A folder of your own images.", show_default=False)] = SAMPLES,
    model: Annotated[
        str | None, typer.Option(help="Search with this model: a name or a folder.", show_default=False)
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when the results are shown.")] = False,
) -> None:
    """Start the embedded stack, upload images, wait until they are searchable and search them."""
    files = _files(images)
    from cli.stacks.running_stack import as_client, launched  # psycopg and more: 0.5 s
    from local.stack import Stack

    target = _with_model(settings.load(), model)
    name = target.embedding_models[0]
    if running := Stack.running(target):
        output.say(f"The embedded stack runs already at {running.url}; `neural-search down` stops it.")
        switch.use(as_client(target), name)
        _show(as_client(target), images, files)
        return
    with launched(target) as stack:
        switch.use(stack.settings, name)
        _show(stack.settings, images, files)
        if not once:
            output.say("Ctrl-C stops it.")
            stack.run_until_interrupted()


def _with_model(target: Settings, model: str | None) -> Settings:
    """The settings with this model first; those of before stay, since they may be searched until then."""
    if model is None:
        return target
    name = str(Path(model).resolve()) if Path(model).is_dir() else model
    others = [other for other in target.embedding_models if other != name]
    return replace(target, embedding_models=(name, *others))


def _show(target: Settings, images: Path, files: list[LocalFile]) -> None:
    samples = images.resolve() == SAMPLES
    everybodys = [file for file in files if not (samples and file.name.startswith(albums.FOLDERS))]
    with Project(target) as project:
        known = _index(project, everybodys, strict=samples)
    if samples:
        albums.fill(target, files)
        _search_samples(target)
    else:
        _search_by_image(target, known[0].path, known[0].name)
    _say_how_to_go_on(target, samples=samples)


def _files(images: Path) -> list[LocalFile]:
    if not images.is_dir():
        raise RequestError(
            f"There is no folder {str(images)!r}. Give a folder with --images (make: IMAGES=…)."
        )
    files, _ = find_files([images])
    if not files:
        raise RequestError(f"There are no images in {str(images)!r}. Give another folder.")
    return files


def _index(project: Project, files: list[LocalFile], *, strict: bool) -> list[LocalFile]:
    """Uploads the missing files and waits; those that are searchable.

    What else has an image's name stays, and is reported. Broken images are reported, and an error where
    `strict`, or where nothing else is there.
    """
    output.say(f"Uploading {count(len(files), 'image')} to the bucket {BUCKET!r} with supabase-py …")
    report, started = Report(), time.monotonic()
    upload.run(project, BUCKET, files, report, upsert=False, wait=True)
    upload.print_report(report, _upload_seconds(report, started), waited=False)
    output.say(_indexed(report, time.monotonic() - started))
    failed = report.failed()
    if not report.searchable and not failed:
        raise StackError(
            f"Other files have the names of all images in the bucket {BUCKET!r}, and stay. Try the demo on "
            "another data folder (LOCAL_DATA)."
        )
    if not report.searchable or (strict and failed):
        raise StackError(
            f"{count(failed, 'image')} didn't become searchable. `neural-search jobs` has the causes."
        )
    return [file for file in files if file.name in report.searchable]


def _upload_seconds(report: Report, started: float) -> float:
    return max(report.uploaded.values(), default=time.monotonic()) - started


def _indexed(report: Report, elapsed: float) -> str:
    line = f"Searchable: {count(len(report.searchable), 'image')}, {output.seconds(elapsed)} after the start"
    if latencies := report.latencies():
        line += f" (from uploaded to searchable: p50 {output.seconds(statistics.median(latencies))})"
    return line


def _search_samples(target: Settings) -> None:
    _search_by_image(target, SAMPLES / SAMPLE_IMAGE, SAMPLE_IMAGE)
    for text in SAMPLE_TEXTS if _understands_text(target) else ():
        answer, took = _timed(target, {"text": text, "limit": RESULTS})
        _print_results(f"text {text!r}", answer["results"], took)


def _understands_text(target: Settings) -> bool:
    from shared.embedding import catalogue  # tokenizers

    record = catalogue.look_up(target.embedding_models[0], target.embedding_cache).record
    return record is None or record.text is not None


def _search_by_image(target: Settings, path: Path, name: str) -> None:
    """The picture itself is in the index; it is left out of its own results."""
    answer, took = _timed(target, {"image": read_image(path, target), "limit": RESULTS + 1})
    others = [row for row in answer["results"] if (row["bucket"], row["name"]) != (BUCKET, name)]
    _print_results(f"image {name}", others[:RESULTS], took)


def _timed(target: Settings, body: dict[str, Any]) -> tuple[dict[str, Any], float]:
    started = time.monotonic()
    return search(target, body), time.monotonic() - started


def _print_results(title: str, results: list[dict[str, Any]], took: float) -> None:
    output.say(f"\nQuery by {title} ({took * 1000:.0f} ms)")
    if not results:
        raise NeuralSearchError(
            f"The query by {title} found nothing. `neural-search doctor` finds the cause."
        )
    for result in results:
        output.say(f"  {result['similarity']:.3f}  {result['name']}{_found_by(result['found_by'])}")


def _found_by(ways: list[str]) -> str:
    """Why a result may stand above more similar ones."""
    return "" if ways == ["image"] else f"  (found by {' and '.join(ways)})"


def _say_how_to_go_on(target: Settings, *, samples: bool) -> None:
    url, key = target.supabase_url, str(target.publishable_key)
    sign_in = f"\n{albums.how_to_sign_in()}" if samples else ""
    output.say(f"""
Search in the browser: {target.query_url}/{sign_in}

With curl:
  curl {target.query_url} -H 'apikey: {key}' \\
    -H 'Content-Type: application/json' -d '{{"text": "a castle", "limit": 6}}'

With supabase-py:
  from supabase import create_client
  client = create_client("{url}", "{key}")
  client.storage.from_("{BUCKET}").upload("photo.jpg", "photo.jpg", {{"content-type": "image/jpeg"}})
  client.functions.invoke("query", {{"body": {{"text": "a castle"}}, "responseType": "json"}})
""")
