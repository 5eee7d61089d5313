"""What goes, what stays, and how it goes."""

import datetime as dt
import queue
import threading

import pytest
from django.db import connection, transaction
from django.db.models.signals import post_delete, pre_delete
from django.test.utils import CaptureQueriesContext

from pusherable.delivery.replay import enqueue
from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access
from pusherable.retention import prune as module
from pusherable.retention.archive import COLUMNS
from pusherable.retention.expired import Expired
from pusherable.retention.policy import Policy
from pusherable.retention.prune import Prune
from tests.retention.conftest import LONG_AGO, NOW

pytestmark = pytest.mark.django_db(transaction=True)


class Shelf:
    """An archive that keeps what it is given, and does something else at that moment."""

    def __init__(self, then=lambda: None):
        self.rows = []
        self.then = then

    def write(self, rows):
        self.rows += rows
        self.then()

    @property
    def keys(self):
        return [row[0] for row in self.rows]


def run(policy, events=None, **options):
    chosen = {name: options.pop(name) for name in ("keep_last", "include_undelivered") if name in options}
    prune = Prune(
        Expired(AccessEvent.objects.all() if events is None else events, policy, **chosen), **options
    )
    for _batch in prune:
        pass
    return prune


# What goes


def test_what_is_older_than_the_cutoff_goes(log, keys, ninety_days):
    log(3)
    first_kept = log(occurred_at=NOW - dt.timedelta(days=90))
    log(occurred_at=NOW - dt.timedelta(days=90, microseconds=1))
    kept = log(2, age=1)
    prune = run(ninety_days)
    assert (prune.deleted, prune.is_complete) == (4, True)
    assert keys() == first_kept + kept


def test_the_order_of_recording_does_not_matter(log, keys, ninety_days):
    """Events of another log, that was imported later, have greater ids and are older."""
    new = log(5, age=1)
    log(5)
    new += log(5, age=0.5)
    run(ninety_days, batch_size=2)
    assert keys() == new


def test_events_of_one_moment_in_several_batches(log, keys, ninety_days):
    log(10, occurred_at=LONG_AGO)
    kept = log(10, occurred_at=NOW)
    prune = run(ninety_days, batch_size=3)
    assert (prune.deleted, prune.batches) == (10, 4)
    assert keys() == kept


def test_nothing_to_do(log, keys, ninety_days):
    kept = log(3, age=89)
    prune = run(ninety_days)
    assert (prune.deleted, prune.batches, prune.is_complete) == (0, 0, True)
    assert keys() == kept


def test_a_filter_narrows_it_and_never_widens_it(log, keys, ninety_days):
    kept = log(3, action="updated")
    log(3)
    kept += log(3, age=1)
    assert run(ninety_days, AccessEvent.objects.filter(action="view")).deleted == 3
    assert keys() == kept


def test_a_filter_that_matches_nothing(log, keys, ninety_days):
    there = log(3)
    assert run(ninety_days, AccessEvent.objects.none()).is_complete
    assert keys() == there


def test_a_filter_on_another_table(log, keys, ninety_days):
    kept = log(2, status="pending") + log(2)
    log(2, status="failed")
    failed = AccessEvent.objects.filter(delivery__failed_at__isnull=False)
    assert run(ninety_days, failed, include_undelivered=True, batch_size=1).deleted == 2
    assert keys() == kept


def test_what_has_still_to_be_sent_stays(log, keys, ninety_days):
    kept = log(2, status="pending") + log(2, status="failed")
    log(2, status="delivered")
    prune = run(ninety_days)
    assert prune.deleted == 2
    assert Expired(AccessEvent.objects.all(), ninety_days).count_undelivered() == 4
    assert keys() == kept
    assert Delivery.objects.count() == 4


def test_it_goes_with_its_delivery_if_told_so(log, keys, ninety_days):
    log(2, status="pending")
    log(2, status="failed")
    kept = log(status="failed", age=1)
    assert run(ninety_days, include_undelivered=True, batch_size=1).deleted == 4
    assert keys() == kept
    assert list(Delivery.objects.values_list("event_id", flat=True)) == kept


def test_deliveries_without_an_event_go(log, ninety_days):
    [key] = log(status="failed")
    AccessEvent.objects.filter(pk=key)._raw_delete("default")
    run(ninety_days)
    assert not Delivery.objects.exists()


def test_the_last_of_each_object_stay(log, keys, ninety_days):
    kept = log(5, object_pk="1")[3:]
    kept += log(1, object_pk="2")
    kept += log(2, object_pk="1", object_type="testapp.choice")
    log(2, object_pk="3")
    kept += log(2, object_pk="3", age=1)  # the last two; so the older ones may go
    assert run(ninety_days, keep_last=2, batch_size=3).deleted == 5
    assert keys() == sorted(kept)


