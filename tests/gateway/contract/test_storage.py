"""The real Storage server's answers: each check holds there, by its source and by running it, and here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

PNG = {"content-type": "image/png"}
Put = Callable[..., None]


@pytest.fixture
def put(service: httpx.Client, bucket: str) -> Put:
    def put(*names: str) -> None:
        for name in names:
            answer = service.post(f"/object/{bucket}/{name}", content=b"bytes", headers=PNG)
            assert answer.status_code == 200, answer.text

    return put


def refused(answer: httpx.Response) -> tuple[int, str, str, str]:
    """The status on the wire, and the body's."""
    body = answer.json()
    assert body["error"]
    return answer.status_code, body["statusCode"], body["code"], body["message"]


def invalid(message: str) -> tuple[int, str, str, str]:
    return 400, "400", "InvalidRequest", message


NO_BUCKET = (400, "404", "NoSuchBucket", "Bucket not found")
NO_OBJECT = (400, "404", "NoSuchKey", "Object not found")
BAD_TYPE = (400, "415", "InvalidMimeType", "Invalid Content-Type header")


class TestListing:
    @pytest.fixture
    def names(self, service: httpx.Client, bucket: str) -> Callable[..., list[str]]:
        def names(**asked: Any) -> list[str]:
            answer = service.post(f"/object/list/{bucket}", json={"prefix": "", **asked})
            assert answer.status_code == 200, answer.text
            return [entry["name"] for entry in answer.json()]

        return names

    @pytest.fixture(autouse=True)
    def objects(self, put: Put) -> None:
        put("b.png", "a.png", "f/x.png", "f/g/z.png", "C.png", "Zed.png", "F2/p.png", "F2/q.png")

    def test_folders_and_files_are_mixed_ignoring_case(self, names: Callable[..., list[str]]):
        assert names() == ["a.png", "b.png", "C.png", "f", "F2", "Zed.png"]
        order = {"column": "name", "order": "desc"}
        assert names(sortBy=order) == ["Zed.png", "F2", "f", "C.png", "b.png", "a.png"]
        assert names(limit=2, offset=3) == ["f", "F2"]

    def test_a_folder_is_found_in_any_case_and_its_names_are_its_own(self, names: Callable[..., list[str]]):
        assert names(prefix="F") == names(prefix="f/") == ["g", "x.png"]
        assert names(prefix="/f") == []

    def test_a_search_is_the_beginning_of_a_name(self, names: Callable[..., list[str]]):
        assert names(search="F") == ["f", "F2"]
        assert names(prefix="f", search="G/Z") == ["g/z.png"]
        assert names(search="_.png") == []

    def test_by_time_folders_come_first(self, names: Callable[..., list[str]]):
        listed = names(sortBy={"column": "created_at", "order": "desc"})
        assert sorted(listed[:2]) == ["F2", "f"]
        assert listed[2:] == ["Zed.png", "C.png", "a.png", "b.png"]

    def test_a_folder_has_no_id_and_a_file_its_metadata(self, service: httpx.Client, bucket: str):
        listed = service.post(f"/object/list/{bucket}", json={"prefix": ""}).json()
        by_name = {entry["name"]: entry for entry in listed}
        columns = {"name", "id", "created_at", "updated_at", "last_accessed_at", "metadata"}
        assert by_name["f"] == dict.fromkeys(columns) | {"name": "f"}
        assert by_name["a.png"].keys() == columns
        assert by_name["a.png"]["metadata"]["size"] == len(b"bytes")
        assert by_name["a.png"]["created_at"].endswith("Z")

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({}, "body must have required property 'prefix'"),
            ({"prefix": "", "limit": 0}, "body/limit must be >= 1"),
            ({"prefix": "", "limit": 1.5}, "body/limit must be integer"),
            ({"prefix": "", "offset": -1}, "body/offset must be >= 0"),
            ({"prefix": "", "sortBy": {}}, "body/sortBy must have required property 'column'"),
            (
                {"prefix": "", "sortBy": {"column": "id"}},
                "body/sortBy/column must be equal to one of the allowed values",
            ),
            (
                {"prefix": "", "sortBy": {"column": "name", "order": "up"}},
                "body/sortBy/order must be equal to one of the allowed values",
            ),
        ],
    )
    def test_a_field_that_does_not_fit_is_named(
        self, service: httpx.Client, bucket: str, body: dict[str, Any], message: str
    ):
        assert refused(service.post(f"/object/list/{bucket}", json=body)) == invalid(message)

    def test_numbers_count_as_text_and_nothing_as_an_empty_text(self, service: httpx.Client, bucket: str):
        body = {"prefix": None, "limit": "2", "search": None}
        assert len(service.post(f"/object/list/{bucket}", json=body).json()) == 2

    def test_a_body_is_json_and_says_so(self, service: httpx.Client, bucket: str):
        url, body = f"/object/list/{bucket}", b'{"prefix": ""}'
        assert refused(service.post(url, content=body)) == invalid("body must be object")
        text = {"content-type": "text/plain"}
        assert refused(service.post(url, content=body, headers=text)) == invalid("body must be object")
        unread = {"content-type": "json"}
        assert refused(service.post(url, content=body, headers=unread)) == BAD_TYPE
        for content, message in (
            (b"{", "Body is not valid JSON but content-type is set to 'application/json'"),
            (b"", "Body cannot be empty when content-type is set to 'application/json'"),
            (b"[]", "body must be object"),
        ):
            answer = service.post(url, content=content, headers={"content-type": "application/json"})
            assert refused(answer) == invalid(message)

    def test_a_bucket_that_is_not_there_is_empty(self, service: httpx.Client):
        assert service.post("/object/list/no-such-bucket", json={"prefix": ""}).json() == []

    def test_who_may_see_nothing_sees_an_empty_listing(self, anon: httpx.Client, bucket: str):
        assert anon.post(f"/object/list/{bucket}", json={"prefix": ""}).json() == []


