"""A stand-in for the query function, after its HTTP contract, for answers that the real one gives rarely."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "functions/query/page"
PHOTOS = ROOT / "examples/images"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass
class Fake:
    """The fake's next answers, and the requests that it got."""

    names: list[str] = field(default_factory=lambda: photo_names())
    bucket: str = "images"  # of every result
    problem: dict[str, Any] | None = None  # answered to every query
    upload: dict[str, Any] = field(default_factory=lambda: {"state": "searchable", "reason": None})
    held: str | None = None  # queries and uploads with these characters in them wait, as long as it is set
    found: int | None = None  # how many images come close to the query
    shows_photos: bool = True
    tells: bool = True  # the confidence of each result
    copies: int = 0  # of the best result, where they are folded
    retry_after: int | None = None  # seconds, with the problem
    states: dict[str, str] = field(default_factory=dict)  # of objects by name; searchable where it isn't told
    deletable: set[str] | None = None  # names; None: all of them
    preview: str | None = None  # of every result
    found_by: list[str] | None = None  # every result
    named: int | None = None  # the place of one that its name alone finds
    end: str | None = None  # the notice of the last page
    queries: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[dict[str, Any]] = field(default_factory=list)
    listed: list[dict[str, Any]] = field(default_factory=list)  # folders, a page each
    states_asked: list[list[str]] = field(default_factory=list)

    async def wait(self, told: str) -> None:
        while self.held is not None and self.held in told:
            await asyncio.sleep(0.02)

    async def search(self, request: Request) -> Response:
        query = await request.json()
        self.queries.append(query)
        await self.wait(json.dumps(query))
        if self.problem:
            headers = {"Retry-After": str(self.retry_after)} if self.retry_after else {}
            kind = "application/problem+json"
            return JSONResponse(self.problem, self.problem["status"], headers, media_type=kind)
        offset, limit = int(query.get("cursor", 0)), query.get("limit", 10)
        ranked = sorted(self.names, key=lambda name: (-affinity(name, query), spread(name)))
        copies = self.copies if query.get("collapse") else 0
        results = [self.result(name, rank, 0 if rank else copies) for rank, name in enumerate(ranked)]
        page, cursor = results[offset : offset + limit], str(offset + limit)
        more = cursor if len(page) == limit and len(results) > offset + limit else None
        is_pooled = "collapse" in query or "diversity" in query
        notice = self.end if page and not more and is_pooled else None
        if not page:
            notice = "You may see no image here, for one of several reasons."
        answer = {
            "model": "efficientnet-lite0-concepts",
            "results": page,
            "next_cursor": more,
            "notice": notice,
        }
        return JSONResponse(answer)

    def result(self, name: str, rank: int, copies: int) -> dict[str, Any]:
        similarity = round(0.93 * 0.985**rank, 4)
        about = {
            "id": rank + 1,
            "bucket": self.bucket,
            "name": name,
            "content": name,
            "similarity": similarity,
        }
        url = f"photos/{name}" if self.shows_photos else None
        level = ("same" if rank == 0 else "strong" if rank < 3 else "related") if self.tells else None
        if self.found is not None and rank >= self.found:
            level = "unrelated"
        duplicates = [
            {"id": 1000 + copy, "bucket": "images", "name": f"copy-{copy}.jpg", "url": url}
            for copy in range(copies)
        ]
        closest = {"field": "like", "index": rank % 2}
        more = {"confidence": level, "closest": closest, "duplicates": duplicates}
        if self.preview:
            more["preview"] = self.preview
        if self.found_by:
            more["found_by"] = self.found_by
        if rank == self.named:
            more |= {"found_by": ["name"], "confidence": "unrelated"}
        return {**about, "url": url, "metadata": {}, **more}

    async def embeddings(self, request: Request) -> Response:
        async with request.form() as form:
            image = form["image"]
            assert not isinstance(image, str)
            about = {"bucket": form["bucket"], "name": form["name"]}
            self.uploads.append({**about, "size": len(await image.read())})
        await self.wait(str(about))
        if "status" in self.upload:
            return JSONResponse(self.upload, self.upload["status"], media_type="application/problem+json")
        return JSONResponse({**about, **self.upload})

    async def sign(self, request: Request) -> Response:
        paths = (await request.json())["paths"]
        return JSONResponse(
            [
                {"path": path, "error": None, "signedURL": f"/photos/{path}?token=t"}
                if (PHOTOS / path).is_file()
                else {"path": path, "error": "not there", "signedURL": None}
                for path in paths
            ]
        )

    async def remove(self, request: Request) -> Response:
        names = (await request.json())["prefixes"]
        gone = [name for name in names if self.deletable is None or name in self.deletable]
        return JSONResponse([{"name": name} for name in gone])

    async def object_states(self, request: Request) -> Response:
        names = (await request.json())["names"]
        self.states_asked.append(names)
        await self.wait(str(names))
        rows = [
            {"name": name, "state": self.states.get(name, "searchable"), "reason": None} for name in names
        ]
        return JSONResponse(rows)

    async def list_folder(self, request: Request) -> Response:
        asked = await request.json()
        self.listed.append(asked)
        prefix, offset = asked["prefix"], asked["offset"]
        if request.path_params["bucket"] != self.bucket:
            return JSONResponse([])
        folder = f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
        inside = [name.removeprefix(folder) for name in self.names if name.startswith(folder)]
        folders = sorted({name.split("/")[0] for name in inside if "/" in name})
        rows: list[dict[str, Any]] = [{"name": name, "id": None} for name in folders]
        rows += [{"name": name, "id": folder + name} for name in inside if "/" not in name]
        return JSONResponse(rows[offset : offset + asked["limit"]])

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/query", self.search, methods=["POST"]),
                Route("/embeddings", self.embeddings, methods=["POST"]),
                Mount("/photos", StaticFiles(directory=PHOTOS)),
                Route("/config.json", configuration),
                Mount("/storage/v1/photos", StaticFiles(directory=PHOTOS)),
                Mount("/storage/v1/object/images", StaticFiles(directory=PHOTOS)),
                Route("/storage/v1/object/sign/images", self.sign, methods=["POST"]),
                Route("/storage/v1/object/list/{bucket}", self.list_folder, methods=["POST"]),
                Route("/storage/v1/object/info/images/{name:path}", info),
                Route("/storage/v1/object/images", self.remove, methods=["DELETE"]),
                Route("/storage/v1/bucket", buckets),
                Route("/rest/v1/rpc/object_states", self.object_states, methods=["POST"]),
                Route("/", page),
                Route("/{name:path}", page),
            ]
        )


