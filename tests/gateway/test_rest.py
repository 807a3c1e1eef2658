"""PostgREST's dialect: functions, tables, identities, errors."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import psycopg
import pytest
from postgrest.exceptions import APIError
from supabase import Client
from support.gateways import Gateway

from local.gateway.database import POOL_SIZE

SCHEMA = """
create table public.animals (
    id bigint generated always as identity primary key, name text not null unique, legs int default 4,
    embedding extensions.vector(3), facts jsonb, "Odd ""Name%" text
);
insert into public.animals (name, legs, embedding) values
    ('ant', 6, '[1,0,0]'), ('bat', 2, '[0,1,0]'), ('cat', 4, '[0,0,1]'), ('d,o"g', 4, null), ('eel', 0, null);
grant all on public.animals to service_role;
grant select (id, name), insert (name) on public.animals to authenticated;

create view public.quadrupeds as select name from public.animals where legs = 4;
grant select on public.quadrupeds to anon;

create function public.add(a int, b int default 2) returns int language sql as 'select a + b';
create function public.nearest(query extensions.vector, count int default 2)
returns table (name text, similarity double precision) language sql stable set search_path = '' as $$
    select name, 1 - (embedding operator(extensions.<=>) query) from public.animals
    where embedding is not null order by embedding operator(extensions.<=>) query limit count
$$;
create function public.whoami() returns jsonb language sql stable as $$
    select jsonb_build_object('role', current_user, 'sub', auth.uid(), 'auth_role', auth.role(),
        'method', current_setting('request.method'), 'path', current_setting('request.path'),
        'header', current_setting('request.headers')::jsonb ->> 'x-trace',
        'timeout', current_setting('statement_timeout'),
        'read_only', current_setting('transaction_read_only'))
$$;
create function public.whoami_volatile() returns jsonb language sql volatile as 'select public.whoami()';
create function public.patient() returns text language sql set statement_timeout = '17s' as
    $$ select current_setting('statement_timeout') $$;
create function public.told(facts jsonb, names text[] default null, said text default null) returns json
language sql as $$ select json_build_object('facts', facts, 'names', names, 'said', said) $$;
create function public.numbers(n int) returns setof int language sql as 'select generate_series(1, n)';
create function public.one_column() returns table (a int) language sql as 'select 1';
create function public.row() returns public.animals language sql as
    'select * from public.animals where name = ''ant''';
create function public.nothing() returns void language sql as 'select 1';
create function public.same(value int) returns int language sql as 'select 1';
create function public.same(value text) returns int language sql as 'select 2';
create function public.sneaky() returns int language sql stable as $$
    insert into public.animals (name) values ('spy') returning 1 $$;
create function public.fail(state text) returns void language plpgsql as $$ begin
    raise exception using errcode = state, message = 'told so', detail = 'the detail', hint = 'the hint';
end $$;
create function public.secret() returns int language sql as 'select 1';
revoke execute on function public.secret() from public;
create function public.slow() returns void language sql set statement_timeout = '20ms' as
    'select pg_sleep(20)';
create sequence public.calls;
create function public.counted() returns setof bigint language sql volatile as
    'select nextval(''public.calls'') from generate_series(1, 3)';
create function public.counted_so_far() returns bigint language sql stable as
    'select last_value from public.calls';
create function public.counted_rows() returns table (n bigint, m bigint) language sql volatile as
    'select nextval(''public.calls''), 1::bigint from generate_series(1, 3)';
