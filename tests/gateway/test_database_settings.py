"""The gateway's own sessions don't depend on the settings that a project gives its database or its roles."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import bcrypt
import pytest
from support.databases import clone
from support.echo_server import Echo
from support.gateways import Gateway, serve

from local.postgres import Cluster

SETTINGS = {
    "timezone": "Europe/Berlin",
    "datestyle": "German",
    "client_encoding": "LATIN1",
    "search_path": "nowhere",
    "standard_conforming_strings": "off",
    "default_transaction_read_only": "on",
}
SIGN_IN = {"email": "ada@example.com", "password": "correct horse"}
TABLE = "create table public.notes (text text); grant all on public.notes to service_role"


@pytest.fixture
def setting(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def gateway(
    cluster: Cluster, bare_template: str, tmp_path: Path, echo: Echo, setting: str
) -> Iterator[Gateway]:
    """Over a database with an object and a user, in which all sessions have a setting of the project's."""
    hashed = bcrypt.hashpw(SIGN_IN["password"].encode(), bcrypt.gensalt(4)).decode()
    with clone(cluster, bare_template) as database, database.connect("supabase_admin") as admin:
        with serve(database, tmp_path, {}, echo) as before:
            before.supabase().storage.create_bucket("images")
            before.supabase().storage.from_("images").upload("a.txt", b"bytes")
        admin.execute(TABLE)
        admin.execute(
            "insert into auth.users (id, aud, role, email, encrypted_password, created_at) values"
            " (gen_random_uuid(), 'authenticated', 'authenticated', %s, %s, now())",
            [SIGN_IN["email"], hashed],
        )
        admin.execute(f"alter database {database.name} set {setting} to '{SETTINGS[setting]}'".encode())
        with serve(database, tmp_path, {}, echo) as served:
            yield served


@pytest.mark.parametrize("setting", SETTINGS, indirect=True)
def test_objects_are_told_and_downloaded(gateway: Gateway) -> None:
    with gateway.http() as http:
        download = http.get("/storage/v1/object/images/a.txt")
        assert (download.status_code, download.content) == (200, b"bytes")
        assert parsedate_to_datetime(download.headers["last-modified"])
        (listed,) = http.post("/storage/v1/object/list/images", json={"prefix": ""}).json()
        (bucket,) = http.get("/storage/v1/bucket").json()
        told = http.get("/storage/v1/object/info/images/a.txt").json()["created_at"]
    assert listed["updated_at"].endswith("Z") and bucket["created_at"].endswith("Z")
    assert told.endswith("+00:00")


@pytest.mark.parametrize(
    "setting", sorted(SETTINGS.keys() - {"default_transaction_read_only"}), indirect=True
)
def test_rows_of_any_letters_are_written_and_users_sign_in(gateway: Gateway) -> None:
    with gateway.http(prefer="return=representation") as http:
        written = http.post("/rest/v1/notes", json={"text": "€ \\ 犬"})
        assert (written.status_code, written.json()) == (201, [{"text": "€ \\ 犬"}])
        metadata = {"x-metadata": "eyJub3RlIjoi4oKsIn0="}  # {"note":"€"}
        assert http.post("/storage/v1/object/images/b.txt", content=b"b", headers=metadata).status_code == 200
        told = http.get("/storage/v1/object/info/images/b.txt").json()
        assert told["metadata"] == {"note": "€"}
        signed_in = http.post("/auth/v1/token?grant_type=password", json=SIGN_IN)
        assert signed_in.json()["user"]["created_at"].endswith("+00:00")
        refresh = {"refresh_token": signed_in.json()["refresh_token"]}
        assert http.post("/auth/v1/token?grant_type=refresh_token", json=refresh).status_code == 200
