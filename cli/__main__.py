"""The `neural-search` command."""

from __future__ import annotations

from cli import backfill, bench, demo, doctor, evaluate, install, jobs, models, query, stack, upload, worker
from cli.app import app

for group in (stack, doctor, demo, install, upload, query, jobs, models, backfill, worker, evaluate, bench):
    group.register(app)


def main() -> None:
    app(prog_name="neural-search")


if __name__ == "__main__":
    main()
