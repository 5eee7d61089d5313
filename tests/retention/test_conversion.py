"""The event table is divided, and made a plain one again, while others use it, and in spite of kills."""

from contextlib import nullcontext
from itertools import count

import pytest
from django.db import Error, connection

from pusherable.models import AccessEvent
from pusherable.retention import conversion, partitions
from pusherable.retention.conversion import convert, give_up, revert
from pusherable.retention.partitions import PartitionError
from tests.retention.tables import (
    ONLY_POSTGRESQL,
    TABLE,
    Running,
    at,
    bounds,
    contents,
    fill,
    is_as_migrate_made_it,
    properties,
    query,
    record,
    session,
    sessions,
    soon,
    stopped_at,
    table,
    writing,
)

__all__ = ["table"]

pytestmark = [ONLY_POSTGRESQL, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("table")]

DIE = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(30)"


#: The way back looks for writers again and again, or has gone further.
WAITS = "query ~ 'virtualtransaction|ACCESS EXCLUSIVE'"


BOTH_WAYS = [(convert, ("default", 1000)), (revert, ("default",))]
both_ways = pytest.mark.parametrize(("change", "arguments"), BOTH_WAYS, ids=["there", "and back"])


def keys():
    return list(AccessEvent.objects.order_by("pk").values_list("pk", flat=True))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(partitions, "PATIENCE", 0.3)
    monkeypatch.setattr(conversion, "PATIENCE", 0.3)


def test_the_table_becomes_the_first_partition_and_the_ids_go_on():
    fill(2500)
    before = contents()
    convert("default", 1000)
    assert bounds() == [(None, 4000), (4000, 5000), (5000, 6000), (6000, 7000), (7000, 8000)]
    assert contents() == before
    assert record() == 2501
    assert query(f"SELECT count(*) FROM {TABLE}_4000") == [(2501,)]
    assert query(f"SELECT reltuples FROM pg_class WHERE oid = '{TABLE}'::regclass") == [(2500,)]
    assert not query(f"SELECT conname FROM pg_constraint WHERE conname = '{partitions.BOUND}'")
    convert("default", 1000)
    assert len(bounds()) == 5


def test_an_event_with_an_id_beyond_the_sequence_has_its_place():
    AccessEvent(pk=12_345, action="view").save(force_insert=True)
    convert("default", 1000)
    assert bounds()[0] == (None, 14_000)
    assert record() == 1


def test_it_becomes_a_plain_table_again_as_migrate_made_it():
    fill(2500)
    before = contents()
    convert("default", 1000)
    fill(2000)
    query(f"DROP TABLE {TABLE}_4000")
    query(f"DELETE FROM {TABLE} WHERE id = 4017")
    after, last = contents(), record()
    revert("default")
    assert is_as_migrate_made_it()
    assert query(f"SELECT reltuples FROM pg_class WHERE oid = '{TABLE}'::regclass") == [(501,)]
    assert contents(last - 1) == after != before
    assert record() == last + 1


@pytest.mark.parametrize("change", [convert, revert])
def test_no_insert_fails_and_no_id_is_lost_or_given_twice(monkeypatch, change):
    monkeypatch.setattr(conversion, "BATCH", 100)
    if change is revert:
        convert("default")
    fill(3000)
    before = contents()
    with writing() as ids:
        change("default")
    assert contents(3000) == before
    assert sorted(ids) == list(range(3001, 3001 + len(ids)))
    assert keys() == list(range(1, max(ids) + 1))
    assert record() == max(ids) + 1
    assert is_as_migrate_made_it() is (change is revert)


def test_no_index_is_rebuilt_and_nothing_is_read_while_others_wait():
    fill(2000)
    files = (
        "SELECT relfilenode FROM pg_class JOIN pg_index ON indexrelid = oid WHERE indrelid = '{}'::regclass"
    )
    before, messages = query(files.format(TABLE)), []
    query("SET client_min_messages TO debug1")
    connection.connection.add_notice_handler(lambda notice: messages.append(notice.message_primary))
    convert("default", 1000)
    query("RESET client_min_messages")
    assert sorted(query(files.format(f"{TABLE}_4000"))) == sorted(before)
    assert f'partition constraint for table "{TABLE}_4000" is implied by existing constraints' in messages
    attached = f"""
        SELECT part.relname, whole.relname FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
        JOIN pg_class whole ON whole.oid = inhparent
        JOIN pg_index ON indexrelid = part.oid WHERE indrelid = '{TABLE}_4000'::regclass
    """
    names = [index.name for index in AccessEvent._meta.indexes] + [f"{TABLE}_pkey"]
    assert sorted(query(attached)) == sorted((f"{name}_4000", name) for name in names)


