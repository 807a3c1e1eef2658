"""What callers may do with our tables and functions: no more than the migrations grant them."""

from __future__ import annotations

from cli.installer.connection import Database, column, connect
from shared.errors import DatabaseError
from shared.settings import Settings

# Those that run as their owner; docs/security.md says why for each.
DEFINERS = [
    "neural_search.confidence_levels",
    "neural_search.declarations",
    "neural_search.find_public",
    "neural_search.ids_with_metadata",
    "neural_search.is_public",
    "neural_search.last_document_id",
    "neural_search.lsh_bits",
    "neural_search.on_object_change",
    "neural_search.public_buckets",
    "neural_search.searchable_model",
    "neural_search.state_of",
    "neural_search.text_configuration",
    "public.active_model",
]
POLICIES = ["As the policy on documents says", "As the policies on storage.objects say"]
READ = ["neural_search.documents", "neural_search.words"]

FUNCTIONS = """
select format('%%s runs as its owner', p.oid::regprocedure)
from pg_proc as p cross join lateral format('%%s.%%s', p.pronamespace::regnamespace, p.proname) as name
where p.prosecdef and name <> all (%s) and (
  p.pronamespace = to_regnamespace('neural_search')
  or p.pronamespace = to_regnamespace('public') and p.proname in (
    'match_documents', 'search_documents', 'recommend_documents', 'similar_documents', 'get_embeddings',
    'object_states', 'list_fingerprints', 'confirm_duplicates'
  )
)
"""
TABLES = """
select format('%%s may be used by %%s (%%s)', c.oid::regclass, role, string_agg(privilege, ', '))
from pg_class as c, unnest(array['anon', 'authenticated']) as role,
  unnest(array['select', 'insert', 'update', 'delete', 'truncate']) as privilege
where c.relkind in ('r', 'p', 'v') and (
    c.relnamespace = to_regnamespace('neural_search')
    or c.oid in (to_regclass('vault.secrets'), to_regclass('vault.decrypted_secrets'))
      and has_schema_privilege(role, c.relnamespace, 'usage')
  )
  and has_table_privilege(role, c.oid, privilege)
  and not (privilege = 'select' and c.oid::regclass::text = any (%s))
group by c.oid, role
"""
UNSECURED = """
select format('%s has no row level security', oid::regclass) from pg_class
where relnamespace = to_regnamespace('neural_search') and relkind in ('r', 'p') and not relrowsecurity
"""
FOREIGN = """
select format('%%s has the policy %%L', tablename, policyname) from pg_policies
where schemaname = 'neural_search' and policyname <> all (%s)
"""
# PostgREST's, of the role that it connects as.
SETTINGS = r"""
select format('%s has %s', coalesce(r.rolname::text, 'the database'), entry)
from pg_db_role_setting as s cross join unnest(s.setconfig) as entry
left join pg_roles as r on r.oid = s.setrole
where s.setdatabase in (0, (select d.oid from pg_database as d where d.datname = current_database()))
  and (entry ~ '^pgrst\.db_schemas=.*\mneural_search\M' or entry ~* '^pgrst\.db_plan_enabled=.*(true|on|1)')
"""


def rights(target: Settings) -> str:
    """DatabaseError names what somebody has granted or changed since: searches may show more by it."""
    with connect(str(target.database_url)) as database:
        found = sorted(_changed(database))
    if found:
        raise DatabaseError(
            f"Not as installed: {'; '.join(found)}. Callers may see or do more by it than the policies on "
            "storage.objects say. Take it back."
        )
    return "callers have what the migrations grant, and no more"


def _changed(database: Database) -> list[str]:
    return [
        *column(database, FUNCTIONS, [DEFINERS]),
        *column(database, TABLES, [READ]),
        *column(database, UNSECURED),
        *column(database, FOREIGN, [POLICIES]),
        *column(database, SETTINGS),
    ]
