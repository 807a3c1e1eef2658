"""The settings: defaults, alternatives, clear errors, and secrets that stay secret."""

from __future__ import annotations

import random
import re
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import jwt
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from support.pretended_stack import pretended

from shared import settings
from shared.errors import SettingsError, StackError

HOSTED = {
    "SUPABASE_URL": "https://ref.supabase.co/",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_a",
    "SUPABASE_SECRET_KEY": "sb_secret_b",
    "EMBED_WEBHOOK_SECRET": "the-new-secret-of-two, the-old-secret-of-two",
}


def test_function_urls_default_to_the_projects_own():
    found = settings.load({"SUPABASE_URL": "http://127.0.0.1:54321/"})
    assert found.query_url == "http://127.0.0.1:54321/functions/v1/query"
    assert found.embed_url == "http://127.0.0.1:54321/functions/v1/embed_on_upload"


def test_legacy_key_names_are_read_and_the_new_ones_preferred():
    legacy = {
        "SUPABASE_URL": "http://x",
        "SUPABASE_ANON_KEY": token("anon"),
        "SUPABASE_SERVICE_ROLE_KEY": "service",
    }
    found = settings.load(legacy)
    assert (found.publishable_key, found.secret_key) == (token("anon"), "service")
    assert settings.load(legacy | HOSTED).publishable_key == "sb_publishable_a"


def test_two_webhook_secrets_are_accepted_and_three_refused():
    assert settings.load(HOSTED).webhook_secrets == ("the-new-secret-of-two", "the-old-secret-of-two")
    with pytest.raises(SettingsError, match="holds 3 values"):
        settings.load(HOSTED | {"EMBED_WEBHOOK_SECRET": "a" * 16 + ",b" + "b" * 16 + ",c" + "c" * 16})


def test_frame_origins_are_origins_and_nothing_else():
    found = settings.load(HOSTED | {"PAGE_FRAME_ORIGINS": "https://a.example, http://localhost:3000"})
    assert found.page_frame_origins == ("https://a.example", "http://localhost:3000")
    for wrong in (
        "*",
        "https://*.example",
        "https://a.example/path",
        "a.example",
        "https://a; script-src *",
        "https://[",
    ):
        with pytest.raises(SettingsError, match="PAGE_FRAME_ORIGINS"):
            settings.load(HOSTED | {"PAGE_FRAME_ORIGINS": wrong})


@pytest.mark.parametrize("name", ["SUPABASE_URL", "SUPABASE_PUBLIC_URL", "QUERY_URL", "EMBED_URL"])
@pytest.mark.parametrize(
    "wrong",
    [
        "https://*.co",
        "https://x.co;script-src",
        "https://x.co'",
        "https://x.co?a=b",
        "https://x.co#f",
        "https://x.co:99999",
        "https://x.co:x",
        "http://ref.supabase.co",
        "http://ref.supabase.co.",
        "http://ref.supabase.in",
        "HTTP://REF.SUPABASE.CO",
    ],
)
def test_addresses_are_origins_to_add_paths_to_and_the_platforms_are_encrypted(name: str, wrong: str):
    with pytest.raises(SettingsError, match=f"{name} "):
        settings.load(HOSTED | {name: wrong})


@pytest.mark.parametrize("name", ["SUPABASE_URL", "EMBED_URL"])
@pytest.mark.parametrize("right", ["http://embed-on-upload:8080", "http://[::1]:54321", "https://x.test/a/b"])
def test_addresses_within_a_network_may_be_unencrypted_and_have_ports_and_paths(name: str, right: str):
    found = settings.load(HOSTED | {name: right})
    assert right in (found.supabase_url, found.embed_url)


def test_a_scheme_in_capitals_is_the_same():
    assert settings.load(HOSTED | {"SUPABASE_URL": "HTTPS://x.test/"}).supabase_url == "https://x.test"


