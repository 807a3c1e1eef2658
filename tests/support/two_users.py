"""The embedded stack's two users, each with images of their own, and one that everybody sees."""

from __future__ import annotations

import requests

from local.stack import Stack
from support.fake_query import PHOTOS
from support.waiting import eventually

ADA, GRACE = ("ada@example.com", "ada-demo"), ("grace@example.com", "grace-demo")
OWN = {ADA: ("household/cup.jpg", "household/plate.jpg"), GRACE: ("tools/hammer1.jpg", "tools/hammer2.jpg")}
SHARED = "fish/fish3.jpg"


def fill(stack: Stack) -> None:
    store(stack, "images", SHARED, {})
    for user, names in OWN.items():
        for name in names:
            store(stack, "albums", name, bearer(stack, user))


def bearer(stack: Stack, user: tuple[str, str]) -> dict[str, str]:
    url = f"{stack.url}/auth/v1/token?grant_type=password"
    answer = requests.post(url, json={"email": user[0], "password": user[1]}, headers=key(stack), timeout=30)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def key(stack: Stack) -> dict[str, str]:
    return {"apikey": str(stack.settings.publishable_key)}


def store(stack: Stack, bucket: str, name: str, headers: dict[str, str]) -> None:
    """And wait until its owner can find it."""
    headers = {**key(stack), **headers}
    url = f"{stack.url}/storage/v1/object/{bucket}/{name}"
    upsert = {"Content-Type": "image/jpeg", "x-upsert": "true"}
    requests.post(
        url, data=(PHOTOS / name).read_bytes(), headers=headers | upsert, timeout=30
    ).raise_for_status()
    states = f"{stack.url}/rest/v1/rpc/object_states"
    asked = {"bucket": bucket, "names": [name]}
    eventually(
        lambda: (
            requests.post(states, json=asked, headers=headers, timeout=30).json()[0]["state"] == "searchable"
        ),
        120,
    )
