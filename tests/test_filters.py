"""Which events a query string, or the options of a command, stand for."""

import pytest
from django.db import connection
from django.http import QueryDict
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st

from pusherable.browsing.paging import Page
from pusherable.filters import STATUS, AccessEventFilter
from pusherable.models import AccessEvent, Delivery
from tests.filtering import NOON, error, found, ids, record
from tests.testapp.models import Poll, PollProxy

pytestmark = pytest.mark.django_db

#: Texts of every kind, with those that a database refuses well represented.
texts = st.text(st.characters() | st.sampled_from("\0\ud800\udfff:.-T% \n"), max_size=30)


# All together


def test_without_parameters_it_is_every_event():
    events = [record(), record()]
    assert found() == ids(*events)
    assert set(AccessEventFilter().qs) == set(events)


def test_parameters_narrow_each_other():
    record(username="ada")
    record(action="update")
    both = record(username="ada", action="update")
    assert found(username="ada", action="update") == ids(both)


def test_what_is_empty_does_not_count():
    event = record()
    assert found(**dict.fromkeys(AccessEventFilter.base_filters, "")) == ids(event)


def test_parameters_of_other_names_belong_to_the_page():
    event = record()
    record(action="update")
    filterset = AccessEventFilter(QueryDict("action=view&page=2&_popup=1"))
    assert list(filterset.qs) == [event]


def test_one_wrong_value_and_there_are_no_events(django_assert_num_queries):
    record()
    with django_assert_num_queries(0):
        error(action="view", after="tomorrow")


def test_the_order_is_the_callers():
    first, second = record(), record()
    newest = AccessEventFilter({"action": "view"}, AccessEvent.objects.newest())
    assert list(newest.qs) == [second, first]


def test_one_query_and_no_more(django_assert_num_queries):
    record()
    with django_assert_num_queries(1):
        found(
            status="delivered",
            action="view",
            object_type="testapp.poll",
            object_pk="1",
            username="ada",
            within="1h",
            q="a",
            after_id="1",
        )


# status


@pytest.fixture
def of_each_status():
    """An event of each status, by its name."""
    events = {name: record(channels=[] if name == "not broadcast" else ["poll_1"]) for name in STATUS}
    Delivery.of(events["pending"]).save()
    Delivery.of(events["failed"], failed_at=timezone.now()).save()
    return events


@pytest.mark.parametrize("status", STATUS)
def test_status_is_what_the_event_says_itself(of_each_status, status):
    assert of_each_status[status].status == status
    assert found(status=status) == ids(of_each_status[status])


@pytest.mark.parametrize("failed_at", [None, NOON])
def test_an_event_without_channels_has_not_been_broadcast_whatever_is_in_the_queue(failed_at):
    event = record(channels=[])
    Delivery.of(event, failed_at=failed_at).save()
    assert event.status == "not broadcast"
    assert {status: found(status=status) for status in STATUS} == {
        "not broadcast": ids(event),
        "pending": [],
        "failed": [],
        "delivered": [],
    }


def test_every_status_can_be_chosen():
    assert {value for value, _label in AccessEventFilter.base_filters["status"].extra["choices"]} == set(
        STATUS
    )


@pytest.mark.parametrize("status", ["sent", "null", "Failed", "\0", "\ud800"])
def test_another_status_is_an_error(status):
    record()
    assert "valid choice" in error(status=status)


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_what_is_in_the_queue_is_found_without_reading_the_log(status):
    AccessEvent.objects.bulk_create(AccessEvent(action="view", channels=["poll_1"]) for _ in range(5_000))
    event = record(channels=["poll_1"])
    Delivery.of(event, failed_at=timezone.now() if status == "failed" else None).save()
    if connection.vendor != "mysql":  # there it would commit, and it samples the index by itself
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    plan = AccessEventFilter({"status": status}).qs.explain()
    scan = {
        "postgresql": "Seq Scan on pusherable_accessevent",
        "sqlite": "SCAN pusherable_accessevent",
        "mysql": "pusherable_accessevent ALL",
    }[connection.vendor]
    assert "pusherable_accessevent" in plan
    assert scan not in plan


# object_type and object_pk