@pytest.mark.parametrize("api", ["rest", "storage", "auth", "functions"])
def test_the_address_of_one_api_of_a_project_is_told_from_the_projects(api: str):
    with pytest.raises(SettingsError, match=r"SUPABASE_URL is .*, the address of one API of the project"):
        settings.load(HOSTED | {"SUPABASE_URL": f"http://127.0.0.1:54321/{api}/v1/"})


@pytest.mark.parametrize("wrong", ["/tmp/a\0b", "/tmp/\ud83d"])
def test_a_folder_that_can_have_no_such_name_is_refused(wrong: str):
    with pytest.raises(SettingsError, match="LOCAL_DATA"):
        settings.load(HOSTED | {"LOCAL_DATA": wrong})


def test_secrets_do_not_show_in_the_repr():
    shown = repr(settings.load(HOSTED | {"DATABASE_URL": "postgresql://u:pw@h/d"}))
    for secret in ("sb_publishable_a", "sb_secret_b", "the-new-secret-of-two", "the-old-secret-of-two", "pw"):
        assert f"'{secret}" not in shown and f":{secret}@" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_URL", "ref.supabase.co"),
        ("QUERY_URL", "ftp://x"),
        ("EMBED_URL", "http://[::1"),
        ("EMBEDDING_DEVICE", "tpu"),
        ("LOG_LEVEL", "inof"),
        ("EMBEDDING_ENGINE", "onnx"),
        ("EMBEDDING_PRECISION", "int4"),
        ("MAX_IMAGE_BYTES", "0"),
        ("MAX_IMAGE_PIXELS", "many"),
        ("MAX_IMAGE_PIXELS", "9" * 5000),
        ("MAX_DECODE_SECONDS", "0.5"),
        ("MAX_DECODE_MEMORY", "1000000"),
        ("LOCAL_PORT", "-1"),
        ("LOCAL_PORT", "65536"),
    ],
)
def test_a_senseless_value_is_named_with_what_was_expected(name: str, value: str):
    told = (
        f"'{value}'"
        if len(value) < 10 and re.fullmatch(r"[a-z]+|[-.\d]+", value)
        else f"a text of {len(value)} characters"
    )
    with pytest.raises(SettingsError, match=re.escape(f"{name} is {told}. Expected")):
        settings.load(HOSTED | {name: value})


def test_a_missing_setting_is_named_only_when_it_is_needed(tmp_path: Path):
    found = settings.load({"LOCAL_DATA": str(tmp_path)})
    with pytest.raises(SettingsError, match="SUPABASE_SERVICE_ROLE_KEY or SUPABASE_SECRET_KEYS is not set"):
        found.need("secret_key")


def test_the_running_embedded_stack_is_used_where_no_project_is_named(tmp_path: Path):
    with pretended(tmp_path, 5) as url:
        for unset in ({}, {"SUPABASE_URL": ""}, {"SUPABASE_URL": " "}, {"LOCAL_DATA": f" {tmp_path}\r\n"}):
            assert settings.load({"LOCAL_DATA": str(tmp_path)} | unset).supabase_url == url
        assert settings.load({"LOCAL_DATA": str(tmp_path)} | HOSTED).secret_key == "sb_secret_b"
    # Once it was killed, its port is anybody's.
    assert settings.load({"LOCAL_DATA": str(tmp_path)}).supabase_url == ""


def test_a_stacks_folder_that_cannot_be_read_is_named_with_a_remedy(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match=r"can't be used: Not a directory .*\. Set LOCAL_DATA"):
        settings.load({"LOCAL_DATA": str(tmp_path / "file")})


