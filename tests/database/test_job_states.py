"""Invariants 2, 3 and 4 in any order of events: random lives of objects and of the jobs for them.

Nothing here believes the queue's word: after each step the promises are read from
storage.objects, from documents and from the results of a search.
"""

from __future__ import annotations

import uuid
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from psycopg.types.json import Jsonb
from support.databases import MODEL, vector

PLACES = st.sampled_from([("images", "a.png"), ("images", "b/c.png"), ("attic", "a.png")])
ANY = st.integers(0, 3)  # which of the objects or of the claims, 0 being the latest
# How an event gets lost: no trigger fires, as after a restore; or ours fails, here for want of its table.
LOSSES = st.sampled_from(["no trigger", "no table"])

# Live objects in indexed buckets that have neither a document nor a job of their version, or both.
BROKEN = """
select o.bucket_id, o.name, o.version, has.documents, has.jobs
from neural_search.buckets as b join storage.objects as o on o.bucket_id = b.bucket_id
cross join lateral (
  select
    (select count(*) from neural_search.documents as d
      where d.object_id = o.id and d.object_version = o.version) as documents,
    (select count(*) from neural_search.jobs as j where j.object_id = o.id and j.version = o.version
      and (j.state = 'pending' or j.error_class is not null)) as jobs
) as has
where has.documents + has.jobs <> 1
"""
UNEXPLAINED = """
with listed as materialized (select object_id from public.list_embedding_jobs(max_rows => null))
select o.bucket_id, o.name
from neural_search.buckets as b join storage.objects as o on o.bucket_id = b.bucket_id
where (
    select count(*) from neural_search.documents as d
    where d.object_id = o.id and d.object_version = o.version
  )
  + (select count(*) from listed as l where l.object_id = o.id) <> 1
"""
GHOSTS = """
select d.bucket_id, d.content from neural_search.documents as d
where not exists (
  select from storage.objects as o
  where (o.id, o.version, o.bucket_id, o.name) = (d.object_id, d.object_version, d.bucket_id, d.content)
)
"""
FOUND = """
select m.bucket_id, m.content, d.content_hash, o.bucket_id, o.name, o.version
from public.match_documents(%s, 0, 1000) as m join neural_search.documents as d on d.id = m.id
left join storage.objects as o on o.id = m.object_id
"""


