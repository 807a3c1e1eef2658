"""Supabase Storage over plain HTTP: download, upload, sign.

Not through supabase-py: it parses an object's name as a URL (a `?` or `:` in it asks for another object) and
holds the whole body in memory, of any size.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from requests.adapters import DEFAULT_POOLSIZE

from shared.errors import (
    ImageTooLarge,
    InvalidObjectName,
    NeuralSearchError,
    ObjectNotFound,
    StaleObject,
    StorageForbidden,
    StorageRefused,
)
from shared.runtime import disconnect
from shared.supabase import storage_answers as answers
from shared.supabase import surroundings
from shared.supabase.bounded_adapter import BoundedAdapter
from shared.supabase.credentials import Identity

CONNECT_SECONDS = 5
MAX_PATH = 1200  # bytes of a bucket and a name: S3 takes 1024 for a name, Storage 100 for a bucket
MD5 = re.compile("[0-9a-f]{32}")
UNRESERVED = "!*'();:@&=+$,"  # characters that Storage doesn't decode again when it signs a single path


@dataclass(frozen=True, kw_only=True)
class Shared:
    """An object as its signed or public address gives it to anybody."""

    data: bytes
    etag: str  # "" where Storage tells none


def http_session(url: str, connections: int = DEFAULT_POOLSIZE) -> requests.Session:
    """Connections to Storage at `url`, through the environment's proxies and with its certificates.

    So many `connections` are kept, each with bounds of time.
    """
    session = surroundings.session(url)
    for scheme in ("https://", "http://"):
        session.mount(scheme, BoundedAdapter(pool_maxsize=connections))
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # none is sent, so none is kept
    return session


class Storage:
    """One project's Storage as one identity, or nobody, sees it. The session is shared; this is cheap."""

    def __init__(self, url: str, identity: Identity | None, session: requests.Session, public_url: str = ""):
        self._base = f"{url}/storage/v1"
        self._public = f"{public_url or url}/storage/v1"  # for addresses that browsers load
        self._headers = identity.headers if identity else {}
        self._session = session

    def download(
        self,
        bucket: str,
        name: str,
        *,
        version: str,
        max_bytes: int,
        size: int | None = None,
        etag: str | None = None,
    ) -> bytes:
        """The object's bytes. `version` passes by a CDN's copy of an older one.

        Raises StaleObject where the bytes aren't the `size` or `etag` that the object's row tells of, and
        ImageTooLarge as soon as more than `max_bytes` are announced or arrive.
        """
        # Not by /object/{bucket}, where a bucket named "public" or "info" is one of Storage's other routes.
        path = f"{object_path(bucket, name)}?v={quote(version, safe='')}"
        url = f"{self._base}/object/authenticated/{path}"
        with self._send("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            data = _read_object(response, max_bytes)
            _check_fresh(response, data, size, etag)
            return data

    def download_shared(
        self, bucket: str, name: str, *, token: str, max_bytes: int, known: str = ""
    ) -> Shared | None:
        """The object by a signed address's token, or without one from a public bucket.

        None where Storage accepts that and the object's ETag is still the `known` one. Raises ImageTooLarge
        as soon as more than `max_bytes` are announced or arrive.
        """
        path = object_path(bucket, name)
        way = f"sign/{path}?token={quote(token, safe='')}" if token else f"public/{path}"
        headers = {"Accept-Encoding": "identity"} | ({"If-None-Match": known} if known else {})
        accepted = (200, 304) if known else (200,)
        url = f"{self._base}/object/{way}"
        with self._send("GET", url, headers=headers, accepted=accepted) as response:
            if response.status_code == 304:
                return None
            data = _read_object(response, max_bytes)
            _check_fresh(response, data, None, None)
            return Shared(data=data, etag=response.headers.get("ETag", ""))

    def answers(self, bucket: str) -> bool:
        """Whether Storage itself answers for this bucket: it is asked for an object that isn't there.

        By the way that a download takes, so that a gateway that lets no download pass shows here too.
        """
        try:
            self.download(bucket, f"neural-search/{uuid.uuid4()}", version="", max_bytes=0)
        except ObjectNotFound:
            return True
        except NeuralSearchError:
            return False
        return False  # a server that has something under any name is no Storage

    def upload(self, bucket: str, name: str, data: bytes, *, mime_type: str, upsert: bool = False) -> str:
        """Stores an object as this identity. Returns its id."""
        url = f"{self._base}/object/{object_path(bucket, name)}"
        form = {"cacheControl": "3600"}
        file = {"file": (name.rsplit("/", 1)[-1], data, mime_type)}
        headers = {"x-upsert": str(upsert).lower()}
        with self._send("POST", url, headers=headers, data=form, files=file) as response:
            return answers.text(answers.json_object(response), "Id")

    def sign(self, bucket: str, names: Sequence[str], *, seconds: int) -> dict[str, str]:
        """Name -> a URL that shows the object to anybody, for those that this identity may read."""
        url = f"{self._base}/object/sign/{quote(bucket, safe='')}"
        with self._send("POST", url, json={"paths": list(names), "expiresIn": seconds}) as response:
            rows = answers.json_list(response)
        tokens = {
            answers.text(row, "path"): _token(row.get("signedURL")) for row in rows if not row.get("error")
        }
        return {
            name: f"{self._public}/object/sign/{object_path(bucket, name)}?token={token}"
            for name, token in tokens.items()
            if token and is_addressable(bucket, name)
        }

    def public_urls(self, bucket: str, names: Sequence[str]) -> dict[str, str]:
        """Name -> the URL that anybody may read it at: `names` if the bucket is public, else none.

        As with `sign`, those that aren't addressable have none.
        """
        names = [name for name in names if is_addressable(bucket, name)]
        if not names:
            return {}
        try:
            with self._send("GET", f"{self._base}/object/info/public/{object_path(bucket, names[0])}"):
                pass
        except (ObjectNotFound, StorageRefused, StorageForbidden):
            return {}
        return {name: f"{self._public}/object/public/{object_path(bucket, name)}" for name in names}

    def sign_transformation(self, bucket: str, name: str, *, side: int, seconds: int) -> str | None:
        """A URL that shows the object within `side` x `side` pixels; None where the project has no such."""
        url = f"{self._base}/object/sign/{object_path(bucket, name, unquoted=UNRESERVED)}"
        transform = {"width": side, "height": side, "resize": "contain"}
        with self._send("POST", url, json={"expiresIn": seconds, "transform": transform}) as response:
            signed = str(answers.json_object(response).get("signedURL"))
        if not signed.startswith("/render/image/sign/"):
            return None
        return f"{self._public}/render/image/sign/{object_path(bucket, name)}?token={_token(signed)}"

    def public_transformation(self, bucket: str, name: str, *, side: int) -> str:
        """The same for an object in a public bucket, without asking."""
        bounds = f"width={side}&height={side}&resize=contain"
        return f"{self._public}/render/image/public/{object_path(bucket, name)}?{bounds}"

    def list_folder(self, bucket: str, folder: str, *, limit: int, offset: int) -> list[dict[str, Any]]:
        """A page of a folder's entries ("" is the bucket's own), by name. Folders have the id null."""
        url = f"{self._base}/object/list/{quote(bucket, safe='')}"
        order = {"column": "name", "order": "asc"}
        body = {"prefix": folder, "limit": limit, "offset": offset, "sortBy": order}
        with self._send("POST", url, json=body) as response:
            return answers.json_list(response)

    def info(self, bucket: str, name: str) -> dict[str, Any]:
        """Storage's facts of an object; `metadata` is its uploader's own."""
        url = f"{self._base}/object/info/authenticated/{object_path(bucket, name)}"
        with self._send("GET", url) as response:
            return answers.json_object(response)

    @contextmanager
    def _send(
        self, method: str, url: str, *, accepted: Sequence[int] = (200,), **content: Any
    ) -> Iterator[requests.Response]:
        disconnect.check()
        headers = self._headers | content.pop("headers", {})
        request = requests.Request(method, url, headers=headers, **content).prepare()
        request.url = url  # as it was quoted: requests would normalise it
        waits = (CONNECT_SECONDS, answers.READ_SECONDS)
        try:
            response = self._session.send(request, timeout=waits, allow_redirects=False, stream=True)
            with response:
                if response.status_code not in accepted:
                    raise answers.refusal(response)
                yield response
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise answers.translate(error) from error


def object_path(bucket: str, name: str, *, unquoted: str = "") -> str:
    """Bucket and name as they stand in a URL: nothing in them can end the path.

    InvalidObjectName for one that isn't addressable. By a name that climbs its uploader would choose another
    path that is asked with our caller's rights, or with the secret key.
    """
    if not is_addressable(bucket, name):
        raise InvalidObjectName()
    # A bucket's slash is encoded, so that it stays one segment.
    return "/".join([quote(bucket, safe=""), *(quote(part, safe=unquoted) for part in name.split("/"))])


def is_addressable(bucket: str, name: str) -> bool:
    return not (is_too_long(bucket, name) or climbs(bucket, name))


def is_too_long(bucket: str, name: str) -> bool:
    """Whether Storage can have no such object: its address would be sent, and broken off, in vain."""
    return len(f"{bucket}/{name}".encode(errors="replace")) > MAX_PATH


def climbs(bucket: str, name: str) -> bool:
    """Whether a gateway may resolve the path to another one, encoded dots too (RFC 3986, 6.2.2)."""
    return bool({".", ".."} & set(f"{bucket}/{name}".replace("\\", "/").split("/")))


def _read_object(response: requests.Response, max_bytes: int) -> bytes:
    too_large = ImageTooLarge(f"The object has more than {max_bytes} bytes (MAX_IMAGE_BYTES).")
    announced = _announced(response)
    if announced is not None and announced > max_bytes:  # a video, say: asked for again and again, too
        raise too_large
    try:
        data = answers.read(response, max_bytes)
    except answers.CUT_OFF as error:
        raise StaleObject(f"The download was cut off: {error}. It will be fetched again.") from error
    if len(data) > max_bytes:
        raise too_large
    return data


def _announced(response: requests.Response) -> int | None:
    """The body's bytes as its head tells them; fewer than arrive where it is encoded."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and len(text) < 20 else None


def _check_fresh(response: requests.Response, data: bytes, size: int | None, etag: str | None) -> None:
    encoded = response.headers.get("Content-Encoding", "identity") != "identity"
    announced = _announced(response)
    if not encoded and announced is not None and announced != len(data):
        raise StaleObject(f"The download was cut off: {len(data)} of {announced} bytes arrived.")
    if size is not None and size != len(data):
        raise StaleObject(f"Storage sent {len(data)} bytes, the object's row says {size}.")
    sent = response.headers.get("ETag") or _md5_where_it_is_one(etag, data)
    if etag and sent and _bare(etag) != _bare(sent):
        raise StaleObject(f"Storage sent the bytes with ETag {sent}, the object's row says {etag}.")


def _md5_where_it_is_one(etag: str | None, data: bytes) -> str | None:
    """The ETag that these bytes should have had, where the one that is expected is an MD5: not of parts."""
    if not MD5.fullmatch(_bare(etag or "")):
        return None
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')  # a CDN that recompresses makes the tag a weak one


def _token(signed_url: str | None) -> str:
    return (signed_url or "").rpartition("?token=")[2]
