"""The page's words for the order of its results."""

from __future__ import annotations

import re

# By how well they match: where names and metadata count, these are named.
BY_MATCH = re.compile("most similar first|best first, by image, name and metadata")
