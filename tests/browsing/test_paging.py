"""Pages of the log: which events, in which order, and how much is read for them."""

import datetime as dt
import itertools
import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from freezegun import freeze_time

from pusherable.browsing import paging
from pusherable.browsing.paging import Page, window_of
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent, Delivery

pytestmark = pytest.mark.django_db

NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)


def log(count, **fields):
    """So many events, a minute apart; a field may be a function of the event's number."""
    events = [
        AccessEvent(
            **{
                "action": "view",
                "object_type": "blog.post",
                "occurred_at": NOON + dt.timedelta(minutes=number),
            }
            | {name: value(number) if callable(value) else value for name, value in fields.items()}
        )
        for number in range(count)
    ]
    AccessEvent.objects.bulk_create(events)
    return list(AccessEvent.objects.order_by("id")[:count])


def page(size=10, **data):
    filterset = AccessEventFilter(data)
    assert not filterset.errors
    return Page.of(filterset, size=size)


def in_window(**data):
    """The ids of the window, and whether there may be more."""
    filterset = AccessEventFilter(data)
    assert not filterset.errors
    events, is_more = window_of(filterset, "pk")
    return [pk for (pk,) in events], is_more


def pages(size=10, **data):
    """All pages from the first to the last."""
    one = page(size, **data)
    yield one
    while one.older is not None:
        one = page(size, **data, before_id=one.older)
        yield one


@pytest.fixture
def window(monkeypatch):
    def window(size):
        monkeypatch.setattr(paging, "WINDOW", size)

    return window


# From page to page


@pytest.mark.parametrize("data", [{}, {"action": "view"}, {"before": "2026-11-23"}, {"remote_addr": "::1"}])
def test_every_event_is_on_one_page(data):
    events = log(25, remote_addr="::1")
    listed = list(pages(**data))
    assert [len(one.events) for one in listed] == [10, 10, 5]
    assert [event for one in listed for event in one.events] == events[::-1]


@pytest.mark.parametrize("data", [{}, {"action": "view"}, {"before": "2026-11-23"}, {"remote_addr": "::1"}])
def test_and_back_again(data):
    log(25, remote_addr="::1")
    first, second, third = pages(**data)
    assert (first.newer, third.older) == (None, None)
    assert page(**data, after_id=third.newer) == second
    assert page(**data, after_id=second.newer).events == first.events
    assert page(**data, after_id=second.newer).newer is None


def test_a_page_deep_in_the_log_costs_what_the_first_does(django_assert_num_queries):
    events = log(1_000)
    with django_assert_num_queries(1):
        assert page(before_id=events[100].pk).events == events[90:100][::-1]


def test_beyond_the_ends():
    events = log(3)
    before = page(before_id=events[0].pk)
    assert (before.events, before.older) == ([], None)
    assert page(after_id=before.newer).events == events[::-1]
    after = page(after_id=events[2].pk)
    assert (after.events, after.newer) == ([], None)
    assert page(before_id=after.older).events == events[::-1]
    assert page(before_id=10**30).events == events[::-1]
    assert page(before_id=10**30, q="x").events == page(after_id=10**30, q="x").events == []


def test_between_two_ids():
    events = log(9)
    one = page(after_id=events[2].pk, before_id=events[6].pk, size=2)
    assert one.events == [events[5], events[4]]
    assert page(after_id=events[2].pk, before_id=one.older).events == [events[3]]


def test_events_that_were_recorded_late_are_where_their_time_is():
    """An import, say: with a time in the filter, pages go by the time, whatever the ids are."""
    events = log(20, occurred_at=lambda number: NOON + dt.timedelta(minutes=number * 7 % 20))
    by_time = sorted(events, key=lambda event: event.occurred_at, reverse=True)
    listed = list(pages(after="2026-11-22", size=6))
    assert [event for one in listed for event in one.events] == by_time
    assert page(after="2026-11-22", after_id=listed[1].newer, size=6).events == by_time[:6]


def test_events_of_one_moment_are_on_one_page_each():
    events = log(20, occurred_at=NOON)
    assert [event for one in pages(after="2026-11-22", size=6) for event in one.events] == events[::-1]