@pytest.mark.parametrize("environment", [settings.child_environment, settings.bare_environment])
def test_a_child_process_imports_nothing_of_the_folder_that_it_starts_in(
    environment: Callable[[dict[str, str]], dict[str, str]], tmp_path: Path
):
    for name in ("json", "jwt", "shared"):
        (tmp_path / f"{name}.py").write_text("print('theirs')")
    done = subprocess.run(
        [sys.executable, "-c", "import json, jwt, shared; print(shared.__file__)"],
        cwd=tmp_path, env=environment({}), capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == f"{settings.CHECKOUT / 'shared' / '__init__.py'}\n"


def test_settings_survive_the_way_to_a_child_process(tmp_path: Path):
    found = settings.load(HOSTED | {"LOCAL_DATA": str(tmp_path)})
    assert settings.load(settings.environment(found)) == found


def token(role: str | None) -> str:
    return jwt.encode(
        {} if role is None else {"role": role}, "a secret that is long enough for HMAC", "HS256"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_PUBLISHABLE_KEY", "sb_secret_hidden"),
        ("SUPABASE_ANON_KEY", token("service_role")),
        ("SUPABASE_ANON_KEY", token("authenticated")),
        ("SUPABASE_ANON_KEY", token(None)),
        ("SUPABASE_PUBLISHABLE_KEYS", '{"default": "sb_secret_hidden"}'),
        ("SUPABASE_SECRET_KEY", "sb_publishable_hidden"),
        ("SUPABASE_SERVICE_ROLE_KEY", token("anon")),
        ("SUPABASE_SECRET_KEYS", '{"default": "sb_publishable_hidden"}'),
        ("SUPABASE_PUBLISHABLE_KEY", '"sb_secret_hidden"'),  # `docker run --env-file` keeps quotes
        ("SUPABASE_PUBLISHABLE_KEY", "Bearer sb_secret_hidden"),
        ("SUPABASE_PUBLISHABLE_KEY", '{"a": "sb_publishable_hidden", "default": "sb_secret_hidden"}'),
        ("SUPABASE_ANON_KEY", f"'{token('service_role')}'"),
        ("SUPABASE_ANON_KEY", f"Bearer {token('service_role')}"),
        ("SUPABASE_ANON_KEY", f'apikey="{token("service_role")}"\n# of the project ref.supabase.co'),
        ("SUPABASE_PUBLISHABLE_KEY", f"sb_publishable_hidden {token('service_role')}"),
        ("SUPABASE_ANON_KEY", f"{token('anon')},{token('service_role')}"),
        ("SUPABASE_ANON_KEY", f"key.{token('service_role')}"),
        ("SUPABASE_ANON_KEY", token("service_role").replace(".", ".\n")),
    ],
)
def test_a_key_in_the_place_of_another_is_refused_and_not_told(name: str, value: str):
    with pytest.raises(
        SettingsError, match=rf"{name} holds a key that acts as .* Expected one that acts as"
    ) as told:
        settings.load({"SUPABASE_URL": "http://x", name: value})
    assert "hidden" not in str(told.value) and value not in str(told.value)


@pytest.mark.parametrize(
    "secret",
    [
        "hidden-jwt-secret-with-at-least-32-characters",
        "sbp_hidden0123456789",
        '{"kty": "EC", "crv": "P-256", "d": "hidden"}',
        "postgresql://postgres:hidden@db.ref.supabase.co:5432/postgres",
        "sb_publishable_a,hidden-jwt-secret",
        f"{token('anon')} # hidden",
    ],
)
def test_nothing_that_doesnt_act_as_anon_alone_is_taken_for_the_publishable_key(secret: str):
    """The page's settings tell it everybody."""
    with pytest.raises(
        SettingsError, match=r"SUPABASE_ANON_KEY holds a text of \d+ char.*the page tells it"
    ) as told:
        settings.load({"SUPABASE_URL": "http://x", "SUPABASE_ANON_KEY": secret})
    assert "hidden" not in str(told.value)


def test_a_key_is_taken_that_acts_as_it_should_or_a_secret_one_that_doesnt_tell():
    for name, value in (
        ("SUPABASE_ANON_KEY", token("anon")),
        ("SUPABASE_SERVICE_ROLE_KEY", token("service_role")),
        ("SUPABASE_SECRET_KEY", "of-another-kind"),
    ):
        assert (
            value in settings.environment(settings.load({name: value, "SUPABASE_URL": "http://x"})).values()
        )


