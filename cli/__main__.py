"""The `neural-search` command."""

from __future__ import annotations

from cli.app import app, end_in_order
from cli.commands import (
    backfill,
    bench,
    buckets,
    delete,
    demo,
    doctor,
    duplicates,
    evaluate,
    explain,
    install,
    jobs,
    migrations,
    models,
    query,
    stack,
    upload,
    worker,
)

GROUPS = (
    stack,
    doctor,
    demo,
    install,
    migrations,
    buckets,
    upload,
    delete,
    query,
    duplicates,
    jobs,
    explain,
    models,
    backfill,
    worker,
    evaluate,
    bench,
)
for group in GROUPS:
    group.register(app)


def main() -> None:
    end_in_order()
    app(prog_name="neural-search")


if __name__ == "__main__":
    main()
