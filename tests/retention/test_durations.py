"""How long ago is long ago: durations and dates, as operators write them."""

import calendar
import datetime as dt

import pytest
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st

from pusherable.retention.durations import ago, cutoff

NOW = dt.datetime(2026, 11, 22, 10, 30, 15, 500, tzinfo=dt.UTC)
UNITS = {"h": dt.timedelta(hours=1), "d": dt.timedelta(days=1), "w": dt.timedelta(weeks=1)}
#: Years apart from the first and the last, in which not every moment exists in every time zone.
moments = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001
recent = st.datetimes(dt.datetime(1972, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001
zones = st.sampled_from(["UTC", "Asia/Tokyo", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"])


def at(text):
    return dt.datetime.fromisoformat(text)


def error(text, now=NOW, of=cutoff):
    """What is wrong; it begins with the value."""
    with pytest.raises(ValueError) as caught:
        of(text, now)
    value, _colon, message = str(caught.value).partition(": ")
    assert value == repr(text)
    return message


@pytest.mark.parametrize("of", [ago, cutoff])
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", "2026-08-24T10:30:15.000500+00:00"),
        ("12h", "2026-11-21T22:30:15.000500+00:00"),
        ("2w", "2026-11-08T10:30:15.000500+00:00"),
        ("6m", "2026-05-22T10:30:15.000500+00:00"),
        ("13m", "2025-10-22T10:30:15.000500+00:00"),
        ("2y", "2024-11-22T10:30:15.000500+00:00"),
        ("007d", "2026-11-15T10:30:15.000500+00:00"),
        ("P90D", "2026-08-24T10:30:15.000500+00:00"),
        ("P1Y6M", "2025-05-22T10:30:15.000500+00:00"),
        ("PT12H", "2026-11-21T22:30:15.000500+00:00"),
        ("P2W", "2026-11-08T10:30:15.000500+00:00"),
        ("P1DT12H", "2026-11-20T22:30:15.000500+00:00"),
        ("P1Y1M1W1DT1H1M1S", "2025-10-14T09:29:14.000500+00:00"),
        ("PT30M", "2026-11-22T10:00:15.000500+00:00"),
        ("P0Y1M", "2026-10-22T10:30:15.000500+00:00"),
    ],
)
def test_a_duration_before_now(of, text, moment):
    assert of(text, NOW) == at(moment)


@pytest.mark.parametrize(
    ("now", "text", "moment"),
    [
        ("2026-08-31", "6m", "2026-02-28"),
        ("2024-08-31", "6m", "2024-02-29"),
        ("2024-02-29", "1y", "2023-02-28"),
        ("2024-02-29", "4y", "2020-02-29"),
        ("2026-03-31", "1m", "2026-02-28"),
        ("2026-03-31", "P1M1D", "2026-02-27"),  # months first
        ("2026-01-15", "1m", "2025-12-15"),
        ("2026-12-31", "12m", "2025-12-31"),
        ("2026-12-31", "1m", "2026-11-30"),
    ],
)
def test_months_and_years_are_those_of_the_calendar(now, text, moment):
    assert ago(text, at(f"{now}T12:00+00:00")) == at(f"{moment}T12:00+00:00")


def test_the_calendar_is_that_of_the_current_time_zone():
    """There it is March 31 already, so a month ago is February 28 there, and not March 1."""
    now = at("2026-03-30T20:00+00:00")
    with timezone.override("Asia/Tokyo"):
        assert ago("1m", now) == at("2026-02-28T05:00+09:00")
    assert ago("1m", now) == at("2026-02-28T20:00+00:00")


def test_a_month_begins_at_the_same_time_of_day_and_a_day_has_24_hours():
    """In Berlin, clocks went back on October 25."""
    with timezone.override("Europe/Berlin"):
        assert ago("1m", NOW) == at("2026-10-22T11:30:15.000500+02:00")
        assert ago("30d", NOW) == at("2026-10-23T12:30:15.000500+02:00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-08-24", "2026-08-24T00:00+02:00"),
        ("2026-08-24T10:30", "2026-08-24T10:30+02:00"),
        ("2026-08-24 10:30:15.5", "2026-08-24T10:30:15.5+02:00"),
        ("2026-08-24T10:30Z", "2026-08-24T10:30+00:00"),
        ("2026-08-24T10:30+05:30", "2026-08-24T10:30+05:30"),
        ("2026-11-22T11:30:15.000500", "2026-11-22T11:30:15.000500+01:00"),  # now
    ],
)
def test_a_date_or_a_time(text, moment):
    with timezone.override("Europe/Berlin"):
        assert cutoff(text, NOW) == at(moment)


