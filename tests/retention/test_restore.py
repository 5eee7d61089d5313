"""Archived events in the table again: the same ones, once, and without harm to those that come."""

import datetime as dt

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import signals

from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access
from pusherable.retention import archive as archives
from pusherable.retention import partitions
from pusherable.retention.archive import COLUMNS, Archive, ArchiveError, Manifest
from pusherable.retention.conversion import convert
from pusherable.retention.restore import restore
from pusherable.signals import event_recorded
from tests.retention.archives import AWKWARD, row
from tests.retention.tables import ONLY_POSTGRESQL, writing
from tests.retention.tables import table as changeable
from tests.testapp.models import Poll

__all__ = ["changeable"]

pytestmark = pytest.mark.django_db

#: What every database takes.
JSON = {name: value for name, value in AWKWARD.items() if name not in {"nul", "half of a pair"}}
#: The table is new: the next id is 1.
AFRESH = {
    "postgresql": "SELECT setval(pg_get_serial_sequence('pusherable_accessevent', 'id'), 1, false)",
    "mysql": "ALTER TABLE pusherable_accessevent AUTO_INCREMENT = 1",
    "sqlite": "DELETE FROM sqlite_sequence WHERE name = 'pusherable_accessevent'",
}


@pytest.fixture(params=[False, True], ids=["json lines", "parquet"])
def is_parquet(request):
    return request.param


@pytest.fixture
def archived(tmp_path):
    """The manifest of an archive with these rows, each list written as a batch."""

    def archived(*batches, parquet=False):
        with Archive(tmp_path, using="default", parquet=parquet) as archive:
            for rows in batches:
                archive.write(rows)
        return Manifest.of(archive.path)

    return archived


@pytest.fixture
def afresh(transactional_db):
    with connection.cursor() as cursor:
        cursor.execute(AFRESH[connection.vendor])


def table(using="default"):
    return list(AccessEvent.objects.using(using).order_by("pk").values_list(*COLUMNS))


def insert(*rows):
    AccessEvent.objects.bulk_create(AccessEvent(**dict(zip(COLUMNS, one, strict=True))) for one in rows)


def new_id():
    return record_access(Poll.objects.create(question="?", pub_date=dt.datetime.now(dt.UTC)), "view").pk


def test_what_was_pruned_is_there_again(archived, is_parquet):
    insert(
        row(1),
        row(2, snapshot=JSON, context={"é": "'\"%s"}, changes={"a": [None, 1.5]}, channels=["poll_17"]),
        row(3, object_repr="one\ntwo\u2028three 🧵", username="Zoë", user_pk="", action="printed"),
        row(2**40, occurred_at=dt.datetime(1999, 12, 31, 23, 59, 59, 999999, dt.UTC)),
    )
    before = table()
    manifest = archived(before[:3], before[3:], parquet=is_parquet)
    AccessEvent.objects.all().delete()
    assert restore(manifest, "default") == 4
    assert table() == before
    assert repr(table()) == repr(before)  # 1 is not 1.0, nor True


