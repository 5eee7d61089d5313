"""An event table for tests that divide it, sessions beside the test's own, and writers that never stop."""

import threading
import time
from contextlib import contextmanager, suppress

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction

from pusherable.models import AccessEvent
from pusherable.recording import record_access
from pusherable.retention import conversion, partitions

ONLY_POSTGRESQL = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="only PostgreSQL has partitions"
)
TABLE = AccessEvent._meta.db_table


@pytest.fixture
def table(transactional_db):
    """The event table may be changed; afterwards it is as `migrate` makes it, whatever has happened."""
    yield
    make_anew("default")


def make_anew(using):
    for name in (TABLE, f"{TABLE}_plain"):
        query(f"DROP TABLE IF EXISTS {name} CASCADE", using=using)
    query(f"DROP FUNCTION IF EXISTS {conversion.GUARD} CASCADE", using=using)
    with connections[using].schema_editor() as editor:
        editor.create_model(AccessEvent)


def query(sql, *, using="default", on=None):
    """The rows, if there are any; `on` is another session."""
    with (on or connections[using]).cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def fill(count, *, using="default"):
    values = {field.column: "'x'" for field in AccessEvent._meta.concrete_fields[1:]}
    values |= {"occurred_at": "now()", "object_pk": "n % 100"}
    values |= dict.fromkeys(("context", "snapshot", "changes", "channels"), "jsonb_build_object('n', n)")
    query(
        f"INSERT INTO {TABLE} ({', '.join(values)}) SELECT {', '.join(values.values())} "
        f"FROM generate_series(1, {count}) AS n",
        using=using,
    )


def contents(until=2**62):
    """A digest of the events up to this id, in their order."""
    digest = "count(*), md5(string_agg(event::text, ',' ORDER BY id))"
    return query(f"SELECT {digest} FROM {TABLE} event WHERE id <= {until}")[0]


def record():
    """The id of a new event."""
    return record_access(User, "view").pk


def bounds():
    return [(partition.low, partition.high) for partition in partitions.partitions("default")]


def is_as_migrate_made_it():
    """A plain table, with nothing on it that does not belong there."""
    left = query(
        f"SELECT relname FROM pg_class WHERE relname ~ '^{TABLE}_(plain|\\d+)$' UNION ALL "
        f"SELECT proname FROM pg_proc WHERE proname = '{conversion.GUARD}' UNION ALL "
        f"SELECT conname FROM pg_constraint WHERE conrelid = '{TABLE}'::regclass AND contype = 'c'"
    )
    return not left and query(f"SELECT relkind FROM pg_class WHERE oid = '{TABLE}'::regclass") == [("r",)]


@contextmanager
def session():
    """A second session with the database, in a transaction that the test ends."""
    other = connection.copy()
    other.set_autocommit(False)
    try:
        yield other
    finally:
        other.close()


def soon(condition, timeout=30):
    """Wait until the condition holds; look often."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.005)
    return result


class Running:
    """Something that runs in a thread of its own."""

    def __init__(self, work, *arguments):
        self.error = None
        self._thread = threading.Thread(target=self._run, args=(work, *arguments))
        self._thread.start()

    def _run(self, work, *arguments):
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001  # for who waits for the end
            self.error = error
        finally:
            connections.close_all()

    @property
    def is_over(self):
        return not self._thread.is_alive()

    def end(self):
        """Wait for it, and let its error out."""
        self._thread.join(60)
        assert self.is_over
        if self.error is not None:
            raise self.error


@contextmanager
def writing(count=3):
    """Meanwhile so many threads record events, each in its own way. Yields the list of the ids they got."""
    ids, stop = [], threading.Event()

    def write(number):
        while not stop.is_set():
            if number % 3 == 0:
                ids.append(record())
            else:
                with transaction.atomic():
                    several = [record() for _ in range(number + 1)]
                ids.extend(several)

    threads = [Running(write, number) for number in range(count)]
    try:
        soon(lambda: len(ids) > 50 or any(thread.is_over for thread in threads))
        yield ids
        enough = len(ids) + 50
        soon(lambda: len(ids) > enough or any(thread.is_over for thread in threads))
    finally:
        stop.set()
        for thread in threads:
            with suppress(Exception):
                thread.end()
    for thread in threads:
        thread.end()