def test_keys_are_also_read_from_the_maps_that_the_platform_sets():
    maps = {
        "SUPABASE_URL": "http://x",
        "SUPABASE_PUBLISHABLE_KEYS": '{"web": "sb_publishable_a", "default": "sb_publishable_b"}',
        "SUPABASE_SECRET_KEYS": '{"only": "sb_secret_c"}',
    }
    found = settings.load(maps)
    assert (found.publishable_key, found.secret_key) == ("sb_publishable_b", "sb_secret_c")
    single = {"SUPABASE_PUBLISHABLE_KEY": "sb_publishable_d"}
    assert settings.load(maps | single).publishable_key == "sb_publishable_d"
    assert settings.load(maps, for_callers=True).secret_key == ""


@pytest.mark.parametrize(
    "secret",
    [
        "sb_secret_hidden",
        "the-new-secret-of-two, sb_publishable_hidden",
        token("service_role"),
        f"Bearer {token('service_role')}",
    ],
)
def test_no_key_of_the_project_is_taken_for_the_webhooks_secret(secret: str):
    """Every role of the database can read that one in pg_net's queue."""
    with pytest.raises(SettingsError, match="EMBED_WEBHOOK_SECRET holds a key that acts as") as told:
        settings.load({"SUPABASE_URL": "http://x", "EMBED_WEBHOOK_SECRET": secret})
    assert "hidden" not in str(told.value) and secret not in str(told.value)


@pytest.mark.parametrize("secret", ["sbp_hidden0123456789abcdef", "postgresql://u:hidden@db.test/postgres"])
def test_neither_an_accounts_token_nor_an_address_is_taken_for_the_webhooks_secret(secret: str):
    with pytest.raises(
        SettingsError, match="EMBED_WEBHOOK_SECRET holds an account's access token or"
    ) as told:
        settings.load({"SUPABASE_URL": "http://x", "EMBED_WEBHOOK_SECRET": secret})
    assert "hidden" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://postgres:the-hidden-password@db.test/postgres"),
        ("DATABASE_URL", "host=db.test password=the-hidden-password"),
        ("DATABASE_URL", "postgresql://postgres:the%2Dhidden-password@db.test/postgres"),
        ("SUPABASE_SECRET_KEY", "the-hidden-password"),
        ("SUPABASE_SERVICE_ROLE_KEY", "the-hidden-password"),
        ("SUPABASE_USER_TOKEN", "the-hidden-password"),
    ],
)
@pytest.mark.parametrize("secret", ["the-hidden-password", "the-new-secret-of-two,x-the-hidden-password"])
def test_no_other_secret_is_taken_for_the_webhooks(name: str, value: str, secret: str):
    """What `install` puts into Vault, every role of the database can read in pg_net's queue."""
    given = {"SUPABASE_URL": "http://x", name: value, "EMBED_WEBHOOK_SECRET": secret}
    with pytest.raises(SettingsError, match="EMBED_WEBHOOK_SECRET holds the value of another") as told:
        settings.load(given)
    assert "hidden" not in str(told.value)


FORMS = {
    "address": lambda password: f"postgresql://u:{quote(password, safe='')}@db.test/x?sslmode=require",
    "no user": lambda password: f"postgresql://:{quote(password, safe='')}@db.test/x",
    "in the query": lambda password: f"postgresql://db.test/x?password={quote(password, safe='')}&user=u",
    "list": lambda password: make_conninfo(password=password, host="db.test"),
    "quoted": lambda password: f"host=db.test password = '{password.translate(ESCAPES)}' user=u",
    "escaped": lambda password: f"host=db.test password={password.translate(ESCAPES)} user=u",
}
ESCAPES = str.maketrans({"'": r"\'", "\\": r"\\"})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "part", ["%2D", "%41", "'s-a-", "\\", "+", "=", ":", "#", "&", "?", "[]", "/", "@", "é"]
)
def test_a_password_is_known_in_every_form_that_libpq_reads(form: str, part: str):
    password = f"the-hidden{part}password"
    url = FORMS[form](password)
    assert conninfo_to_dict(url)["password"] == password
    given = {"SUPABASE_URL": "http://x", "DATABASE_URL": url, "EMBED_WEBHOOK_SECRET": password}
    with pytest.raises(SettingsError, match="EMBED_WEBHOOK_SECRET holds the value of another"):
        settings.load(given)