class TestPages:
    @pytest.fixture(autouse=True)
    def objects(self, put: Put) -> None:
        put("b.png", "a.png", "f/x.png", "f/g/z.png", "C.png", "Zed.png", "F2/p.png", "F2/q.png")

    def pages(self, service: httpx.Client, bucket: str, **asked: Any) -> list[list[str]]:
        """The names of each page, folders first."""
        found, cursor = [], {}
        while True:
            answer = service.post(f"/object/list-v2/{bucket}", json={**asked, **cursor})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found.append([entry["name"] for entry in page["folders"] + page["objects"]])
            if not page["hasNext"]:
                assert "nextCursor" not in page
                return found
            cursor = {"cursor": page["nextCursor"]}

    def test_all_of_a_bucket_comes_in_pages_in_the_order_of_bytes(self, service: httpx.Client, bucket: str):
        assert self.pages(service, bucket, limit=3) == [
            ["C.png", "F2/p.png", "F2/q.png"],
            ["Zed.png", "a.png", "b.png"],
            ["f/g/z.png", "f/x.png"],
        ]

    def test_a_delimiter_tells_folders_by_their_whole_path(self, service: httpx.Client, bucket: str):
        assert self.pages(service, bucket, with_delimiter=True) == [
            ["F2/", "f/", "C.png", "Zed.png", "a.png", "b.png"]
        ]
        inside = self.pages(service, bucket, with_delimiter=True, prefix="f/")
        assert inside == [["f/g/", "f/x.png"]]
        paged = self.pages(service, bucket, with_delimiter=True, limit=2)
        assert paged == [["F2/", "C.png"], ["Zed.png", "a.png"], ["f/", "b.png"]]

    def test_a_prefix_keeps_its_case_and_need_be_no_folder(self, service: httpx.Client, bucket: str):
        assert self.pages(service, bucket, prefix="F") == [["F2/p.png", "F2/q.png"]]
        assert self.pages(service, bucket, prefix="f", with_delimiter=True) == [["f/"]]

    def test_pages_by_time_hold_each_entry_once(self, service: httpx.Client, bucket: str):
        newest = {"column": "created_at", "order": "desc"}
        found = self.pages(service, bucket, sortBy=newest, limit=3)
        assert found == [
            ["F2/q.png", "F2/p.png", "Zed.png"],
            ["C.png", "f/g/z.png", "f/x.png"],
            ["a.png", "b.png"],
        ]
        [first, *_] = self.pages(service, bucket, sortBy=newest, limit=2, with_delimiter=True)
        assert first == ["F2/", "Zed.png"]

    def test_an_entry_has_the_part_of_its_path_as_key(self, service: httpx.Client, bucket: str):
        asked = {"prefix": "f/", "with_delimiter": True}
        page = service.post(f"/object/list-v2/{bucket}", json=asked).json()
        [folder], [entry] = page["folders"], page["objects"]
        columns = {"key", "name", "id", "created_at", "updated_at", "last_accessed_at", "metadata"}
        assert folder == dict.fromkeys(columns) | {"key": "g", "name": "f/g/"}
        assert (entry.keys(), entry["key"], entry["name"]) == (columns, "x.png", "f/x.png")

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"cursor": "xx"}, (400, "400", "InvalidParameter", "Invalid Parameter continuation token")),
            ({"limit": 0}, invalid("body/limit must be >= 1")),
            (
                {"sortBy": {"column": "last_accessed_at"}},
                invalid("body/sortBy/column must be equal to one of the allowed values"),
            ),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, service: httpx.Client, bucket: str, body: dict[str, Any], expected: tuple[int, str, str, str]
    ):
        assert refused(service.post(f"/object/list-v2/{bucket}", json=body)) == expected


