"""Confidence: what is usual in a collection, and from where on a similarity means more than that."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from support.databases import DIMENSIONS, MODEL, as_role, vector

from evaluation import confidence
from shared.settings import CHECKOUT

MIGRATION = CHECKOUT / "supabase" / "migrations" / "20260101000350_confidence.sql"
LEVELS = "select same, strong, related from neural_search.confidence_levels(%s, %s, %s)"
ENOUGH = 32


@pytest.fixture
def indexed(database, db):
    """Puts documents with these first coordinates into the index, behind the queue's back."""

    def put(points: np.ndarray, model: str = MODEL) -> None:
        with database.connect("supabase_admin") as platform:
            platform.execute("set session_replication_role = 'replica'")
            columns = "object_id, bucket_id, content, model, embedding, object_version"
            with platform.cursor().copy(f"copy neural_search.documents ({columns}) from stdin") as copy:
                for point in points:
                    (identity,) = db.execute("select gen_random_uuid()").fetchone()
                    copy.write_row([str(identity), "images", f"{identity}.png", model, vector(*point), "v"])

    return put


@pytest.fixture
def unmeasured(db):
    """As for a model that nobody has measured: by what is usual in the index."""
    db.execute("delete from neural_search.calibrations where model = %s", [MODEL])


def refresh(db) -> int:
    ((number,),) = db.execute("select neural_search.refresh_backgrounds()")
    return number


def levels(db, query: str, kind: str = "image", model: str = MODEL):
    return db.execute(LEVELS, [model, kind, query]).fetchone()


def points(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, 8))


def test_what_is_indexed_changes_no_level_of_a_measured_model(db, indexed):
    before = {kind: levels(db, vector(1), kind) for kind in ("image", "text", "mixed")}
    assert before["image"] == (0.975, 0.53, 0.345)
    indexed(np.concatenate([np.full((300, 1), 5.0), 0.01 * points(300)], axis=1))
    refresh(db)
    assert {kind: levels(db, vector(1), kind) for kind in before} == before


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


def test_fewer_than_32_documents_have_no_background(db, indexed, unmeasured):
    assert refresh(db) == 0  # nothing is there
    indexed(points(ENOUGH - 1))
    refresh(db)
    assert levels(db, vector(1)) is None
    indexed(points(1, seed=1))
    refresh(db)
    assert levels(db, vector(1)) is not None


def test_the_levels_are_those_that_a_reader_computes_by_hand(db, indexed, unmeasured):
    known = points(200)
    indexed(known)
    refresh(db)
    query = np.array([1.0, 2, 0, 0, 0, 0, 0, 0])
    unit = known / np.linalg.norm(known, axis=1, keepdims=True)
    first, third = np.quantile(unit @ query / np.linalg.norm(query), [0.25, 0.75])
    pairs = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    units = {
        "pair_high": np.quantile(pairs, 0.95),
        "pair_deviation": pairs.std(ddof=1),
        "quartile_distance": third - first,
        "room": 1 - first,
        "one": 1,
    }
    for unit_name, size in units.items():
        db.execute(
            """
            update neural_search.calibrations set unit = %s, related = 0.5, strong = 0.75, same = 0.9
            where query_kind = 'image' and model is null
            """,
            [unit_name],
        )
        same = first + 0.9 * (1 - first)
        expected = (same, min(same, first + 0.75 * size), min(same, first + 0.5 * size))
        assert levels(db, vector(*query)) == pytest.approx(expected, abs=2e-3)  # half precision


def test_a_text_is_never_the_same_as_an_image(db, indexed, unmeasured):
    indexed(points(ENOUGH))
    refresh(db)
    for kind in ("text", "mixed"):
        assert levels(db, vector(1), kind)[0] == float("inf")


def test_what_is_the_same_is_related_even_where_all_images_look_alike(db, indexed, unmeasured):
    indexed(np.concatenate([np.full((100, 1), 5.0), 0.01 * points(100)], axis=1))
    refresh(db)
    same, strong, related = levels(db, vector(5.0))
    assert related <= strong <= same <= 1


def test_a_model_without_levels_of_its_own_takes_the_general_ones(db, indexed):
    db.execute("insert into neural_search.models (name, dimensions) values ('other', %s)", [DIMENSIONS])
    indexed(points(ENOUGH), model="other")
    assert refresh(db) == 1
    db.execute(
        "update neural_search.calibrations set unit = 'one', related = 0.1, strong = 0.2 where model is null"
    )
    _, strong, related = levels(db, vector(1), "text", "other")
    assert strong - related == pytest.approx(0.1, abs=1e-3)