def test_a_project_without_time_zones(settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    now = dt.datetime(2026, 8, 31, 12)  # noqa: DTZ001
    assert cutoff("6m", now) == dt.datetime(2026, 2, 28, 12)  # noqa: DTZ001
    assert cutoff("12h", now) == dt.datetime(2026, 8, 31)  # noqa: DTZ001
    assert cutoff("2026-08-24", now) == dt.datetime(2026, 8, 24)  # noqa: DTZ001
    assert cutoff("2026-08-24T10:30Z", now) == dt.datetime(2026, 8, 24, 12, 30)  # noqa: DTZ001
    assert "in the past" in error("2026-08-31T10:00:01Z", now)


@pytest.mark.parametrize("of", [ago, cutoff])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "Enter a unit too, such as 90d") for text in ("90", "0", "20260824", "9" * 5_000)),
        *((text, "Enter a duration above zero") for text in ("0d", "0h", "P0D", "PT0S", "P0Y0M0DT0H")),
        *((text, "begins before the year 1") for text in ("2026y", "999999999w", "P999999999Y", "99999999h")),
    ],
)
def test_a_duration_that_cannot_be(of, text, message):
    assert message in error(text, of=of)


@pytest.mark.parametrize(
    "text",
    [
        *("-90d", "+90d", "-P90D", "P-90D", "1.5d", "1e3d", "0x10d", "90 d", " 90d", "90d\n", "90D", "p90d"),
        *("P", "PT", "P1DT", "PT1D", "P1H", "P1W1Y", "P90", "d", "1m2d", "90s", "\u0669d", "9999999999d"),
        *("", " ", "yesterday", "now", "None", "*", "22.11.2026", "2026-02-30", "10:30", "\0", "\ud800"),
    ],
)  # fmt: skip
def test_anything_else_is_an_error_that_says_what_to_write(text):
    assert "90d, 12h, 2w, 6m (months), 2y or P1Y6M" in error(text)
    assert "90d, 12h, 2w, 6m (months), 2y or P1Y6M" in error(text, of=ago)


def test_what_may_be_a_date_may_be_none():
    assert "2026-11-22T10:30+01:00" in error("yesterday")
    assert "2026-11-22T10:30+01:00" not in error("yesterday", of=ago)
    assert "Enter a duration" in error("2026-08-24", of=ago)


@pytest.mark.parametrize("text", ["2026-11-23", "9999-12-30", "2026-11-22T10:30:15.000501"])
def test_the_future_is_an_error(text):
    assert "has not come yet" in error(text)


def test_a_time_that_happened_twice_is_an_error():
    with timezone.override("Europe/Berlin"):
        assert "ambiguous" in error("2026-10-25T02:30")


# For any of them


@given(now=moments, count=st.integers(1, 1_000), unit=st.sampled_from(sorted(UNITS)))
def test_hours_days_and_weeks_are_subtracted(now, count, unit):
    try:
        expected = now - count * UNITS[unit]
    except OverflowError:
        assert "before the year 1" in error(f"{count}{unit}", now)
    else:
        assert ago(f"{count}{unit}", now) == expected


@given(now=recent, months=st.integers(1, 600), zone=zones)
@example(now=at("2024-02-29T00:00+00:00"), months=48, zone="UTC")
def test_months_keep_the_day_or_end_with_the_month(now, months, zone):
    with timezone.override(zone):
        local, before = timezone.localtime(now), timezone.localtime(ago(f"{months}m", now))
        if timezone.make_aware(before.replace(tzinfo=None)) != before:
            return  # the other one of two equal times
    assert (local.year - before.year) * 12 + local.month - before.month == months
    assert before.day == min(local.day, calendar.monthrange(before.year, before.month)[1])


@given(now=recent, count=st.integers(1, 50), zone=zones)
def test_one_duration_has_many_names(now, count, zone):
    with timezone.override(zone):
        assert ago(f"{count}y", now) == ago(f"{12 * count}m", now) == ago(f"P{count}Y", now)
        assert ago(f"{count}m", now) == ago(f"P{count}M", now)
        assert ago(f"{count}w", now) == ago(f"{7 * count}d", now) == ago(f"P{count}W", now)
        assert ago(f"{count}d", now) == ago(f"{24 * count}h", now) == ago(f"PT{60 * 24 * count}M", now)


@given(
    now=moments,
    counts=st.lists(st.integers(0, 999_999_999) | st.integers(0, 20), min_size=7, max_size=7).filter(any),
    zone=zones,
)
def test_it_is_never_in_the_future(now, counts, zone):
    years, months, weeks, days, hours, minutes, seconds = counts
    text = f"P{years}Y{months}M{weeks}W{days}DT{hours}H{minutes}M{seconds}S"
    with timezone.override(zone):
        try:
            moment = cutoff(text, now)
        except ValueError as problem:
            assert str(problem).startswith(f"'{text}': ")  # noqa: PT017  # it may come or not
        else:
            assert moment < now
            assert moment.tzinfo is dt.UTC


@given(now=moments, moment=moments, zone=zones)
def test_a_time_comes_back_as_it_was_written(now, moment, zone):
    with timezone.override(zone):
        text = timezone.localtime(moment).isoformat()
        if moment <= now:
            assert cutoff(text, now) == moment
        else:
            assert "has not come yet" in error(text, now)


@given(text=st.text(st.sampled_from("PTYMWDHS0123456789dwmyh-+:. ")) | st.text())
def test_whatever_is_written_it_is_a_moment_in_the_past_or_an_error_that_names_it(text):
    try:
        moment = cutoff(text, NOW)
    except ValueError as problem:
        assert str(problem).startswith(f"{text!r}: ")  # noqa: PT017
    else:
        assert moment <= NOW
