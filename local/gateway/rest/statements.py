"""The SQL of a request: identifiers through psycopg.sql, values as parameters, JSON made by Postgres.

Each statement yields one row: `body` (a JSON array as text), `rows` (how many it holds) and, where the count
was asked for, `total`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from psycopg import sql

from local.gateway.rest.arguments import Arguments
from local.gateway.rest.bodies import Rows
from local.gateway.rest.catalog import SCHEMA, Function, Table, as_type, quoted
from local.gateway.rest.parameters import Filter, Ordering, Parameters

COMPARISONS = {
    "eq": "=",
    "neq": "<>",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "like": "like",
    "ilike": "ilike",
}
IS = {"null": "null", "not_null": "not null", "true": "true", "false": "false", "unknown": "unknown"}

Statement = tuple[sql.Composed, list[Any]]


def read(table: Table, wishes: Parameters) -> Statement:
    """select … from the table."""
    return _page(table.identifier, [], wishes, quoted(table.name))


def plan(table: Table, wishes: Parameters) -> Statement:
    """explain … of the rows of `read`: a guess from statistics, which know rows that policies hide, too."""
    where, values = _where(wishes.filters, quoted(table.name))
    return sql.SQL("explain (format json) select 1 from {}{}").format(table.identifier, where), values


def call(function: Function, arguments: Arguments, wishes: Parameters) -> Statement:
    """select … from the function, with the arguments converted by Postgres."""
    source, values = _call(function, arguments)
    if function.returns_rows:
        return _page_of_call(source, values, wishes)
    item = sql.SQL("pgrst_call.value")
    if not function.returns_set:
        total = sql.SQL("1" if wishes.preferences.counts_rows else "null::int")
        one = sql.SQL("select coalesce(to_json({})::text, 'null') as body, 1 as rows, {} as total from {}")
        return one.format(item, total, source), values
    return _page_of_values(sql.SQL("select {} as value from {}").format(item, source), values, wishes)


def _page_of_values(source: sql.Composed, values: list[Any], wishes: Parameters) -> Statement:
    text = "select coalesce(json_agg(page.value), '[]')::text as body, count(*) as rows, "
    if wishes.preferences.counts_rows:
        text = "with pgrst_call as materialized ({}) " + text + "(select count(*) from pgrst_call) as total "
        text += "from (select value from pgrst_call limit %s offset %s) as page"
    else:
        text += "null as total from ({} limit %s offset %s) as page"
    return sql.SQL(text).format(source), [*values, wishes.limit, wishes.offset]


def _page_of_call(source: sql.Composed, values: list[Any], wishes: Parameters) -> Statement:
    alias = quoted("pgrst_call")
    if not wishes.preferences.counts_rows:
        return _page(source, values, wishes, alias)
    # Page and count come from one call of the function.
    text, more = _page(alias, [], wishes, alias)
    rows = sql.SQL("with pgrst_call as materialized (select pgrst_call.* from {}) {}")
    return rows.format(source, text), [*values, *more]


def insert(table: Table, rows: Rows, wishes: Parameters) -> Statement:
    """insert … [on conflict …], one row or many."""
    columns = rows.columns
    if wishes.preferences.missing == "default" and any(set(columns) - row.keys() for row in rows.objects):
        return _insert_with_defaults(table, rows, wishes)
    source: sql.Composable = sql.SQL("select from json_array_elements(%s::json)")
    if columns:
        source = sql.SQL("select {} from json_to_recordset(%s::json) as _ ({})").format(
            _list(columns), _definitions(table, columns)
        )
    change = sql.SQL("insert into {}{} {}{}").format(
        table.identifier, _in_parentheses(columns), source, _on_conflict(table, columns, wishes)
    )
    return _changed(change, [rows.json], table, wishes)


def update(table: Table, rows: Rows, wishes: Parameters) -> Statement:
    """update … set each given column."""
    if not rows.columns:  # nothing to set: nothing to do, for a caller who may read the table
        return sql.SQL("select null from {} where false").format(table.identifier), []
    where, values = _where(wishes.filters, quoted(table.name))
    change = sql.SQL(
        "update {} set {} from (select {} from json_to_recordset(%s::json) as _ ({}) limit 1) as pgrst_body{}"
    ).format(
        table.identifier,
        sql.SQL(", ").join(_assignment(column, rows, wishes) for column in rows.columns),
        _list(rows.columns),
        _definitions(table, rows.columns),
        where,
    )
    return _changed(change, [rows.json, *values], table, wishes)


def _assignment(column: str, rows: Rows, wishes: Parameters) -> sql.Composable:
    given = rows.objects[0] if rows.objects else {}
    if wishes.preferences.missing == "default" and column not in given:
        return sql.SQL("{} = default").format(quoted(column))
    return sql.SQL("{0} = pgrst_body.{0}").format(quoted(column))


def delete(table: Table, wishes: Parameters) -> Statement:
    """delete … where."""
    where, values = _where(wishes.filters, quoted(table.name))
    return _changed(sql.SQL("delete from {}{}").format(table.identifier, where), values, table, wishes)


def _page(source: sql.Composable, given: list[Any], wishes: Parameters, alias: sql.Identifier) -> Statement:
    where, values = _where(wishes.filters, alias)
    page = sql.SQL("select {} from {}{}{} limit %s offset %s").format(
        _selected(wishes, alias), source, where, _ordered(wishes.order, alias)
    )
    total: sql.Composable = sql.SQL("null::bigint")
    counted: list[Any] = []
    if wishes.preferences.counts_rows:
        total = sql.SQL("(select count(*) from {}{})").format(source, where)
        counted = [*given, *values]
    text = sql.SQL(
        "select coalesce(json_agg(page), '[]')::text as body, count(*) as rows, {} as total from ({}) as page"
    ).format(total, page)
    return text, [*counted, *given, *values, wishes.limit, wishes.offset]


def _call(function: Function, arguments: Arguments) -> Statement:
    given = [parameter for parameter in function.parameters if parameter.name in arguments.names]
    name = quoted(SCHEMA, function.name)
    passed = sql.SQL(", ").join(
        sql.SQL("{0} := pgrst_arguments.{0}").format(quoted(parameter.name)) for parameter in given
    )
    result = sql.SQL("{}({})").format(name, passed)
    if not function.returns_rows:
        result = sql.SQL("(select {} as value)").format(result)
    if not given:
        return sql.SQL("{} as pgrst_call").format(result), []
    row, values = arguments.values(given)
    source = sql.SQL("({}) as pgrst_arguments, lateral {} as pgrst_call")
    return source.format(row, result), values


def _insert_with_defaults(table: Table, rows: Rows, wishes: Parameters) -> Statement:
    """Prefer: missing=default. A row lacks a column: the column's default takes its place."""
    places, values = [], []
    for row in rows.objects:
        cells: list[sql.Composable] = []
        for column in rows.columns:
            type_ = as_type(table.type_of(column))
            if column not in row:
                cells.append(sql.SQL("default"))
                continue
            cells.append(sql.SQL("(select v from json_to_record(%s::json) as _ (v {}))").format(type_))
            values.append(json.dumps({"v": row[column]}))
        places.append(sql.SQL("({})").format(sql.SQL(", ").join(cells)))
    change = sql.SQL("insert into {}{} values {}{}").format(
        table.identifier,
        _in_parentheses(rows.columns),
        sql.SQL(", ").join(places),
        _on_conflict(table, rows.columns, wishes),
    )
    return _changed(change, values, table, wishes)


