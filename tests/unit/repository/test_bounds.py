"""The bounds that docs/security.md tells are those of the code: none of both changes alone."""

from __future__ import annotations

import re

import pytest
import yaml

from cli.installer import releases
from functions.query import main
from shared.http import arriving_request, bodies, forms, handlers, pace, paced_socket, server, services
from shared.images import reduction
from shared.indexing import webhook_handler
from shared.search import authentication, json_body, previews, query, query_vectors, search, text_vectors
from shared.secrets import api_keys
from shared.settings import CHECKOUT, DEFAULTS

KB = 1024
LONGEST = int(DEFAULTS["max_image_bytes"]) * 4 // 3 + json_body.MAX_BYTES  # of a body
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
PROXY = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text())["configs"]["proxy"]["content"]


def few(number: int) -> str:
    return WORDS[number] if number < len(WORDS) else str(number)


def in_sql(pattern: str) -> int:
    [found] = set(re.findall(pattern, releases.source_text()))
    return int(found)


def in_proxy(zone: str) -> int:
    [found] = re.findall(rf"limit_conn {zone} (\d+);", PROXY)
    return int(found)


NAMES = in_sql(r"count <= (\d+), format")
FILTER = in_sql(r"check_json\('filter', filter, (\d+)\)")
METADATA = in_sql(r"check_json\('filter.metadata', filter -> 'metadata', (\d+)\)")
KEPT = in_sql(r"octet_length\(user_metadata::text\) <= (\d+)")
BOUNDS = (
    f"{handlers.CALLERS} callers in a process, {handlers.CALLERS_AT_WORK} of them at work",
    f"have images decoded {few(main.RUNNING)} and {few(main.WAITING)} waiting",
    f"up to {query.MAX_IMAGES} images are decoded and up to {query.MAX_GIVEN} texts embedded",
    f"up to {query.MAX_LIMIT} results, each with a URL",
    f"{json_body.MAX_BYTES // KB} KiB of JSON or form beside the images",
    f"bodies of more than {bodies.BUFFERED // KB} KiB hold together what {few(main.BODIES)} of the longest",
    f"({main.BODIES * LONGEST / 1e6:.0f} MB), until their answers",
    f"a body of any kind up to the limit, {LONGEST / 1e6:.0f} MB",
    f"of which {reduction.MOST_PIXELS / 1e6:.0f} megapixels at most leave their decoder",
    f"embedding texts, {few(query_vectors.TEXTS)} at a time",
    f"{few(previews.RUNNING)} downloads at a time in a process, one of them being decoded",
    f"{previews.AT_ONCE - previews.RUNNING} waiting on threads of their own",
    f"{previews.CACHE_BYTES // KB // KB} MB kept in all",
    f"each counting {previews.ENTRY_BYTES // KB} kB beside its bytes and its name",
    f"{server.WAITING_SECONDS:.0f} seconds for the head and the first {bodies.BUFFERED // KB} KiB",
    f"then {pace.SECONDS:.0f} seconds",
    f"and one for each {pace.BYTES_PER_SECOND // KB} KiB",
    f"for {few(services.READING)} requests at a time, the sixth gets 503",
    f"{paced_socket.SENDING_SECONDS:.0f} seconds for an answer to be taken",
    f"on no thread, and {server.SENDING} such answers; {server.CONNECTIONS} connections",
    f"what still comes is discarded for {server.LINGERING_SECONDS:.0f} seconds",
    f"refused at {pace.PIECES:,} pieces",
    f"and one for each {pace.BYTES_PER_PIECE} bytes",
    f"{bodies.BUFFERED // KB} KiB of a body, in more than {arriving_request.MAX_PIECES:,} pieces",
    f"more than {forms.MAX_PARTS} parts, or of more than {forms.MAX_PART_HEAD // KB} KiB of headers in one",
    f"a query string of more than {handlers.MAX_QUERY_STRING // KB} KiB",
    f"a head of more than {arriving_request.MAX_HEAD // KB} KiB",
    f"by a hash of both headers for at most {authentication.HOLD_SECONDS:.0f} seconds",
    f"vectors of the last {text_vectors.MAX_TEXTS} texts are kept for each caller alone",
    f"They work for {few(search.URL_SECONDS // 60)} minutes for whoever has them",
    f"for {webhook_handler.WORKING_SECONDS:.0f} seconds at most beyond its own object",
    f"one of fewer than {api_keys.LEAST_SECRET} characters",
    f"{NAMES} names",
    f"{FILTER // KB} KiB of a filter, {METADATA // KB} KiB of its `metadata`",
    f"{KEPT // KB} KiB of each image's",
    f"Compose's takes {in_proxy('connections')} connections of an address",
    f"{in_proxy('address')} requests at a time on them",
    f"on them, {few(in_proxy('large'))} with bodies of 100 kB or more",
)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_that_the_docs_tell_is_the_codes(bound: str) -> None:
    assert bound in " ".join((CHECKOUT / "docs" / "security.md").read_text().split())
