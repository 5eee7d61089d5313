"""Which events a query string, or the options of a command, stand for."""

import datetime as dt

import pytest
from django.db import connection
from django.http import QueryDict
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pusherable.filters import STATUS, AccessEventFilter
from pusherable.models import AccessEvent, Delivery
from tests.testapp.models import Poll, PollProxy

pytestmark = pytest.mark.django_db

NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
#: Texts of every kind, with those that a database refuses well represented.
texts = st.text(st.characters() | st.sampled_from("\0\ud800\udfff:.-T% \n"), max_size=30)
any_texts = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def record():
    def write(**fields):
        values = {"action": "view", "object_type": "testapp.poll", "object_pk": "1", "occurred_at": NOON}
        return AccessEvent.objects.create(**values | fields)

    return write


def found(**data):
    """The ids of the events, oldest first; the filter has to find nothing wrong."""
    filterset = AccessEventFilter(data)
    assert not filterset.errors
    return list(filterset.qs.order_by("id").values_list("id", flat=True))


def error(**data):
    """The one error; with it comes no event."""
    filterset = AccessEventFilter(data)
    assert list(filterset.qs) == []
    [(name, [message])] = filterset.errors.items()
    assert name in data
    return message


def ids(*events):
    return [event.pk for event in events]


# All together


def test_without_parameters_it_is_every_event(record):
    events = [record(), record()]
    assert found() == ids(*events)
    assert set(AccessEventFilter().qs) == set(events)


def test_parameters_narrow_each_other(record):
    record(username="ada")
    record(action="update")
    both = record(username="ada", action="update")
    assert found(user="ada", action="update") == ids(both)


def test_what_is_empty_does_not_count(record):
    event = record()
    assert found(**dict.fromkeys(AccessEventFilter.base_filters, "")) == ids(event)


def test_parameters_of_other_names_belong_to_the_page(record):
    event = record()
    record(action="update")
    filterset = AccessEventFilter(QueryDict("action=view&page=2&_popup=1"))
    assert list(filterset.qs) == [event]


def test_one_wrong_value_and_there_are_no_events(record, django_assert_num_queries):
    record()
    with django_assert_num_queries(0):
        error(action="view", since="tomorrow")


def test_the_order_is_the_callers(record):
    first, second = record(), record()
    newest = AccessEventFilter({"action": "view"}, AccessEvent.objects.newest())
    assert list(newest.qs) == [second, first]


def test_one_query_and_no_more(record, django_assert_num_queries):
    record()
    with django_assert_num_queries(1):
        found(status="delivered", action="view", object="testapp.poll:1", user="ada", after_id="1")


# status


@pytest.fixture
def of_each_status(record):
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
def test_an_event_without_channels_has_not_been_broadcast_whatever_is_in_the_queue(record, failed_at):
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
def test_another_status_is_an_error(record, status):
    record()
    assert "valid choice" in error(status=status)


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_what_is_in_the_queue_is_found_without_reading_the_log(record, status):
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


# object


def test_of_a_model_or_of_one_object(record):
    first, second = record(), record(object_pk="2")
    record(object_type="testapp.page")
    assert found(object="testapp.poll") == ids(first, second)
    assert found(object="testapp.Poll") == ids(first, second)
    assert found(object="testapp.poll:2") == ids(second)


def test_of_a_proxy_is_of_its_model(record):
    event = record(object_type=Poll._meta.label_lower)
    assert found(object=PollProxy._meta.label) == ids(event)


def test_of_an_app_that_has_been_removed(record):
    event = record(object_type="blog.post")
    assert found(object="blog.Post:1") == ids(event)


@pytest.mark.parametrize("key", ["a:b", "/a b/%", '["A", "1"]', "two\nlines", "ключ", "\U0001f600"])
def test_a_key_may_be_any_text(record, key):
    event = record(object_pk=key)
    record()
    assert found(object=f"testapp.poll:{key}") == ids(event)


@pytest.mark.parametrize(
    "value",
    ["poll", "testapp.", ".poll", "testapp.poll:", "a.b.c", "testapp:poll", "blog/post", "a.b c", ":1"],
)
def test_what_is_no_object_is_an_error(record, value):
    record()
    assert error(object=value) == "Enter blog.post, or blog.post:17 for one object."


# user and action


def test_by_username_or_key(record):
    ada, eve = record(username="ada", user_pk="42"), record(username="42", user_pk="7")
    record()
    assert found(user="ada") == ids(ada)
    assert found(user="pk:42") == ids(ada)
    assert found(user="42") == ids(eve)


def test_a_key_that_is_missing_is_not_that_of_all_anonymous_users(record):
    record()
    assert error(user="pk:") == "Enter a username, or pk:42 for a key."


def test_by_action(record):
    record()
    event = record(action="printed")
    assert found(action="printed") == ids(event)


@pytest.mark.parametrize("character", ["\0", "\ud800"])
@pytest.mark.parametrize("name", ["action", "user", "object"])
def test_characters_that_no_database_takes_are_an_error(record, name, character):
    record()
    filterset = AccessEventFilter({name: f"a.b:{character}"})
    assert list(filterset.qs) == []
    assert list(filterset.errors) == [name]