class TestBuckets:
    def test_a_bucket_without_an_owner_has_an_empty_text(self, service: httpx.Client, bucket: str):
        told = service.get(f"/bucket/{bucket}").json()
        assert (told["id"], told["name"], told["owner"], told["public"]) == (bucket, bucket, "", False)
        assert (told["file_size_limit"], told["allowed_mime_types"]) == (None, None)
        assert told["created_at"].endswith("Z")
        assert "type" not in told
        [listed] = [one for one in service.get("/bucket").json() if one["id"] == bucket]
        assert listed == {**told, "type": "STANDARD"}

    @pytest.mark.parametrize("kind", ["foo", "image/", "image/png, image/gif", "a b/c", "x" * 1001])
    def test_a_type_that_is_none_is_refused(self, service: httpx.Client, bucket: str, kind: str):
        expected = (400, "415", "InvalidMimeType", f"mime type {kind} is not supported")
        body = {"allowed_mime_types": ["image/png", kind]}
        assert refused(service.put(f"/bucket/{bucket}", json=body)) == expected
        assert refused(service.post("/bucket", json={"name": f"{bucket}-2", **body})) == expected

    def test_types_may_be_patterns_and_have_a_charset(self, service: httpx.Client, bucket: str):
        kinds = ["image/*", "*/*", "*", "text/plain; charset=utf-8", "image/svg+xml"]
        assert service.put(f"/bucket/{bucket}", json={"allowed_mime_types": kinds}).status_code == 200
        assert service.get(f"/bucket/{bucket}").json()["allowed_mime_types"] == kinds

    @pytest.mark.parametrize("name", ["a/b", " a", "a#b", "x" * 101])
    def test_a_name_that_is_none_is_refused(self, service: httpx.Client, name: str):
        expected = (400, "400", "InvalidBucketName", "Bucket name invalid")
        assert refused(service.post("/bucket", json={"name": name})) == expected

    def test_a_change_needs_a_bucket_and_something_to_change(self, service: httpx.Client, bucket: str):
        nothing = "body must have required property"
        assert refused(service.put(f"/bucket/{bucket}", json={}))[3].startswith(nothing)
        assert refused(service.post("/bucket", json={})) == invalid(f"{nothing} 'name'")
        assert refused(service.put("/bucket/no-such-bucket", json={"public": True})) == NO_BUCKET
        unclear = service.put(f"/bucket/{bucket}", json={"public": "yes"})
        assert refused(unclear) == invalid("body/public must be boolean")

    @pytest.mark.parametrize(("limit", "size"), [("2MB", 2_000_000), (512, 512), ("512", 512), (None, None)])
    def test_a_size_is_a_number_or_has_a_unit(
        self, service: httpx.Client, bucket: str, limit: Any, size: int | None
    ):
        assert service.put(f"/bucket/{bucket}", json={"file_size_limit": limit}).status_code == 200
        assert service.get(f"/bucket/{bucket}").json()["file_size_limit"] == size

    def test_no_size_beyond_the_projects_own(self, service: httpx.Client, bucket: str):
        answer = service.put(f"/bucket/{bucket}", json={"file_size_limit": "900000GB"})
        assert refused(answer)[1:3] == ("413", "EntityTooLarge")
        assert refused(service.put(f"/bucket/{bucket}", json={"file_size_limit": "10XB"}))[1] == "400"

    def test_emptying_takes_the_secret_key(self, service: httpx.Client, anon: httpx.Client, bucket: str):
        expected = (403, "403", "AccessDenied", "Access denied: Invalid role")
        assert refused(anon.post(f"/bucket/{bucket}/empty")) == expected
        assert refused(service.post("/bucket/no-such-bucket/empty")) == NO_BUCKET
        assert service.post(f"/bucket/{bucket}/empty").json()["message"].startswith("Empty bucket has been")

    def test_a_bucket_with_objects_stays(self, service: httpx.Client, bucket: str, put: Put):
        put("a.png")
        message = "The bucket you tried to delete is not empty"
        assert refused(service.delete(f"/bucket/{bucket}")) == (400, "409", "ResourceNotEmpty", message)
        assert refused(service.delete("/bucket/no-such-bucket")) == NO_BUCKET


