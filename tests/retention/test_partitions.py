"""The partitions that are there, those that come ahead, and how one goes."""

import re

import pytest
from django.db import Error, transaction

from pusherable.models import AccessEvent
from pusherable.retention import partitions
from pusherable.retention.conversion import convert
from pusherable.retention.partitions import (
    Partition,
    PartitionError,
    ahead,
    closed,
    cover,
    drop,
    extend,
    freeze,
    is_partitioned,
    room,
)
from tests.retention.tables import (
    ONLY_POSTGRESQL,
    TABLE,
    Running,
    bounds,
    query,
    record,
    session,
    soon,
    table,
)

__all__ = ["table"]

pytestmark = pytest.mark.django_db(transaction=True)


COLUMNS = ", ".join(field.column for field in AccessEvent._meta.concrete_fields[1:])


@pytest.fixture
def divided(table):
    """100 events to a partition; the first one ends at 200, and the last at 600."""
    convert("default", 100)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(partitions, "PATIENCE", 0.3)


def fill_first():
    AccessEvent(pk=1, action="view").save(force_insert=True)


def is_waited_for():
    return query(f"SELECT pid FROM pg_locks WHERE relation = '{TABLE}'::regclass AND NOT granted")


def set_last(number):
    query(f"SELECT setval(pg_get_serial_sequence('{TABLE}', 'id'), {number})")


def test_a_plain_table_has_no_partitions_on_any_database():
    assert not is_partitioned("default")
    assert room("default") is None
    assert extend("default") == []
    cover("default", 1, 1000)
    assert not is_partitioned("default")


@ONLY_POSTGRESQL
def test_the_partitions_in_their_order(divided):
    assert is_partitioned("default")
    assert partitions.partitions("default") == [
        Partition(f"{TABLE}_200", None, 200),
        *(Partition(f"{TABLE}_{high}", high - 100, high) for high in (300, 400, 500, 600)),
    ]


@ONLY_POSTGRESQL
def test_a_table_that_somebody_partitioned_otherwise_is_not_meant(table):
    query(f"ALTER TABLE {TABLE} RENAME TO {TABLE}_plain")
    query(f"CREATE TABLE {TABLE} (LIKE {TABLE}_plain INCLUDING IDENTITY) PARTITION BY RANGE (occurred_at)")
    query(f"CREATE TABLE {TABLE}_1 PARTITION OF {TABLE} FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')")
    query(f"CREATE TABLE {TABLE}_2 PARTITION OF {TABLE} DEFAULT")
    assert not is_partitioned("default")
    assert (partitions.partitions("default"), room("default"), extend("default")) == ([], None, [])


@ONLY_POSTGRESQL
@pytest.mark.parametrize(
    ("last", "closed_ones", "ahead_ones", "left"),
    [(1, 0, 4, 598), (198, 0, 4, 401), (199, 0, 4, 400), (200, 1, 3, 399), (399, 2, 2, 200), (599, 4, 0, 0)],
)
def test_what_is_behind_and_what_is_ahead(divided, last, closed_ones, ahead_ones, left):
    set_last(last)
    assert [partition.high for partition in closed("default")] == [200, 300, 400, 500][:closed_ones]
    assert [partition.low for partition in ahead("default")] == [200, 300, 400, 500][4 - ahead_ones :]
    assert room("default") == left


@ONLY_POSTGRESQL
def test_an_id_that_the_sequence_will_give_next_was_not_given_yet(divided):
    query(f"ALTER TABLE {TABLE} ALTER id RESTART WITH 200")
    assert (partitions.last_given("default"), closed("default"), len(ahead("default"))) == (199, [], 4)
    assert record() == 200
    assert (partitions.last_given("default"), len(closed("default")), len(ahead("default"))) == (200, 1, 3)


@ONLY_POSTGRESQL
def test_who_may_not_read_the_sequence_counts_the_events_that_are_there(divided):
    set_last(310)
    record()
    query(f"CREATE ROLE reader; GRANT SELECT ON {TABLE} TO reader")
    try:
        query("SET ROLE reader")
        assert (partitions.last_given("default"), room("default"), len(ahead("default"))) == (311, 288, 2)
    finally:
        query("RESET ROLE")
        query("DROP OWNED BY reader; DROP ROLE reader")


