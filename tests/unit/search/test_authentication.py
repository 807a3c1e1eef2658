"""The authentication cache: no work for a caller unknown to PostgREST, and no call for one it has
just known.
"""

from __future__ import annotations

import base64
import json

import httpx
import pytest

from shared.errors import ModelNotLoaded, Unauthorized
from shared.search import authentication
from shared.search.authentication import AuthenticationCache
from shared.search.index import ActiveModel
from shared.settings import Secret
from shared.supabase import credentials
from shared.supabase.credentials import Identity
from shared.supabase.database import Database, http_client
from shared.testing import RpcTransport

MODEL = [{"name": "colours", "dimensions": 4}]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def caller(apikey: str = "ours", **claims: object) -> Identity:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return credentials.caller({"Authorization": f"Bearer e30.{payload}.s"}, Secret(apikey))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def build(transport: RpcTransport, clock: Clock) -> AuthenticationCache:
    http = http_client(transport)
    return AuthenticationCache(lambda who: Database("http://supabase.test", who, http), clock)


def test_an_answer_holds_for_ten_seconds(clock: Clock):
    transport = RpcTransport(active_model=MODEL)
    door = build(transport, clock)
    for now in (1000.0, 1009.9, 1010.0):
        clock.now = now
        assert door.authenticate(caller(sub="a")) == ActiveModel(name="colours", dimensions=4)
    assert len(transport.calls) == 2


def test_no_longer_where_the_clock_is_set_back(clock: Clock):
    transport = RpcTransport(active_model=MODEL)
    door = build(transport, clock)
    for clock.now in (5000.0, 1000.0, 1009.9, 1011.0):
        door.authenticate(caller(sub="a"))
    assert len(transport.calls) == 3


def test_never_past_the_tokens_expiry(clock: Clock):
    transport = RpcTransport(active_model=MODEL)
    door = build(transport, clock)
    door.authenticate(caller(exp=1003))
    clock.now = 1003.0
    transport.answers["active_model"] = httpx.Response(
        401, json={"code": "PGRST303", "message": "JWT expired"}
    )
    with pytest.raises(Unauthorized):
        door.authenticate(caller(exp=1003))


def test_one_callers_answer_is_not_anothers(clock: Clock):
    transport = RpcTransport(active_model=MODEL)
    door = build(transport, clock)
    door.authenticate(caller(sub="a"))
    transport.answers["active_model"] = httpx.Response(401, json={"code": "PGRST301", "message": "forged"})
    for other in (caller(sub="b"), caller("another", sub="a")):
        with pytest.raises(Unauthorized):
            door.authenticate(other)


def test_what_is_remembered_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(authentication, "MAX_CALLERS", 2)
    transport = RpcTransport(active_model=MODEL)
    door = build(transport, clock)
    for name in ("a", "b", "c", "b", "a"):
        door.authenticate(caller(sub=name))
    assert len(transport.calls) == 4  # a, b, c, and a again, which c had pushed out


def test_without_an_active_model_nothing_can_be_searched(clock: Clock):
    with pytest.raises(ModelNotLoaded, match=r"No model is active.*`neural-search models activate"):
        build(RpcTransport(active_model=[]), clock).authenticate(caller())