@pytest.mark.parametrize("data", [{}, {"status": "failed"}, {"status": "pending", "action": "view"}])
def test_an_id_may_be_larger_than_any(data):
    event = log(1, channels=["poll_1"])[0]
    Delivery.of(event, failed_at=NOON if data.get("status") == "failed" else None).save(force_insert=True)
    assert page(**data, before_id="9" * 30).events == [event]
    assert page(**data, after_id="9" * 30).events == []


def test_the_event_at_which_a_page_begins_may_go():
    events = log(20)
    older = page(after="2026-11-22").older
    AccessEvent.objects.filter(pk=older).delete()
    assert page(after="2026-11-22", before_id=older).events == events[:10][::-1]


def test_what_is_invalid_has_no_page(django_assert_num_queries):
    log(1)
    with django_assert_num_queries(0):
        assert Page.of(AccessEventFilter({"after": "tomorrow"})) == Page([])
        assert Page.of(AccessEventFilter({"before_id": "x"})) == Page([])


def test_a_page_knows_the_status_of_its_events(django_assert_num_queries):
    log(3, channels=["poll_1"])
    Delivery.of(AccessEvent.objects.first()).save()
    with django_assert_num_queries(1):
        assert [event.status for event in page().events] == ["delivered", "delivered", "pending"]


# Windows


def test_what_no_index_answers_is_looked_for_in_a_window(window):
    window(10)
    events = log(35, remote_addr=lambda number: "::1" if number in {3, 22, 31} else "")
    listed = list(pages(remote_addr="::1", size=2))
    assert [one.events for one in listed] == [[events[31]], [events[22]], [], [events[3]]]
    assert [one.looked_through for one in listed] == [10, 10, 10, None]
    assert page(remote_addr="::1", size=2, after_id=listed[2].newer).events == [events[22]]


def test_the_window_is_of_what_the_index_has(window):
    window(10)
    events = log(60, user_pk=lambda number: str(number % 6), action=lambda number: f"a{number // 6}")
    assert page(user_pk="2", action="a0").events == [events[2]]
    assert page(user_pk="2", action="a0").looked_through == 10
    assert page(object_type="blog.post", action="a0").events == []


def test_what_is_long_ago_is_found_by_its_time(window):
    """Where a window does not hold all events of an object, say."""
    window(10)
    events = log(50, object_pk="7", occurred_at=lambda number: NOON + dt.timedelta(days=number))
    one = page(object_type="blog.post", object_pk="7", before="2026-11-24", user_pk="")
    assert one.events == events[:3][::-1]
    assert one.looked_through is None


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_what_is_in_the_queue_is_found_however_old_it_is(window, status):
    window(10)
    events = log(50, channels=["post_1"], user_pk=lambda number: str(number % 2))
    for event in events[:4]:
        Delivery.of(event, failed_at=timezone.now() if status == "failed" else None).save()
    assert page(status=status).events == events[:4][::-1]
    assert page(status=status, user_pk="1").events == [events[3], events[1]]
    assert page(status=status, size=3, after_id=events[0].pk).events == events[1:4][::-1]


@pytest.mark.parametrize("data", [{"remote_addr": "::1"}, {"status": "pending"}, {"within": "P99Y"}], ids=str)
def test_a_window_has_what_the_pages_have(window, data):
    events = log(30, remote_addr=lambda number: "::1" if number % 3 else "", channels=["post_1"])
    Delivery.objects.bulk_create(Delivery.of(event) for event in events[:7])
    listed = [event.pk for one in pages(**data) for event in one.events]
    assert in_window(**data) == (listed, False)
    window(20)
    assert in_window(**data, before_id=5) == (
        listed[:14] if "remote_addr" in data else listed[:20],
        len(listed) > 7,
    )


# What is read

