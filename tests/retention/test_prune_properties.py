"""For any policy, filter and clock: what goes is what ten lines of Python say."""

import datetime as dt
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pytest
from django.utils import timezone
from freezegun import freeze_time
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pusherable.management.options import matching
from pusherable.models import AccessEvent, Delivery
from pusherable.retention import partitions
from pusherable.retention import prune as module
from pusherable.retention.archive import Archive
from pusherable.retention.conversion import convert
from pusherable.retention.expired import Expired
from pusherable.retention.policy import Policy
from pusherable.retention.prune import Prune
from tests.retention.archives import read
from tests.retention.tables import table

__all__ = ["table"]

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY, TICK = dt.timedelta(hours=1), dt.timedelta(days=1), dt.timedelta(microseconds=1)
AGES = {"12h": 12 * HOUR, "P1DT12H": 36 * HOUR, "3d": 3 * DAY, "2w": 14 * DAY, "P3W": 21 * DAY}


def reference(events, limits, matches, keep_last):
    """The keys of the events that have expired; `limits` has the rules of the setting, as moments."""
    expired, newer = set(), Counter()
    for event in sorted(filter(matches, events), key=lambda event: event.pk, reverse=True):
        rules = [key for key in (event.object_type, event.action, "*") if key in limits]
        limit = limits[rules[0]] if rules else None
        same_object = event.object_type, event.object_pk
        if limit is not None and event.occurred_at < limit and newer[same_object] >= keep_last:
            expired.add(event.pk)
        newer[same_object] += 1
    return expired


@dataclass
class Run:
    """A log, a moment, and a prune."""

    now: dt.datetime
    rows: list[dict[str, Any]]
    #: For --older-than a duration, or the date so many days ago; or the setting.
    policy: str | int | dict[str, str | None]
    filters: dict[str, str | None]
    keep_last: int | None
    include_undelivered: bool
    batch_size: int
    is_archived: bool


# There are few values, so that filters find something, objects have many events, and many events one moment:
# the one at which they expire, or a tick to either side. Some of them lie in the future.
rows = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["view", "updated", "printed"]),
        "object_type": st.sampled_from(["testapp.poll", "testapp.page", "gone.thing"]),
        "object_pk": st.sampled_from(["1", "2"]),
        "user": st.sampled_from([("ada", "1"), ("1", "2"), ("", "")]),
        "age": st.sampled_from([*AGES.values(), 4000 * DAY, 0 * DAY, -HOUR]),
        "ticks": st.sampled_from([0, 0, -1, 1]),
        "queue": st.sampled_from([None, None, None, "pending", "failed"]),
    }
)
repeated = st.tuples(st.lists(rows, min_size=1, max_size=2), st.integers(1, 5)).map(
    lambda pair: pair[0] * pair[1]
)
rules = st.tuples(
    st.sampled_from(["view", "updated", "testapp.poll", "testapp.Page", "gone.Thing", "*"]),
    st.sampled_from([None, *AGES]),
)
filters = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["view", "updated", None]),
        "object": st.sampled_from(
            ["testapp.poll", "testapp.Page:1", "gone.Thing", "gone.thing:2", None, None]
        ),
        "user": st.sampled_from(["ada", "1", "pk:1", None, None]),
    }
)
days = st.dates(dt.date(2000, 1, 1), dt.date(2100, 1, 1))
runs = st.builds(
    Run,
    # Often midnight, at which dates begin.
    now=st.builds(dt.datetime.combine, days, st.just(dt.time()) | st.times(), st.just(dt.UTC)),
    rows=st.lists(rows, min_size=15, max_size=30)
    | st.lists(repeated, max_size=8).map(lambda parts: list(chain.from_iterable(parts))),
    policy=st.lists(rules, min_size=2, max_size=6).map(dict)
    | st.lists(rules, max_size=1).map(dict)
    | st.sampled_from([*AGES, *range(25)]),
    filters=st.just({}) | filters,
    keep_last=st.sampled_from([None, None, 1, 2, 3, 4]),
    include_undelivered=st.booleans(),
    batch_size=st.sampled_from([*range(1, 8), 10_000]),
    is_archived=st.booleans(),
)

#: Those that let whole partitions go.
generous = st.builds(
    replace,
    runs,
    policy=st.sampled_from([*AGES]),
    filters=st.just({}),
    keep_last=st.none(),
    batch_size=st.sampled_from([1, 2, 3]),
)


