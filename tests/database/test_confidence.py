"""Confidence: the worth of a similarity by the levels of its model, independent of other images."""

from __future__ import annotations

import json
import uuid

import numpy as np
import pytest
from support.databases import DIMENSIONS, MODEL, as_role, vector

from evaluation.levels import LEVELS as MEASURED

LEVELS = "select same, strong, related from neural_search.confidence_levels(%s, %s, %s)"
KINDS = ("image", "text", "mixed")


@pytest.fixture
def indexed(database):
    """Puts documents with these first coordinates into the index, behind the queue's back."""

    def put(points: np.ndarray, bucket: str, model: str = MODEL) -> None:
        with database.connect("supabase_admin") as platform:
            platform.execute("set session_replication_role = 'replica'")
            columns = "object_id, bucket_id, content, model, embedding, object_version"
            with platform.cursor().copy(f"copy neural_search.documents ({columns}) from stdin") as copy:
                for point in points:
                    identity = str(uuid.uuid4())
                    copy.write_row([identity, bucket, f"{identity}.png", model, vector(*point), "v"])

    return put


def levels(db, query: str, kind: str = "image", model: str = MODEL):
    return db.execute(LEVELS, [model, kind, query]).fetchone()


def points(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, 8))


def look_alikes(number: int) -> np.ndarray:
    return np.concatenate([np.full((number, 1), 5.0), 0.01 * points(number)], axis=1)


def answers(db, bucket: str) -> list[object]:
    """The answers to searches in a bucket, of every kind."""
    narrow, query = json.dumps({"bucket": bucket}), json.loads(vector(1))
    away = json.dumps([{"embedding": json.loads(vector(0, 1))}])
    asked = [
        (
            "select * from public.match_documents(%s, filter => %s, query_kind => %s)",
            [vector(1), narrow, kind],
        )
        for kind in KINDS
    ] + [
        (
            "select * from public.recommend_documents(%s, unlikes => %s, filter => %s, strategy => %s)",
            [json.dumps([{"embedding": query}]), away, narrow, strategy],
        )
        for strategy in ("average", "best_score")
    ]
    return [db.execute(*one).fetchall() for one in asked]


# Invariant 9: the content of one bucket changes no level of confidence in another.


@pytest.mark.parametrize("model", [MODEL, "other"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_indexed_changes_no_level(db, indexed, model, kind):
    db.execute("insert into neural_search.models (name, dimensions) values ('other', %s)", [DIMENSIONS])
    before = levels(db, vector(1), kind, model)
    for bucket in ("images", "another"):
        indexed(look_alikes(300), bucket, model)
        assert levels(db, vector(1), kind, model) == before


def test_3000_look_alikes_in_another_bucket_move_nothing_at_all(db, indexed, make_document):
    for number, point in enumerate(points(40)):
        make_document(f"{number}", *point)
    before, before_unmeasured = answers(db, "images"), answers_unmeasured(db, "images")
    assert all(before) and all(before_unmeasured)
    # Ten of each: their index is the dear part, and holds equal ones together.
    indexed(look_alikes(300).repeat(10, axis=0), "another")
    assert answers(db, "images") == before
    assert answers_unmeasured(db, "images") == before_unmeasured


def answers_unmeasured(db, bucket):
    """As those of a model whose levels nobody measured."""
    with db.transaction(force_rollback=True):
        db.execute("delete from neural_search.calibrations where model = %s", [MODEL])
        return answers(db, bucket)


def test_the_levels_are_those_that_evaluate_measures(db):
    for model, kinds in MEASURED.items():
        for kind, (related, strong, same) in kinds.items():
            expected = (float("inf") if same is None else same, strong, related)
            assert levels(db, vector(1), kind, model) == expected


def test_a_model_that_was_not_measured_takes_cautious_levels_among_images(db):
    same, strong, related = levels(db, vector(1), "image", "other")
    for measured in MEASURED.values():
        lower = measured["image"]
        assert related > lower[0] and strong > lower[1] and same == lower[2]


@pytest.mark.parametrize("kind", ["text", "mixed"])
def test_what_a_text_is_worth_to_such_a_model_cant_be_told(db, kind):
    assert levels(db, vector(1), kind, "other") is None


def test_levels_that_a_project_measured_itself_take_the_place_of_the_general_ones(db):
    db.execute("insert into neural_search.calibrations values ('other', 'image', 0.2, 0.4, 0.9)")
    assert levels(db, vector(1), "image", "other") == (0.9, 0.4, 0.2)


@pytest.mark.parametrize("kind", ["text", "mixed"])
def test_a_text_is_never_the_same_as_an_image(db, kind):
    assert levels(db, vector(1), kind)[0] == float("inf")


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_callers_learn_levels_but_never_read_the_tables(db, role):
    with as_role(db, role):
        assert levels(db, vector(1)) is not None
    for table in ("calibrations", "blanks"):
        with as_role(db, role):
            allowed = db.execute(f"select has_table_privilege('neural_search.{table}', 'select')").fetchone()
            assert allowed == (False,)


def blank(db) -> np.ndarray:
    ((numbers,),) = db.execute(
        "select embedding::text from neural_search.blanks where model = %s", [MODEL]
    ).fetchall()
    return np.array(json.loads(numbers)) / np.linalg.norm(json.loads(numbers))


def beside(direction: np.ndarray, similarity: float) -> np.ndarray:
    """A unit vector of this similarity to `direction`."""
    other = np.eye(len(direction))[0] - direction[0] * direction
    other /= np.linalg.norm(other)
    return similarity * direction + (1 - similarity**2) ** 0.5 * other


@pytest.mark.parametrize(
    ("similarity", "same"), [(1, float("inf")), (0.7, float("inf")), (0.5, 0.975), (-1, 0.975)]
)
def test_nothing_is_the_same_as_a_picture_without_content(db, similarity, same):
    query = vector(*beside(blank(db), similarity))
    assert levels(db, query) == (same, 0.53, 0.345)
    assert levels(db, query, "text")[0] == float("inf")


def test_a_white_picture_is_strong_and_not_the_same_to_another(db, make_document):
    white = blank(db)
    make_document("white.png", *white)
    found = db.execute("select content, confidence from public.match_documents(%s)", [vector(*white)])
    assert found.fetchall() == [("white.png", "strong")]
    for asked in ("min_confidence", "best_confidence"):
        held_back = f"select content from public.match_documents(%s, {asked} => 'same')"
        assert db.execute(held_back, [vector(*white)]).fetchall() == []
