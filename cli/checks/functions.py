"""The two functions, asked as a load balancer would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import requests

from cli.checks.api import SHUT_OUT, is_anon_shut_out, is_shut_out
from cli.client.function_health import in_log, raise_redirected
from cli.client.project import Project, refused
from shared.errors import DatabaseForbidden, NeuralSearchError, Unauthorized
from shared.settings import ENVIRONMENT, Settings
from shared.supabase import surroundings

TIMEOUT_SECONDS = 30  # a first /live embeds a picture
SAMPLE = 1000  # documents among which one is looked for that anon may not see


def checks(target: Settings) -> Iterator[tuple[str, dict[str, Callable[[], str]]]]:
    query, embed = target.query_url, target.embed_url
    secret = str(target.webhook_secrets[0]) if target.webhook_secrets else ""
    yield (
        "" if query else "QUERY_URL is not set",
        {
            "query /live": lambda: ask(f"{query}/live"),
            "query /health": lambda: query_health(target),
        },
    )
    everything = query and target.supabase_url and target.publishable_key and target.secret_key
    yield (
        "" if everything else "QUERY_URL, SUPABASE_URL or one of the keys is not set",
        {"query to strangers": lambda: strangers(target)},
    )
    yield (
        "" if embed else "EMBED_URL is not set",
        {
            "embed_on_upload /live": lambda: ask(f"{embed}/live"),
            "embed_on_upload to strangers": lambda: closed(embed),
        },
    )
    yield (
        "" if embed and secret else "EMBED_URL or EMBED_WEBHOOK_SECRET is not set",
        {"embed_on_upload /health": lambda: ask(f"{embed}/health", **{"x-webhook-secret": secret})},
    )


def query_health(target: Settings) -> str:
    """Where anon is shut out of all searches, it hears that the database forbids them."""
    try:
        return ask(f"{target.query_url}/health", apikey=str(target.publishable_key))
    except NeuralSearchError as error:
        if not (_is_forbidden_alone(error.value) and _is_anon_shut_out(target)):
            raise
        return f"answers; {SHUT_OUT}, so whether it reaches the database can't be told"


def _is_forbidden_alone(report: Any) -> bool:
    parts = report if isinstance(report, dict) else {}
    states = {name: part.get("error", part.get("status")) for name, part in parts.items() if name != "status"}
    return states == {"embedding": "ok", "database": "database-forbidden"}


def _is_anon_shut_out(target: Settings) -> bool:
    if not (target.supabase_url and target.publishable_key):
        return False
    with Project(target) as project:
        return is_anon_shut_out(project)


def strangers(target: Settings) -> str:
    """That callers without a key are answered as anon: asked for a document that is hidden from anon."""
    hidden = _hidden_from_anon(target)
    if hidden is None:
        return "of the documents looked at, none is hidden from anon: what strangers see can't be told apart"
    answer = _post(target.query_url, json={"like": hidden, "limit": 1})
    if answer.status_code == 200:
        raise NeuralSearchError(
            f"{target.query_url} shows strangers document {hidden}, which anon may not see. Give the "
            "function the publishable key as SUPABASE_PUBLISHABLE_KEY, and replace the key that it has now."
        )
    is_ours = answer.status_code != 404 or "type" in _json(answer)  # a 404 of any other server hides nothing
    if answer.status_code not in (401, 403, 404) or not is_ours:
        raise _wrong(target.query_url, answer)
    return "hides from them what is hidden from anon"


def _hidden_from_anon(target: Settings) -> int | None:
    """A document among the first ones that the secret key sees, and the publishable key does not."""
    with Project(target) as project:
        everything = _seen(project, "secret_key")
        try:
            seen = _seen(project, "publishable_key")
        except DatabaseForbidden as error:
            if not is_shut_out(error, "list_fingerprints"):
                raise
            seen = []
    looked_at = seen[-1] if len(seen) == SAMPLE else float("inf")
    return next((one for one in everything if one not in set(seen) and one < looked_at), None)


def _seen(project: Project, key: str) -> list[int]:
    rows = project.call_as(key, "list_fingerprints", max_rows=SAMPLE)
    return [row["id"] for row in rows if row["bucket_id"]]


def closed(url: str) -> str:
    """That no kick is taken without the webhook's secret."""
    answer = _post(url, json={"type": "KICK", "limit": 1})
    if answer.status_code != 401:
        raise NeuralSearchError(
            f"{url} answered {answer.status_code} without the webhook's secret. Expected 401: is it "
            "embed_on_upload, with EMBED_WEBHOOK_SECRET set?"
        )
    return "refuses them"


def _post(url: str, **content: Any) -> requests.Response:
    try:
        with surroundings.session(url) as http:
            return http.post(url, timeout=TIMEOUT_SECONDS, allow_redirects=False, **content)
    except requests.RequestException as error:
        raise _silent(url, error) from error


def _silent(url: str, error: requests.RequestException) -> NeuralSearchError:
    return NeuralSearchError(
        f"{url} doesn't answer ({type(error).__name__}). Start the function, or check its address."
    )


def ask(url: str, **headers: str) -> str:
    given = {name: value for name, value in headers.items() if value}
    try:
        with surroundings.session(url) as http:
            response = http.get(url, headers=given, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        raise _silent(url, error) from error
    if response.status_code == 401 and "apikey" in given:
        variable = ENVIRONMENT["publishable_key"][0]
        raise Unauthorized(refused(url, variable), value=variable)
    raise_redirected(url, response)
    if response.status_code != 200:
        raise _wrong(url, response)
    body = _json(response)
    if not body.keys() & {"status", "embedding"}:
        raise NeuralSearchError(f"{url} answered without our JSON. Is that the function's address?")
    embedding = body.get("embedding", {})
    if failing := embedding.get("failing"):  # a model that isn't active: the function serves without it
        name, cause = next(iter(failing.items()))
        raise NeuralSearchError(f"{url}: the model {name!r} doesn't embed there: {cause}{in_log(response)}")
    return "answers"


def _wrong(url: str, response: requests.Response) -> NeuralSearchError:
    body = _json(response)
    parts = {
        name: part["detail"] for name, part in body.items() if isinstance(part, dict) and "detail" in part
    }
    of_health = " ".join(f"{name}: {_sentence(detail)}" for name, detail in parts.items())
    detail = of_health or _sentence(body.get("detail") or body or "no JSON. Is that the function's address?")
    text = f"{url} answered {response.status_code}: {detail}{in_log(response)}"
    return NeuralSearchError(text, value=body)


def _sentence(detail: Any) -> str:
    return str(detail) if str(detail).endswith((".", "?")) else f"{detail}."


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
