"""What there is to choose from, in one query that reads next to nothing."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from freezegun import freeze_time

from pusherable.browsing import facets
from pusherable.browsing.facets import Facets, chosen, within
from pusherable.models import AccessEvent

pytestmark = pytest.mark.django_db


def log(*times, **fields):
    AccessEvent.objects.bulk_create(
        AccessEvent(occurred_at=dt.datetime.fromisoformat(time).replace(tzinfo=dt.UTC), **fields)
        for time in times
    )


def labels(after="", before=""):
    """What the periods with events are called."""
    return [period.label for period in Facets.of("default", within(chosen(after, before))).periods]


def test_actions_and_object_types_in_their_order(django_assert_num_queries):
    for action, object_type in [("view", "b.b"), ("created", "a.a"), ("view", "c.c"), ("printed", "a.a")]:
        log("2026-11-22", action=action, object_type=object_type)
    with django_assert_num_queries(1):
        found = Facets.of("default", [])
    assert found == Facets(["created", "printed", "view"], ["a.a", "b.b", "c.c"], [])


def test_an_empty_log():
    assert Facets.of("default", within([])) == Facets([], [], [])


def test_never_more_than_a_page_can_show(monkeypatch):
    monkeypatch.setattr(facets, "MOST", 3)
    for number in range(5):
        log("2026-11-22", action=f"a{number}")
    assert Facets.of("default", []).actions == ["a0", "a1", "a2"]


@freeze_time("2026-11-22")
def test_years_that_have_events_and_those_before_them():
    log("2026-01-01", "2024-12-31T23:59:59", "2017-01-01", "2016-12-31T23:59:59")
    assert labels() == ["2026", "2024", "2017", "Before 2017"]


def test_months_and_days_that_have_events():
    log("2026-02-28T23:59:59.999999", "2026-03-31", "2025-03-01", "2027-03-01", "2026-12-31")
    assert labels("2026-01-01", "2026-12-31") == ["December 2026", "March 2026", "February 2026"]
    assert labels("2026-02-01", "2026-02-28") == ["February 28"]
    assert labels("2026-02-28", "2026-02-28") == []


def test_days_are_those_of_the_current_time_zone():
    log("2026-11-21T23:30")
    with timezone.override("Europe/Berlin"):
        assert labels("2026-11-01", "2026-11-30") == ["November 22"]


@pytest.mark.parametrize(
    ("after", "before", "trail"),
    [
        ("2026-01-01", "2026-12-31", ["2026"]),
        ("2024-02-01", "2024-02-29", ["2024", "February 2024"]),
        ("2026-11-22", "2026-11-22", ["2026", "November 2026", "November 22"]),
        ("2026-11-01", "2026-11-29", []),
        ("2026-11-22T10:00", "2026-11-22", []),
        ("2026-11-22", "", []),
        ("9999-12-31", "9999-12-31", []),
        ("0001-01-01", "0001-12-31", []),
    ],
)
def test_which_period_two_dates_are(after, before, trail):
    assert [period.label for period in chosen(after, before)] == trail


@pytest.mark.vendor("postgresql", "sqlite")
def test_nothing_is_read_in_whole():
    log(*["2026-11-22"] * 3_000, action="view", object_type="blog.post")
    with CaptureQueriesContext(connection) as queries:
        Facets.of("default", within([]))
    (query,) = queries
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute(f"{explain} {query['sql']}")
        plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    if connection.vendor == "sqlite":
        scans = [
            line for line in plan.splitlines() if line.startswith("SCAN pusherable") and "INDEX" not in line
        ]
        assert not scans
        assert "TEMP B-TREE" not in plan
    else:
        assert "Seq Scan on pusherable" not in plan
        assert "Sort" not in plan