@pytest.fixture
def check(settings, tmp_path, monkeypatch):
    """Prune as the run has it, and compare with the reference."""
    monkeypatch.setattr(module, "GAP", 0)

    def check(run, *, drops=False):
        log, queued = write(run)
        with freeze_time(run.now) as clock:
            policy, limits = policy_of(run, settings)
            old = reference(log, limits, matcher(**run.filters), run.keep_last or 0)
            expected = old if run.include_undelivered else old - queued
            if policy is None:
                assert not old
                return
            expired = Expired(
                matching(run.filters, "default"),
                policy,
                keep_last=run.keep_last,
                include_undelivered=run.include_undelivered,
            )
            assert expired.count() == len(expected)
            assert expired.count_undelivered() == len(old & queued)
            with Archive(tmp_path, using="default") if run.is_archived else nullcontext() as archive:
                prune = Prune(expired, batch_size=run.batch_size, archive=archive)
                deleted = 0
                for _batch in prune:
                    assert 0 < prune.deleted - deleted <= (len(log) if drops else run.batch_size)
                    deleted = prune.deleted
                    if prune.reached is not None:  # as it is once partitions have been dropped
                        due = {event.pk for event in log if event.occurred_at < prune.reached} & expected
                        assert not AccessEvent.objects.filter(pk__in=due).exists()
                    clock.tick(30 * DAY)  # what expires meanwhile is for the next run

        left = set(AccessEvent.objects.values_list("pk", flat=True))
        gone = {event.pk for event in log} - left
        assert gone == expected
        assert all(event.occurred_at < policy.latest for event in log if event.pk in gone)
        assert (prune.deleted, prune.is_complete, prune.reached) == (len(gone), True, policy.latest)
        assert set(Delivery.objects.values_list("event_id", flat=True)) == queued & left
        if archive is not None:
            archived = [event.pk for event in chain.from_iterable(read(archive.path))] if gone else []
            assert sorted(archived) == sorted(gone)

    return check


def write(run):
    """Replace the log; returns its events, and the keys of those in the queue."""
    Delivery.objects.all().delete()
    AccessEvent.objects.all().delete()
    for first in range(0, len(run.rows), 10):
        partitions.extend("default")
        AccessEvent.objects.bulk_create(
            AccessEvent(
                occurred_at=run.now - row["age"] + row["ticks"] * TICK,
                **dict(zip(("username", "user_pk"), row["user"], strict=True)),
                **{name: row[name] for name in ("action", "object_type", "object_pk")},
            )
            for row in run.rows[first : first + 10]
        )
    log = list(AccessEvent.objects.order_by("pk"))
    queue = [
        Delivery.of(event, failed_at=run.now if row["queue"] == "failed" else None)
        for event, row in zip(log, run.rows, strict=True)
        if row["queue"]
    ]
    Delivery.objects.bulk_create(queue)
    return log, {delivery.event_id for delivery in queue}


def policy_of(run, settings):
    """The policy, and the limits of it for the reference."""
    choice, now = run.policy, run.now
    if isinstance(choice, dict):
        settings.PUSHERABLE_RETENTION = choice
        limits = {key.lower(): now - AGES[age] if age else None for key, age in choice.items()}
        return Policy.of_setting(timezone.now()), limits
    if isinstance(choice, int):
        midnight = dt.datetime.combine(now.date() - choice * DAY, dt.time(), dt.UTC)
        return Policy.older_than(f"{midnight:%Y-%m-%d}", timezone.now()), {"*": midnight}
    return Policy.older_than(choice, timezone.now()), {"*": now - AGES[choice]}


def matcher(*, action=None, object=None, user=None):  # noqa: A002  # as the options are called
    label, _colon, object_pk = (object or "").lower().partition(":")

    def matches(event):
        return (
            action in (None, event.action)
            and label in ("", event.object_type)
            and object_pk in ("", event.object_pk)
            and (user is None or user in (event.username, f"pk:{event.user_pk}"))
        )

    return matches


@hypothesis_settings(max_examples=250)
@given(run=runs)
def test_what_goes_is_what_the_reference_says(check, run):
    check(run)


@pytest.mark.vendor("postgresql")
@hypothesis_settings(max_examples=100)
@given(run=runs | generous)
def test_whether_partitions_are_dropped_or_not(divided, check, run):
    check(run, drops=True)


@pytest.fixture
def divided(table):
    convert("default", 4)