class TestUploads:
    @pytest.mark.parametrize("kind", ["foo", "image/", "/png", "image png/x", "foo; a=b"])
    def test_a_type_that_cannot_be_read_is_refused(self, service: httpx.Client, bucket: str, kind: str):
        answer = service.post(f"/object/{bucket}/a", content=b"bytes", headers={"content-type": kind})
        assert refused(answer) == BAD_TYPE

    @pytest.mark.parametrize("kind", ["image/png; q=1", "image/png;;;", "application/json", None])
    def test_a_type_may_have_parameters_or_be_missing(
        self, service: httpx.Client, bucket: str, kind: str | None
    ):
        headers = {"content-type": kind} if kind else {}
        assert service.post(f"/object/{bucket}/a", content=b"{", headers=headers).status_code == 200

    def test_the_answer_names_the_object(self, service: httpx.Client, bucket: str):
        answer = service.post(f"/object/{bucket}/a.png", content=b"bytes", headers=PNG).json()
        assert (answer["Key"], answer.keys()) == (f"{bucket}/a.png", {"Key", "Id"})
        taken = service.post(f"/object/{bucket}/a.png", content=b"bytes", headers=PNG)
        assert refused(taken) == (400, "409", "KeyAlreadyExists", "The resource already exists")
        again = service.post(f"/object/{bucket}/a.png", content=b"other", headers={**PNG, "x-upsert": "true"})
        assert again.json()["Id"] == answer["Id"]

    def test_the_buckets_limits_hold(self, service: httpx.Client, bucket: str):
        limits = {"file_size_limit": 4, "allowed_mime_types": ["image/*"]}
        service.put(f"/bucket/{bucket}", json=limits)
        large = (400, "413", "EntityTooLarge", "The object exceeded the maximum allowed size")
        url = f"/object/{bucket}/a"
        assert refused(service.post(url, content=b"bytes", headers=PNG)) == large
        assert refused(service.post(url, files={"file": ("a", b"bytes", "image/png")})) == large
        foreign = service.post(url, content=b"byte", headers={"content-type": "text/csv"})
        unsupported = (400, "415", "InvalidMimeType", "mime type text/csv is not supported")
        assert refused(foreign) == unsupported

    def test_a_signed_upload_answers_the_key_alone(self, service: httpx.Client, bucket: str):
        signed = service.post(f"/object/upload/sign/{bucket}/a.png", json={}).json()
        url = f"/object/upload/sign/{bucket}/a.png"
        answer = service.put(url, params={"token": signed["token"]}, content=b"bytes", headers=PNG)
        assert answer.json() == {"Key": f"{bucket}/a.png"}
        bare = service.put(url, content=b"bytes", headers=PNG)
        assert refused(bare) == invalid("querystring must have required property 'token'")
        download = service.get(f"/object/sign/{bucket}/a.png", params={"token": signed["token"]})
        assert refused(download)[2:] == ("InvalidSignature", "Token is not scoped for download")

    def test_a_policy_is_needed(self, anon: httpx.Client, bucket: str):
        message = "new row violates row-level security policy"
        answer = anon.post(f"/object/{bucket}/a.png", content=b"bytes", headers=PNG)
        assert refused(answer) == (400, "403", "AccessDenied", message)


