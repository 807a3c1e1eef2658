"""The worker's counts."""

from __future__ import annotations

from cli.tally import Tally


def test_jobs_given_back_are_counted_apart():
    tally = Tally()
    tally.add_given_back(2)
    tally.add_given_back(1)
    assert tally.total == 0 and tally.as_json()["given_back"] == 3
    assert str(tally) == "0 images embedded, 3 given back"
