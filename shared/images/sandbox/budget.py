"""One request's decoding budget."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import DecodingTimedOut
from shared.runtime import disconnect

SPENT = (
    "Decoding this request's images takes more CPU time than one request has. "
    "Send fewer or smaller images, or raise MAX_DECODE_SECONDS."
)


@dataclass(kw_only=True)
class Budget:
    """CPU seconds for all images of one request together."""

    seconds: float

    def check(self) -> None:
        """Raises DecodingTimedOut where all is spent, ClientClosedRequest where the client has hung up."""
        disconnect.check()
        if self.seconds <= 0:
            raise DecodingTimedOut(SPENT)

    def spend(self, seconds: float) -> None:
        self.seconds -= seconds
