"""The content of `public`, looked up in the catalogue at each request: nothing here can be out of date."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from local.gateway.database import Connection
from local.gateway.rest import faults

SCHEMA = "public"
HOISTED = (
    "statement_timeout",
    "plan_filter.statement_cost_limit",
)  # settings applied to the whole transaction


def quoted(*names: str) -> sql.Identifier:
    """A name as SQL, in which a percent sign is not the beginning of a placeholder."""
    return sql.Identifier(*(name.replace("%", "%%") for name in names))


def as_type(name: str) -> sql.SQL:
    """A type as format_type wrote it: SQL, and never a word of the request's."""
    return sql.SQL(name.replace("%", "%%"))


@dataclass(frozen=True, kw_only=True)
class Parameter:
    name: str
    type: str  # as SQL writes it, quoted and qualified where needed
    required: bool


@dataclass(frozen=True, kw_only=True)
class Function:
    """One overload of a function."""

    name: str
    parameters: tuple[Parameter, ...]
    returns_set: bool
    returns_rows: bool  # of a table, or of a row type; otherwise of single values
    returns_void: bool
    volatile: bool
    settings: dict[str, str]  # those of its own that hold for the whole transaction

    @property
    def signature(self) -> str:
        arguments = ", ".join(f"{parameter.name} => {parameter.type}" for parameter in self.parameters)
        return f"{SCHEMA}.{self.name}({arguments})"

    def fits(self, names: Collection[str]) -> bool:
        """Whether it can be called with exactly these arguments."""
        known = {parameter.name for parameter in self.parameters}
        required = {parameter.name for parameter in self.parameters if parameter.required}
        return required <= set(names) <= known


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or view."""

    name: str
    columns: dict[str, str]  # name -> type
    key: tuple[str, ...]  # the columns of the primary key

    @property
    def identifier(self) -> sql.Identifier:
        return quoted(SCHEMA, self.name)

    def type_of(self, column: str) -> str:
        if column not in self.columns:
            raise faults.unknown_column(column, self.name)
        return self.columns[column]


FUNCTIONS = """
select p.proname as name, p.proretset as returns_set, p.provolatile = 'v' as volatile,
    p.proconfig as settings, p.prorettype = 'void'::regtype as returns_void,
    p.pronargs as inputs, p.pronargdefaults as defaults,
    p.proargnames as names,
    array(
        select format_type(t, null) from unnest(p.proargtypes) with ordinality as a (t, place) order by place
    ) as types,
    p.proargmodes::text[] as modes,
    (t.typtype = 'c' or coalesce(p.proargmodes::text[] && '{t,b,o}', false)) as returns_rows
from pg_proc as p
join pg_type as t on t.oid = p.prorettype
where p.pronamespace = 'public'::regnamespace and p.proname = %s and p.prokind = 'f'
order by p.oid
"""

TABLES = """
select c.relname as name,
    json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod) order by a.attnum) as columns,
    array(
        select k.attname from pg_index as i
        join pg_attribute as k on k.attrelid = i.indrelid and k.attnum = any(i.indkey)
        where i.indrelid = c.oid and i.indisprimary order by k.attnum
    )::text[] as key
from pg_class as c
join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'public'::regnamespace and c.relname = %s and c.relkind in ('r', 'v', 'm', 'p', 'f')
group by c.oid, c.relname
"""

ROLE_SETTINGS = """
select s.name, substr(told, strpos(told, '=') + 1) as value
from pg_roles as r cross join unnest(r.rolconfig) as told
join pg_settings as s on s.name = split_part(told, '=', 1) and s.context = 'user'
where r.rolname = %s
"""


async def find_function(connection: Connection, name: str, arguments: Collection[str]) -> Function:
    """The one overload that takes these arguments; a fault for none or several."""
    fitting = [function for function in await find_overloads(connection, name) if function.fits(arguments)]
    if not fitting:
        raise faults.unknown_function(name, sorted(arguments))
    if len(fitting) > 1:
        raise faults.ambiguous_function([function.signature for function in fitting])
    return fitting[0]


async def find_overloads(connection: Connection, name: str) -> list[Function]:
    cursor = await connection.execute(FUNCTIONS, [name])
    return [_function(row) for row in await cursor.fetchall()]


async def find_table(connection: Connection, name: str) -> Table:
    cursor = await connection.execute(TABLES, [name])
    if row := await cursor.fetchone():
        return Table(name=row["name"], columns=row["columns"], key=tuple(row["key"]))
    raise faults.unknown_table(name)


async def role_settings(connection: Connection, role: str) -> dict[str, str]:
    """The settings of `alter role … set`, which Postgres itself applies at login only."""
    cursor = await connection.execute(ROLE_SETTINGS, [role])
    return {row["name"]: row["value"] for row in await cursor.fetchall()}


def _function(row: dict[str, Any]) -> Function:
    inputs, required = row["inputs"], row["inputs"] - row["defaults"]
    modes = row["modes"] or ["i"] * inputs
    names = [name for name, mode in zip(row["names"] or [], modes, strict=False) if mode in "ibv"]
    settings = dict(setting.split("=", 1) for setting in row["settings"] or [])
    return Function(
        name=row["name"],
        parameters=tuple(
            Parameter(name=name, type=type_, required=place < required)
            for place, (name, type_) in enumerate(zip(names, row["types"], strict=False))
        ),
        returns_set=row["returns_set"],
        returns_rows=row["returns_rows"],
        returns_void=row["returns_void"],
        volatile=row["volatile"],
        settings={name: settings[name] for name in HOISTED if name in settings},
    )
