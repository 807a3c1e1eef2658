from databases import finish, vector


def test_an_upload_becomes_searchable(db, make_object):
    object_id = make_object("a.png")
    assert finish(db, object_id, vector(1)) == "embedded"
    assert db.execute("select content from public.documents").fetchall() == [("a.png",)]