class TestDownloads:
    @pytest.fixture
    def url(self, put: Put, bucket: str) -> str:
        put("a.png")
        return f"/object/{bucket}/a.png"

    def test_without_a_valid_token_a_private_bucket_is_not_there(
        self, stranger: httpx.Client, anon: httpx.Client, bucket: str, url: str
    ):
        for path in (url, f"/object/info/{bucket}/a.png", f"/object/public/{bucket}/a.png"):
            assert refused(stranger.get(path)) == NO_BUCKET
        assert refused(anon.get(url)) == NO_OBJECT  # known, as anon
        listing = stranger.post(f"/object/list/{bucket}", json={"prefix": ""})
        assert refused(listing) == (400, "403", "AccessDenied", "Invalid Compact JWS")

    def test_a_public_bucket_is_open_to_all(
        self, service: httpx.Client, stranger: httpx.Client, bucket: str, url: str
    ):
        service.put(f"/bucket/{bucket}", json={"public": True})
        for path in (url, f"/object/public/{bucket}/a.png"):
            assert stranger.get(path).content == b"bytes"

    def test_a_range_beyond_the_end_is_a_416(self, service: httpx.Client, url: str):
        assert service.get(url, headers={"range": "bytes=1-2"}).content == b"yt"
        answer = service.get(url, headers={"range": "bytes=900-"})
        assert (answer.status_code, answer.json()["statusCode"]) == (416, "416")

    def test_a_file_to_be_saved_has_its_name_in_two_spellings(self, service: httpx.Client, url: str):
        def disposition(name: str) -> str:
            return service.get(url, params={"download": name}).headers["content-disposition"]

        assert disposition("") == "attachment;"
        expected = "attachment; filename=my%20%C3%A4.png; filename*=UTF-8''my%20%C3%A4.png"
        assert disposition("my ä.png") == expected

    def test_headers_describe_the_bytes(self, service: httpx.Client, url: str):
        headers = service.get(url).headers
        assert (headers["content-type"], headers["content-length"]) == ("image/png", "5")
        assert (headers["accept-ranges"], headers["x-robots-tag"]) == ("bytes", "none")
        unchanged = service.get(url, headers={"if-none-match": headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")

    def test_what_is_not_there_is_told(self, service: httpx.Client, bucket: str):
        assert refused(service.get(f"/object/{bucket}/none.png")) == NO_OBJECT
        assert refused(service.get("/object/no-such-bucket/a.png")) == NO_BUCKET
        invalid_key = (400, "400", "InvalidKey", "Invalid key: a#b")
        assert refused(service.get(f"/object/{bucket}/a%23b")) == invalid_key

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({}, "body must have required property 'expiresIn'"),
            ({"expiresIn": 0}, "body/expiresIn must be >= 1"),
            ({"expiresIn": "soon"}, "body/expiresIn must be integer"),
        ],
    )
    def test_a_signed_url_needs_a_time(
        self, service: httpx.Client, bucket: str, url: str, body: dict[str, Any], message: str
    ):
        assert refused(service.post(f"/object/sign/{bucket}/a.png", json=body)) == invalid(message)

    def test_signed_urls_are_given_for_what_is_there(self, service: httpx.Client, bucket: str, url: str):
        asked = {"expiresIn": "60", "paths": ["a.png", "none.png"]}
        good, bad = service.post(f"/object/sign/{bucket}", json=asked).json()
        assert (good["error"], bad["signedURL"]) == (None, None)
        assert service.get(good["signedURL"]).content == b"bytes"
        json = {"content-type": "application/json"}
        for paths in ('[{}], "expiresIn": 60', '["a.png"], "expiresIn": 1e999', '["a.png"], "expiresIn": {}'):
            body = f'{{"paths": {paths}}}'
            answer = service.post(f"/object/sign/{bucket}", content=body, headers=json)
            assert refused(answer)[:3] == (400, "400", "InvalidRequest")
        empty = service.post(f"/object/sign/{bucket}", json={"expiresIn": 60, "paths": []})
        assert refused(empty) == invalid("body/paths must NOT have fewer than 1 items")


