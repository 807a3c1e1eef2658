"""Uploads an image, waits until it is searchable, and searches by it and by words: search.py IMAGE WORDS"""

import mimetypes
import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from supabase import create_client

QUERY_URL, KEY = os.environ["QUERY_URL"], os.environ["SUPABASE_PUBLISHABLE_KEY"]
BUCKET, PATIENCE = "images", 60  # seconds
image, words = Path(sys.argv[1]), sys.argv[2]
name = f"examples/{image.name}"
supabase = create_client(os.environ["SUPABASE_URL"], KEY)


def wait_until_searchable() -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        [row] = supabase.rpc("object_states", {"bucket": BUCKET, "names": [name]}).execute().data
        if row["state"] == "searchable":
            return
        if row["state"] != "pending":  # final: no image, or a bucket that isn't indexed
            sys.exit(f"{name} is {row['state']}: {row['reason']}")
        time.sleep(0.5)
    sys.exit(f"{name} isn't searchable after {PATIENCE} s. `neural-search jobs` says why.")


def search(title: str, **query: Any) -> None:
    answer = httpx.post(QUERY_URL, headers={"apikey": KEY}, timeout=60, **query)
    if answer.is_error:
        sys.exit(answer.text)  # problem details, with the remedy
    print(title)
    for found in answer.json()["results"]:
        print(f"{found['similarity']:.3f}  {found['bucket']}/{found['name']}")


mime_type = mimetypes.guess_type(image)[0] or "application/octet-stream"
supabase.storage.from_(BUCKET).upload(name, image, {"content-type": mime_type, "upsert": "true"})
wait_until_searchable()
search(f"Like {image.name}:", files={"image": image.read_bytes()}, data={"limit": 5})
search(f"{words}:", json={"text": words, "limit": 5})
recommend = {
    "like": [{"name": f"{BUCKET}/{name}"}, {"text": words, "weight": 0.5}],
    "filter": {"bucket": BUCKET, "mime_type": ["image/jpeg", "image/png", "image/webp"]},
    "strategy": "best_score",
    "diversity": 0.2,
    "collapse": "duplicates",
}
search("Like either, without the image itself:", json={**recommend, "limit": 5})