@pytest.mark.parametrize(
    "secret", ["x", "fifteen-letters", "sixteen--letters,x", "pa55word,with,commas-in-it"]
)
def test_a_webhook_secret_that_can_be_guessed_is_refused(secret: str):
    with pytest.raises(
        SettingsError, match=r"EMBED_WEBHOOK_SECRET holds (a secret of \d+ characters|3 values)"
    ):
        settings.load({"SUPABASE_URL": "http://x", "EMBED_WEBHOOK_SECRET": secret})


TOLD = [names[0] for field, names in settings.ENVIRONMENT.items() if field not in settings.SECRETS]


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize(
    "value",
    [
        "sb_secret_hidden",
        "sbp_hidden0123456789abcdef",
        f"{token('service_role')}hidden",
        "postgresql://postgres:hidden@db.test:5432/postgres",
        "https://user:hidden@a.test",
        "user:hidden@a.test",
        "https://user:hid/hidden@a.test",
        "https://hidden:@a.test",
        "host=a.test password=hidden",
        f"Bearer {token('service_role')}",
    ],
)
def test_no_secret_in_the_wrong_variable_is_told(name: str, value: str):
    with pytest.raises(SettingsError, match=f"^{name} holds a key, a token, a password or the value") as told:
        settings.load({"SUPABASE_URL": "http://x", name: value})
    assert "hidden" not in str(told.value) and value not in str(told.value)


def hidden_in(chance: random.Random) -> list[tuple[str, str, str]]:
    """Of each kind of secret: its variable, its value, and the part of it that nobody may be told."""
    password = "".join(
        chance.choices(string.ascii_letters + string.digits + "!#$%&()*+-./:;<=>?@[]^_{|}~", k=20)
    )
    hexadecimal = f"{chance.getrandbits(128):032x}"
    key = jwt.encode({"role": "service_role", "iat": chance.getrandbits(30)}, password * 2, "HS256")
    return [
        ("EMBED_WEBHOOK_SECRET", password, password),
        ("EMBED_WEBHOOK_SECRET", hexadecimal, hexadecimal),
        ("SUPABASE_SECRET_KEY", f"sb_secret_{hexadecimal}", hexadecimal),
        ("SUPABASE_SECRET_KEY", key, key.rpartition(".")[2]),
        ("DATABASE_URL", f"postgresql://postgres:{quote(password, safe='')}@db.test/postgres", password),
        ("DATABASE_URL", f"postgresql://postgres:{hexadecimal}@db.test:5432/postgres", hexadecimal),
        ("DATABASE_URL", f"host=db.test password={hexadecimal} dbname=postgres", hexadecimal),
    ]


@pytest.mark.parametrize("name", TOLD)
def test_no_error_repeats_a_secret_whatever_its_form(name: str):
    chance = random.Random(name)
    for _, value, hidden in hidden_in(chance) * 20:
        forms = (
            value,
            hidden,
            f"~{hidden}",
            f'"{value}"',
            f"{value}\n# the key",
            f"user:{hidden}@db.test",
            hidden[:13],
        )
        try:
            settings.load({"SUPABASE_URL": "http://x"} | {name: chance.choice(forms)})
        except SettingsError as error:
            assert name in str(error) and hidden[:10] not in str(error)


@pytest.mark.parametrize("name", TOLD)
def test_the_value_of_a_secret_setting_is_refused_in_every_other(name: str):
    """Models and folders have names of any form, and are told to everybody."""
    for own, value, hidden in hidden_in(random.Random(name)):
        for given in (value, f"/{value}/" if own == "SUPABASE_SECRET_KEY" else f"/{hidden}/"):
            with pytest.raises(SettingsError, match=f"^{name} holds a key, a token, a password or") as told:
                settings.load({"SUPABASE_URL": "http://x", own: value} | {name: given})
            assert hidden not in str(told.value)


