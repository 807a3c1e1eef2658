"""The demo's two users, each with images that nobody else sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cli.client.local_files import LocalFile
from cli.client.project import Project
from cli.client.transfer import Report
from cli.commands import upload
from cli.console import output
from cli.console.output import count
from shared.errors import StackError
from shared.settings import Settings

BUCKET = "albums"  # supabase/seed.sql makes it, and these users


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A user for everybody to try."""

    email: str
    password: str
    folder: str  # of the samples: this user's own


OWNERS = (
    Owner(email="ada@example.com", password="ada-demo", folder="household"),
    Owner(email="grace@example.com", password="grace-demo", folder="tools"),
)
FOLDERS = tuple(f"{owner.folder}/" for owner in OWNERS)


def fill(target: Settings, files: Sequence[LocalFile]) -> None:
    """Uploads each owner's images as that owner, and waits until they are searchable."""
    for owner in OWNERS:
        own = [file for file in files if file.name.startswith(f"{owner.folder}/")]
        report = Report()
        with Project(target) as project:
            project.storage.auth.sign_in_with_password({"email": owner.email, "password": owner.password})
            upload.run(project, BUCKET, own, report, upsert=False, wait=True)
        upload.print_failures("Not uploaded", report.refused)
        if report.failed():
            raise StackError(
                f"{report.failed()} images of {owner.email} didn't become searchable. "
                "`neural-search jobs` has the causes."
            )
        output.say(f"Searchable for {owner.email} alone: {count(len(report.searchable), 'image')}")


def how_to_sign_in() -> str:
    """In lines."""
    return "\n".join(f"  Sign in as {owner.email} with the password {owner.password}" for owner in OWNERS)
