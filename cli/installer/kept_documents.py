"""Documents that outlived an uninstall: they come back with the next install, not to be embedded twice."""

from __future__ import annotations

from typing import LiteralString

from psycopg import sql
from psycopg.errors import DependentObjectsStillExist

from cli.installer.connection import Database, column
from shared.errors import DatabaseError

OURS = {"object_id", "model", "embedding", "object_version"}  # columns by which our table is told from others
ASIDE = "neural_search_kept"
# A search compares all vectors of a model: those of another length would end it.
HAS_MODEL = (
    "(model, extensions.vector_dims(embedding)) in (select name, dimensions from neural_search.models)"
)

# Columns of the kept table, and all that hangs on it, that the table in use hasn't. Indexes and statistics
# hold no data.
OTHERS = r"""
    with hung (relation, class, oid, part) as (
      select d.refobjid, d.classid, d.objid, 0 from pg_depend as d
      where d.refclassid = 'pg_class'::regclass and d.deptype = 'a'
        and d.classid not in ('pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_statistic_ext'::regclass)
      union all
      select a.attrelid, 'pg_class'::regclass, a.attrelid, a.attnum from pg_attribute as a
      where a.attnum > 0 and not a.attisdropped
    ),
    named (relation, name) as (
      select relation,
        regexp_replace(pg_describe_object(class, oid, part), '\m(public|neural_search(_kept)?)\.', '')
      from hung where relation in (to_regclass(%(aside)s), to_regclass(%(home)s))
    )
    select name from named where relation = to_regclass(%(aside)s) and to_regclass(%(home)s) is not null
    except select name from named where relation = to_regclass(%(home)s)
    order by 1
"""

# Keys, triggers and rules of the user's own, by which each kept document that comes back, or is forgotten,
# would delete or change rows of theirs.
CONCERNED = r"""
    with concerned (class, oid) as (
      select 'pg_constraint'::regclass, oid from pg_constraint
      where contype = 'f' and conparentid = 0 and confrelid = to_regclass(%(aside)s)
      union all
      select 'pg_trigger'::regclass, oid from pg_trigger
      where tgrelid = to_regclass(%(aside)s) and not tgisinternal
      union all
      select 'pg_rewrite'::regclass, oid from pg_rewrite where ev_class = to_regclass(%(aside)s)
    )
    select pg_describe_object(class, oid, 0) from concerned order by 1
"""


def set_aside(database: Database, home: str = "public") -> None:
    """Moves the documents of the schema `home`, if any, to those kept aside already.

    The next installation expects its names free. Before 0.2.0 the documents were in public, where an
    uninstall left them. DatabaseError where public.documents is somebody else's.
    """
    if not column(database, "select 1 where to_regclass(%s) is not null", [f"{home}.documents"]):
        return
    if home == "public" and column(database, "select 1 where to_regnamespace('neural_search') is not null"):
        return  # not left behind, but in use: a table before 0.2.0, a view since then
    if not is_ours(database, home):
        raise DatabaseError(
            "There is a table public.documents already that isn't neural-search's. "
            "Rename it first, and change the functions that use it."
        )
    require_no_others(database, home)
    with database.transaction():
        if _is_aside(database):
            # Those of models that aren't here wait, too; without its models the key would go along anyway.
            database.execute(f"alter table {home}.documents drop constraint if exists documents_model_fkey")
            _copy_back(database, column(database, f"select distinct bucket_id from {ASIDE}.documents"), home)
            _forget(database)
        database.execute(f"create schema {ASIDE}")
        database.execute(f"alter table {home}.documents set schema {ASIDE}")


