"""The facts about one object, and the way by which the database searched."""

from __future__ import annotations

import json

import psycopg
import pytest
from support.databases import MODEL, as_role, vector


def explain(db, name, query=None, **narrow):
    ((facts,),) = db.execute(
        "select public.explain_object('images', %s, %s::extensions.vector, %s)",
        [name, query, json.dumps(narrow)],
    )
    return facts


def test_an_object_that_is_not_there_has_no_facts_but_its_bucket(db):
    facts = explain(db, "nothing.png")
    assert facts == {
        "model": MODEL, "object": None, "indexed": True, "declared": None, "state": None, "job": None,
        "document": None, "confidence": None, "filter": {},
    }  # fmt: skip


def test_an_object_without_a_document_has_its_job_with_the_cause(db, make_object):
    make_object("a.png")
    assert (explain(db, "a.png")["state"], explain(db, "a.png")["document"]) == ("due", None)
    db.execute(
        "update neural_search.jobs set state = 'skipped', error_class = 'NotAnImage', error_message = 'Text.'"
    )
    facts = explain(db, "a.png")
    assert (facts["state"], facts["job"]["error_class"], facts["job"]["error_message"]) == (
        "skipped", "NotAnImage", "Text.",
    )  # fmt: skip


def test_a_document_has_its_version_its_decoder_and_its_similarity(db, make_document):
    object_id = make_document("a.png", 3.0, 4.0, owner_id="me", version="one")
    db.execute("update neural_search.documents set decoder_version = 2")
    facts = explain(db, "a.png", vector(1.0))
    assert (facts["state"], facts["job"]) == ("searchable", None)
    assert (facts["object"]["id"], facts["object"]["version"]) == (str(object_id), "one")
    assert (facts["document"]["object_version"], facts["document"]["decoder_version"]) == ("one", 2)
    assert facts["document"]["similarity"] == pytest.approx(0.6)


def test_the_confidence_is_what_a_search_answers(db, make_document):
    make_document("a.png", 3.0, 4.0)
    found = db.execute(
        "select similarity, confidence from public.match_documents(%s)", [vector(1.0)]
    ).fetchone()
    facts = explain(db, "a.png", vector(1.0))
    assert found is not None and (facts["document"]["similarity"], facts["confidence"]) == found


def test_each_key_of_a_filter_is_judged_by_itself(db, make_document):
    make_document("cats/a.png", owner_id="me", user_metadata=psycopg.types.json.Jsonb({"tag": 7}))
    narrow = {
        "prefix": "dogs/",
        "owner": "me",
        "mime_type": ["image/png", "image/gif"],
        "metadata": {"tag": 8},
    }
    assert explain(db, "cats/a.png", **narrow)["filter"] == {
        "prefix": False, "owner": True, "mime_type": True, "metadata": False,
    }  # fmt: skip
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="filter has a key 'colour'"):
        explain(db, "cats/a.png", colour="red")


def test_a_bucket_that_is_not_indexed_is_named_so(db, make_document):
    make_document("a.png")
    db.execute("select public.unindex_bucket('images')")
    facts = explain(db, "a.png")
    assert facts["object"] and (facts["indexed"], facts["state"], facts["document"]) == (False, None, None)


def test_a_bucket_has_its_declaration_unless_everybody_may_search_it(db):
    db.execute("""select public.index_bucket('images', visible_by => '{"owner": "auth.uid()"}')""")
    assert explain(db, "a.png")["declared"] == {"owner": "auth.uid()"}
    db.execute("update neural_search.buckets set public_search = true")
    assert explain(db, "a.png")["declared"] is None


def test_the_service_may_ask_and_nobody_else(db, make_document):
    make_document("a.png")
    with as_role(db, "service_role"):
        assert explain(db, "a.png")["state"] == "searchable"
    for role in ("anon", "authenticated"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), as_role(db, role):
            explain(db, "a.png")


@pytest.mark.parametrize("told", ["on", "off"])
def test_a_setting_has_the_database_log_by_which_way_it_searched(db, make_document, told):
    make_document("a.png")
    lines: list[str | None] = []
    db.add_notice_handler(lambda notice: lines.append(notice.message_primary))
    with as_role(db, "anon"):
        db.execute(
            "select set_config('neural_search.explain', %s, true),"
            " set_config('client_min_messages', 'log', true)",
            [told],
        )
        db.execute("select from public.match_documents(%s, match_count => 3)", [vector(1.0)])
    ways = [line for line in lines if line and line.startswith("neural-search looked for")]
    assert bool(ways) == (told == "on")
    assert not ways or ways[0] == "neural-search looked for 7 by the way of hnsw: 1 found"