@ONLY_POSTGRESQL
def test_an_insert_beyond_the_last_partition_fails_so_they_are_extended_long_before(divided):
    set_last(598)
    assert record() == 599
    with pytest.raises(Error, match="no partition of relation"):
        record()
    assert len(extend("default")) == 5
    assert record() == 601


@ONLY_POSTGRESQL
def test_extending_keeps_four_whole_partitions_ahead(divided):
    assert extend("default") == []
    set_last(200)
    assert extend("default") == [Partition(f"{TABLE}_700", 600, 700)]
    assert extend("default") == []
    set_last(699)
    assert [partition.high for partition in extend("default")] == [800, 900, 1000, 1100]


@ONLY_POSTGRESQL
def test_new_partitions_are_as_wide_as_the_highest(divided):
    query(f"CREATE TABLE {TABLE}_wide PARTITION OF {TABLE} FOR VALUES FROM (600) TO (5000)")
    set_last(650)
    extend("default")
    assert bounds()[-4:] == [(5000, 9400), (9400, 13_800), (13_800, 18_200), (18_200, 22_600)]
    set_last(31_500)
    assert [(one.low, one.high) for one in extend("default")][:2] == [(22_600, 31_400), (31_400, 35_800)]


@ONLY_POSTGRESQL
def test_ids_that_were_passed_over_share_one_partition(divided):
    set_last(1_000_000_042)
    extend("default")
    assert bounds()[5:] == [
        (600, 1_000_000_000),
        *((low, low + 100) for low in range(10**9, 10**9 + 500, 100)),
    ]
    assert record() == 1_000_000_043


@ONLY_POSTGRESQL
def test_a_table_that_has_lost_all_its_partitions_gets_new_ones(divided):
    set_last(2_500_000)
    for partition in partitions.partitions("default"):
        query(f"DROP TABLE {partition.name}")
    extend("default")
    assert bounds() == [(low, low + 1_000_000) for low in range(2_000_000, 7_000_000, 1_000_000)]


@ONLY_POSTGRESQL
def test_extending_waits_for_no_transaction_and_none_waits_for_it(divided):
    set_last(450)
    insert = f"INSERT INTO {TABLE} SELECT nextval('{TABLE}_id_seq'), {COLUMNS} FROM {TABLE} WHERE id = 1"
    fill_first()
    with session() as other:
        query("SET lock_timeout TO '5s'", on=other)
        query(insert, on=other)
        with transaction.atomic():
            query("SET LOCAL lock_timeout TO '5s'")
            assert len(extend("default")) == 3
            query(insert, on=other)
            assert query(f"SELECT count(*) FROM {TABLE}", on=other) == [(3,)]
            query(f"DELETE FROM {TABLE} WHERE id = 1", on=other)
        other.commit()
    assert query(f"SELECT id FROM {TABLE} ORDER BY id") == [(451,), (452,)]


@ONLY_POSTGRESQL
@pytest.mark.parametrize(
    ("dropped", "first", "last", "created"),
    [
        ((), 1, 599, []),
        ((200,), 5, 150, [(0, 200)]),
        ((200,), -5, 3, [(-100, 100)]),
        ((200,), 150, 450, [(100, 200)]),
        ((200, 300), 120, 130, [(100, 200)]),
        ((200, 300), 120, 210, [(100, 300)]),
        ((300,), 199, 199, []),
        ((300,), 200, 200, [(200, 300)]),
        ((300,), 299, 299, [(200, 300)]),
        ((300,), 300, 300, []),
        ((300, 500), 1, 599, [(200, 300), (400, 500)]),
        ((), 550, 600, [(600, 700)]),
        ((300,), 250, 1234, [(200, 300), (600, 1200), (1200, 1300)]),
        ((200, 300, 400, 500, 600), 1234, 1300, [(0, 1_000_000)]),
    ],
)
def test_events_that_come_back_find_a_partition(divided, dropped, first, last, created):
    before = [one for one in bounds() if one[1] not in dropped]
    for partition in partitions.partitions("default"):
        if partition.high in dropped:
            query(f"DROP TABLE {partition.name}")
    for _ in range(2):
        cover("default", first, last)
        assert [one for one in bounds() if one not in before] == created
    for number in (first, last) if first < last else (first,):
        AccessEvent(pk=number, action="view").save(force_insert=True)