def test_of_a_model_or_of_one_object():
    first, second = record(), record(object_pk="2")
    record(object_type="testapp.page", object_pk="2")
    assert found(object_type="testapp.poll") == ids(first, second)
    assert found(object_type="testapp.Poll") == ids(first, second)
    assert found(object_type="testapp.poll", object_pk="2") == ids(second)


def test_of_a_proxy_is_of_its_model():
    event = record(object_type=Poll._meta.label_lower)
    assert found(object_type=PollProxy._meta.label) == ids(event)


def test_of_an_app_that_has_been_removed():
    event = record(object_type="blog.post")
    assert found(object_type="blog.Post", object_pk="1") == ids(event)


@pytest.mark.parametrize("key", ["a:b", "/a b/%", '["A", "1"]', "two\nlines", "ключ", "\U0001f600", " 1 "])
def test_a_key_may_be_any_text(key):
    event = record(object_pk=key, user_pk=key)
    record()
    assert found(object_type="testapp.poll", object_pk=key) == ids(event)
    assert found(user_pk=key) == ids(event)


@pytest.mark.parametrize(
    "value", ["poll", "testapp.", ".poll", "testapp.poll:1", "a.b.c", "blog/post", "a.b c"]
)
def test_what_is_no_model_is_an_error(value):
    record()
    assert error(object_type=value) == "Enter a model, such as blog.post."


def test_a_key_alone_is_no_object():
    record()
    assert "Choose an object type too" in error(object_pk="1")


def test_a_key_and_a_wrong_model_are_one_error():
    record()
    error(object_type="poll", object_pk="1")


# What columns have


@pytest.mark.parametrize("name", ["action", "user_pk", "username", "remote_addr", "request_id"])
def test_by_what_a_column_has(name):
    record(**{name: "x"})
    event = record(**{name: "x-1"})
    assert found(**{name: "x-1"}) == ids(event)
    assert found(**{name: "x-"}) == []


TEXTS = ["action", "object_type", "object_pk", "user_pk", "username", "remote_addr", "request_id", "q"]


@pytest.mark.parametrize("character", ["\0", "\ud800"])
@pytest.mark.parametrize("name", TEXTS)
def test_characters_that_no_database_takes_are_an_error(name, character):
    record()
    filterset = AccessEventFilter({"object_type": "a.b", name: f"a.b{character}"})
    assert list(filterset.qs) == []
    assert list(filterset.errors) == [name]


# q


def test_by_how_the_object_or_the_user_begins():
    first, second = record(object_repr="Harbour wall"), record(username="Harbinger")
    record(object_repr="The Harbour")
    assert found(q="Harb") == ids(first, second)
    assert found(q="Harbour") == ids(first)
    assert found(q="our") == []


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", "100%"])
def test_what_stands_for_anything_in_sql_stands_for_itself(text):
    record(object_repr="1000")
    event = record(object_repr=f"{text}!")
    assert found(q=text) == ids(event)


# after_id and before_id


def test_beyond_an_id():
    first, second, third = record(), record(), record()
    assert found(after_id=first.pk) == ids(second, third)
    assert found(after_id=str(third.pk)) == []
    assert found(after_id="0") == ids(first, second, third)
    assert found(after_id=str(10**30)) == []
    assert found(before_id=third.pk) == ids(first, second)
    assert found(before_id=str(10**30)) == ids(first, second, third)
    assert found(after_id=first.pk, before_id=third.pk) == ids(second)


@pytest.mark.parametrize("name", ["after_id", "before_id"])
@pytest.mark.parametrize("value", ["-1", "1.5", "x", "\0", "\ud800"])
def test_what_is_no_id_is_an_error(name, value):
    record()
    error(**{name: value})


# Anything


@given(
    data=st.dictionaries(
        st.sampled_from(sorted(AccessEventFilter.base_filters)),
        texts | st.sampled_from(["a.b", "1", "7d", "2026-11-22", "failed"]),
    )
)
@example(data={"object_type": "a.b", "object_pk": "\ud800"})
@example(data={"within": "1h", "before": "0001-01-01"})
def test_whatever_is_asked_it_answers(data):
    """With events or with an error, and with an error there are no events, nor on a page."""
    filterset = AccessEventFilter(data)
    events, page = list(filterset.qs), Page.of(filterset)
    assert not ((events or page.events) and filterset.errors)
    if not filterset.errors:
        assert {name for name, value in data.items() if value.strip()} <= set(filterset.given)
