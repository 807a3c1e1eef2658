"""One request's decoding budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import ClientClosedRequest, DecodingTimedOut

SPENT = (
    "Decoding this request's images takes more CPU time than one request has. "
    "Send fewer or smaller images, or raise MAX_DECODE_SECONDS."
)


def always() -> bool:
    return True


@dataclass(kw_only=True)
class Budget:
    """CPU seconds for all images of one request together, and whether its caller still waits."""

    seconds: float
    is_wanted: Callable[[], bool] = always

    def check(self) -> None:
        """Raises ClientClosedRequest where the caller has hung up, DecodingTimedOut where all is spent."""
        self.check_caller()
        if self.seconds <= 0:
            raise DecodingTimedOut(SPENT)

    def check_caller(self) -> None:
        if not self.is_wanted():
            raise ClientClosedRequest()

    def spend(self, seconds: float) -> None:
        self.seconds -= seconds
