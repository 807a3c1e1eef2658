"""The rights that the sources in supabase/sql give callers, read from their text."""

from __future__ import annotations

import re
from typing import NamedTuple

from cli.installer import releases

POLICY = re.compile(r'alter policy "([^"]+)" on neural_search\.(\w+)\s+(to [^;]+);')
DEFINER = re.compile(
    r"create or replace function ([\w.]+)\((?:(?!\$\$|create or replace).)*?\bsecurity definer", re.DOTALL
)
READ = re.compile(r"grant select on ([\w., ]+) to %s'")
FOR_WORK = re.compile(r"grant ([a-z, ]+) on\s+(?:sequence )?((?:neural_search\.\w+[,\s]+)+)to service_role;")
VIEW = re.compile(r"create or replace view (neural_search\.\w+)")
HELPER = re.compile(r"create or replace function neural_search\.(\w+)")


class Policy(NamedTuple):
    name: str
    table: str  # in the schema neural_search
    rule: str  # its callers, and its condition


def definers() -> list[str]:
    """The functions that run as their owner, by schema and name."""
    return DEFINER.findall(releases.source_text())


def opened() -> list[str]:
    """The privileges of anon and authenticated, as `SELECT neural_search.words`."""
    text = releases.source_text()
    (read,) = READ.findall(text)
    return [
        "USAGE neural_search",
        *(f"SELECT {table}" for table in re.findall(r"[\w.]+", read)),
        *(f"EXECUTE public.{name}" for name in _listed("searches", text)),
        *(f"EXECUTE neural_search.{name}" for name in _listed("parts", text)),
    ]


def for_searching() -> list[str]:
    """Those without which no search of a caller's works."""
    return [one for one in opened() if not one.startswith("EXECUTE public.")]


def for_working() -> list[str]:
    """The privileges of service_role that workers and the command line take."""
    text = releases.source_text()
    functions = [*_listed("searches", text), *_listed("work", text)]
    helpers = set(HELPER.findall(text)) - set(_listed("own", text))
    return [
        "USAGE neural_search",
        *(f"EXECUTE public.{name}" for name in functions),
        *(f"EXECUTE neural_search.{name}" for name in helpers),
        *_on_relations(text),
    ]


def _on_relations(text: str) -> set[str]:
    """Those on tables, views and sequences; tables to be written are read as well."""
    written = {
        (privilege, name)
        for privileges, names in FOR_WORK.findall(text)
        for privilege in re.findall(r"\w+", privileges)
        for name in re.findall(r"[\w.]+", names)
    }
    read = {("select", name) for name in [*VIEW.findall(text), *(name for _, name in written)]}
    return {f"{privilege.upper()} {name}" for privilege, name in written | read}


def policies() -> list[Policy]:
    """The policies on our tables, all for SELECT."""
    return [Policy(*found) for found in POLICY.findall(releases.source_text())]


def _listed(variable: str, text: str) -> list[str]:
    """The names in a list of the chapter on privileges."""
    (listed,) = re.findall(rf"\b{variable} (?:constant )?text := '([^']+)'", text)
    return re.findall(r"\w+", listed)
