"""The spans of time of a chart, as the clocks of the current time zone have them."""

import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation
from hypothesis import example, given
from hypothesis import strategies as st

from pusherable.browsing.spans import HOUR, Span, hour_of, spans
from pusherable.filters import AccessEventFilter
from pusherable.moments import local

NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
BERLIN = "Europe/Berlin"
ZONES = ["UTC", BERLIN, "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"]

moments = st.timedeltas(-50 * 365 * DAY, 50 * 365 * DAY).map(lambda ago: NOON - ago)


@pytest.mark.parametrize(
    ("days", "unit", "count"),
    [
        (0, "hour", 24),
        (2, "hour", 72),
        (3, "day", 4),
        (91, "day", 92),
        (92, "week", 14),
        (92 * 7, "month", 22),
        (92 * 31, "year", 8),
        (200 * 366, "year", 201),
    ],
)
def test_the_shortest_of_which_there_are_not_too_many(days, unit, count):
    found = spans(NOON - days * DAY, NOON)
    assert ({span.unit for span in found}, len(found)) == ({unit}, count)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_the_hours_of_a_day_on_which_clocks_are_changed(day, hours):
    with timezone.override(BERLIN):
        noon = dt.datetime.fromisoformat(f"{day}T12:00Z")
        found = spans(noon, noon)
        assert len(found) == hours
        assert {str(local(span.start).date()) for span in found} == {day}


def test_the_days_around_it():
    with timezone.override(BERLIN):
        found = spans(
            dt.datetime(2026, 10, 23, 22, tzinfo=dt.UTC), dt.datetime(2026, 10, 27, 22, tzinfo=dt.UTC)
        )
        assert [(span.end - span.start) / HOUR for span in found] == [24, 25, 24, 24]
        assert [local(span.start).isoformat()[:16] for span in found[:2]] == [
            "2026-10-24T00:00",
            "2026-10-25T00:00",
        ]


def test_an_hour_that_there_is_twice():
    with timezone.override(BERLIN):
        first, second = (dt.datetime(2026, 10, 25, hour, 40, tzinfo=dt.UTC) for hour in (0, 1))
        assert [local(moment).hour for moment in (first, second)] == [2, 2]
        assert hour_of(second) - hour_of(first) == HOUR


def test_without_time_zones(settings):
    settings.USE_TZ = False
    noon = NOON.replace(tzinfo=None)
    found = spans(noon, noon)
    assert (len(found), found[12].start) == (24, noon)
    assert hour_of(noon + dt.timedelta(minutes=7)) == noon


@given(moments, moments, st.sampled_from(ZONES))
@example(
    dt.datetime(2011, 12, 29, 12, tzinfo=dt.UTC), dt.datetime(2011, 12, 31, 12, tzinfo=dt.UTC), "Pacific/Apia"
)
@example(
    dt.datetime(2026, 4, 4, 15, tzinfo=dt.UTC),
    dt.datetime(2026, 4, 4, 16, tzinfo=dt.UTC),
    "Australia/Lord_Howe",
)
def test_they_follow_each_other_and_contain_everything(one, other, zone):
    first, last = sorted([one, other])
    with timezone.override(ZoneInfo(zone)):
        found = spans(first, last)
        assert found[0].start <= first
        assert found[-1].end > last
        assert all(before.end == after.start for before, after in pairwise(found))
        assert len(found) <= 94 or found[0].unit == "year"


@given(moments, st.integers(0, 5_000), st.sampled_from(ZONES), st.data())
def test_their_parameters_choose_them(first, days, zone, data):
    with timezone.override(ZoneInfo(zone)):
        span = data.draw(st.sampled_from(spans(first, first + days * DAY)))
        form = AccessEventFilter(span.chosen({})).form
        assert form.is_valid()
        assert (form.cleaned_data["after"], form.cleaned_data["before"]) == (span.start, span.end)


def test_what_chooses_less_already_stays():
    span = Span("hour", NOON, NOON + HOUR)
    minutes = [NOON + dt.timedelta(minutes=number) for number in (10, 50)]
    assert span.chosen({"after": minutes[0], "before": minutes[1]}) == {}
    assert span.chosen({"after": NOON - DAY, "before": None}) == span.chosen({})


@pytest.mark.parametrize(
    ("days", "label", "tick"),
    [
        (0, "Nov. 22, 2026, 00:00 to 01:00", "November 22"),
        (3, "Nov. 19, 2026", "November 19"),
        (100, "Aug. 10, 2026 to Aug. 16, 2026", "08/10/2026"),
        (800, "September 2024", "Sep 2024"),
        (4_000, "2015", "2015"),
    ],
)
def test_what_they_are_called(days, label, tick):
    with translation.override("en"):
        span = spans(NOON - days * DAY, NOON)[0]
        assert (span.label, span.tick) == (label, tick)


def test_a_tick_within_a_day_is_its_hour():
    assert [span.tick for span in spans(NOON, NOON)][1::8] == ["01:00", "09:00", "17:00"]