VALUES = {
    "action": ["view", "deleted", "none"],
    "object_type": ["blog.post", "shop.order"],
    "object_pk": ["hot", "7"],
    "user_pk": ["bot", "7"],
    "username": ["bot", "nobody"],
    "remote_addr": ["10.0.0.1"],
    "request_id": ["none"],
    "status": ["not broadcast", "pending", "failed", "delivered"],
    "within": ["24h"],
    "after": ["2026-11-23"],
    "before": ["2026-11-22"],
    "q": ["Art", "none"],
}


def questions():
    """Every parameter alone and with every other, each with usual and with rare values."""
    for names in itertools.chain.from_iterable(itertools.combinations(VALUES, count) for count in (0, 1, 2)):
        for values in itertools.product(*(VALUES[name] for name in names)):
            data = dict(zip(names, values, strict=True))
            yield {"object_type": "blog.post"} | data if "object_pk" in data else data


def rows_read(node):
    """The rows of the log that a plan of PostgreSQL has read."""
    own = 0
    if node.get("Relation Name") == "pusherable_accessevent":
        own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return own + sum(map(rows_read, node.get("Plans", [])))


@pytest.mark.vendor("postgresql")
@freeze_time(NOON + dt.timedelta(minutes=6_000))
def test_no_combination_reads_more_than_a_window(window):
    window(200)
    with connection.cursor() as cursor:
        # What other tests have left in the files of the table would have a part in the plans.
        cursor.execute("TRUNCATE pusherable_accessevent")
    log(
        6_000,
        # What is rare has not occurred for long, so that hoping to come across it is in vain.
        action=lambda number: "deleted" if number < 600 else "view",
        object_type=lambda number: "shop.order" if number < 600 else "blog.post",
        object_pk=lambda number: "hot" if number % 3 else str(number % 101),
        user_pk=lambda number: "bot" if number % 3 == 1 else str(number % 103),
        username=lambda number: "bot" if number % 3 == 1 else f"user{number % 103}",
        object_repr=lambda number: f"Article {number}",
        channels=lambda number: ["post_1"] if number % 2 else [],
    )
    Delivery.objects.bulk_create(Delivery.of(event) for event in AccessEvent.objects.order_by("pk")[:9])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        for data in questions():
            with CaptureQueriesContext(connection) as queries:
                page(**data, before_id=page(**data).older or "")
                in_window(**data)
            for query in queries:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query['sql']}")
                (plan,) = cursor.fetchone()
                read = rows_read((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
                # To read what is left in whole may be best, where that is no more than a few windows.
                assert read <= 600, (data, read, query["sql"])


INDEXES = [
    ({}, "pusherable_accessevent_pkey"),
    ({"object_type": "blog.post", "object_pk": "7"}, "pusherable_object"),
    ({"user_pk": "7"}, "pusherable_user"),
    ({"username": "user7"}, "pusherable_username"),
    ({"object_type": "blog.post"}, "pusherable_type"),
    ({"action": "view"}, "pusherable_action"),
    ({"after": "2026-11-22"}, "pusherable_time"),
    ({"before": "2026-11-22", "before_id": 5}, "pusherable_time"),
]


@pytest.mark.vendor("postgresql", "sqlite")  # InnoDB's optimizer may read so small a table in whole
@pytest.mark.parametrize(("data", "index"), INDEXES, ids=[index for _data, index in INDEXES])
def test_a_page_has_an_index_that_needs_no_sort(data, index):
    log(
        5_000,
        action=lambda number: f"action{number % 50}" if number % 3 else "view",
        object_type=lambda number: f"blog.other{number % 50}" if number % 3 else "blog.post",
        object_pk=lambda number: str(number % 50),
        user_pk=lambda number: str(number % 50),
        username=lambda number: f"user{number % 50}",
    )
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {AccessEvent._meta.db_table}")
    with CaptureQueriesContext(connection) as queries:
        page(**data)
    (query,) = queries
    with connection.cursor() as cursor:
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {query['sql']}")
        plan = str(cursor.fetchall())
    if connection.vendor == "postgresql":
        assert index in plan
    assert not [
        sort
        for sort in (
            "TEMP B-TREE",
            "Sort Key: pusherable_accessevent",
            "Seq Scan on pusherable_accessevent",
        )
        if sort in plan
    ], plan