class TestChanges:
    def test_removing_takes_a_name(self, service: httpx.Client, bucket: str):
        for body, message in (
            ({"prefixes": []}, "body/prefixes must NOT have fewer than 1 items"),
            ({}, "body must have required property 'prefixes'"),
        ):
            answer = service.request("DELETE", f"/object/{bucket}", json=body)
            assert refused(answer) == invalid(message)

    def test_what_was_removed_is_told_without_an_owner(self, service: httpx.Client, bucket: str, put: Put):
        put("a.png")
        body = {"prefixes": ["a.png", "none.png"]}
        [removed] = service.request("DELETE", f"/object/{bucket}", json=body).json()
        assert (removed["name"], removed["bucket_id"]) == ("a.png", bucket)
        assert (removed["owner"], removed["owner_id"]) == ("", "")

    def test_deleting_what_one_may_not_is_denied(self, anon: httpx.Client, bucket: str, put: Put):
        put("a.png")
        denied = (400, "403", "AccessDenied", "Access denied")
        assert refused(anon.delete(f"/object/{bucket}/a.png")) == denied
        assert refused(anon.delete(f"/object/{bucket}/none.png")) == NO_OBJECT

    def test_a_copy_is_told_and_a_move_is_done(self, service: httpx.Client, bucket: str, put: Put):
        put("a.png")
        body = {"bucketId": bucket, "sourceKey": "a.png", "destinationKey": "b.png"}
        copied = service.post("/object/copy", json=body).json()
        assert (copied["Key"], copied["name"], copied["owner"]) == (f"{bucket}/b.png", "b.png", "")
        assert copied["Id"] == copied["id"]
        body |= {"sourceKey": "b.png", "destinationKey": "c.png"}
        assert service.post("/object/move", json=body).json() == {"message": "Successfully moved"}
        for path in ("/object/move", "/object/copy"):
            answer = service.post(path, json={"bucketId": bucket, "sourceKey": "c.png"})
            assert refused(answer) == invalid("body must have required property 'destinationKey'")


def test_a_path_that_is_none_is_a_404(service: httpx.Client):
    answer = service.get("/nothing/here")
    assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")