# since and until


def at(text):
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("value", "first"),
    [
        ("2026-11-22", "2026-11-22T00:00+00:00"),
        (" 2026-11-22 ", "2026-11-22T00:00+00:00"),
        ("2026-11-22T10:30", "2026-11-22T10:30+00:00"),
        ("2026-11-22 10:30:15.5", "2026-11-22T10:30:15.5+00:00"),
        ("2026-11-22T10:30Z", "2026-11-22T10:30+00:00"),
        ("2026-11-22T10:30+05:30", "2026-11-22T05:00+00:00"),
        (dt.date(2026, 11, 22), "2026-11-22T00:00+00:00"),
        (NOON, "2026-11-22T12:00+00:00"),
    ],
)
def test_since_is_included(record, value, first):
    record(occurred_at=at(first) - dt.timedelta(microseconds=1))
    event = record(occurred_at=at(first))
    assert found(since=value) == ids(event)


@pytest.mark.parametrize(
    ("value", "end"),
    [
        ("2026-11-22", "2026-11-23T00:00+00:00"),
        (dt.date(2026, 11, 22), "2026-11-23T00:00+00:00"),
        ("2026-11-22T00:00", "2026-11-22T00:00+00:00"),
        ("2026-11-22T10:30+05:30", "2026-11-22T05:00+00:00"),
    ],
)
def test_until_is_not_included_but_a_date_is_in_whole(record, value, end):
    event = record(occurred_at=at(end) - dt.timedelta(microseconds=1))
    record(occurred_at=at(end))
    assert found(until=value) == ids(event)


def test_times_are_in_the_current_time_zone(record):
    event = record(occurred_at=at("2026-11-21T23:30+00:00"))
    with timezone.override("Europe/Berlin"):
        assert found(since="2026-11-22", until="2026-11-22") == ids(event)
        assert found(since="2026-11-22T00:30") == ids(event)
        assert found(since="2026-11-22T00:31") == []
    assert found(since="2026-11-22") == []


def test_a_day_that_has_no_midnight_begins_when_it_begins(record):
    """In Cairo, clocks went from 00:00 to 01:00 on that day."""
    record(occurred_at=at("2026-04-23T21:59:59+00:00"))
    event = record(occurred_at=at("2026-04-23T22:00+00:00"))
    with timezone.override("Africa/Cairo"):
        assert found(since="2026-04-24") == ids(event)


def test_a_time_that_happened_twice_is_an_error(record):
    record()
    with timezone.override("Europe/Berlin"):
        assert "ambiguous" in error(since="2026-10-25T02:30")
        assert found(since="2026-10-25T02:30+01:00") != []


def test_a_project_without_time_zones(record, settings):
    """Its columns hold local time, so an aware value has to become that."""
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    early, late = (record(occurred_at=dt.datetime(2026, 11, 22, hour)) for hour in (9, 10))  # noqa: DTZ001
    assert found(since="2026-11-22T10:00") == ids(late)
    assert found(since="2026-11-22T09:00Z") == ids(late)
    assert found(until="2026-11-22T09:00Z") == ids(early)
    assert found(since="2026-11-22", until="2026-11-22") == ids(early, late)


@pytest.mark.parametrize("value", ["tomorrow", "2026-02-30", "22.11.2026", "2026-11-22T25:00", "10:30", "\0"])
@pytest.mark.parametrize("name", ["since", "until"])
def test_what_is_no_time_is_an_error(record, name, value):
    record()
    assert error(**{name: value}).startswith("Enter a date or time, such as 2026-11-22")


@any_texts
@given(day=st.dates())
@example(day=dt.date.min)
@example(day=dt.date.max)
def test_any_day_can_be_asked_for(record, day):
    """In the first and last year there are days that are not the same year in UTC."""
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        with timezone.override(zone):
            for name in ("since", "until"):
                filterset = AccessEventFilter({name: day.isoformat()})
                list(filterset.qs)
                assert not filterset.errors or day in {dt.date.min, dt.date.max}


# after_id


def test_after_an_id(record):
    first, second, third = record(), record(), record()
    assert found(after_id=first.pk) == ids(second, third)
    assert found(after_id=str(third.pk)) == []
    assert found(after_id="0") == ids(first, second, third)
    assert found(after_id=str(10**30)) == []


@pytest.mark.parametrize("value", ["-1", "1.5", "x", "\0", "\ud800"])
def test_what_is_no_id_is_an_error(record, value):
    record()
    error(after_id=value)


# Anything


@any_texts
@given(name=st.sampled_from(sorted(AccessEventFilter.base_filters)), value=texts)
@example(name="object", value="a.b:\ud800")
@example(name="user", value="pk:\ud800")
def test_whatever_is_asked_it_answers(record, name, value):
    """With events or with an error, and with an error there are no events."""
    filterset = AccessEventFilter({name: value})
    events = list(filterset.qs)
    assert not (events and filterset.errors)
    if value.strip() and not filterset.errors:
        assert filterset.form.cleaned_data[name] not in (None, "")
