"""The bodies that the gateway itself holds and parses are no longer than any request needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.gateways import Gateway

KB = 1024
LIMITS = {
    "/rest/v1/rpc/no_such_function": 4 * KB * KB,
    "/rest/v1/no_such_table": 4 * KB * KB,
    "/auth/v1/token?grant_type=password": 64 * KB,
    "/storage/v1/object/list/none": KB * KB,
    "/storage/v1/object/sign/none": KB * KB,
    "/storage/v1/object/none": KB * KB,
    "/storage/v1/bucket": KB * KB,
}
JSON = {"content-type": "application/json"}


def in_pieces(size: int) -> Iterator[bytes]:
    for start in range(0, size, 64 * KB):
        yield b" " * min(64 * KB, size - start)


@pytest.mark.parametrize("path", LIMITS)
def test_a_longer_body_is_refused_with_and_without_a_length(gateway: Gateway, path: str) -> None:
    limit, method = LIMITS[path], "DELETE" if path.endswith("object/none") else "POST"
    with gateway.http() as http:
        assert http.request(method, path, headers=JSON, content=b" " * (limit + 1)).status_code == 413
        assert http.request(method, path, headers=JSON, content=in_pieces(8 * limit)).status_code == 413
        assert http.request(method, path, headers=JSON, content=b" " * limit).status_code in (400, 404)


def test_a_file_has_its_buckets_limit_alone(gateway: Gateway, bucket: str) -> None:
    with gateway.http() as http:
        file = {"content": b" " * (6 * KB * KB), "headers": JSON}
        assert http.post(f"/storage/v1/object/{bucket}/long.json", **file).status_code == 200
        assert http.put(f"/storage/v1/object/{bucket}/long.json", **file).status_code == 200


@pytest.mark.parametrize(("count", "size"), [(20, 100 * KB), (20_000, 0)])
def test_all_fields_of_a_form_together_have_a_limit(
    gateway: Gateway, bucket: str, count: int, size: int
) -> None:
    with gateway.http() as http:
        fields = {f"field{number}": "x" * size for number in range(count)}
        answer = http.post(f"/storage/v1/object/{bucket}/a.png", data=fields, files={"file": b"PNG"})
        assert (answer.status_code, answer.json()["code"]) == (400, "EntityTooLarge")
