"""A function's health: the models that it can embed with, and where it tells the cause of a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import NeuralSearchError

if TYPE_CHECKING:
    import requests

TIMEOUT_SECONDS = 60  # a first /health loads the models


def models_of(url: str, **headers: str) -> dict[str, str]:
    """The names in its settings: of each that doesn't embed a test picture there why, else nothing."""
    import requests  # 0.1 s

    from shared.supabase import surroundings

    given = {name: value for name, value in headers.items() if value}
    try:
        with surroundings.session(url) as http:
            response = http.get(
                f"{url}/health", headers=given, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
        raise_redirected(url, response)
        part: Any = response.json()["embedding"]
        return {str(name): "" for name in part["models"]} | dict(part.get("failing", {}))
    except (requests.JSONDecodeError, KeyError, TypeError) as error:
        raise NeuralSearchError(
            f"{url}/health answered {response.status_code} without saying which models are loaded. Check the "
            "address and the key or secret."
        ) from error
    except requests.RequestException as error:
        raise NeuralSearchError(
            f"{url}/health doesn't answer ({type(error).__name__}). Start the function, or check its address."
        ) from error


def raise_redirected(url: str, response: requests.Response) -> None:
    """NeuralSearchError for a redirect, which isn't followed: its host would get the key or the secret."""
    if response.is_redirect:
        raise NeuralSearchError(
            f"{url} answered {response.status_code}, a redirect to another address. Set the function's own."
        )


def in_log(response: requests.Response) -> str:
    """Names the request in the function's log: callers are told none of others' words, nor addresses."""
    request = response.headers.get("x-request-id")
    return f" The function's log has the cause, at request {request}." if request else ""
