"""Auth as the official clients meet it: signing in, refreshing, signing out, and the keys of tokens."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import jwt
import pytest
from supabase import AuthApiError, Client
from support.databases import Connection
from support.gateways import Gateway

from local import keys

PASSWORD = "correct horse"


@pytest.fixture
def email(db: Connection) -> str:
    """Of a user with PASSWORD."""
    address = f"{uuid.uuid4()}@example.com"
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    db.execute(
        """
        insert into auth.users (id, aud, role, email, encrypted_password, raw_user_meta_data, created_at)
        values (gen_random_uuid(), 'authenticated', 'authenticated', %s, %s, '{"name": "Ada"}', now())
        """,
        [address, hashed],
    )
    db.commit()
    return address


@pytest.fixture
def client(gateway: Gateway) -> Client:
    return gateway.supabase(gateway.keys.publishable)


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.http(gateway.keys.publishable) as client:
        yield client


def sign_in(client: Client, email: str) -> Any:
    return client.auth.sign_in_with_password({"email": email, "password": PASSWORD}).session


def refuse(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error_code"]


def test_a_user_signs_in_and_acts_as_authenticated(gateway: Gateway, client: Client, email: str):
    session = sign_in(client, email)
    assert (session.token_type, session.user.email) == ("bearer", email)
    claims = jwt.decode(session.access_token, options={"verify_signature": False})
    assert (claims["role"], claims["aud"], claims["sub"]) == (
        "authenticated",
        "authenticated",
        session.user.id,
    )
    assert claims["user_metadata"] == {"name": "Ada"}
    assert claims["iss"] == f"{gateway.url}/auth/v1"


def test_the_token_is_es256_and_the_jwks_verifies_it(gateway: Gateway, client: Client, email: str):
    token = sign_in(client, email).access_token
    [key] = httpx.get(f"{gateway.url}/auth/v1/.well-known/jwks.json").json()["keys"]
    assert "d" not in key
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": key["kid"], "typ": "JWT"}
    assert jwt.decode(token, jwt.PyJWK(key), algorithms=["ES256"], audience="authenticated")


def test_official_clients_verify_it_by_themselves(client: Client, email: str):
    sign_in(client, email)
    told = client.auth.get_claims()
    assert told and told["claims"]["email"] == email


def test_storage_and_rest_take_the_token(gateway: Gateway, client: Client, email: str, db: Connection):
    session = sign_in(client, email)
    name = f"bucket-{uuid.uuid4()}"
    gateway.supabase().storage.create_bucket(name)
    db.execute(
        f'create policy "{name}" on storage.objects for all to authenticated '
        f"using (bucket_id = '{name}') with check (bucket_id = '{name}')"
    )
    db.commit()
    client.storage.from_(name).upload("a.txt", b"a")
    owners = db.execute("select owner_id from storage.objects where bucket_id = %s", [name]).fetchall()
    assert owners == [(session.user.id,)]


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"email": "nobody@example.com"}, {"email": "\0"}])
def test_wrong_credentials_are_refused_alike(client: Client, email: str, change: dict[str, str]):
    with pytest.raises(AuthApiError) as refused:
        client.auth.sign_in_with_password({"email": email, "password": PASSWORD} | change)  # type: ignore[arg-type]
    assert (refused.value.status, refused.value.code) == (400, "invalid_credentials")
    assert refused.value.message == "Invalid login credentials"


def test_a_refresh_token_is_used_once(http: httpx.Client, client: Client, email: str, db: Connection):
    first = sign_in(client, email).refresh_token
    second = client.auth.refresh_session(first).session.refresh_token
    assert second != first
    # a client that lost the answer gets the present one, for a moment
    again = http.post("/auth/v1/token?grant_type=refresh_token", json={"refresh_token": first})
    assert again.json()["refresh_token"] == second
    db.execute("update auth.refresh_tokens set updated_at = now() - interval '1 minute'")
    db.commit()
    late = http.post("/auth/v1/token?grant_type=refresh_token", json={"refresh_token": first})
    assert refuse(late) == (400, "refresh_token_already_used")
    ended = http.post("/auth/v1/token?grant_type=refresh_token", json={"refresh_token": second})
    assert refuse(ended) == (400, "refresh_token_not_found")


def test_signing_out_ends_the_session(http: httpx.Client, client: Client, email: str):
    session = sign_in(client, email)
    bearer = {"authorization": f"Bearer {session.access_token}"}
    assert http.get("/auth/v1/user", headers=bearer).json()["email"] == email
    client.auth.sign_out({"scope": "local"})
    assert refuse(http.get("/auth/v1/user", headers=bearer)) == (403, "session_not_found")
    refresh = {"refresh_token": session.refresh_token}
    assert refuse(http.post("/auth/v1/token?grant_type=refresh_token", json=refresh))[0] == 400


def test_signing_out_others_keeps_this_session(http: httpx.Client, gateway: Gateway, email: str):
    mine, other = (sign_in(gateway.supabase(gateway.keys.publishable), email) for _ in range(2))
    headers = {"authorization": f"Bearer {mine.access_token}"}
    assert http.post("/auth/v1/logout?scope=others", headers=headers).status_code == 204
    assert http.get("/auth/v1/user", headers=headers).status_code == 200
    gone = {"authorization": f"Bearer {other.access_token}"}
    assert http.get("/auth/v1/user", headers=gone).status_code == 403


def test_forged_expired_and_foreign_tokens_are_refused(http: httpx.Client, gateway: Gateway, email: str):
    forged = keys.Keys(**{**dataclasses.asdict(gateway.keys), "signing_key": keys._make_signing_key()})
    user = {"sub": str(uuid.uuid4())}
    for token in (
        forged.mint("authenticated", user),
        gateway.keys.mint("authenticated", user, lifetime=-60),
        gateway.keys.anon,  # nobody's
        jwt.encode(user, None, algorithm="none"),
        "no token",
    ):
        answer = http.get("/auth/v1/user", headers={"authorization": f"Bearer {token}"})
        assert refuse(answer) == (403, "bad_jwt")
    assert refuse(http.get("/auth/v1/user")) == (401, "no_authorization")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"email": 1}', rb'{"email": "\ud800", "password": "a"}']
)
def test_a_broken_body_is_refused(http: httpx.Client, body: bytes):
    assert http.post("/auth/v1/token?grant_type=password", content=body).status_code == 400


def test_hs256_is_an_option(tmp_path: Path):
    mine = dataclasses.replace(keys.load(tmp_path), algorithm=keys.HS256)
    token = mine.mint("authenticated", {"sub": "a"})
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    assert mine.verify(token)["sub"] == "a"
    assert mine.jwks == []
    with pytest.raises(jwt.InvalidAlgorithmError):
        mine.verify(dataclasses.replace(mine, algorithm=keys.ES256).mint("authenticated"))


def test_a_folder_of_before_gets_a_signing_key(tmp_path: Path):
    before = keys.load(tmp_path)
    path = tmp_path / keys.FILE
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "signing_key"}))
    after = keys.load(tmp_path)
    assert after.secret == before.secret and after.jwks
    assert keys.load(tmp_path) == after


def test_a_secret_key_is_refused_from_a_browser(gateway: Gateway):
    browser = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0", "apikey": gateway.keys.secret}
    for path in ("/rest/v1/anything", "/storage/v1/bucket", "/auth/v1/user"):
        answer = httpx.get(f"{gateway.url}{path}", headers=browser)
        assert answer.status_code == 401
        assert answer.json()["message"] == "Forbidden use of secret API key in browser"
    publishable = browser | {"apikey": gateway.keys.publishable}
    assert httpx.get(f"{gateway.url}/storage/v1/bucket", headers=publishable).status_code == 200