def test_a_project_without_time_zones(archived, settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    times = [
        "2026-01-31T12:00:00.000001",
        "2026-07-31T12:00",
        "2026-10-25T02:30",
    ]  # the last one occurs twice
    insert(*(row(pk, occurred_at=dt.datetime.fromisoformat(text)) for pk, text in enumerate(times, 1)))
    before = table()
    manifest = archived(before)
    assert restore(manifest, "default") == 0
    AccessEvent.objects.all().delete()
    assert restore(manifest, "default") == 3
    assert table() == before


def test_more_of_them_than_one_statement_takes(archived):
    rows = [row(pk) for pk in range(1, 2502)]
    manifest = archived(rows[:1700], rows[1700:])
    assert restore(manifest, "default") == 2501
    assert [one[0] for one in table()] == [one[0] for one in rows]


def test_once_more_changes_nothing(archived, is_parquet):
    rows = [row(pk, snapshot=JSON, channels=["poll_17"]) for pk in range(1, 8)]
    manifest = archived(rows, parquet=is_parquet)
    assert restore(manifest, "default") == 7
    before = table()
    assert restore(manifest, "default") == 0
    assert table() == before


def test_what_is_missing_is_added(archived):
    rows = [row(pk, snapshot=JSON) for pk in range(1, 8)]
    insert(rows[1], rows[5], row(9))
    assert restore(archived(rows), "default") == 5
    assert table() == [*table()[:7], tuple(row(9))]
    assert [one[0] for one in table()] == [1, 2, 3, 4, 5, 6, 7, 9]


def test_a_dry_run_only_counts(archived):
    rows = [row(pk) for pk in range(1, 8)]
    insert(rows[2])
    before = table()
    assert restore(archived(rows), "default", dry_run=True) == 6
    assert table() == before


@pytest.mark.django_db(databases=["default", "log"])
def test_another_database(archived):
    assert restore(archived([row(1)]), "log") == 1
    assert [one[0] for one in table("log")] == [1]
    assert table() == []


def test_nothing_is_sent_and_nobody_is_told(archived, sent):
    def receiver(**_arguments):
        raise AssertionError

    for signal in (signals.pre_save, signals.post_save, event_recorded):
        signal.connect(receiver)
    try:
        restore(archived([row(pk, channels=["poll_17"]) for pk in range(1, 4)]), "default")
    finally:
        for signal in (signals.pre_save, signals.post_save, event_recorded):
            signal.disconnect(receiver)
    assert not Delivery.objects.exists()
    assert sent == []


# What is there and differs


@pytest.mark.parametrize(
    ("column", "archived_value", "stored_value"),
    [
        ("username", "ada", "Ada"),
        ("object_repr", "Poll", "Poll "),
        ("occurred_at", row(3)[1], row(3)[1] + dt.timedelta(microseconds=1)),
        ("snapshot", {"a": 1}, {"a": 2}),
        ("snapshot", {"a": 1}, {"a": True}),
        ("snapshot", {"a": 1}, {"a": "1"}),
        ("snapshot", {"a": None}, {}),
        ("channels", ["a", "b"], ["b", "a"]),
        ("context", {}, []),
        ("changes", {"a": {"b": [1]}}, {"a": {"b": [1, 1]}}),
    ],
)
def test_another_event_of_the_same_id_is_left_alone(archived, column, archived_value, stored_value):
    insert(row(3, **{column: stored_value}))
    before = table()
    manifest = archived([row(1), row(2)], [row(3, **{column: archived_value})])
    with pytest.raises(ArchiveError) as info:
        restore(manifest, "default")
    assert f"{manifest.data}: event 3 is in the table already, with another {column}. " in str(info.value)
    assert table() == before


def test_all_that_differs_is_named(archived):
    insert(row(3, username="eve", action="updated"))
    with pytest.raises(ArchiveError, match="with another action, username"):
        restore(archived([row(3)]), "default")


@pytest.mark.parametrize(
    ("archived_value", "stored_value"),
    [({"b": 1, "a": 2}, {"a": 2, "b": 1}), ([1e3, -0.0, 1e300], [1000, 0, 10**300])],
)
def test_the_same_written_otherwise_is_the_same(archived, archived_value, stored_value):
    insert(row(3, snapshot=stored_value))
    assert restore(archived([row(3, snapshot=archived_value)]), "default") == 0


def test_an_event_that_was_archived_twice(archived, monkeypatch):
    monkeypatch.setattr(archives, "CHUNK", 3)
    manifest = archived([row(1), row(2)], [row(1), row(3)], [row(4), row(2)])
    assert restore(manifest, "default") == 4
    assert [one[0] for one in table()] == [1, 2, 3, 4]


def test_two_events_of_the_same_id(archived):
    with pytest.raises(ArchiveError, match="event 1 is"):
        restore(archived([row(1), row(1, username="eve")]), "default")
    assert table() == []


def test_nothing_of_a_damaged_file_is_loaded(archived, is_parquet):
    manifest = archived([row(pk) for pk in range(1, 4)], parquet=is_parquet)
    data = bytearray(manifest.data.read_bytes())
    data[-20] ^= 1
    manifest.data.write_bytes(data)
    with pytest.raises(ArchiveError, match="is damaged"):
        restore(manifest, "default")
    assert table() == []


# What is recorded from now on


def test_new_events_get_new_ids_in_a_fresh_table(archived, afresh):
    restore(archived([row(5), row(2)], [row(9), row(7)]), "default")
    assert new_id() > 9
    assert new_id() > 10


@pytest.mark.parametrize("pk", [1, 2])
def test_even_if_the_archive_is_as_small_as_can_be(archived, afresh, pk):
    restore(archived([row(pk)]), "default")
    assert new_id() > pk


def test_no_id_is_used_again_in_a_table_that_was_emptied(archived):
    insert(row(10**6))
    restore(archived([row(10**6 + 5)]), "default")
    last = new_id()
    before = table()
    AccessEvent.objects.all().delete()
    restore(archived(before), "default")
    assert new_id() == last + 1


def test_new_events_may_come_before_the_restored_ones(archived, afresh):
    """As in a new database that is in use already."""
    first = new_id()
    restore(archived([row(first + 1), row(first + 3)]), "default")
    assert new_id() > first + 3


@ONLY_POSTGRESQL
def test_partitions_that_were_dropped_come_back(changeable, afresh, log, tmp_path):
    convert("default", 10)
    log(45)
    before = table()
    call_command("pusherable_prune", "--no-input", "--older-than=1d", f"--archive={tmp_path}", verbosity=0)
    assert partitions.partitions("default")[0].low == 40
    assert table() == []
    (path,) = tmp_path.glob("*.jsonl.gz")
    assert restore(Manifest.of(path), "default") == 45
    assert table() == before
    assert new_id() == 46


@ONLY_POSTGRESQL
def test_new_events_find_a_partition(changeable, afresh, archived):
    convert("default", 10)
    restore(archived([row(7), row(5000)], [row(4321)]), "default")
    assert [one[0] for one in table()] == [7, 4321, 5000]
    assert len({new_id() for _ in range(25)}) == 25
    assert len(partitions.ahead("default")) >= 2


@ONLY_POSTGRESQL
def test_no_request_fails_meanwhile(changeable, afresh, archived):
    convert("default", 1000)
    manifest = archived([row(pk) for pk in range(50_000, 50_030)])
    with writing() as ids:
        assert restore(manifest, "default") == 30
    assert max(ids) > 50_029
    assert AccessEvent.objects.count() == len(ids) + 30
