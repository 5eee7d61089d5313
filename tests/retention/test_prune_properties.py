"""For any policy, filter and clock: what goes is what ten lines of Python say."""

import datetime as dt
from collections import Counter
from itertools import chain

import pytest
from django.utils import timezone
from freezegun import freeze_time
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent, Delivery
from pusherable.retention import prune as module
from pusherable.retention.archive import Archive, read
from pusherable.retention.policy import Policy
from pusherable.retention.prune import Prune

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


# There are few values, so that filters find something, objects have many events, and many events one moment:
# the one at which they expire, or a tick to either side. Some of them lie in the future.
durations = st.sampled_from(sorted(AGES))
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
#: For --older-than: a duration, or the date so many days ago.
cutoffs = durations | st.integers(0, 25)
rules = st.dictionaries(
    st.sampled_from(["view", "updated", "testapp.poll", "testapp.Page", "gone.Thing", "*"]),
    st.none() | durations,
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["view", "updated"]),
        "object": st.sampled_from(["testapp.poll", "testapp.Page:1", "gone.Thing", "gone.thing:2"]),
        "user": st.sampled_from(["ada", "1", "pk:1"]),
    },
)
#: Often midnight, at which the dates begin.
clocks = st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001
clocks |= st.dates(dt.date(2000, 1, 1), dt.date(2100, 1, 1)).map(
    lambda day: dt.datetime.combine(day, dt.time(), dt.UTC)
)


@pytest.fixture
def at_once(monkeypatch):
    """On SQLite, without the pauses between batches."""
    monkeypatch.setattr(module, "GAP", 0)


@pytest.fixture
def write():
    """Replace the log; returns its events, and the keys of those in the queue."""

    def write(rows, now):
        Delivery.objects.all().delete()
        AccessEvent.objects.all().delete()
        AccessEvent.objects.bulk_create(
            AccessEvent(
                occurred_at=now - row["age"] + row["ticks"] * TICK,
                **dict(zip(("username", "user_pk"), row["user"], strict=True)),
                **{name: row[name] for name in ("action", "object_type", "object_pk")},
            )
            for row in rows
        )
        log = list(AccessEvent.objects.order_by("pk"))
        queue = [
            Delivery.of(event, failed_at=now if row["queue"] == "failed" else None)
            for event, row in zip(log, rows, strict=True)
            if row["queue"]
        ]
        Delivery.objects.bulk_create(queue)
        return log, {delivery.event_id for delivery in queue}

    return write


def policy_of(choice, now, settings):
    """The policy, and its limits for the reference."""
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


@hypothesis_settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    now=clocks,
    rows=st.lists(rows, min_size=15, max_size=30) | st.lists(rows, max_size=5),
    choice=cutoffs | rules,
    given=filters,
    keep_last=st.none() | st.integers(1, 4),
    include_undelivered=st.booleans(),
    batch_size=st.integers(1, 7) | st.just(10_000),
    is_archived=st.booleans(),
)
def test_what_goes_is_what_the_reference_says(
    write, at_once, settings, tmp_path,
    now, rows, choice, given, keep_last, include_undelivered, batch_size, is_archived,
):  # fmt: skip
    log, queued = write(rows, now)
    with freeze_time(now) as clock:
        policy, limits = policy_of(choice, now, settings)
        expired = reference(log, limits, matcher(**given), keep_last or 0)
        expected = expired if include_undelivered else expired - queued
        if policy is None:
            assert not expired
            return

        options = {"keep_last": keep_last, "include_undelivered": include_undelivered}
        events = AccessEventFilter(given).qs
        counting = Prune(events, policy, **options, batch_size=batch_size)
        assert counting.count() == len(expected)
        assert counting.count_undelivered() == len(expired & queued)

        archive = Archive(tmp_path, using="default") if is_archived else None
        prune = Prune(events, policy, **options, batch_size=batch_size, archive=archive)
        deleted = 0
        for _batch in prune:
            assert deleted < prune.deleted <= deleted + batch_size
            deleted = prune.deleted
            clock.tick(30 * DAY)  # what expires meanwhile is for the next run

    left = set(AccessEvent.objects.values_list("pk", flat=True))
    gone = {event.pk for event in log} - left
    assert gone == expected
    assert all(event.occurred_at < policy.latest for event in log if event.pk in gone)
    assert (prune.deleted, prune.is_complete, prune.reached) == (len(gone), True, policy.latest)
    assert set(Delivery.objects.values_list("event_id", flat=True)) == queued & left
    if archive is not None:
        archive.close()
        archived = [event.pk for event in chain.from_iterable(read(archive.path))] if gone else []
        assert sorted(archived) == sorted(gone)
