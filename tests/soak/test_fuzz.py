"""An act's counts are its own, however late the webhooks of the act before are."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import numpy as np
import pytest
from soak.fuzz import ACTS, play
from soak.proxy import NOTHING, Tampering, WebhookProxy, webhook_proxy
from support.echo_server import Echo
from support.waiting import eventually


class Project:
    """One in which nothing happens, but that its database may still have a webhook to send."""

    def __init__(self, proxy: WebhookProxy, waiting: int):
        self._proxy, self._waiting = proxy, waiting

    def storage(self) -> Any:
        return self

    def close(self) -> None:
        pass

    def webhooks_waiting(self) -> int:
        waiting, self._waiting = self._waiting, 0
        for _ in range(waiting):
            send(self._proxy)
        return waiting

    def converge(self, *_: object) -> tuple[None, float]:
        self.webhooks_waiting()
        eventually(lambda: self._proxy.is_idle)
        return None, 0.0


def send(proxy: WebhookProxy) -> None:
    headers = {"x-webhook-secret": "s"}
    httpx.post(proxy.url, json={"type": "UPDATE"}, headers=headers).raise_for_status()


@pytest.mark.parametrize(
    ("before", "waiting"),
    [(NOTHING, 0), (Tampering(reorder=1.0), 0), (NOTHING, 1)],
    ids=["being delivered", "held to be overtaken", "in the database"],
)
def test_late_webhooks_count_in_the_act_before(before: Tampering, waiting: int):
    with Echo() as function, webhook_proxy(f"{function.url}/hold", seed=1) as proxy:
        proxy.tampering = before
        send(proxy)
        project: Any = Project(proxy, waiting)
        threading.Timer(0.2, function.released.set).start()
        played = play(
            ACTS[-1],
            project,
            proxy,
            drain=lambda: None,
            embed=lambda _: np.empty((0, 1)),
            operations=0,
            rate=1.0,
            within=1.0,
            seed=1,
        )
        assert (played.delivered, played.mishaps.total()) == (0, 0)
        assert proxy.delivered.total() == 1
