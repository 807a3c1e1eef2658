"""The `neural-search` command."""

from __future__ import annotations

from cli import demo, doctor, install, jobs, query, stack, upload
from cli.app import app

for group in (stack, doctor, demo, install, upload, query, jobs):
    group.register(app)


def main() -> None:
    app(prog_name="neural-search")


if __name__ == "__main__":
    main()
