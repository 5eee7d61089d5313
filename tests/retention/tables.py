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

ONLY_POSTGRESQL = pytest.mark.vendor("postgresql")  # the only one with such partitions
TABLE = AccessEvent._meta.db_table


@pytest.fixture
def table(transactional_db):
    """The event table as `migrate` makes it, with ids from 1 on; it may be changed, whatever happens then."""
    make_anew("default")
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


def properties():
    """All that is set on the table, its columns, its indexes and its sequence."""
    return query(_PROPERTIES)


@contextmanager
def session():
    """A second session with the database, in a transaction that the test ends."""
    other = connection.copy()
    other.set_autocommit(False)
    try:
        yield other
    finally:
        other.close()


def soon(condition, timeout=60):
    """Wait until the condition holds; look often."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.005)
    return result


def sessions(condition):
    """Other sessions with this database of which this is true."""
    where = f"datname = current_database() AND pid <> pg_backend_pid() AND ({condition})"
    return query(f"SELECT pid FROM pg_stat_activity WHERE {where}")


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

    def wait(self):
        self._thread.join(60)
        assert self.is_over

    def end(self):
        """Wait for it, and let its error out."""
        self.wait()
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


@contextmanager
def at(pattern, action):
    """Before a statement that changes the schema and contains this pattern, PL/pgSQL's `action` is done."""
    query(
        "CREATE SEQUENCE IF NOT EXISTS steps; ALTER SEQUENCE steps RESTART; "
        "CREATE FUNCTION at_change() RETURNS event_trigger LANGUAGE plpgsql AS $at$ BEGIN "
        f"IF current_query() ~ '{pattern}' THEN {action}; END IF; END $at$"
    )
    query("CREATE EVENT TRIGGER at_change ON ddl_command_start EXECUTE FUNCTION at_change()")
    try:
        yield
    finally:
        query("DROP EVENT TRIGGER at_change; DROP FUNCTION at_change(); DROP SEQUENCE steps")


@contextmanager
def stopped_at(pattern, work, *arguments):
    """Yields while `work`, in another thread, stands before such a statement; then it goes on to its end."""
    with at(pattern, "WHILE NOT pg_try_advisory_xact_lock(77) LOOP PERFORM pg_sleep(0.01); END LOOP"):
        query("SELECT pg_advisory_lock(77)")
        running = Running(work, *arguments)
        try:
            soon(lambda: running.is_over or sessions("wait_event = 'PgSleep'"))
            yield running
        finally:
            query("SELECT pg_advisory_unlock(77)")
            running.wait()
    running.end()


_PRIVILEGES = """
    (SELECT array_agg(one::text ORDER BY one::text) FROM aclexplode(coalesce(
        relacl, acldefault(translate(relkind::text, 'pS', 'rs')::"char", relowner)
    )) one)::text
"""
_PROPERTIES = f"""
    SELECT 'table', pg_get_userbyid(relowner), {_PRIVILEGES}, obj_description(oid, 'pg_class')
    FROM pg_class WHERE oid = '{TABLE}'::regclass
    UNION ALL
    SELECT 'column ' || row_number() OVER (ORDER BY attnum),
        attname || ' ' || format_type(atttypid, atttypmod),
        concat_ws(' ', attnotnull, attstorage, attcompression, attidentity, attcollation::regcollation,
            pg_get_expr(adbin, adrelid), attacl),
        col_description(attrelid, attnum)
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = '{TABLE}'::regclass AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'index', relname, replace(pg_get_indexdef(oid), ' ONLY ', ' '), obj_description(oid, 'pg_class')
    FROM pg_class JOIN pg_index ON indexrelid = oid WHERE indrelid = '{TABLE}'::regclass
    UNION ALL
    SELECT 'constraint', conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint')
    FROM pg_constraint WHERE conrelid = '{TABLE}'::regclass
    UNION ALL
    SELECT 'sequence', pg_get_userbyid(relowner), {_PRIVILEGES}, obj_description(oid, 'pg_class')
    FROM pg_class WHERE oid = '{TABLE}_id_seq'::regclass
    UNION ALL
    SELECT 'sequence', concat_ws(' ', seqstart, seqincrement, seqmin, seqmax, seqcache), seqcycle::text,
        pg_get_serial_sequence('{TABLE}', 'id')
    FROM pg_sequence WHERE seqrelid = '{TABLE}_id_seq'::regclass
    ORDER BY 1, 2, 3
"""