def test_the_last_of_those_that_match_stay(log, keys, ninety_days):
    kept = log(3)[2:]
    kept += log(5, action="updated")
    run(ninety_days, AccessEvent.objects.filter(action="view"), keep_last=1)
    assert keys() == kept


def test_a_policy_of_several_rules(log, keys, settings):
    settings.PUSHERABLE_RETENTION = {"view": "90d", "testapp.choice": "1y", "*": None}
    log(2)
    kept = log(2, action="updated")
    kept += log(2, object_type="testapp.choice")
    log(2, object_type="testapp.choice", age=400)
    assert run(Policy.of_setting(NOW), batch_size=3).deleted == 4
    assert keys() == kept


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_another_database(log, keys, ninety_days):
    here = log(3)
    log(3, using="log")
    kept = log(1, using="log", age=1)
    run(ninety_days, AccessEvent.objects.using("log"))
    assert keys("log") == kept
    assert keys() == here


def test_without_time_zones(log, keys, settings):
    settings.USE_TZ = False
    now = NOW.replace(tzinfo=None)
    log(2, occurred_at=now - dt.timedelta(days=91))
    kept = log(2, occurred_at=now - dt.timedelta(days=89))
    run(Policy.older_than("90d", now), batch_size=1)
    assert keys() == kept


def test_the_count_is_what_would_go(log, keys, ninety_days):
    there = log(7) + log(2, status="pending") + log(3, age=1)
    assert Expired(AccessEvent.objects.all(), ninety_days, keep_last=2).count() == 7
    assert keys() == there


# How it goes


def test_each_batch_begins_where_the_last_one_ended(log, ninety_days):
    log(35)
    prune = Prune(Expired(AccessEvent.objects.all(), ninety_days), batch_size=10)
    with CaptureQueriesContext(connection) as captured:
        reached = [prune.reached for _batch in prune]
    deletes = [sql for sql in queries(captured) if "DELETE" in sql]
    assert ["(occurred_at, id) > (" in sql for sql in deletes] == [False, True, True, True]
    assert [moment - LONG_AGO for moment in reached[:3]] == [dt.timedelta(seconds=s) for s in (9, 19, 29)]
    assert reached[3:] == [NOW - dt.timedelta(days=90)]


def queries(captured):
    return [query["sql"] for query in captured if query["sql"].startswith(("SELECT", "DELETE"))]


def test_two_queries_a_batch(log, ninety_days):
    log(10)
    with CaptureQueriesContext(connection) as few:
        run(ninety_days, batch_size=10)
    log(30)
    with CaptureQueriesContext(connection) as more:
        assert run(ninety_days, batch_size=10).batches == 3
    assert len(queries(more)) - len(queries(few)) == 4


@pytest.mark.parametrize("signal", [pre_delete, post_delete])
def test_receivers_for_every_model_cost_nothing(log, ninety_days, signal):
    """Those of other audit packages make Django load every row that it deletes."""
    seen = []

    def receiver(instance, **kwargs):
        seen.append(instance)

    log(20)
    signal.connect(receiver)
    try:
        with CaptureQueriesContext(connection) as captured:
            assert run(ninety_days).deleted == 20
    finally:
        signal.disconnect(receiver)
    assert seen == []
    assert not any('"snapshot"' in sql or "`snapshot`" in sql for sql in queries(captured))


def test_it_ends_after_the_batch_in_hand(log, keys, ninety_days):
    there = log(9)
    prune = Prune(Expired(AccessEvent.objects.all(), ninety_days), batch_size=3)
    for _batch in prune:
        prune.stop()
    assert (prune.deleted, prune.is_complete) == (3, False)
    assert keys() == there[3:]


def test_complete_even_if_the_last_batch_is_the_last_that_was_wanted(log, ninety_days):
    log(3)
    prune = Prune(Expired(AccessEvent.objects.all(), ninety_days), batch_size=5)
    for _batch in prune:
        prune.stop()
    assert prune.is_complete


def test_a_long_pause_ends_with_stop(log, ninety_days):
    log(9)
    prune = Prune(Expired(AccessEvent.objects.all(), ninety_days), batch_size=3, pause=3600)
    for _batch in prune:
        prune.stop()  # or this would wait for an hour
    assert prune.batches == 1