class Project(RuleBasedStateMachine):
    """A project whose workers, webhooks and uploaders act in any order."""

    def __init__(self, database):
        super().__init__()
        self.project = database.connect()
        self.platform = database.connect("supabase_admin")
        self.uploader = database.connect("supabase_storage_admin")
        self.uploader.add_notice_handler(lambda _: None)
        self.ids = count(1)  # not random: claims go by them
        self.versions = count(1)
        self.bytes = {}  # version -> its bytes in Storage
        self.work = []  # every job that was ever handed out
        self.recorded = True  # False from the loss of an event to the next reconciliation
        self.platform.execute("set session_replication_role = 'replica'")
        self.platform.execute(
            "truncate storage.objects, neural_search.jobs, neural_search.documents, neural_search.words"
        )
        self.platform.execute(
            "insert into storage.buckets (id, name) values ('attic', 'attic') on conflict do nothing"
        )
        for bucket in ("images", "attic"):
            self.project.execute("select public.index_bucket(%s)", [bucket])
        self.upload(("images", "a.png"))
        self.claim(1)

    def teardown(self):
        try:
            self.every_image_becomes_searchable()
        finally:
            for connection in (self.project, self.platform, self.uploader):
                connection.close()

    # The uploaders' acts, as storage-api's statements.

    @rule(place=PLACES)
    def upload(self, place, connection=None, stored=None):
        version = self.new_version(stored or f"bytes {next(self.versions)}")
        metadata = Jsonb({"eTag": self.bytes[version], "size": 3, "mimetype": "image/png"})
        (connection or self.uploader).execute(
            """
            insert into storage.objects (id, bucket_id, name, version, metadata) values (%s, %s, %s, %s, %s)
            on conflict (bucket_id, name)
              do update set version = excluded.version, metadata = excluded.metadata
            """,
            [uuid.UUID(int=next(self.ids)), *place, version, metadata],
        )

    @rule(one=ANY)
    def overwrite(self, one, connection=None):
        if found := self.some_object(one):
            self.upload(found[2:], connection)

    @rule(one=ANY, place=PLACES)
    def copy(self, one, place):
        if found := self.some_object(one):
            self.upload(place, stored=self.bytes[found[1]])

    @rule(one=ANY, place=PLACES)
    def move(self, one, place, connection=None):
        if (found := self.some_object(one)) and place not in [one[2:] for one in self.objects()]:
            (connection or self.uploader).execute(
                "update storage.objects set bucket_id = %s, name = %s, version = %s where id = %s",
                [*place, self.new_version(self.bytes[found[1]]), found[0]],
            )

    @rule(one=ANY)
    def delete(self, one, connection=None):
        if found := self.some_object(one):
            with (connection or self.uploader).transaction():
                (connection or self.uploader).execute("set local storage.allow_delete_query = 'true'")
                (connection or self.uploader).execute("delete from storage.objects where id = %s", [found[0]])

    @rule(
        one=ANY, place=PLACES, change=st.sampled_from(["overwrite", "upload", "move", "delete"]), loss=LOSSES
    )
    def lose_an_event(self, one, place, change, loss):
        self.recorded = False
        connection = self.platform if loss == "no trigger" else self.uploader
        if loss == "no table":
            self.project.execute("alter table neural_search.jobs rename to lost")
        try:
            if change == "upload":
                self.upload(place, connection)
            elif change == "move":
                self.move(one, place, connection)
            elif change == "delete":
                self.delete(one, connection)
            else:
                self.overwrite(one, connection)
        finally:
            if loss == "no table":
                self.project.execute("alter table neural_search.lost rename to jobs")

    # The acts of webhooks and workers. Any may come late, twice, or for objects long gone.

    @rule(jobs=st.integers(1, 3))
    def claim(self, jobs):
        self.work += self.project.execute(
            "select object_id, version, lease_id from public.claim_embedding_jobs(%s, %s)", [[MODEL], jobs]
        ).fetchall()

    @rule(one=ANY)
    def a_webhook_comes(self, one):
        found = self.some_object(one) or [uuid.UUID(int=1)]
        rows = self.project.execute(
            "select status, object_id, version, lease_id from public.claim_object(%s, %s)",
            [found[0], [MODEL]],
        ).fetchall()
        self.work += [tuple(job) for status, *job in rows if status == "claimed"]

    @rule(one=ANY)
    def finish(self, one):
        if self.work:
            object_id, version, _ = self.work[-1 - one % len(self.work)]
            self.project.execute(
                "select public.finish_embedding_job(%s, %s, %s, %s, %s, 1, 1, 'image/png')",
                [object_id, MODEL, version, vector(1), self.bytes[version]],
            )

    @rule()
    def a_worker_drains_the_queue(self):
        before = len(self.work)
        self.claim(100)
        for one in range(len(self.work) - before):
            self.finish(one)

    @rule(one=ANY, outcome=st.sampled_from(["skipped", "failed", "retry", "doubtful"]))
    def fail(self, one, outcome):
        if self.work:
            object_id, _, lease_id = self.work[-1 - one % len(self.work)]
            self.project.execute(
                "select public.fail_embedding_job(%s, %s, %s, %s, 'BrokenImage', 'It is cut off.')",
                [object_id, MODEL, lease_id, outcome],
            )

    @rule(one=ANY)
    def release(self, one):
        leases = [lease_id for _, _, lease_id in self.work[-1 - one :]]
        self.project.execute(
            "select public.release_embedding_jobs(%s, 5, 'StorageUnavailable', 'down')", [leases]
        )

    @rule()
    def time_passes(self):
        self.project.execute("update neural_search.jobs set next_attempt_at = now() - interval '1 second'")

    # The acts of the owner and the schedule.

    @rule(
        function=st.sampled_from(["retry_embedding_jobs", "unindex_bucket", "index_bucket", "index_bucket"]),
        bucket=st.sampled_from(["images", "attic"]),
    )
    def manage(self, function, bucket):
        self.project.execute(f"select public.{function}(%s)", [bucket])

    @rule()
    def backfill(self):
        self.project.execute("select public.backfill_documents()")
        assert self.project.execute(BROKEN).fetchall() == []

    @rule()
    def reconcile(self):
        self.project.execute("select public.reconcile_documents()")
        self.recorded = True
        assert self.project.execute("select * from public.reconcile_documents()").fetchone() == (0, 0, 0)

    # The promises.

    @invariant()
    def invariant_2_each_object_has_a_document_a_job_or_a_reason(self):
        assert self.project.execute(UNEXPLAINED).fetchall() == []
        if self.recorded:
            assert self.project.execute(BROKEN).fetchall() == []

    @invariant()
    def invariant_3_what_is_found_has_the_bytes_that_were_embedded(self):
        for bucket, name, embedded, *place, version in self.found():
            assert embedded == self.bytes.get(version)
            if self.recorded:
                assert [bucket, name] == place
        if self.recorded:
            assert self.project.execute(GHOSTS).fetchall() == []

    def every_image_becomes_searchable(self):
        """Invariant 4: once the schedule has run, nothing of the disorder is left but the reasons."""
        self.reconcile()
        self.project.execute("select public.retry_embedding_jobs()")
        for _ in range(9):  # more than there are objects: one that lost its worker is handed out alone
            self.time_passes()
            self.a_worker_drains_the_queue()
        self.invariant_3_what_is_found_has_the_bytes_that_were_embedded()
        objects = self.project.execute("""
            select o.bucket_id, o.name from storage.objects as o
            join neural_search.buckets as b on b.bucket_id = o.bucket_id
        """).fetchall()
        assert sorted(tuple(place) for _, _, _, *place, _ in self.found()) == sorted(objects)

    def new_version(self, stored):
        version = f"v{next(self.versions)}"
        self.bytes[version] = stored
        return version

    def objects(self):
        return self.project.execute(
            "select id, version, bucket_id, name from storage.objects order by id"
        ).fetchall()

    def some_object(self, one):
        objects = self.objects()
        return objects[-1 - one % len(objects)] if objects else None

    def found(self):
        return self.project.execute(FOUND, [vector(1)]).fetchall()


@pytest.mark.filterwarnings("default")
def test_invariants_2_3_and_4_hold_in_any_order_of_events(database):
    run_state_machine_as_test(
        lambda: Project(database),
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
