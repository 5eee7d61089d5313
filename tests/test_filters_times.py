"""Events by their time: within, after and before."""

import datetime as dt

import pytest
from django.utils import timezone
from freezegun import freeze_time
from hypothesis import example, given
from hypothesis import strategies as st

from pusherable.filters import AccessEventFilter
from tests.filtering import NOON, error, found, ids, record

pytestmark = pytest.mark.django_db


# within


@pytest.mark.parametrize(
    ("value", "hours"), [("1h", 1), ("24h", 24), ("7d", 7 * 24), ("P1DT1H", 25), ("1w", 168)]
)
def test_not_longer_ago(value, hours):
    with freeze_time(NOON):
        record(occurred_at=NOON - dt.timedelta(hours=hours, microseconds=1))
        event = record(occurred_at=NOON - dt.timedelta(hours=hours))
        assert found(within=value) == ids(event)


@pytest.mark.parametrize("value", ["24", "h", "0h", "-1h", "1 hour", "9999y", "\0", "²h"])
def test_what_is_no_duration_is_an_error(value):
    record()
    assert error(within=value) == "Enter a duration, such as 1h, 24h, 7d or P1Y6M."


def test_the_form_shows_a_duration_that_it_does_not_offer():
    form = AccessEventFilter({"within": '3d"><script>'}).form
    assert "3d&quot;&gt;&lt;script&gt;" in str(form["within"])
    assert str(AccessEventFilter({"within": "3d"}).form["within"]).count("selected") == 1
    assert str(AccessEventFilter({"within": "7d"}).form["within"]).count("<option") == 5


# after and before


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
def test_after_is_included(value, first):
    record(occurred_at=at(first) - dt.timedelta(microseconds=1))
    event = record(occurred_at=at(first))
    assert found(after=value) == ids(event)


@pytest.mark.parametrize(
    ("value", "end"),
    [
        ("2026-11-22", "2026-11-23T00:00+00:00"),
        (dt.date(2026, 11, 22), "2026-11-23T00:00+00:00"),
        ("2026-11-22T00:00", "2026-11-22T00:00+00:00"),
        ("2026-11-22T10:30+05:30", "2026-11-22T05:00+00:00"),
    ],
)
def test_before_is_not_included_but_a_date_is_in_whole(value, end):
    event = record(occurred_at=at(end) - dt.timedelta(microseconds=1))
    record(occurred_at=at(end))
    assert found(before=value) == ids(event)


def test_times_are_in_the_current_time_zone():
    event = record(occurred_at=at("2026-11-21T23:30+00:00"))
    with timezone.override("Europe/Berlin"):
        assert found(after="2026-11-22", before="2026-11-22") == ids(event)
        assert found(after="2026-11-22T00:30") == ids(event)
        assert found(after="2026-11-22T00:31") == []
    assert found(after="2026-11-22") == []


def test_a_day_that_has_no_midnight_begins_when_it_begins():
    """In Cairo, clocks went from 00:00 to 01:00 on that day."""
    record(occurred_at=at("2026-04-23T21:59:59+00:00"))
    event = record(occurred_at=at("2026-04-23T22:00+00:00"))
    with timezone.override("Africa/Cairo"):
        assert found(after="2026-04-24") == ids(event)


def test_a_time_that_happened_twice_is_an_error():
    record()
    with timezone.override("Europe/Berlin"):
        assert "ambiguous" in error(after="2026-10-25T02:30")
        assert found(after="2026-10-25T02:30+01:00") != []


def test_a_project_without_time_zones(settings):
    """Its columns hold local time, so an aware value has to become that."""
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    early, late = (record(occurred_at=dt.datetime(2026, 11, 22, hour)) for hour in (9, 10))  # noqa: DTZ001
    assert found(after="2026-11-22T10:00") == ids(late)
    assert found(after="2026-11-22T09:00Z") == ids(late)
    assert found(before="2026-11-22T09:00Z") == ids(early)
    assert found(after="2026-11-22", before="2026-11-22") == ids(early, late)


@pytest.mark.parametrize("value", ["tomorrow", "2026-02-30", "22.11.2026", "2026-11-22T25:00", "10:30", "\0"])
@pytest.mark.parametrize("name", ["after", "before"])
def test_what_is_no_time_is_an_error(name, value):
    record()
    assert error(**{name: value}).startswith("Enter a date or time, such as 2026-11-22")


@given(day=st.dates())
@example(day=dt.date.min)
@example(day=dt.date.max)
def test_any_day_can_be_asked_for(day):
    """In the first and last year there are days that are not the same year in UTC."""
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        with timezone.override(zone):
            for name in ("after", "before"):
                filterset = AccessEventFilter({name: day.isoformat()})
                list(filterset.qs)
                assert not filterset.errors or day in {dt.date.min, dt.date.max}