@both_ways
def test_a_long_transaction_is_waited_for_while_others_get_in(change, arguments):
    if change is revert:
        convert("default", 1000)
    fill(10)
    with session() as other:
        query(f"SELECT count(*) FROM {TABLE}", on=other)
        changing = Running(change, *arguments)
        soon(lambda: query(f"SELECT pid FROM pg_locks WHERE relation = '{TABLE}'::regclass AND NOT granted"))
        query("SET statement_timeout TO '30s'")
        ids = [record() for _ in range(5)]
        query("RESET statement_timeout")
        assert not changing.is_over
        other.rollback()
        changing.end()
    assert ids == [11, 12, 13, 14, 15]
    assert AccessEvent.objects.count() == 15
    assert is_as_migrate_made_it() is (change is revert)


def test_a_vacuum_is_waited_for_with_a_lock_that_no_insert_waits_for(monkeypatch):
    """PostgreSQL itself ends an autovacuum after a second of this; it does not end what a person runs."""
    monkeypatch.setattr(partitions, "PATIENCE", 3)
    waiting = f"SELECT mode FROM pg_locks WHERE relation = '{TABLE}'::regclass AND NOT granted"
    with session() as other:
        query(f"LOCK TABLE {TABLE} IN SHARE UPDATE EXCLUSIVE MODE", on=other)
        converting = Running(convert, "default", 1000)
        assert soon(lambda: query(waiting)) == [("ShareUpdateExclusiveLock",)]
        query("SET lock_timeout TO '1ms'")
        assert record() == 1
        query("RESET lock_timeout")
        with pytest.raises(PartitionError, match="At work on it: process"):
            converting.end()
    assert is_as_migrate_made_it()


@both_ways
def test_a_transaction_that_does_not_end_is_named_and_nothing_is_left(impatient, change, arguments):
    if change is revert:
        convert("default", 1000)
    fill(10)
    before = bounds()
    with session() as other:
        query(f"INSERT INTO {TABLE} SELECT * FROM {TABLE} LIMIT 0", on=other)
        ((pid,),) = query("SELECT pg_backend_pid()", on=other)
        with pytest.raises(PartitionError, match=rf"process {pid} \(postgres\) idle in transaction"):
            change(*arguments)
    assert bounds() == before
    assert AccessEvent.objects.count() == 10
    AccessEvent.objects.filter(pk=1)._raw_delete("default")
    change(*arguments)
    assert is_as_migrate_made_it() is (change is revert)


@pytest.mark.parametrize("statement", [f"SELECT id FROM {TABLE}", f"DELETE FROM {TABLE}_2000 WHERE id = 1"])
def test_a_transaction_that_comes_late_on_the_way_back_and_does_not_end(impatient, statement):
    fill(10)
    convert("default", 1000)
    with session() as other:
        ((pid,),) = query("SELECT pg_backend_pid()", on=other)
        with (
            pytest.raises(PartitionError, match=rf"process {pid} "),
            stopped_at("CREATE INDEX", revert, "default"),
        ):
            query(statement, on=other)
    assert partitions.is_partitioned("default")
    assert AccessEvent.objects.count() == 10
    revert("default")
    assert is_as_migrate_made_it()


def test_few_events_are_copied_while_others_wait(monkeypatch):
    """What is recorded while a transaction is in the way is copied before the last step is tried again."""
    rest, take_over = [], conversion._Copy._take_over

    def counting(copy, cursor):
        rest.append(AccessEvent.objects.count() - copy._count)
        take_over(copy, cursor)

    monkeypatch.setattr(conversion._Copy, "_take_over", counting)
    monkeypatch.setattr(conversion, "BATCH", 10)
    fill(10)
    convert("default", 1000)
    waiting = f"SELECT mode FROM pg_locks WHERE relation = '{TABLE}'::regclass AND NOT granted"
    with session() as other, stopped_at("CREATE INDEX", revert, "default") as reverting:
        query(f"SELECT id FROM {TABLE}", on=other)
        query("SELECT pg_advisory_unlock(77)")
        soon(lambda: query(waiting))
        fill(100)
        assert not reverting.is_over
        other.rollback()
    assert rest == [0]
    assert AccessEvent.objects.count() == 110


@both_ways
def test_whoever_is_killed_at_any_step_leaves_a_table_that_works(monkeypatch, change, arguments):
    monkeypatch.setattr(conversion, "BATCH", 100)
    monkeypatch.setattr(
        conversion, "_tidy", lambda using: nullcontext()
    )  # which a killed process does not do
    fill(350)
    if change is revert:
        convert("default", 1000)
    before, ids = contents(), []
    for step in count(1):
        with at("", f"IF nextval('steps') = {step} THEN {DIE}; END IF"):
            try:
                change(*arguments)
            except Error:
                connection.close()
            else:
                break
        assert contents(350) == before
        ids.append(record())
    assert len(ids) > 20
    assert contents(350) == before
    assert ids == [*range(351, 351 + len(ids))] == keys()[350:]
    assert is_as_migrate_made_it() is (change is revert)


@pytest.fixture
def killed_at(monkeypatch):
    """Do something, and be killed before a statement."""

    def killed_at(pattern, work, *arguments):
        with monkeypatch.context() as patch, at(pattern, DIE):
            patch.setattr(conversion, "_tidy", lambda using: nullcontext())
            with pytest.raises(Error):
                work(*arguments)
            connection.close()

    return killed_at