def _changed(change: sql.Composable, values: list[Any], table: Table, wishes: Parameters) -> Statement:
    """Return the changed rows if they are wanted: returning a column takes the right to read it."""
    if not wishes.preferences.returns_rows:
        text = sql.SQL(
            "with changed as ({} returning 1) "
            "select '' as body, count(*) as rows, count(*) as total from changed"
        )
        return text.format(change), values
    returning = _selected(wishes, quoted(table.name))
    text = sql.SQL(
        "with changed as ({} returning {}), page as (select * from changed{}) "
        "select coalesce(json_agg(page), '[]')::text as body, count(*) as rows, count(*) as total from page"
    )
    return text.format(change, returning, _ordered(wishes.order, quoted("changed"))), values


def _on_conflict(table: Table, columns: Sequence[str], wishes: Parameters) -> sql.Composable:
    resolution = wishes.preferences.resolution
    target = wishes.on_conflict or table.key
    if not resolution or not target:
        return sql.SQL("")
    if resolution == "ignore-duplicates" or not columns:
        return sql.SQL(" on conflict ({}) do nothing").format(_list(target))
    changes = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(quoted(column)) for column in columns)
    return sql.SQL(" on conflict ({}) do update set {}").format(_list(target), changes)


def _selected(wishes: Parameters, alias: sql.Identifier) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{}.*").format(alias)
        if item.column == "*"
        else sql.SQL("{}.{} as {}").format(alias, quoted(item.column), quoted(item.alias or item.column))
        for item in wishes.selected
    )


def _where(filters: Sequence[Filter], alias: sql.Identifier) -> Statement:
    if not filters:
        return sql.Composed([]), []
    conditions, values = [], []
    for one in filters:
        condition, value = _condition(one, sql.SQL("{}.{}").format(alias, quoted(one.column)))
        conditions.append(sql.SQL("not ({})").format(condition) if one.negated else condition)
        values += value
    return sql.SQL(" where {}").format(sql.SQL(" and ").join(conditions)), values


def _condition(one: Filter, column: sql.Composable) -> Statement:
    if one.operator == "is":
        return sql.SQL("{} is {}").format(column, sql.SQL(IS[one.value.lower()])), []
    if one.operator == "in":
        return sql.SQL("{} = any(%s)").format(column), [_array(one.values)]
    value = one.value.replace("*", "%") if one.operator in ("like", "ilike") else one.value
    return sql.SQL("{} {} %s").format(column, sql.SQL(COMPARISONS[one.operator])), [value]


def _array(values: Sequence[str]) -> str:
    """An array literal, whose type Postgres takes from the column."""
    quoted = (value.replace("\\", r"\\").replace('"', r"\"") for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"


def _ordered(order: Sequence[Ordering], alias: sql.Identifier) -> sql.Composable:
    if not order:
        return sql.SQL("")
    nulls = {None: "", "nullsfirst": " nulls first", "nullslast": " nulls last"}
    return sql.SQL(" order by {}").format(
        sql.SQL(", ").join(
            sql.SQL("{}.{}{}{}").format(
                alias,
                quoted(one.column),
                sql.SQL(" desc" if one.descending else ""),
                sql.SQL(nulls[one.nulls]),
            )
            for one in order
        )
    )


def _list(columns: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(quoted, columns))


def _in_parentheses(columns: Sequence[str]) -> sql.Composable:
    return sql.SQL(" ({})").format(_list(columns)) if columns else sql.SQL("")


def _definitions(table: Table, columns: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(quoted(column), as_type(table.type_of(column))) for column in columns
    )