def photo_names() -> list[str]:
    return sorted(path.relative_to(PHOTOS).as_posix() for path in PHOTOS.rglob("*.jpg"))


async def configuration(request: Request) -> Response:
    return JSONResponse({"supabase_url": str(request.base_url), "publishable_key": "sb_publishable_x"})


async def buckets(_request: Request) -> Response:
    return JSONResponse([{"id": "images", "name": "images"}, {"id": "albums", "name": "albums"}])


async def info(request: Request) -> Response:
    name = request.path_params["name"]
    day = f"2026-01-{1 + spread(name) % 28:02}T00:00:00Z"
    about = {"id": name, "name": name, "size": 1234567, "content_type": "image/jpeg", "created_at": day}
    return JSONResponse(about)


async def page(request: Request) -> Response:
    name = request.path_params.get("name", "index.html")
    if name not in {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*.*")}:
        return Response(status_code=404)
    return FileResponse(PAGE / name, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})


def affinity(name: str, query: dict[str, Any]) -> int:
    """How many of the query's words and examples speak of `name`, less those it should not be like."""
    words = set(re.findall(r"[a-z]+", query.get("text", "").lower()))
    likes = [stem(named(example)) == stem(name) for example in query.get("like", [])]
    unlikes = [stem(named(example)) == stem(name) for example in query.get("unlike", [])]
    return sum(word in name for word in words if len(word) > 3) + 2 * sum(likes) - 2 * sum(unlikes)


def named(example: Any) -> str:
    """The name, or else the text, of an example in any of its forms."""
    return example if isinstance(example, str) else str(example.get("name") or example.get("text"))


def stem(name: str) -> str:
    return re.sub(r"_?\d*\.jpg$", "", name.rsplit("/", 1)[-1])


def spread(name: str) -> int:
    return sum(ord(letter) * 31**place for place, letter in enumerate(name)) % 1009