def test_what_a_killed_conversion_has_left_bounds_the_ids_until_it_is_removed(killed_at):
    fill(10)
    killed_at("VALIDATE", convert, "default", 1000)
    assert (partitions.broken_off("default"), partitions.room("default")) == (2000, 1989)
    assert not is_as_migrate_made_it()
    give_up("default")
    assert is_as_migrate_made_it()
    assert partitions.room("default") is None


def test_a_conversion_goes_on_after_a_kill_with_a_bound_of_its_own(killed_at):
    fill(10)
    killed_at("ATTACH", convert, "default", 1000)
    assert partitions.broken_off("default") == 2000
    fill(1500)
    convert("default", 1000)
    assert bounds()[0] == (None, 3000)
    assert partitions.broken_off("default") is None


def test_what_a_killed_way_back_has_left_can_be_removed(killed_at):
    fill(10)
    convert("default", 1000)
    killed_at("CREATE INDEX", revert, "default")
    with pytest.raises(Error, match="No event is changed or deleted until pusherable_partition --reverse"):
        AccessEvent.objects.all()._raw_delete("default")
    assert record() == 11
    give_up("default")
    assert not query(f"SELECT relname FROM pg_class WHERE relname LIKE '{TABLE}_plain%'")
    AccessEvent.objects.all()._raw_delete("default")
    assert partitions.is_partitioned("default")
    give_up("default")


def test_an_error_leaves_nothing_behind():
    fill(10)
    with at("VALIDATE", "RAISE EXCEPTION 'No.'"), pytest.raises(Error, match=r"No\."):
        convert("default", 1000)
    assert is_as_migrate_made_it()
    convert("default", 1000)
    before = properties()
    with at("CREATE INDEX", "RAISE EXCEPTION 'No.'"), pytest.raises(Error, match=r"No\."):
        revert("default")
    assert properties() == before
    AccessEvent.objects.all()._raw_delete("default")
    assert not query(f"SELECT relname FROM pg_class WHERE relname LIKE '{TABLE}_plain%'")


def test_ids_that_have_passed_the_bound_meanwhile_are_said():
    with (
        pytest.raises(PartitionError, match="the ids have passed 2000; give more --rows"),
        stopped_at("VALIDATE", convert, "default", 1000),
    ):
        query(f"SELECT setval('{TABLE}_id_seq', 1999)")
    assert is_as_migrate_made_it()


def test_what_is_recorded_but_not_committed_while_events_are_copied_comes_too():
    """Its id is lower than others that were copied long before it could be seen."""
    fill(10)
    convert("default", 1000)
    columns = ", ".join(field.column for field in AccessEvent._meta.concrete_fields[1:])
    with session() as other, stopped_at("CREATE INDEX", revert, "default") as running:
        query(f"INSERT INTO {TABLE} ({columns}) SELECT {columns} FROM {TABLE} WHERE id = 1", on=other)
        assert record() == 12
        query("SELECT pg_advisory_unlock(77)")
        soon(lambda: running.is_over or sessions(WAITS))
        other.commit()
    assert is_as_migrate_made_it()
    assert keys() == list(range(1, 13))


def test_nothing_is_deleted_or_changed_while_events_are_copied_lest_it_come_back():
    fill(10)
    convert("default", 1000)
    refused = pytest.raises(
        Error, match="No event is changed or deleted until pusherable_partition --reverse"
    )
    with stopped_at("CREATE INDEX", revert, "default"):
        with refused:
            AccessEvent.objects.filter(pk=1)._raw_delete("default")
        with refused:
            AccessEvent.objects.filter(pk=1).update(username="")
        with refused:
            query(f"TRUNCATE {TABLE}")
        assert record() == 11
    AccessEvent.objects.filter(pk=1)._raw_delete("default")
    assert AccessEvent.objects.count() == 10


def test_an_event_that_comes_with_an_old_id_is_not_lost():
    fill(10)
    AccessEvent.objects.filter(pk=3)._raw_delete("default")
    convert("default", 1000)
    with (
        pytest.raises(PartitionError, match="Of 10 events, 9 were copied"),
        stopped_at("CREATE INDEX", revert, "default"),
    ):
        AccessEvent(pk=3, action="view").save(force_insert=True)
    assert partitions.is_partitioned("default")
    assert AccessEvent.objects.count() == 10
    revert("default")
    assert AccessEvent.objects.count() == 10


def test_the_time_that_a_statement_may_take_is_for_requests():
    fill(10)
    try:
        for pattern, change in (
            ("VALIDATE", (convert, "default", 1000)),
            ("CREATE INDEX", (revert, "default")),
        ):
            query("SET statement_timeout TO '1h'")
            with at(pattern, "ASSERT current_setting('statement_timeout') = '0'"):
                change[0](*change[1:])
            assert query("SHOW statement_timeout") == [("1h",)]
    finally:
        query("RESET statement_timeout")