def bring_back(database: Database, buckets: list[str]) -> tuple[int, int]:
    """Puts back the documents of `buckets` or another indexed bucket; how many, and how many stay aside.

    Buckets that aren't indexed aren't searched, so the others wait until theirs is, and those of a model
    that isn't here, or has vectors of another length, until it is added. Those whose object has other bytes
    by now, or is gone, are forgotten.
    """
    if not _is_aside(database):
        return 0, 0
    require_no_others(database)
    with database.transaction():
        # The old identities are in use again, or will be; the next one follows them.
        database.execute(f"""
            select setval(pg_get_serial_sequence('neural_search.documents', 'id'), greatest(max(id), 1))
            from (select id from neural_search.documents union all select id from {ASIDE}.documents) used
        """)
        database.execute(f"""
            delete from {ASIDE}.documents d where not exists (
              select from storage.objects o
              where o.id = d.object_id and coalesce(o.version, '') = d.object_version
            )
        """)
        indexed = buckets + column(database, "select bucket_id from neural_search.buckets")
        brought_back = _copy_back(database, indexed, where=HAS_MODEL)
        database.execute(
            f"delete from {ASIDE}.documents where bucket_id = any(%s) and {HAS_MODEL}", [indexed]
        )
        # Of a model that was added before its documents came back.
        database.execute("""
            delete from neural_search.jobs j using neural_search.documents d
            where d.object_id = j.object_id and d.model = j.model and d.object_version = j.version
        """)
        [waiting] = column(database, f"select count(*) from {ASIDE}.documents")
        if not waiting:
            _forget(database)
    return brought_back, waiting


def require_no_others(database: Database, home: str = "neural_search") -> None:
    """DatabaseError where the kept table has anything of the user's own that `home`'s hasn't."""
    require_unconcerned(database)
    found = column(database, OTHERS, {"aside": f"{ASIDE}.documents", "home": f"{home}.documents"})
    if found:
        raise DatabaseError(
            f"These of your own are in {ASIDE} and would go along with its table: {'; '.join(found)}. "
            f"Make each of them on {home}.documents too, where columns get the values kept, "
            f"or drop it from {ASIDE}.documents, and run this again."
        )


def require_unconcerned(database: Database) -> None:
    """DatabaseError where moving kept documents would delete or change rows of the user's."""
    if found := concerned(database):
        raise DatabaseError(
            f"These of your own would delete or change rows of yours as documents leave {ASIDE}: "
            f"{'; '.join(found)}. Save the definition of each of them, drop it, and run this again; then "
            "make it anew on neural_search.documents, where each document has the id that it had."
        )


def concerned(database: Database) -> list[str]:
    """Keys, triggers and rules of the user's own on the kept documents."""
    return column(database, CONCERNED, {"aside": f"{ASIDE}.documents"})


def is_ours(database: Database, home: str = "public") -> bool:
    """Whether the table of documents in this schema is neural-search's."""
    return set(_columns(database, home)) >= OURS


def models_aside(database: Database) -> list[str]:
    """The models of kept documents that aren't here, or have vectors of another length."""
    if not _is_aside(database):
        return []
    return column(
        database,
        f"select distinct model from {ASIDE}.documents where not {HAS_MODEL} order by 1",
    )


def _copy_back(
    database: Database,
    buckets: list[str],
    home: str = "neural_search",
    *,
    where: LiteralString = "true",
) -> int:
    """The columns that both tables have, where this holds; documents made meanwhile win."""
    columns = [name for name in _columns(database, home) if name in set(_columns(database, ASIDE))]
    return database.execute(
        sql.SQL("""
            insert into {home}.documents ({columns}) overriding system value
            select {columns} from {aside}.documents
            where bucket_id = any(%(buckets)s) and {where}
            on conflict do nothing
        """).format(
            home=sql.Identifier(home),
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            aside=sql.Identifier(ASIDE),
            where=sql.SQL(where),
        ),
        {"buckets": buckets},
    ).rowcount


def _forget(database: Database) -> None:
    """Drops the kept table. DatabaseError where something of the user's would go along, a policy even."""
    try:
        database.execute(f"drop table {ASIDE}.documents")
        database.execute(f"drop schema {ASIDE}")
    except DependentObjectsStillExist as error:
        raise DatabaseError(
            f"The kept documents can't be moved: {error.diag.message_detail}. Save the definition of each of "
            "these, drop it, and run this again; then make it anew on neural_search.documents."
        ) from error


def _is_aside(database: Database) -> bool:
    return bool(column(database, f"select 1 where to_regclass('{ASIDE}.documents') is not null"))


def _columns(database: Database, schema: str) -> list[str]:
    return column(
        database,
        """
        select attname::text from pg_attribute
        join pg_class c on c.oid = attrelid and c.relkind = 'r'
        where attrelid = to_regclass(%s || '.documents') and attnum > 0 and not attisdropped order by attnum
        """,
        [schema],
    )