def test_a_choice_that_a_password_reads_like_is_still_taken():
    urls = {"SUPABASE_URL": "http://x", "DATABASE_URL": "postgresql://postgres:debug@db.test/postgres"}
    assert settings.load(urls | {"LOG_LEVEL": "debug"}).log_level == "debug"
    with pytest.raises(SettingsError, match=r"LOG_LEVEL holds .* the value of a secret setting"):
        settings.load(urls | {"DATABASE_URL": "postgresql://postgres:hunter@a/b", "LOG_LEVEL": "hunter"})


@pytest.mark.parametrize(
    "key", ["sb_secret_hidden", token("service_role"), f"Bearer {token('service_role')}\n"]
)
def test_no_secret_key_is_taken_for_a_users_token(key: str):
    with pytest.raises(SettingsError, match="SUPABASE_USER_TOKEN holds a key that acts as service_role"):
        settings.load(HOSTED | {"SUPABASE_USER_TOKEN": key})


@pytest.mark.parametrize(
    "inside", ["\n", "\r\n", "\r", "\t", " ", "\v", "\x1b", "\xa0", "…", "😀", "\udc80", "\nX-A: 1"]
)
@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_hidden-of-all"),
        ("SUPABASE_ANON_KEY", token("anon")),
        ("SUPABASE_SECRET_KEY", "sb_secret_hidden"),
        ("SUPABASE_SERVICE_ROLE_KEY", token("service_role")),
        ("SUPABASE_SERVICE_ROLE_KEY", "of-another-kind-hidden"),
        ("SUPABASE_USER_TOKEN", token("authenticated")),
        ("EMBED_WEBHOOK_SECRET", "the-new-secret-of-two,the-old-secret-hidden"),
    ],
)
def test_a_key_that_was_copied_in_several_lines_or_with_anything_inside_is_refused_and_not_told(
    name: str, secret: str, inside: str
):
    """HTTP clients refuse some of these, and say their value."""
    beginning, end = secret[:-6], secret[-6:]
    with pytest.raises(SettingsError, match=f"^{name} holds a text of .* characters") as told:
        settings.load({"SUPABASE_URL": "http://x", name: f"{beginning}{inside}{end}"})
    assert beginning[-10:] not in str(told.value) and end not in str(told.value)


@pytest.mark.parametrize("password", ["hid@den", "hid/den", "h@id/d@en"])
def test_no_part_of_a_password_is_taken_for_the_databases_host(password: str):
    """Errors and questions tell the host and the database's name."""
    with pytest.raises(SettingsError, match="write %40 for @") as told:
        settings.load(HOSTED | {"DATABASE_URL": f"postgresql://postgres:{password}@db.test:5432/postgres"})
    assert "den" not in str(told.value)
    for url in (
        "postgresql://u:p%40w@h:5432/d?options=a@b",
        "postgresql:///d?host=/a@b",
        "host=a password=a@b/c@d",
        "",
    ):
        assert settings.load(HOSTED | {"DATABASE_URL": url}).database_url == url


NO_MAPS = ["sb_publishable_a", "[]", "{}", '{"a": "x", "b": "y"}', '"x"', "7", '{"a": 7}', '{"default": {}}']


@pytest.mark.parametrize("text", NO_MAPS)
def test_a_map_without_a_key_to_choose_is_refused(text: str):
    with pytest.raises(SettingsError, match="SUPABASE_PUBLISHABLE_KEYS names no key 'default'"):
        settings.load({"SUPABASE_URL": "http://x", "SUPABASE_PUBLISHABLE_KEYS": text})


def test_browsers_may_reach_the_project_by_another_name():
    urls = {"SUPABASE_URL": "http://kong:8000"}
    assert settings.load(urls).public_url == "http://kong:8000"
    assert settings.load(urls | {"SUPABASE_PUBLIC_URL": "https://a.test/"}).public_url == "https://a.test"
    with pytest.raises(SettingsError, match="SUPABASE_PUBLIC_URL is a text of 6 characters"):
        settings.load(urls | {"SUPABASE_PUBLIC_URL": "a.test"})