grant usage, select on sequence public.calls to service_role;
"""


@pytest.fixture(scope="module", autouse=True)
def schema(gateway: Gateway) -> None:
    with gateway.database.connect() as connection:
        connection.execute(SCHEMA.encode())


@pytest.fixture
def client(gateway: Gateway) -> Client:
    return gateway.supabase()


def post(http: httpx.Client, function: str, body: Any = None, **headers: str) -> httpx.Response:
    return http.post(f"/rest/v1/rpc/{function}", json=body or {}, headers=headers)


AHEAD = 4_000_000_000  # seconds since 1970: in the year 2096


def signed(
    gateway: Gateway, claims: dict[str, Any] | None = None, algorithm: str = "HS256", **header: str
) -> str:
    """A token of the shared secret."""
    return jwt.encode(claims or {}, gateway.keys.jwt_secret, algorithm, headers=header)


class TestFunctions:
    def test_a_json_array_and_a_string_both_become_a_vector(self, client: Client) -> None:
        for query in ([1, 0.5, 0], "[1,0.5,0]"):
            rows = client.rpc("nearest", {"query": query}).execute().data
            assert [row["name"] for row in rows] == ["ant", "bat"]
            assert rows[0]["similarity"] == pytest.approx(0.894, abs=0.001)

    def test_omitted_arguments_use_their_defaults_and_null_is_not_omitting(self, client: Client) -> None:
        assert client.rpc("add", {"a": 1}).execute().data == 3
        assert client.rpc("add", {"a": 1, "b": 40}).execute().data == 41
        assert client.rpc("add", {"a": 1, "b": None}).execute().data is None

    def test_get_takes_arguments_from_the_query(self, client: Client) -> None:
        assert client.rpc("add", {"a": 1, "b": 5}, get=True).execute().data == 6

    def test_a_list_sent_by_get_is_no_vector(self, client: Client) -> None:
        with pytest.raises(APIError, match="invalid input syntax for type vector"):
            client.rpc("nearest", {"query": [1, 0, 0]}, get=True).execute()

    def test_get_takes_json_and_arrays_as_postgres_writes_them(self, http: httpx.Client) -> None:
        given = {"facts": '{"a": [1, null]}', "names": '{a,"b,c"}'}
        answer = http.get("/rest/v1/rpc/told", params=given).json()
        assert answer == {"facts": {"a": [1, None]}, "names": ["a", "b,c"], "said": None}
        assert http.get("/rest/v1/rpc/told", params={"facts": '"text"\0x'}).json()["facts"] == "text"
        answer = http.get("/rest/v1/rpc/told", params={"facts": "text"})
        assert (answer.status_code, answer.json()["code"]) == (400, "22P02")

    def test_a_body_reaches_postgres_in_its_own_words(self, http: httpx.Client) -> None:
        deep = f"{'[' * 2000}1.10{']' * 2000}"
        answer = http.post("/rest/v1/rpc/told", content=f'{{"facts": {deep}, "said": [1,2]}}')
        assert deep in answer.text and '"[1,2]"' in answer.text

    def test_results_can_be_filtered_ordered_and_cut(self, client: Client) -> None:
        call = client.rpc("nearest", {"query": [1, 0.5, 0], "count": 3})
        rows = call.select("name").gt("similarity", 0.1).order("similarity").limit(1).execute()
        assert rows.data == [{"name": "bat"}]

    @pytest.mark.parametrize("query", ["b=eq.3", "select=b", "order=b", "select=*,b"])
    def test_a_function_that_returns_values_has_no_columns(self, http: httpx.Client, query: str) -> None:
        before = http.get("/rest/v1/rpc/counted_so_far").json()
        for function in ("add", "counted", "nothing"):
            body = {"a": 1} if function == "add" else {}
            answer = http.post(f"/rest/v1/rpc/{function}?{query}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "42703")
            assert answer.json()["message"] == f"column {function}.b does not exist"
        assert http.get("/rest/v1/rpc/counted_so_far").json() == before

    def test_named_columns_are_the_arguments(self, http: httpx.Client) -> None:
        body = {"a": 5, "b": 6, "c": 7}
        assert http.post("/rest/v1/rpc/add?columns=a", json=body).json() == 7
        assert http.post("/rest/v1/rpc/add?columns=a,b", json=body).json() == 11
        assert http.post("/rest/v1/rpc/add?columns=a,c", json=body).json()["code"] == "PGRST202"
        assert http.post("/rest/v1/rpc/add?columns=", json=body).json()["code"] == "PGRST100"

    @pytest.mark.parametrize(
        ("function", "body", "expected"),
        [
            ("numbers", {"n": 3}, [1, 2, 3]),
            ("one_column", {}, [{"a": 1}]),
            ("add", {"a": 1}, 3),
        ],
    )
    def test_results_have_the_shape_of_the_return_type(
        self, http: httpx.Client, function: str, body: dict[str, Any], expected: Any
    ) -> None:
        assert post(http, function, body).json() == expected

    def test_a_single_row_is_an_object(self, http: httpx.Client) -> None:
        assert post(http, "row").json()["embedding"] == "[1,0,0]"  # vectors come back as text

    def test_void_is_a_204(self, http: httpx.Client) -> None:
        answer = post(http, "nothing")
        assert (answer.status_code, answer.content) == (204, b"")

    def test_no_more_than_1000_rows_come_back(self, http: httpx.Client) -> None:
        assert len(post(http, "numbers", {"n": 1500}).json()) == 1000

    def test_stable_functions_and_get_run_read_only(self, http: httpx.Client) -> None:
        assert post(http, "whoami").json()["read_only"] == "on"
        assert post(http, "whoami_volatile").json()["read_only"] == "off"
        assert http.get("/rest/v1/rpc/whoami_volatile").json()["read_only"] == "on"
        answer = post(http, "sneaky")
        assert (answer.status_code, answer.json()["code"]) == (400, "0A000")

    def test_a_functions_timeout_holds_for_the_call(self, http: httpx.Client) -> None:
        assert post(http, "patient").json() == "17s"
        answer = post(http, "slow")
        assert (answer.status_code, answer.json()["code"]) == (500, "57014")

    def test_counting_calls_the_function_once(self, http: httpx.Client) -> None:
        first = post(http, "counted").json()
        answer = post(http, "counted_rows", prefer="count=exact")
        assert answer.headers["content-range"] == "0-2/3"
        assert [row["n"] for row in answer.json()] == [number + 3 for number in first]

    def test_an_unknown_function_or_argument_is_pgrst202(self, http: httpx.Client) -> None:
        answer = post(http, "add", {"a": 1, "wrong": 2})
        assert answer.status_code == 404
        body = answer.json()
        assert body["code"] == "PGRST202"
        assert body["message"] == "Could not find the function public.add(a, wrong) in the schema cache"
        assert post(http, "absent").json()["message"] == (
            "Could not find the function public.absent without parameters in the schema cache"
        )

    def test_overloads_that_both_fit_are_pgrst203(self, http: httpx.Client) -> None:
        answer = post(http, "same", {"value": 1})
        assert (answer.status_code, answer.json()["code"]) == (300, "PGRST203")
        assert "public.same(value => integer), public.same(value => text)" in answer.json()["message"]

    def test_a_new_function_is_known_at_once(self, gateway: Gateway, http: httpx.Client) -> None:
        with gateway.database.connect() as connection:
            connection.execute("create function public.brand_new() returns int language sql as 'select 7'")
        assert post(http, "brand_new").json() == 7

    def test_minimal_return_is_accepted(self, http: httpx.Client) -> None:
        assert post(http, "nothing", prefer="return=minimal").status_code == 204


class TestIdentity:
    def test_role_and_claims_of_the_caller_are_in_force(self, gateway: Gateway, http: httpx.Client) -> None:
        user = "00000000-0000-4000-8000-000000000001"
        token = gateway.keys.mint("authenticated", {"sub": user})
        headers = {
            "apikey": gateway.keys.publishable,
            "authorization": f"Bearer {token}",
            "x-trace": "t1",
        }
        assert http.post("/rest/v1/rpc/whoami", json={}, headers=headers).json() == {
            "role": "authenticated",
            "sub": user,
            "auth_role": "authenticated",
            "method": "POST",
            "path": "/rpc/whoami",
            "header": "t1",
            "timeout": "8s",
            "read_only": "on",
        }

    @pytest.mark.parametrize(
        ("key", "role", "timeout"),
        [
            ("publishable", "anon", "3s"),
            ("anon", "anon", "3s"),
            ("secret", "service_role", "8s"),
            ("service_role", "service_role", "8s"),
        ],
    )
    @pytest.mark.parametrize("repeated", [True, False])
    def test_each_key_stands_for_its_role(
        self, gateway: Gateway, key: str, role: str, timeout: str, repeated: bool
    ) -> None:
        value = getattr(gateway.keys, key)
        with gateway.http(value, **({"authorization": f"Bearer {value}"} if repeated else {})) as http:
            told = post(http, "whoami").json()
        assert (told["role"], told["timeout"]) == (role, timeout)

    def test_without_a_key_nothing_is_answered(self, gateway: Gateway) -> None:
        answer = httpx.post(f"{gateway.url}/rest/v1/rpc/whoami", json={})
        assert (answer.status_code, answer.json()["message"]) == (401, "No API key found in request")
        headers = {"apikey": "eyJ.forged.key"}
        answer = httpx.post(f"{gateway.url}/rest/v1/rpc/whoami", json={}, headers=headers)
        assert (answer.status_code, answer.json()["message"]) == (401, "Invalid API key")

    @pytest.mark.parametrize(
        ("token", "code", "message"),
        [
            ("expired", "PGRST303", "JWT expired"),
            ("forged", "PGRST301", "No suitable key or wrong key type"),
            ("sb_secret_other", "PGRST301", "Expected 3 parts in JWT; got 1"),
            ("of another key", "PGRST301", "No suitable key or wrong key type"),
            ("of another algorithm", "PGRST301", "No suitable key or wrong key type"),
        ],
    )
    def test_a_bad_token_is_a_401(self, gateway: Gateway, token: str, code: str, message: str) -> None:
        made = {
            "expired": gateway.keys.mint("authenticated", lifetime=-60),
            "forged": jwt.encode({"role": "service_role"}, "x" * 32),
            "of another key": signed(gateway, kid="another"),
            "of another algorithm": signed(gateway, algorithm="HS512"),
        }
        with gateway.http(authorization=f"Bearer {made.get(token, token)}") as http:
            answer = post(http, "whoami")
        assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (401, code, message)
        assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        ("claims", "message"),
        [
            ({"exp": AHEAD + 0.5}, "JWT expired"),
            ({"exp": 1e30}, "JWT expired"),
            ({"exp": "tomorrow"}, "The JWT 'exp' claim must be a number"),
            ({"nbf": AHEAD}, "JWT not yet valid"),
            ({"iat": AHEAD}, "JWT issued at future"),
            ({"aud": ["a", 5]}, "The JWT 'aud' claim must be a string or an array of strings"),
            ({"role": 5}, 'role "5" does not exist'),
            ({"role": None}, 'role "null" does not exist'),
            ({"role": ["anon"]}, 'role "["anon"]" does not exist'),
            ({"role": ""}, 'role "" does not exist'),
            ({"role": "nobody"}, 'role "nobody" does not exist'),
        ],
        ids=str,
    )
    def test_a_claim_that_isnt_as_it_must_be_is_a_401(
        self, gateway: Gateway, claims: dict[str, Any], message: str
    ) -> None:
        with gateway.http(authorization=f"Bearer {signed(gateway, claims)}") as http:
            answer = post(http, "whoami")
        assert (answer.status_code, answer.json()["message"]) == (401, message)

    @pytest.mark.parametrize(
        "payload",
        [
            b"[1]",
            b"{",
            b'{"n": NaN}',
            b'{"name": "\xe9"}',
            b'{"name": "\\ud83d"}',
            b"\xef\xbb\xbf{}",
        ],
        ids=repr,
    )
    def test_claims_that_are_no_json_object_are_a_401(self, gateway: Gateway, payload: bytes) -> None:
        token = jwt.PyJWS().encode(payload, gateway.keys.jwt_secret, "HS256")
        with gateway.http(gateway.keys.publishable, authorization=f"Bearer {token}") as http:
            answer = post(http, "whoami")
        told = (answer.status_code, answer.json()["code"], answer.json()["message"])
        assert told == (401, "PGRST303", "Parsing claims failed")

    @pytest.mark.parametrize("role", ["anon", "authenticated"])
    def test_of_two_roles_in_a_token_the_first_counts(self, gateway: Gateway, role: str) -> None:
        payload = f'{{"role": "{role}", "sub": null, "role": "service_role"}}'.encode()
        token = jwt.PyJWS().encode(payload, gateway.keys.jwt_secret, "HS256")
        with gateway.http(gateway.keys.publishable, authorization=f"Bearer {token}") as http:
            assert post(http, "whoami").json()["role"] == role

    @pytest.mark.parametrize("mark", ["=", "==", "*"])
    def test_a_token_with_letters_that_are_none_of_base64_is_a_401(self, gateway: Gateway, mark: str) -> None:
        token = signed(gateway)
        for bad in (token + mark, token.replace(".", f"{mark}.", 1), token.replace(".e", f".{mark}e", 1)):
            with gateway.http(gateway.keys.publishable, authorization=f"Bearer {bad}") as http:
                answer = post(http, "whoami")
            assert (answer.status_code, answer.json()["code"]) == (401, "PGRST301"), bad

    @pytest.mark.parametrize(
        "claims",
        [{"exp": None}, {"nbf": 1e30}, {"iat": None}, {"aud": "a"}, {"aud": []}, {"sub": None}],
        ids=str,
    )
    def test_other_claims_are_taken(self, gateway: Gateway, claims: dict[str, Any]) -> None:
        with gateway.http(authorization=f"Bearer {signed(gateway, claims)}") as http:
            assert post(http, "whoami").json()["role"] == "anon"

    def test_what_is_forbidden_is_401_for_anon_and_403_for_users(self, gateway: Gateway) -> None:
        with gateway.http(gateway.keys.publishable) as http:
            answer = post(http, "secret")
        assert (answer.status_code, answer.json()["code"]) == (401, "42501")
        token = gateway.keys.mint("authenticated")
        with gateway.http(gateway.keys.publishable, authorization=f"Bearer {token}") as http:
            assert post(http, "secret").status_code == 403

    def test_one_callers_settings_never_reach_the_next(self, gateway: Gateway) -> None:
        token = gateway.keys.mint("authenticated", {"sub": "00000000-0000-4000-8000-000000000001"})
        with gateway.http(gateway.keys.publishable, authorization=f"Bearer {token}") as user:
            post(user, "whoami")
        with gateway.http(gateway.keys.publishable) as anon:
            for _ in range(12):
                assert post(anon, "whoami").json()["sub"] is None


class TestErrors:
    @pytest.mark.parametrize(
        ("state", "status"),
        [
            ("P0001", 400),
            ("22023", 400),
            ("23505", 409),
            ("23503", 409),
            ("42883", 404),
            ("42P01", 404),
            ("53300", 503),
            ("57P01", 503),
            ("57014", 500),
            ("PT418", 418),
            ("XX000", 500),
        ],
    )
    def test_the_sqlstate_decides_the_status(self, http: httpx.Client, state: str, status: int) -> None:
        answer = post(http, "fail", {"state": state})
        assert answer.status_code == status
        assert answer.json() == {
            "code": state,
            "message": "told so",
            "details": "the detail",
            "hint": "the hint",
        }

    def test_a_body_that_is_no_json_object_is_pgrst102(self, http: httpx.Client) -> None:
        bom, deep = b"\xef\xbb\xbf{}", b"[" * 100_000
        for body in (b"{", b"[1]", b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a": "\xff"}', bom, deep):
            answer = http.post("/rest/v1/rpc/add", content=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "PGRST102")

    def test_another_schema_is_pgrst106(self, http: httpx.Client) -> None:
        answer = post(http, "whoami", **{"content-profile": "storage"})
        assert (answer.status_code, answer.json()["code"]) == (406, "PGRST106")

    def test_no_such_path_is_pgrst125(self, http: httpx.Client) -> None:
        assert http.get("/rest/v1/a/b/c").json()["code"] == "PGRST125"


class TestReading:
    def test_columns_can_be_chosen_and_renamed(self, client: Client) -> None:
        rows = client.table("animals").select("who:name", "legs").eq("name", "ant").execute().data
        assert rows == [{"who": "ant", "legs": 6}]

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({"legs": "eq.4"}, ["cat", 'd,o"g']),
            ({"legs": "neq.4"}, ["ant", "bat", "eel"]),
            ({"legs": "gt.4"}, ["ant"]),
            ({"legs": "gte.4"}, ["ant", "cat", 'd,o"g']),
            ({"legs": "lt.2"}, ["eel"]),
            ({"legs": "lte.2"}, ["bat", "eel"]),
            ({"name": 'in.(ant,"d,o\\"g",none)'}, ["ant", 'd,o"g']),
            ({"embedding": "is.null"}, ['d,o"g', "eel"]),
            ({"embedding": "not.is.null"}, ["ant", "bat", "cat"]),
            ({"name": "like.*at"}, ["bat", "cat"]),
            ({"name": "ilike.*AT"}, ["bat", "cat"]),
            ({"name": "not.like.*at", "legs": "gt.0"}, ["ant", 'd,o"g']),
            ({"name": "eq.'; drop table public.animals; --"}, []),
        ],
        ids=str,
    )
    def test_filters(self, http: httpx.Client, query: dict[str, str], names: list[str]) -> None:
        answer = http.get("/rest/v1/animals", params={"select": "name", "order": "name", **query})
        assert [row["name"] for row in answer.json()] == names

    def test_filters_of_the_client(self, client: Client) -> None:
        rows = client.table("animals").select("name").in_("name", ['d,o"g', "x(y)"]).execute().data
        assert rows == [{"name": 'd,o"g'}]

    def test_order_limit_offset_and_range(self, client: Client, http: httpx.Client) -> None:
        ordered = client.table("animals").select("name").order("legs", desc=True).order("name")
        assert [row["name"] for row in ordered.range(1, 2).execute().data] == ["cat", 'd,o"g']
        answer = http.get("/rest/v1/animals?select=name&order=name", headers={"range": "1-2"})
        assert [row["name"] for row in answer.json()] == ["bat", "cat"]
        assert answer.headers["content-range"] == "1-2/*"
        nulls = http.get("/rest/v1/animals?select=name&order=embedding.asc.nullsfirst,name&limit=1")
        assert nulls.json() == [{"name": 'd,o"g'}]

    def test_the_count_goes_into_content_range(self, client: Client, http: httpx.Client) -> None:
        assert client.table("animals").select("*", count="exact").limit(2).execute().count == 5
        answer = http.get("/rest/v1/animals?limit=2", headers={"prefer": "count=exact"})
        assert (answer.status_code, answer.headers["content-range"]) == (206, "0-1/5")
        last = http.get("/rest/v1/animals?offset=5", headers={"prefer": "count=exact"})
        assert (last.status_code, last.json(), last.headers["content-range"]) == (206, [], "*/5")
        beyond = http.get("/rest/v1/animals?offset=6", headers={"prefer": "count=exact"})
        assert (beyond.status_code, beyond.json()["code"]) == (416, "PGRST103")

    def test_a_planned_count_is_the_planners_guess(self, gateway: Gateway, http: httpx.Client) -> None:
        """https://docs.postgrest.org/en/stable/references/api/preferences.html#counting"""
        with gateway.database.connect() as connection:
            connection.execute("create table public.many as select n from generate_series(1, 3000) as n")
            connection.execute("grant select on public.many to service_role")
            connection.execute("analyze public.many")
            connection.execute("delete from public.many where n <= 200")
        for count, total in (("planned", 3000), ("estimated", 3000), ("exact", 2800)):
            answer = http.get("/rest/v1/many?limit=2", headers={"prefer": f"count={count}"})
            assert answer.headers["content-range"] == f"0-1/{total}"
        few = http.get("/rest/v1/many?n=lt.300", headers={"prefer": "count=estimated"})
        assert few.headers["content-range"] == "0-98/99"

    def test_a_planned_count_of_a_function_tells_nothing(self, http: httpx.Client) -> None:
        answer = post(http, "counted_rows", prefer="count=planned")
        assert answer.headers["content-range"] == "0-2/*"

    def test_head_counts_without_rows(self, client: Client) -> None:
        answer = client.table("animals").select("*", count="exact", head=True).execute()
        assert (answer.data, answer.count) == ([], 5)

    def test_single_wants_exactly_one(self, client: Client) -> None:
        assert client.table("animals").select("name").eq("name", "ant").single().execute().data == {
            "name": "ant"
        }
        for legs, rows in ((4, 2), (100, 0)):
            with pytest.raises(APIError) as error:
                client.table("animals").select("name").eq("legs", legs).single().execute()
            assert (error.value.code, error.value.details) == ("PGRST116", f"The result contains {rows} rows")

    def test_views_and_grants_decide_what_is_there(self, gateway: Gateway) -> None:
        anon = gateway.supabase(gateway.keys.publishable)
        assert len(anon.table("quadrupeds").select("*").execute().data) == 2
        with pytest.raises(APIError) as error:
            anon.table("animals").select("name").execute()
        assert error.value.code == "42501"

    def test_column_grants_hold(self, gateway: Gateway) -> None:
        token = gateway.keys.mint("authenticated")
        user = gateway.supabase(gateway.keys.publishable, Authorization=f"Bearer {token}")
        assert len(user.table("animals").select("name").execute().data) == 5
        with pytest.raises(APIError, match="permission denied"):
            user.table("animals").select("legs").execute()

    @pytest.mark.parametrize(
        ("query", "status", "code"),
        [
            ("select=nope", 400, "42703"),
            ("nope=eq.1", 400, "42703"),
            ("legs=eq.four", 400, "22P02"),
            ("legs=almost.4", 400, "PGRST100"),
            ("legs=4", 400, "PGRST100"),
            ("limit=-1", 416, "PGRST103"),
            ("offset=" + "9" * 5000, 400, "22003"),
            ("order=legs.sideways", 400, "PGRST100"),
            ("select=owner(*)", 400, "PGRST100"),
            ("or=(legs.eq.4)", 400, "PGRST100"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, http: httpx.Client, query: str, status: int, code: str
    ) -> None:
        answer = http.get(f"/rest/v1/animals?{query}")
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    @pytest.mark.parametrize(
        "query",
        ["limit=", "limit=four", "limit=1.5", "limit=" + "9" * 5000, "offset=", "offset=x", "offset=-1"],
    )
    def test_a_window_of_no_number_is_none(self, http: httpx.Client, query: str) -> None:
        answer = http.get(f"/rest/v1/animals?{query}")
        assert (answer.status_code, len(answer.json())) == (200, 5)

    def test_a_value_ends_with_the_first_nul(self, http: httpx.Client) -> None:
        for value in ("eq.ant\0x", "in.(ant,b\0at)"):
            answer = http.get("/rest/v1/animals", params={"select": "name", "name": value})
            assert answer.json() == [{"name": "ant"}]

    def test_a_range_may_end_beyond_all_numbers_and_not_begin_there(self, http: httpx.Client) -> None:
        for told in ("0-" + "9" * 5000, "0-", "x-y"):
            answer = http.get("/rest/v1/animals", headers={"range": told})
            assert (answer.status_code, len(answer.json())) == (200, 5)
        answer = http.get("/rest/v1/animals", headers={"range": "9" * 5000 + "-"})
        assert (answer.status_code, answer.json()["code"]) == (400, "22003")

    def test_an_unknown_table_is_pgrst205(self, http: httpx.Client) -> None:
        answer = http.get("/rest/v1/plants")
        assert (answer.status_code, answer.json()["code"]) == (404, "PGRST205")

    def test_other_media_types_are_pgrst107(self, http: httpx.Client) -> None:
        answer = http.get("/rest/v1/animals", headers={"accept": "text/csv"})
        assert (answer.status_code, answer.json()["code"]) == (406, "PGRST107")

    def test_any_name_can_be_a_column(self, http: httpx.Client) -> None:
        name = '"Odd \\"Name%"'
        answer = http.get("/rest/v1/animals", params={"select": name, name: "is.null", "limit": "1"})
        assert answer.json() == [{'Odd "Name%': None}]


class TestWriting:
    @pytest.fixture(autouse=True)
    def clean(self, gateway: Gateway) -> Iterator[None]:
        yield
        with gateway.database.connect() as connection:
            connection.execute("delete from public.animals where name like 'new%'")

    def test_insert_answers_with_the_row(self, client: Client) -> None:
        (row,) = client.table("animals").insert({"name": "new", "embedding": [1, 2, 3]}).execute().data
        assert (row["name"], row["legs"], row["embedding"]) == ("new", 4, "[1,2,3]")

    def test_insert_minimal_needs_no_right_to_read(self, gateway: Gateway) -> None:
        token = gateway.keys.mint("authenticated")
        headers = {"authorization": f"Bearer {token}", "prefer": "return=minimal"}
        with gateway.http(gateway.keys.publishable, **headers) as http:
            answer = http.post("/rest/v1/animals", json={"name": "new"})
        assert (answer.status_code, answer.content) == (201, b"")

    def test_rows_with_different_keys_are_filled_with_null_or_with_defaults(self, client: Client) -> None:
        rows = [{"name": "new1", "legs": 8}, {"name": "new2"}]
        animals = client.table("animals")
        assert [row["legs"] for row in animals.insert(rows).execute().data] == [8, None]
        rows = [{"name": "new3", "legs": 8}, {"name": "new4"}]
        filled = client.table("animals").insert(rows, default_to_null=False).execute().data
        assert [row["legs"] for row in filled] == [8, 4]

    def test_upsert_merges_or_ignores(self, client: Client) -> None:
        client.table("animals").insert({"name": "new", "legs": 1}).execute()
        merged = client.table("animals").upsert({"name": "new", "legs": 2}, on_conflict="name").execute()
        assert [row["legs"] for row in merged.data] == [2]
        rows = [{"name": "new", "legs": 3}, {"name": "new2", "legs": 3}]
        ignoring = client.table("animals").upsert(rows, on_conflict="name", ignore_duplicates=True)
        assert [row["name"] for row in ignoring.execute().data] == ["new2"]

    def test_a_duplicate_is_a_409(self, client: Client) -> None:
        with pytest.raises(APIError) as error:
            client.table("animals").insert({"name": "ant"}).execute()
        assert error.value.code == "23505"

    def test_update_and_delete_touch_what_the_filters_say(self, client: Client) -> None:
        client.table("animals").insert([{"name": "new1"}, {"name": "new2"}]).execute()
        updated = (
            client.table("animals").update({"legs": 9, "facts": {"a": [1]}}).eq("name", "new1").execute()
        )
        assert [(row["name"], row["legs"], row["facts"]) for row in updated.data] == [("new1", 9, {"a": [1]})]
        deleted = client.table("animals").delete().like("name", "new%").gt("legs", 5).execute()
        assert [row["name"] for row in deleted.data] == ["new1"]

    def test_minimal_update_and_delete_are_204(self, http: httpx.Client) -> None:
        assert http.patch("/rest/v1/animals?name=eq.nobody", json={"legs": 1}).status_code == 204
        assert http.delete("/rest/v1/animals?name=eq.nobody").status_code == 204

    def test_a_write_without_a_filter_is_refused(self, http: httpx.Client) -> None:
        for answer in (http.delete("/rest/v1/animals"), http.patch("/rest/v1/animals", json={"legs": 0})):
            assert (answer.status_code, answer.json()["code"]) == (400, "21000")

    def test_an_unknown_column_is_pgrst204(self, http: httpx.Client) -> None:
        answer = http.post("/rest/v1/animals", json={"name": "new", "wings": 2})
        assert (answer.status_code, answer.json()["code"]) == (400, "PGRST204")


def test_requests_survive_a_restart_of_their_connections(gateway: Gateway, http: httpx.Client) -> None:
    post(http, "whoami")
    with psycopg.connect(gateway.database.url("supabase_admin"), autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and usename = 'authenticator'"
        )
    assert post(http, "whoami").status_code == 200


@pytest.mark.parametrize(
    "path", ["rest/v1/rpc/add", "rest/v1/animals", "auth/v1/token?grant_type=password", "auth/v1/signup"]
)
def test_bodies_that_stay_away_hold_no_connection_to_the_database(
    gateway: Gateway, http: httpx.Client, path: str
) -> None:
    address = urlsplit(gateway.url)
    head = f"POST /{path} HTTP/1.1\r\nHost: a\r\napikey: {gateway.keys.secret}\r\nContent-Length: 9\r\n\r\n{{"
    with ExitStack() as slow:
        for _ in range(POOL_SIZE):
            client = socket.create_connection((address.hostname, address.port))
            slow.enter_context(client).sendall(head.encode())
        assert post(http, "add", {"a": 1}).status_code == 200
        answer = http.post("/auth/v1/token?grant_type=password", json={})
        assert answer.status_code == 400, answer.text


def test_responses_are_compact_json_in_utf8(http: httpx.Client) -> None:
    answer = post(http, "add", {"a": 1})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(answer.text) == 3
