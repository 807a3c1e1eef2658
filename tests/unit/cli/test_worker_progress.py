"""The worker's counts."""

from __future__ import annotations

from cli.console.worker_progress import WorkerProgress


def test_jobs_given_back_are_counted_apart():
    progress = WorkerProgress()
    progress.add_given_back(2)
    progress.add_given_back(1)
    assert progress.total == 0 and progress.as_json()["given_back"] == 3
    assert str(progress) == "0 images embedded, 3 given back"
