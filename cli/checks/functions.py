"""The two functions, asked as a load balancer would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import requests

from shared.errors import NeuralSearchError
from shared.settings import Settings

TIMEOUT_SECONDS = 30  # a first /live embeds a picture


def checks(target: Settings) -> Iterator[tuple[str, dict[str, Callable[[], str]]]]:
    query, embed = target.query_url, target.embed_url
    secret = str(target.webhook_secrets[0]) if target.webhook_secrets else ""
    yield (
        "" if query else "QUERY_URL is not set",
        {
            "query /live": lambda: ask(f"{query}/live"),
            "query /health": lambda: ask(f"{query}/health", apikey=str(target.publishable_key)),
        },
    )
    yield "" if embed else "EMBED_URL is not set", {"embed_on_upload /live": lambda: ask(f"{embed}/live")}
    yield (
        "" if embed and secret else "EMBED_URL or EMBED_WEBHOOK_SECRET is not set",
        {"embed_on_upload /health": lambda: ask(f"{embed}/health", **{"x-webhook-secret": secret})},
    )


def ask(url: str, **headers: str) -> str:
    given = {name: value for name, value in headers.items() if value}
    try:
        response = requests.get(url, headers=given, timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise NeuralSearchError(
            f"{url} doesn't answer ({type(error).__name__}). Start the function, or check its address."
        ) from error
    if response.status_code != 200:
        raise NeuralSearchError(f"{url} answered {response.status_code}: {_detail(response)}")
    embedding = _json(response).get("embedding", {})
    if failing := embedding.get("failing"):  # a model that isn't active: the function serves without it
        name, cause = next(iter(failing.items()))
        raise NeuralSearchError(f"{url}: the model {name!r} doesn't embed there: {cause}")
    return "answers"


def _detail(response: requests.Response) -> str:
    body = _json(response)
    return str(body.get("detail") or body or "no JSON. Is that the function's address?")


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
