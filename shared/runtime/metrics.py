"""A function's counters, in Prometheus' text format."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from shared.runtime.limiter import ConcurrencyLimiter

FRESHNESS_BUCKETS = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 86400)
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of this process. Several worker processes each have their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "neural_search_requests", "HTTP requests answered", ["path", "status"], registry=self._registry
        )
        self._objects = Counter(
            "neural_search_objects",
            "Objects handled, by what came of it",
            ["status"],
            registry=self._registry,
        )
        self._steps = Histogram(
            "neural_search_step_seconds",
            "Time spent in one step of an answer",
            ["step"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._freshness = Histogram(
            "neural_search_freshness_seconds",
            "From an upload until its image is searchable",
            buckets=FRESHNESS_BUCKETS,
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "neural_search_in_flight", "Calls that run or wait for their turn", registry=self._registry
        )
        self._decoders = Counter(
            "neural_search_decoders_replaced",
            "Decoder processes replaced, by what they died of",
            ["cause"],
            registry=self._registry,
        )

    def request(self, path: str, status: int) -> None:
        self._requests.labels(path, str(status)).inc()

    def object(self, status: str) -> None:
        self._objects.labels(status).inc()

    def fresh(self, seconds: float) -> None:
        """An image became searchable so long after it was queued."""
        self._freshness.observe(seconds)

    def watch(self, limiter: ConcurrencyLimiter) -> None:
        """Shows how many are inside this limiter."""
        self._in_flight.set_function(lambda: limiter.inside)

    def decoder_replaced(self, cause: str) -> None:
        self._decoders.labels(cause).inc()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times the work inside, also where it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._steps.labels(name).observe(time.perf_counter() - start)

    def text(self) -> bytes:
        return generate_latest(self._registry)
