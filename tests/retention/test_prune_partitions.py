"""Pruning a partitioned table: what has expired altogether is dropped, and the rest deleted."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pusherable.models import AccessEvent, Delivery
from pusherable.retention import partitions
from pusherable.retention.archive import Archive, Manifest
from pusherable.retention.conversion import convert
from pusherable.retention.expired import Expired
from pusherable.retention.prune import Prune
from tests.retention.tables import table

__all__ = ["table"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.vendor("postgresql")]

#: Events to a partition.
SIZE = 10


@pytest.fixture(autouse=True)
def _partitioned(table):
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE pusherable_accessevent RESTART IDENTITY")
    convert("default", SIZE)


def bounds():
    """The ids at which partitions end."""
    return [partition.high for partition in partitions.partitions("default")]


def run(policy, events=None, **options):
    chosen = {name: options.pop(name) for name in ("keep_last", "include_undelivered") if name in options}
    prune = Prune(
        Expired(AccessEvent.objects.all() if events is None else events, policy, **chosen), **options
    )
    for _batch in prune:
        pass
    return prune


def test_whole_partitions_are_dropped_and_edges_deleted(log, keys, ninety_days):
    log(35)
    kept = log(10, age=1)
    before = bounds()
    with CaptureQueriesContext(connection) as captured:
        prune = run(ninety_days)
    assert (prune.deleted, prune.is_complete) == (35, True)
    assert keys() == kept
    dropped = [bound for bound in before if bound <= 35]
    assert len(dropped) >= 2
    assert [bound for bound in before if bound not in bounds()] == dropped
    assert sum("DROP TABLE" in query["sql"] for query in captured) == len(dropped)
    assert sum(query["sql"].startswith("DELETE") for query in captured) == 1


def test_there_is_always_room_ahead(log, ninety_days):
    for _ in range(8):
        log(SIZE)
        run(ninety_days)
    log(SIZE)  # or this had nowhere to go
    assert partitions.room("default") >= 3 * SIZE


@pytest.mark.parametrize(
    "stays",
    [{"age": 1}, {"action": "updated"}, {"status": "pending"}, {"status": "failed"}],
    ids=lambda fields: str(*fields.values()),
)
def test_one_event_that_stays_keeps_its_partition(log, keys, ninety_days, stays):
    log(14)
    kept = log(**stays)
    log(15)
    last = log(5, age=1)
    before = bounds()
    prune = run(ninety_days, AccessEvent.objects.filter(action="view"))
    assert prune.deleted == 29
    assert keys() == kept + last
    home = next(bound for bound in before if bound > kept[0])
    assert home in bounds()
    assert set(before) - set(bounds())  # others are gone


def test_the_last_of_an_object_keep_their_partition(log, keys, ninety_days):
    there = log(35)
    run(ninety_days, keep_last=3)
    assert keys() == there[-3:]


def test_deliveries_go_with_their_partition(log, keys, ninety_days):
    log(25, status="failed")
    log(10, age=1)
    assert run(ninety_days, include_undelivered=True).deleted == 25
    assert not Delivery.objects.exists()


def test_a_partition_is_archived_before_it_is_dropped(log, keys, ninety_days, tmp_path):
    gone = log(35)
    kept = log(10, age=1)
    with Archive(tmp_path, using="default") as archive:
        run(ninety_days, archive=archive, batch_size=4)
    assert keys() == kept
    chunks = Manifest.of(archive.path).chunks()
    assert [event.pk for chunk in chunks for event in chunk] == gone


def test_what_cannot_be_archived_stays(log, keys, ninety_days):
    there = log(35)

    class Full:
        def write(self, rows):
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(ninety_days, archive=Full())
    assert keys() == there


def test_an_empty_partition_goes_once_it_is_past(log, keys, ninety_days):
    there = log(25)
    AccessEvent.objects.filter(pk__in=there[:20])._raw_delete("default")
    before = bounds()
    prune = run(ninety_days)
    assert (prune.deleted, prune.batches) == (5, len([bound for bound in before if 20 < bound <= 25]) or 1)
    assert before[0] not in bounds()
