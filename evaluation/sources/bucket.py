"""A bucket's images, as the key's owner may see them, labelled by folder or by uploaders' metadata."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from evaluation.collection import Collection, Item
from shared.errors import CollectionError
from shared.supabase import bucket_walk
from shared.supabase.storage import Storage, is_addressable

MAX_OBJECTS = 100_000  # that are listed, images or not
MAX_FOLDERS = 10_000
PARALLEL = 8


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """One object, as the listing tells of it."""

    name: str  # its path in the bucket
    revision: str  # changes with each upload
    size: int | None  # bytes
    etag: str | None


def collection(
    storage: Storage, bucket: str, *, folder: str, label_key: str | None, cache: Path, max_bytes: int
) -> Collection:
    """The images under `folder` ("" for all), each downloaded once into `cache`, an empty folder of this run.

    Labels are the folders that they lie in, or with `label_key` the values of that key in the objects'
    metadata. CollectionError where there are none, or more than MAX_OBJECTS.
    """
    images = sorted(_walk(storage, bucket, folder.strip("/")), key=lambda image: image.name)
    if not images:
        raise CollectionError(
            f"There are no images in {_place(bucket, folder)} that this key may see. Check the name, the "
            "policies and SUPABASE_SECRET_KEY."
        )
    labels = (
        _attached(storage, bucket, images, label_key) if label_key else _by_folder(images, folder.strip("/"))
    )
    downloads = Downloads(storage, bucket, cache, max_bytes)
    items = [
        Item(key=image.name, read=partial(downloads.read, image), label=label, captions=(), group=None)
        for image, label in zip(images, labels, strict=True)
    ]
    return Collection(name=_place(bucket, folder), items=tuple(items))


class Downloads:
    """Objects' bytes, asked for once and then read from `cache`. Safe for several threads."""

    def __init__(self, storage: Storage, bucket: str, cache: Path, max_bytes: int):
        self._storage = storage
        self._bucket = bucket
        self._cache = cache
        self._max_bytes = max_bytes

    def read(self, image: StoredImage) -> bytes:
        path = self._cache / hashlib.sha256(image.name.encode()).hexdigest()
        if path.exists():
            return path.read_bytes()
        data = self._storage.download(
            self._bucket,
            image.name,
            version=image.revision,
            max_bytes=self._max_bytes,
            size=image.size,
            etag=image.etag,
        )
        part = path.with_suffix(f".{id(data)}")
        part.write_bytes(data)
        part.replace(path)  # at once: a file that is there is complete
        return data


def _walk(storage: Storage, bucket: str, start: str) -> Iterator[StoredImage]:
    """Every image below the folder `start`."""
    folders = 0
    walked = bucket_walk.walk(partial(storage.list_folder, bucket), bucket_walk.prefix(start))
    for listed, (name, entry) in enumerate(walked, 1):
        is_folder = not entry.get("id")
        folders += is_folder
        if listed > MAX_OBJECTS or folders > MAX_FOLDERS:
            raise CollectionError(
                f"{_place(bucket, start)} has more than {MAX_OBJECTS:,} objects or {MAX_FOLDERS:,} "
                f"folders. Name a folder of it: bucket:{bucket}/FOLDER."
            )
        if not is_folder and _is_image(entry) and is_addressable(bucket, name):  # else nobody finds it
            yield _stored_image(name, entry)


def _is_image(entry: dict[str, Any]) -> bool:
    told = str((entry.get("metadata") or {}).get("mimetype") or "")
    guessed = mimetypes.guess_type(str(entry["name"]))[0] or ""
    return told.startswith("image/") or guessed.startswith("image/")


def _stored_image(name: str, entry: dict[str, Any]) -> StoredImage:
    metadata = entry.get("metadata") or {}
    size, etag = metadata.get("size"), metadata.get("eTag")
    return StoredImage(
        name=name,
        revision=str(entry.get("updated_at") or entry["id"]),
        size=size if isinstance(size, int) else None,
        etag=str(etag) if etag else None,
    )


def _by_folder(images: list[StoredImage], folder: str) -> list[str | None]:
    """The path of each one's folder, below `folder`; None for those in `folder` itself."""
    paths = (image.name.removeprefix(folder).lstrip("/") for image in images)
    return [path.rpartition("/")[0] or None for path in paths]


def _attached(storage: Storage, bucket: str, images: list[StoredImage], key: str) -> list[str | None]:
    """The values of `key` in the images' metadata; CollectionError where none has it."""

    def label(image: StoredImage) -> str | None:
        metadata = storage.info(bucket, image.name).get("metadata")  # its uploader's: any JSON
        value = metadata.get(key) if isinstance(metadata, dict) else None
        return None if value is None else str(value)

    with ThreadPoolExecutor(PARALLEL) as pool:
        labels = list(pool.map(label, images))
    if not any(labels):
        raise CollectionError(
            f"None of the {len(images)} images in {bucket!r} has {key!r} in its metadata. Check the key: it "
            "is what uploaders attach, as `metadata` in supabase-js."
        )
    return labels


def _place(bucket: str, folder: str) -> str:
    return f"bucket:{bucket}/{folder.strip('/')}".rstrip("/")
