"""Duplicates in SQL: which two documents show the same picture, and who may ask."""

from __future__ import annotations

import itertools

import pytest
from databases import as_role

HASH = "01" * 32
PAIR = "select count(*) from public.confirm_duplicates(array[%s], array[%s])"


def changed(bits: int) -> str:
    """The hash with its first bits turned round."""
    return HASH[:bits].translate(str.maketrans("01", "10")) + HASH[bits:]


@pytest.fixture
def make(db, make_document):
    """A document with what duplicates are told by; its id."""
    numbers = itertools.count()

    def make(*point, perceptual=HASH, content=None, width=400, height=300, **columns) -> int:
        made = make_document(None, *(point or (1.0,)), **columns)
        ((identity,),) = db.execute(
            """
            update public.documents set
              perceptual_hash = %s::bit(64), content_hash = %s, width = %s, height = %s
            where object_id = %s returning id
            """,
            [perceptual, content or f"hash{next(numbers)}", width, height, made],
        )
        return identity

    return make


def duplicates(db, first: int, second: int) -> bool:
    ((forwards,),) = db.execute(PAIR, [first, second])
    ((backwards,),) = db.execute(PAIR, [second, first])
    assert forwards == backwards
    return forwards == 1


@pytest.mark.parametrize(("bits", "expected"), [(0, True), (6, True), (7, False)])
def test_hashes_of_copies_differ_in_six_bits_at_most(db, make, bits, expected):
    assert duplicates(db, make(), make(perceptual=changed(bits))) is expected


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(200, 150, True), (100, 77, True), (300, 400, False), (400, 280, False)]
)
def test_copies_have_the_same_proportions_but_for_rounding(db, make, width, height, expected):
    assert duplicates(db, make(), make(width=width, height=height)) is expected


def test_plain_pictures_share_a_hash_but_are_no_copies_of_each_other(db, make):
    plain = "1" + 63 * "0"
    assert not duplicates(db, make(perceptual=plain), make(perceptual=plain))


@pytest.mark.parametrize(("other", "expected"), [((1.0, 3.0), True), ((1.0, 5.0), False)])
def test_copies_embeddings_are_no_strangers_to_each_other(db, make, other, expected):
    assert duplicates(db, make(1.0), make(*other)) is expected


def test_the_same_bytes_are_duplicates_whatever_else_is_known(db, make):
    assert duplicates(db, make(content="same"), make(content="same", perceptual=None, width=None))


def test_what_nothing_is_known_of_is_no_duplicate(db, make):
    assert not duplicates(db, make(perceptual=None), make())
    assert not duplicates(db, make(width=None), make())
    assert not duplicates(db, make(width=0), make())


def test_fingerprints_are_listed_by_id_page_by_page(db, make):
    ids = [make() for _ in range(5)]
    seen, after = [], 0
    while rows := db.execute(
        "select id, perceptual_hash from public.list_fingerprints(after_id => %s, max_rows => 2)", [after]
    ).fetchall():
        assert len(rows) <= 2 and {found for _, found in rows} == {HASH}
        seen += [identity for identity, _ in rows]
        after = seen[-1]
    assert seen == sorted(ids)


def test_fingerprints_are_of_the_bucket_and_the_names_asked_for(db, make):
    db.execute("insert into storage.buckets (id, name) values ('more', 'more')")
    db.execute("select public.index_bucket('more')")
    make()
    wanted = make(bucket="more")
    for arguments in ("bucket => 'more'", "bucket => 'more', name_prefix => '2'"):
        assert db.execute(f"select id from public.list_fingerprints({arguments})").fetchall() == [(wanted,)]
    assert db.execute("select id from public.list_fingerprints(name_prefix => 'x')").fetchall() == []


def test_callers_learn_nothing_of_images_that_they_may_not_see(db, make):
    first, second = make(), make()
    with as_role(db, "anon"):
        assert db.execute(PAIR, [first, second]).fetchone() == (1,)
    db.execute('drop policy "Demo: everybody may use images" on storage.objects')
    for role in ("anon", "authenticated"):
        with as_role(db, role):
            assert db.execute(PAIR, [first, second]).fetchone() == (0,)
            assert db.execute("select * from public.list_fingerprints()").fetchall() == []
    with as_role(db, "service_role"):
        assert db.execute(PAIR, [first, second]).fetchone() == (1,)


def test_what_was_overwritten_meanwhile_is_no_duplicate_any_more(db, make, silent):
    first, second = make(), make()
    silent.execute("update storage.objects set version = 'other' where name = '1.png'")
    with as_role(db, "service_role"):
        assert db.execute(PAIR, [first, second]).fetchone() == (0,)
        assert len(db.execute("select * from public.list_fingerprints()").fetchall()) == 1
