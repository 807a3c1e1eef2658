"""Whether the publishable key sees any indexed image, and the policy that is missing where it sees none."""

from __future__ import annotations

from typing import Any

from cli.client.project import Project


def missing_policy(bucket: str, role: str) -> str:
    """The SQL that shows a bucket's objects to a role: to those who are signed in their own alone."""
    quoted = bucket.replace("'", "''")
    own = " and owner_id = (select auth.uid()::text)" if role == "authenticated" else ""
    using = f"using (bucket_id = '{quoted}'{own})"
    return f'create policy "Images for {role}" on storage.objects for select to {role} {using};'


def to_show(bucket: str, role: str) -> str:
    """The SQL, and the images that it shows to the role."""
    shown = "signed-in users their own" if role == "authenticated" else f"the whole bucket to {role}"
    return f"To show {shown}: {missing_policy(bucket, role)}"


def nothing_visible(project: Project) -> str | None:
    """The hint where images are indexed and the publishable key sees none of the first 10,000; else None."""
    indexed = _first(project, "secret_key")
    if indexed is None or _first(project, "publishable_key") is not None:
        return None
    return (
        "Images are indexed, but the publishable key sees none: at most signed-in users find them. If "
        f"everybody should, run: {missing_policy(indexed['bucket_id'], 'anon')}"
    )


def _first(project: Project, key: str) -> dict[str, Any] | None:
    """A document that the key sees. A row of an id alone only says where to look on."""
    rows = project.call_as(key, "list_fingerprints", max_rows=1)
    return next((row for row in rows if row["bucket_id"]), None)