@ONLY_POSTGRESQL
def test_a_frozen_partition_can_be_read_and_not_written_and_the_others_can(divided):
    fill_first()
    set_last(250)
    first, *_ = partitions.partitions("default")
    with session() as other:
        query("SET lock_timeout TO '100ms'", on=other)
        with transaction.atomic():
            freeze("default", first)
            query(f"INSERT INTO {TABLE} SELECT 251, {COLUMNS} FROM {TABLE} WHERE id = 1", on=other)
            with pytest.raises(Error, match="lock timeout"):
                query(f"DELETE FROM {TABLE} WHERE id = 1", on=other)
            other.rollback()
        query(f"DELETE FROM {TABLE} WHERE id = 1", on=other)
        other.commit()
    assert not AccessEvent.objects.exists()


@ONLY_POSTGRESQL
def test_a_partition_that_is_written_to_all_the_time_is_not_frozen(divided, monkeypatch):
    fill_first()
    monkeypatch.setattr(partitions, "FREEZE_TIMEOUT", "100ms")
    first, *_ = partitions.partitions("default")
    with session() as other:
        query(f"DELETE FROM {TABLE} WHERE id = 1", on=other)
        with pytest.raises(PartitionError, match=f"{TABLE}_200 is in use"), transaction.atomic():
            freeze("default", first)
    assert AccessEvent.objects.count() == 1


@ONLY_POSTGRESQL
def test_a_partition_is_dropped_with_the_transaction(divided):
    fill_first()
    first, *others = partitions.partitions("default")
    with transaction.atomic():
        drop("default", first)
        assert partitions.partitions("default") == others
        transaction.set_rollback(True)
    assert AccessEvent.objects.count() == 1
    with transaction.atomic():
        freeze("default", first)
        drop("default", first)
    assert partitions.partitions("default") == others
    assert not AccessEvent.objects.exists()
    set_last(200)
    assert record() == 201


@ONLY_POSTGRESQL
def test_a_drop_waits_for_a_transaction_that_ends(divided):
    first, *others = partitions.partitions("default")
    with session() as other:
        query(f"SELECT FROM {TABLE}", on=other)
        dropping = Running(drop, "default", first)
        soon(is_waited_for)
        assert not dropping.is_over
        other.rollback()
        dropping.end()
    assert partitions.partitions("default") == others


@ONLY_POSTGRESQL
def test_a_drop_that_others_hold_up_for_too_long_names_them_and_leaves_the_transaction_usable(
    divided, impatient
):
    first, *_ = before = partitions.partitions("default")
    with session() as other:
        query(f"SELECT FROM {TABLE} WHERE username = 'somebody'", on=other)
        ((pid,),) = query("SELECT pg_backend_pid()", on=other)
        with transaction.atomic():
            freeze("default", first)
            with pytest.raises(PartitionError) as caught:
                drop("default", first)
            event = record()
    who = rf"process {pid} \(postgres\) idle in transaction for \d+ s SELECT pg_backend_pid\(\)"
    assert re.fullmatch(rf"The event table is in use\. At work on it: {who}\.", str(caught.value))
    assert partitions.partitions("default") == before
    assert AccessEvent.objects.get().pk == event


@ONLY_POSTGRESQL
def test_requests_get_in_between_two_attempts_to_drop(divided, monkeypatch):
    """While a drop waits for its lock, others wait behind it: for 0.2 seconds, and then it makes way."""
    first, *_ = partitions.partitions("default")
    with session() as other:
        query(f"SELECT FROM {TABLE}", on=other)
        dropping = Running(drop, "default", first)
        soon(is_waited_for)
        query("SET statement_timeout TO '30s'")
        ids = [record() for _ in range(5)]
        query("RESET statement_timeout")
        assert not dropping.is_over
        other.rollback()
        dropping.end()
    assert ids == [1, 2, 3, 4, 5]
