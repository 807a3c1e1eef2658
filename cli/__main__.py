"""The `neural-search` command."""

from __future__ import annotations

from cli import (
    backfill,
    bench,
    buckets,
    delete,
    demo,
    doctor,
    duplicates,
    evaluate,
    install,
    jobs,
    migration_commands,
    models,
    query,
    stack,
    upload,
    worker,
)
from cli.app import app

GROUPS = (
    stack,
    doctor,
    demo,
    install,
    migration_commands,
    buckets,
    upload,
    delete,
    query,
    duplicates,
    jobs,
    models,
    backfill,
    worker,
    evaluate,
    bench,
)
for group in GROUPS:
    group.register(app)


def main() -> None:
    app(prog_name="neural-search")


if __name__ == "__main__":
    main()