def test_a_background_is_drawn_anew_once_a_tenth_has_changed_and_not_before(db, indexed):
    indexed(points(300))
    assert refresh(db) == 1
    assert refresh(db) == 0
    indexed(points(20))
    assert refresh(db) == 0
    indexed(points(20))
    assert refresh(db) == 1
    db.execute("delete from neural_search.documents where id % 2 = 0")
    assert refresh(db) == 1


def test_what_was_deleted_leaves_the_sample_with_the_next_refresh(db, indexed):
    indexed(points(100))
    refresh(db)
    db.execute(
        "delete from neural_search.documents where id <= (select min(id) + 2 from neural_search.documents)"
    )
    assert refresh(db) == 0
    rows = db.execute("""
        select count(*) from neural_search.background_samples as s
        where not exists (select from neural_search.documents as d where d.id = s.document_id)
    """).fetchone()
    assert rows == (0,)


def test_the_sample_stays_small_however_many_documents_there_are(db, indexed):
    indexed(points(600))
    refresh(db)
    assert db.execute("select count(*) from neural_search.background_samples").fetchone() == (256,)


def test_few_documents_among_very_many_others_are_drawn_all_the_same(database, db, indexed):
    """Each on a page of its own, of which half are looked at."""
    db.execute("insert into neural_search.models (name, dimensions) values ('rare', %s)", [DIMENSIONS])
    with database.connect("supabase_admin") as platform:
        platform.execute("set session_replication_role = 'replica'")
        platform.execute("alter table neural_search.documents alter column metadata set storage plain")
        platform.execute(
            """
            insert into neural_search.documents
              (object_id, bucket_id, content, model, embedding, object_version, metadata)
            select gen_random_uuid(), 'images', n::text, case mod(n, 125) when 0 then 'rare' else 'wide' end,
              '[1]'::extensions.vector, 'v', jsonb_build_object('wide', repeat('x', 5000))
            from generate_series(1, 125 * %s) as n
            """,
            [ENOUGH],
        )
    for _ in range(2):
        assert db.execute("select neural_search.refresh_background('rare')").fetchone() == (True,)
    assert levels(db, "[1]", model="rare") is not None


def test_a_background_goes_with_the_documents_that_it_was_made_of(db, indexed, unmeasured):
    indexed(points(ENOUGH + 8))
    refresh(db)
    db.execute("delete from neural_search.documents where id % 2 = 0")
    assert refresh(db) == 1
    assert levels(db, vector(1)) is None
    assert db.execute("select count(*) from neural_search.backgrounds").fetchone() == (0,)


def test_retired_models_keep_no_background_up_to_date(db, indexed):
    indexed(points(ENOUGH))
    db.execute("update neural_search.models set state = 'retired'")
    assert refresh(db) == 0


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_callers_learn_levels_but_never_read_the_sample(db, indexed, role):
    indexed(points(ENOUGH))
    refresh(db)
    with as_role(db, role):
        assert levels(db, vector(1)) is not None
    for table in ("background_samples", "backgrounds", "calibrations"):
        with as_role(db, role):
            allowed = db.execute(f"select has_table_privilege('neural_search.{table}', 'select')").fetchone()
            assert allowed == (False,)


def test_no_single_image_moves_a_level_by_more_than_its_rank(db, indexed):
    """Whether one image is indexed can't be told by asking for it: all lie on one line, and it is far off."""
    line = np.concatenate([np.ones((99, 1)), np.linspace(0, 1, 99)[:, None]], axis=1)
    found = []
    for secret in (line[50], np.array([0.0, 0, 1])):
        db.execute("delete from neural_search.documents")
        indexed(np.concatenate([np.pad(line, ((0, 0), (0, 1))), np.pad(secret, (0, 3 - len(secret)))[None]]))
        refresh(db)
        db.execute("update neural_search.calibrations set unit = 'quartile_distance'")
        found.append(levels(db, vector(0, 0, 1.0)))
    assert found[0] == pytest.approx(found[1], abs=0.02)


def test_the_levels_are_those_that_were_measured():
    published = json.loads(confidence.PUBLISHED.read_text())
    statement = re.search(
        r"insert into neural_search\.calibrations [^;]+ values\n([^;]+);", MIGRATION.read_text()
    )
    assert statement and statement[1] == confidence.calibrations(published)
