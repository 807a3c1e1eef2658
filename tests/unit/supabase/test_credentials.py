"""Who asks: which key and which token go on to Supabase."""

from __future__ import annotations

import base64
import json

import pytest

from shared.errors import SettingsError, Unauthorized
from shared.settings import Secret, load
from shared.supabase import credentials

OURS = Secret("sb_publishable_ours")


def jwt(claims: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.signature"


def test_nobody_in_particular_is_anon_through_our_publishable_key():
    assert credentials.caller({}, OURS).headers == {"apikey": OURS, "Authorization": f"Bearer {OURS}"}


def test_a_users_token_goes_with_their_key_or_else_with_ours():
    assert credentials.caller({"Authorization": "Bearer t"}, OURS).headers == {
        "apikey": OURS,
        "Authorization": "Bearer t",
    }
    assert credentials.caller({"Authorization": "Bearer t", "apikey": "theirs"}, OURS).apikey == "theirs"


def test_a_key_as_bearer_is_sent_as_the_apikey_too():
    assert credentials.caller({"Authorization": "Bearer sb_secret_x"}, OURS).apikey == "sb_secret_x"


@pytest.mark.parametrize("header", ["Authorization", "apikey"])
@pytest.mark.parametrize("token", ["é", "a\nb", "a\rb", "a\x01b", "a\tb", "a\x7fb", "a\xa0b"])
def test_what_can_be_no_token_is_unauthorized(header: str, token: str):
    with pytest.raises(Unauthorized) as refused:
        credentials.caller({header: f"Bearer {token}"}, OURS)
    assert token not in str(refused.value)


SERVICE_ROLE = jwt({"role": "service_role"})
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0"


@pytest.mark.parametrize("key", ["sb_secret_x", SERVICE_ROLE])
@pytest.mark.parametrize("headers", ["apikey", "Authorization"])
def test_a_secret_key_is_refused_from_a_browser_and_taken_from_a_server(headers: str, key: str):
    sent = {headers: key if headers == "apikey" else f"Bearer {key}"}
    assert credentials.caller({**sent, "User-Agent": "node"}, OURS)
    with pytest.raises(Unauthorized, match="Forbidden use of secret API key in browser"):
        credentials.caller({**sent, "User-Agent": BROWSER}, OURS)


def test_users_and_publishable_keys_come_from_browsers():
    token = jwt({"role": "authenticated"})
    headers = {"apikey": "sb_publishable_x", "Authorization": f"Bearer {token}", "User-Agent": BROWSER}
    assert credentials.caller(headers, OURS).apikey == "sb_publishable_x"


def test_blanks_around_a_header_are_dropped():
    headers = {"Authorization": " Bearer t ", "apikey": "\ttheirs "}
    assert credentials.caller(headers, OURS).headers == {"apikey": "theirs", "Authorization": "Bearer t"}


@pytest.mark.parametrize(
    ("token", "expires"),
    [
        (jwt({"exp": 1000}), 1000.0),
        (jwt({"role": "anon"}), None),
        ("sb_publishable_x", None),
        (jwt({"exp": "soon"}), 0.0),
        (jwt({"exp": 10**400}), 0.0),
        (jwt([]), 0.0),
        ("a.b.c", 0.0),
        ("a.é.c", 0.0),
    ],
)
def test_the_expiry_that_a_token_claims(token: str, expires: float | None):
    who = credentials.Identity(apikey=OURS, authorization=Secret(f"Bearer {token}"))
    assert who.expires_at == expires


def test_the_service_needs_its_key():
    with pytest.raises(SettingsError, match="SUPABASE_SECRET_KEY"):
        credentials.service(load({"SUPABASE_URL": "http://x"}))


def test_tokens_do_not_show_in_a_repr():
    assert "theirs" not in repr(
        credentials.caller({"apikey": "theirs", "Authorization": "Bearer theirs"}, OURS)
    )
