"""The web page and the API's page: their files, and the headers that they are served with."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import flask

from shared.http import handlers, services

HERE = Path(__file__).parent
PAGE = HERE / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}  # of the pages' files
BUILT = ("page.css", "page.js")  # of all styles and modules in PAGE, by `make page`
FILES = {
    **{name: PAGE / name for name in ("index.html", "view.js")},
    **{name: HERE / "built" / name for name in BUILT},
    **{file.relative_to(PAGE).as_posix(): file for file in sorted(PAGE.glob("vendor/*.js"))},
}
REFERENCE = HERE / "reference"
RENDERER = ("start.js", "swagger-ui-bundle.js", "swagger-ui.css")


def page(request: flask.Request) -> flask.Response:
    """A file of the web page. Scripts and styles are ours alone; pictures come from Storage."""
    return _file(request, FILES[handlers.normal_path(request).strip("/") or "index.html"])


def reference(request: flask.Request) -> flask.Response:
    """The API's page, drawn by Swagger UI from openapi.json; at /docs/, so that its files are relative."""
    name = handlers.normal_path(request).removeprefix("/docs").strip("/")
    if not name and not request.path.endswith("/"):
        return flask.Response(status=308, headers={"Location": "docs/"})
    return _file(request, REFERENCE / (name or "index.html"))


def configuration(_request: flask.Request) -> flask.Response:
    """The page's address and key for supabase-js: both are public, and open nothing that policies don't."""
    mine = services.configuration()
    url, key = mine.need("public_url"), mine.need("publishable_key")
    return handlers.answer({"supabase_url": url, "publishable_key": key})


def openapi(_request: flask.Request) -> flask.Response:
    return flask.Response((HERE / "openapi.json").read_bytes(), mimetype="application/json")


ROUTES: handlers.Routes = {
    **{f"/{file}": {"GET": page} for file in FILES},
    "/config.json": {"GET": configuration},
    "/openapi.json": {"GET": openapi},
    **{path: {"GET": reference} for path in ("/docs", *(f"/docs/{name}" for name in RENDERER))},
}


def _file(request: flask.Request, path: Path) -> flask.Response:
    """Compressed where the browser takes that, and empty where it has the same."""
    packed = bool(request.accept_encodings.quality("gzip"))
    stored = _stored(path)
    response = flask.Response(
        _contents(stored, stored.stat().st_mtime_ns, packed), mimetype=TYPES[path.suffix]
    )
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Content-Security-Policy"] = _content_policy()
    response.headers["Cache-Control"] = "no-cache"
    response.vary.add("Accept-Encoding")
    response.add_etag()
    response.make_conditional(request)
    return response


def _stored(path: Path) -> Path:
    """Large files are kept compressed."""
    compressed = path.with_name(f"{path.name}.gz")
    return compressed if compressed.exists() else path


@lru_cache(maxsize=128)
def _contents(stored: Path, _changed: int, packed: bool) -> bytes:
    """Kept, because compressing them takes longer than all else of a request."""
    data = stored.read_bytes()
    if packed == (stored.suffix == ".gz"):
        return data
    return gzip.compress(data, mtime=0) if packed else gzip.decompress(data)


def _content_policy() -> str:
    mine = services.configuration()
    address = urlsplit(mine.need("public_url"))
    project = f"{address.scheme}://{address.netloc}"
    frames = " ".join(mine.page_frame_origins) or "'none'"
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {project}; "
        f"img-src 'self' data: blob: {project}; "
        f"base-uri 'none'; form-action 'self'; frame-ancestors {frames}"
    )