@pytest.mark.vendor("sqlite")  # which has one lock for everybody who writes
def test_batches_follow_the_time_that_the_lock_is_held(log, ninety_days, monkeypatch):
    monkeypatch.setattr(module, "FIRST", 40)
    monkeypatch.setattr(module, "GAP", 0)
    log(400)
    monkeypatch.setattr(module, "HOLD", 0)
    assert run(ninety_days).batches == 46  # 40, and then 8 at a time, which is the least
    log(400)
    monkeypatch.setattr(module, "HOLD", 3600)
    assert run(ninety_days).batches == 4  # 40, 80, 160 and the rest


@pytest.mark.vendor("postgresql")  # whose plans it reads
def test_the_end_of_a_batch_is_found_in_the_index_alone(log, ninety_days):
    log(3000)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE pusherable_accessevent")
        with CaptureQueriesContext(connection) as captured:
            run(ninety_days, batch_size=1000)
        marks = [sql for sql in queries(captured) if "OFFSET" in sql]
        assert len(marks) == 4
        for sql in marks:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Index Only Scan using pusherable_time" in plan
            assert "Sort" not in plan


# With an archive


def test_what_goes_stands_in_the_archive(log, keys, ninety_days):
    gone = log(7)
    kept = log(2, status="pending") + log(2, age=1)
    before = list(AccessEvent.objects.filter(pk__in=gone).order_by("pk").values_list(*COLUMNS))
    shelf = Shelf()
    assert run(ninety_days, archive=shelf, batch_size=3).deleted == 7
    assert shelf.rows == before
    assert keys() == kept


def test_what_does_not_get_there_stays(log, keys, ninety_days):
    there = log(9)
    shelf = Shelf()

    def fail():
        if len(shelf.rows) > 3:
            raise OSError("No space left on device")

    shelf.then = fail
    prune = Prune(Expired(AccessEvent.objects.all(), ninety_days), archive=shelf, batch_size=3)
    with pytest.raises(OSError, match="No space left"):
        list(prune)
    assert prune.deleted == 3
    assert keys() == there[3:]


def test_an_old_event_that_comes_in_between_stays(log, keys, ninety_days):
    """It has expired as well, but it is not in the archive; the next run finds it."""
    gone = log(3)
    late = []
    shelf = Shelf(then=lambda: late.extend(log(1)))
    run(ninety_days, archive=shelf)
    assert shelf.keys == gone
    assert keys() == late


def test_an_event_that_expires_in_between_stays(log, keys, ninety_days):
    gone = log(2)
    last = log()
    shelf = Shelf(then=lambda: log(age=0))
    run(ninety_days, archive=shelf, keep_last=1)
    assert shelf.keys == gone
    assert keys()[:-1] == last


def test_a_replay_in_between_finds_nothing_to_send(log, keys, ninety_days):
    gone = log(2, status="delivered")
    shelf = Shelf(then=lambda: enqueue(list(AccessEvent.objects.select_related("delivery")), "default"))
    run(ninety_days, archive=shelf)
    assert shelf.keys == gone
    assert keys() == []
    assert not Delivery.objects.exists()


# Beside others


def test_requests_record_between_the_batches(log, keys, ninety_days, poll, woken):
    log(30)
    recorded, go_on = [], threading.Event()
    one_more = queue.SimpleQueue()

    def record():
        while not go_on.is_set():
            recorded.append(record_access(poll, "view").pk)
            one_more.put(None)
        connection.close()

    writer = threading.Thread(target=record)
    writer.start()
    try:
        for _batch in Prune(Expired(AccessEvent.objects.all(), ninety_days), batch_size=10):
            while not one_more.empty():
                one_more.get()
            one_more.get(timeout=60)
    finally:
        go_on.set()
        writer.join()
    assert keys() == recorded


@pytest.mark.vendor("postgresql", "mysql")  # on SQLite, whoever writes has the whole database
@pytest.mark.parametrize("options", [{}, {"keep_last": 1}, {"archive": Shelf()}], ids=str)
def test_no_lock_of_a_batch_is_in_the_way_of_an_insert(log, keys, ninety_days, poll, options, woken):
    """Not even while its transaction lasts, which here is as long as the insert takes."""
    log(30, object_pk=str(poll.pk))
    recorded = []

    def record():
        with connection.cursor() as cursor:
            wait = {"postgresql": "lock_timeout = '5s'", "mysql": "innodb_lock_wait_timeout = 5"}
            cursor.execute(f"SET {wait[connection.vendor]}")
        recorded.append(record_access(poll, "view").pk)
        connection.close()

    with transaction.atomic():
        run(ninety_days, batch_size=10, **options)
        writer = threading.Thread(target=record)
        writer.start()
        writer.join()
    assert len(recorded) == 1
    assert keys()[-1:] == recorded
