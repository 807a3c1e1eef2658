"""The settings: defaults, alternatives, clear errors, and secrets that stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import settings
from shared.errors import SettingsError

HOSTED = {
    "SUPABASE_URL": "https://ref.supabase.co/",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_a",
    "SUPABASE_SECRET_KEY": "sb_secret_b",
    "EMBED_WEBHOOK_SECRET": "new, old",
}


def test_function_urls_default_to_the_projects_own():
    found = settings.load({"SUPABASE_URL": "http://127.0.0.1:54321/"})
    assert found.query_url == "http://127.0.0.1:54321/functions/v1/query"
    assert found.embed_url == "http://127.0.0.1:54321/functions/v1/embed_on_upload"


def test_legacy_key_names_are_read_and_the_new_ones_preferred():
    legacy = {"SUPABASE_URL": "http://x", "SUPABASE_ANON_KEY": "anon", "SUPABASE_SERVICE_ROLE_KEY": "service"}
    found = settings.load(legacy)
    assert (found.publishable_key, found.secret_key) == ("anon", "service")
    assert settings.load(legacy | HOSTED).publishable_key == "sb_publishable_a"


def test_two_webhook_secrets_are_accepted_and_three_refused():
    assert settings.load(HOSTED).webhook_secrets == ("new", "old")
    with pytest.raises(SettingsError, match="holds 3 values"):
        settings.load(HOSTED | {"EMBED_WEBHOOK_SECRET": "a,b,c"})


def test_frame_origins_are_origins_and_nothing_else():
    found = settings.load(HOSTED | {"PAGE_FRAME_ORIGINS": "https://a.example, http://localhost:3000"})
    assert found.page_frame_origins == ("https://a.example", "http://localhost:3000")
    for wrong in ("*", "https://*.example", "https://a.example/path", "a.example", "https://a; script-src *"):
        with pytest.raises(SettingsError, match="PAGE_FRAME_ORIGINS"):
            settings.load(HOSTED | {"PAGE_FRAME_ORIGINS": wrong})


def test_secrets_do_not_show_in_the_repr():
    shown = repr(settings.load(HOSTED | {"DATABASE_URL": "postgresql://u:pw@h/d"}))
    for secret in ("sb_publishable_a", "sb_secret_b", "new", "old", "pw"):
        assert f"'{secret}" not in shown and f":{secret}@" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_URL", "ref.supabase.co"),
        ("QUERY_URL", "ftp://x"),
        ("EMBEDDING_DEVICE", "tpu"),
        ("EMBEDDING_ENGINE", "onnx"),
        ("EMBEDDING_PRECISION", "int4"),
        ("MAX_IMAGE_BYTES", "0"),
        ("MAX_IMAGE_PIXELS", "many"),
        ("MAX_DECODE_SECONDS", "0.5"),
        ("MAX_DECODE_MEMORY", "1000000"),
        ("LOCAL_PORT", "-1"),
        ("LOCAL_PORT", "65536"),
    ],
)
def test_a_senseless_value_is_named_with_what_was_expected(name: str, value: str):
    with pytest.raises(SettingsError, match=rf"{name} is '{value}'\. Expected"):
        settings.load(HOSTED | {name: value})


def test_a_missing_setting_is_named_only_when_it_is_needed(tmp_path: Path):
    found = settings.load({"LOCAL_DATA": str(tmp_path)})
    with pytest.raises(SettingsError, match="SUPABASE_SECRET_KEY or SUPABASE_SERVICE_ROLE_KEY is not set"):
        found.need("secret_key")


def test_the_running_embedded_stack_is_used_where_no_project_is_named(tmp_path: Path):
    (tmp_path / settings.STACK_FILE).write_text("SUPABASE_URL=http://127.0.0.1:5\nSUPABASE_SECRET_KEY=s\n")
    for unset in ({}, {"SUPABASE_URL": ""}):
        assert settings.load({"LOCAL_DATA": str(tmp_path)} | unset).supabase_url == "http://127.0.0.1:5"
    assert settings.load({"LOCAL_DATA": str(tmp_path)} | HOSTED).secret_key == "sb_secret_b"


def test_a_stacks_folder_that_cannot_be_read_is_named_with_a_remedy(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"can't be read: Not a directory\. Set LOCAL_DATA"):
        settings.load({"LOCAL_DATA": str(tmp_path / "file")})


def test_settings_survive_the_way_to_a_child_process(tmp_path: Path):
    found = settings.load(HOSTED | {"LOCAL_DATA": str(tmp_path)})
    assert settings.load(settings.environment(found)) == found
