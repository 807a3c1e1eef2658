"""`neural-search query`: find images by image, text or examples."""

from __future__ import annotations

import base64
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client.function_health import in_log
from cli.client.missing_policy import nothing_visible
from cli.client.project import Project, refused
from cli.console import output
from cli.console.output import AsJson
from shared import settings
from shared.errors import InvalidFilter, NeuralSearchError, RequestError, Unauthorized
from shared.images import image_files
from shared.search import filters
from shared.search.query import CONFIDENCES, MAX_LIMIT, STRATEGIES
from shared.settings import Settings

TIMEOUT_SECONDS = 60


def register(app: typer.Typer) -> None:
    app.command()(query)


def query(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]…", help="Find what shows this: the same as --text.")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option("--image", metavar="PATH", help="Find what looks like this picture.")
    ] = None,
    texts: Annotated[
        list[str] | None, typer.Option("--text", metavar="STR", help="Find what shows this.")
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Find what looks like this indexed image.")
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="… and less like this indexed image.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="How many results.")] = 10,
    bucket: Annotated[str | None, typer.Option(help="Only in this bucket.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only names that begin like this.")] = None,
    narrow: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="KEY=VALUE", help=f"Only what fits: {', '.join(filters.KEYS)}."),
    ] = None,
    min_confidence: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help=f"Leave out what is less sure: {', '.join(CONFIDENCES)}."),
    ] = None,
    best_confidence: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="Find nothing unless the best result is so sure.",
        ),
    ] = None,
    by_words: Annotated[
        float | None,
        typer.Option("--words", min=0, max=1, help="How much names and metadata count, for one text alone."),
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"{' or '.join(STRATEGIES)} (near to any example).")
    ] = None,
    diversity: Annotated[
        float | None, typer.Option(min=0, max=1, help="How much results should differ from each other.")
    ] = None,
    collapse: Annotated[bool, typer.Option("--collapse", help="Fold copies into the best of them.")] = False,
    with_urls: Annotated[
        bool,
        typer.Option("--urls", help="Show for each result the URL that opens it, for ten minutes at least."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Search, as the publishable key: `neural-search query "a castle"`.

    --image, --text, --like and --unlike can be repeated and combined.
    """
    texts = [*([" ".join(words)] if words else []), *(texts or [])]
    if not (images or texts or like or unlike):
        raise typer.BadParameter("say what to look for, in words or with --image, --text, --like or --unlike")
    target = settings.load()
    given: dict[str, Any] = {
        "image": _one_or_many([read_image(path, target) for path in images or []]),
        "text": _one_or_many(texts),
        "like": like,
        "unlike": unlike,
        "filter": _filter(narrow or [], bucket=bucket, prefix=prefix),
        "min_confidence": min_confidence,
        "best_confidence": best_confidence,
        "words": by_words,
        "strategy": strategy,
        "diversity": diversity,
        "collapse": "duplicates" if collapse else None,
    }
    answer = search(
        target, {"limit": limit} | {key: value for key, value in given.items() if value or value == 0}
    )
    why = None if answer["results"] else _why_nothing(target, given["filter"].get("bucket"))
    if as_json:
        output.print_json(answer)
    else:
        _print_results(answer, with_urls, liked=bool(images or texts or like))
    if why and not as_json:
        output.say(why)


def _filter(pairs: Sequence[str], **options: str | None) -> dict[str, Any]:
    """The filter of --filter's pairs and the options of their own together."""
    narrowed = read_filter(pairs)
    for name, value in options.items():
        if value and name in narrowed:
            raise typer.BadParameter(f"--{name} and --filter {name}=… are both given. Leave one of them out.")
    return narrowed | {name: value for name, value in options.items() if value}


def _why_nothing(target: Settings, bucket: str | None) -> str | None:
    """What the secret key tells of an empty answer, and the function never tells its callers."""
    if not target.secret_key:
        return None
    with Project(target) as project:
        project.require_bucket(bucket)
        return nothing_visible(project)


def search(target: Settings, body: dict[str, Any]) -> dict[str, Any]:
    """The query function's answer {model, results}; its problem details become an error."""
    return post(target, "", body, expected="results")


def post(target: Settings, path: str, body: dict[str, Any], *, expected: str) -> dict[str, Any]:
    """The query function's answer at `path`, which has the field `expected`, as the publishable key."""
    import requests  # 0.1 s to import

    from shared.supabase import surroundings

    url = target.need("query_url") + path
    headers = {"apikey": str(target.need("publishable_key")), "Content-Type": "application/json"}
    # A file is sent in small pieces. Images as one would all have to be taken within the time-out.
    data = io.BytesIO(json.dumps(body).encode())
    try:
        with surroundings.session(url) as http:
            response = http.post(
                url, data=data, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
        answer = response.json()
    except requests.JSONDecodeError as error:
        raise NeuralSearchError(
            f"{url} answered {response.status_code} without JSON. Check QUERY_URL: is it the query function?"
        ) from error
    except requests.RequestException as error:
        raise NeuralSearchError(
            f"The query function at {url} doesn't answer. Start the embedded stack with `neural-search up`, "
            "or check QUERY_URL."
        ) from error
    if not response.ok or not isinstance(answer, dict) or expected not in answer:
        if response.status_code == 401:
            raise Unauthorized(refused(f"The query function at {url}", "SUPABASE_PUBLISHABLE_KEY"))
        told = f"{_problem(answer)} ({response.status_code} from {url})."
        raise NeuralSearchError(told + (in_log(response) if response.status_code >= 500 else ""))
    return answer


def _print_results(answer: dict[str, Any], with_urls: bool, *, liked: bool) -> None:
    """The results as a table; where something is `liked`, with a word on those that are unrelated to it."""
    results = answer["results"]
    if not results:
        output.say(answer.get("notice") or "There are no more results.")
        output.say("`neural-search status` shows how many images are searchable.")
        return
    columns = ("similarity", "confidence", "found by", "bucket", "name", *(["url"] if with_urls else []))
    rows = [_row(result, with_urls) for result in results]
    place = _less_similar(results) if liked else None
    if place == 0:
        output.say("No close match; the nearest are:")
    elif place is not None:
        rows.insert(place, ("", "less similar", *("" for _ in columns[2:])))
    output.print_table(columns, rows, folded=not with_urls)
    if answer.get("notice"):
        output.say(answer["notice"])


def _less_similar(results: list[dict[str, Any]]) -> int | None:
    """The place of the line above results that are unrelated and found by no word; None where there are none,
    or they are mixed with the others."""
    unrelated = [
        result["confidence"] == "unrelated" and result["found_by"] == ["image"] for result in results
    ]
    return unrelated.index(True) if any(unrelated) and unrelated == sorted(unrelated) else None


def read_image(path: Path, target: Settings) -> str:
    """The file's bytes in base64."""
    try:
        return base64.b64encode(image_files.read(path, target.max_image_bytes)).decode()
    except OSError as error:
        raise RequestError(f"The image {str(path)!r} can't be read: {error.strerror}.") from error


def read_filter(pairs: Sequence[str]) -> dict[str, Any]:
    """The filter in KEY=VALUE pairs; a mime_type may come more than once."""
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise InvalidFilter(f"--filter is {pair!r}. Expected KEY=VALUE, as in mime_type=image/png.")
        texts[key].append(text)
    return filters.parse({key: filters.from_text(key, several) for key, several in texts.items()})


def _row(result: dict[str, Any], with_urls: bool) -> tuple[Any, ...]:
    url = (result.get("url"),) if with_urls else ()
    copies = len(result["duplicates"])
    name = f"{result['name']} (and {copies} more like it)" if copies else result["name"]
    found_by = " ".join(result["found_by"])
    return (f"{result['similarity']:.3f}", result["confidence"], found_by, result["bucket"], name, *url)


def _one_or_many(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _problem(answer: Any) -> str:
    if isinstance(answer, dict):
        return str(answer.get("detail") or answer.get("message") or answer.get("title") or answer)
    return str(answer)
