"""Claiming, sending, settling."""

import datetime as dt
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections
from django.db.models.signals import post_delete, pre_delete
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pusherable.delivery.relay import Relay, Tally, lease, relay_of
from pusherable.delivery.transports import TransportError
from pusherable.models import AccessEvent, Delivery

pytestmark = pytest.mark.django_db

SECOND = dt.timedelta(seconds=1)


def drain(limit=None, **options):
    return Relay("default", **options).drain(limit)


def keys(deliveries):
    return [delivery.event_id for delivery in deliveries]


def ids(events):
    return [event.pk for event in events]


# Claiming


def test_takes_the_oldest_first_and_at_most_so_many(enqueue, killed):
    events = enqueue(5, objects=5)
    assert keys(killed(batch_size=3)) == ids(events[:3])
    assert keys(killed(batch_size=3)) == ids(events[3:])
    assert killed() == []


def test_takes_what_is_due_only(enqueue, clock, recipient):
    past, now, future = enqueue(3, objects=3)
    Delivery.objects.filter(event=past).update(deliver_after=timezone.now() - SECOND)
    Delivery.objects.filter(event=future).update(deliver_after=timezone.now() + SECOND)
    assert drain() == Tally(sent=2)
    assert recipient.channels == [f"poll_{past.pk}", f"poll_{now.pk}"]
    clock.tick(1)
    assert drain() == Tally(sent=1)


def test_does_not_take_what_was_given_up(enqueue, recipient, queue):
    event = enqueue()
    Delivery.objects.update(failed_at=timezone.now())
    assert drain() == Tally()
    assert keys(queue()) == [event.pk]


def test_only_what_is_asked_for(enqueue, recipient, queue):
    events = enqueue(5, objects=5)
    assert Relay("default").drain(only=ids(events[1:3])) == Tally(sent=2)
    assert keys(queue()) == ids([events[0], *events[3:]])


@pytest.mark.parametrize("timeout", [1, 5])
def test_nobody_else_gets_what_is_claimed_until_the_lease_is_over(enqueue, clock, killed, settings, timeout):
    settings.PUSHER_TIMEOUT = timeout
    assert lease().total_seconds() == 30 + 6 * timeout
    event = enqueue()
    [first] = killed()
    clock.tick(lease() - SECOND)
    assert killed() == []
    clock.tick(SECOND)
    [second] = killed()
    assert first.event_id == second.event_id == event.pk
    assert (first.attempts, second.attempts) == (1, 2)


def test_a_token_is_fresh_for_each_claim_and_names_its_relay(enqueue, use_transport):
    enqueue(2, objects=2)
    seen = []

    def look(messages):
        [claim] = Delivery.objects.exclude(claim=None).values_list("claim", flat=True)
        seen.append(claim)

    use_transport(look)
    one, other = Relay("default", batch_size=1, concurrency=1), Relay("default", concurrency=1)
    one.drain()
    enqueue()
    other.drain()
    assert len(set(seen)) == 3
    assert relay_of(seen[0]) == relay_of(seen[1]) != relay_of(seen[2])


def test_a_project_that_seeds_random_numbers_makes_no_two_relays_alike(enqueue, killed, queue):
    """Each of its processes does, and then a token would be no proof of anything."""
    enqueue(2, objects=2)
    state = random.getstate()
    for _ in range(2):
        random.seed(17)
        killed(batch_size=1)
    random.setstate(state)
    claims = [row.claim for row in queue()]
    assert claims[0] != claims[1]
    assert relay_of(claims[0]) != relay_of(claims[1])


def test_what_was_not_tried_is_due_again_and_has_not_cost_an_attempt(enqueue, clock, outage, queue):
    enqueue(25)
    assert drain() == Tally(postponed=10)
    assert [row.attempts for row in queue()] == [1] * 10 + [0] * 15
    assert {row.claim for row in queue()} == {None}
    assert {row.deliver_after for row in queue()[10:]} == {timezone.now()}


# Too late: a relay that stood still for longer than its lease, so that somebody else has the deliveries now.


@pytest.mark.parametrize("late", [None, TransportError("x")])
@pytest.mark.parametrize("most", [500, 1])
def test_who_comes_too_late_changes_nothing(
    enqueue, clock, use_transport, killed, settings, queue, late, most
):
    """Whether it has sent them, failed, given them up, or not tried them."""
    theirs = []
    slow = Relay("default", concurrency=1)

    def send(messages):
        clock.tick(lease())
        settings.PUSHERABLE_MAX_ATTEMPTS = 500
        theirs.extend(killed())
        settings.PUSHERABLE_MAX_ATTEMPTS = most
        use_transport(send)
        slow.stop()
        if late is not None:
            raise late

    use_transport(send)
    enqueue(11)
    slow.drain()
    assert len(theirs) == 11

    def state(rows):
        return [
            (row.claim, row.attempts, row.deliver_after, row.last_error, row.failed_at, row.event_id)
            for row in rows
        ]

    assert state(queue()) == state(theirs)


def test_who_was_too_late_may_have_sent_it_too_but_no_third_time(enqueue, clock, use_transport, queue):
    """At least once."""
    calls = []

    def send(messages):
        calls.append(messages)
        if len(calls) == 1:
            clock.tick(lease())
            assert drain() == Tally(sent=1)

    use_transport(send)
    enqueue()
    assert drain() == Tally(sent=1)
    assert drain() == Tally()
    assert len(calls) == 2
    assert queue() == []


def test_no_call_begins_in_the_second_half_of_the_lease(enqueue, clock, use_transport):
    """The calls of a relay that was paused between two are made anew, by whoever claims them next."""
    calls = []

    def send(messages):
        calls.append([message.channel for message in messages])
        if len(calls) == 1:
            clock.tick(lease() / 2 + SECOND)
            slow.stop()

    slow = Relay("default", concurrency=1)
    use_transport(send)
    events = enqueue(20)
    assert slow.drain() == Tally(sent=10)
    assert calls == [[f"poll_{event.pk}" for event in events[:10]]]
    assert [row.attempts for row in Delivery.objects.all()] == [0] * 10


# Deliveries without an event


def test_deliveries_of_deleted_events_are_dropped(enqueue, recipient, queue):
    events = enqueue(25)
    pruned = events[:12] + events[20:22]
    AccessEvent.objects.filter(pk__in=ids(pruned)).delete()
    assert drain(batch_size=10) == Tally(sent=11)
    assert queue() == []
    assert recipient.channels == [f"poll_{event.pk}" for event in events if event not in pruned]


def test_a_queue_of_nothing_but_deleted_events_is_emptied(enqueue, recipient, queue):
    enqueue(35)
    AccessEvent.objects.all().delete()
    assert drain(batch_size=10) == Tally()
    assert queue() == []
    assert recipient.calls == []


# Sending


@pytest.mark.parametrize("objects", [1, 3, 23])
def test_sends_everything_in_full_batches_and_empties_the_queue(enqueue, recipient, queue, objects):
    events = enqueue(23, objects=objects)
    relay = Relay("default")
    assert relay.drain() == relay.tally == Tally(sent=23)
    assert sorted(recipient.channels) == sorted(f"poll_{event.pk}" for event in events)
    # The 7 or 8 events of each of three objects share no call, since they may not wait for each other.
    sizes = {1: [3, 10, 10], 3: [7, 8, 8], 23: [3, 10, 10]}
    assert sorted(len(call) for call in recipient.calls) == sizes[objects]
    assert queue() == []
    assert [event.status for event in AccessEvent.objects.all()] == ["delivered"] * 23


@pytest.mark.parametrize(("limit", "sent"), [(0, 0), (1, 1), (10, 10), (11, 11), (25, 25), (None, 25)])
def test_a_limit_is_kept(enqueue, recipient, queue, limit, sent):
    events = enqueue(25)
    assert drain(limit) == Tally(sent=sent)
    assert recipient.channels == [f"poll_{event.pk}" for event in events[:sent]]
    assert {row.claim for row in queue()} <= {None}


def test_an_empty_queue_is_no_failure(recipient):
    assert drain() == Tally()
    assert recipient.calls == []


def test_an_event_of_several_channels_is_sent_to_each(enqueue, recipient):
    enqueue(4, channels=["a", "b", "c"])
    assert drain() == Tally(sent=4)
    assert recipient.channels == ["a", "b", "c"] * 4
    assert [len(call) for call in recipient.calls] == [10, 2]


def test_an_event_of_several_channels_stays_until_all_have_it(enqueue, clock, use_transport, queue):
    """At least once: the channels of the first call get it again."""
    calls = []

    def send(messages):
        calls.append(len(messages))
        if len(calls) == 2:
            raise TransportError

    use_transport(send)
    enqueue(4, channels=["a", "b", "c"])
    assert drain() == Tally(postponed=4)
    assert len(queue()) == 4


@pytest.mark.django_db(databases=["default", "log"])
def test_each_database_has_a_queue_of_its_own(recipient):
    event = AccessEvent(action="view", object_type="testapp.poll", channels=["poll_1"])
    event.save(using="log")
    Delivery.of(event).save(using="log")
    assert drain() == Tally()
    assert recipient.calls == []
    assert Relay("log").drain() == Tally(sent=1)
    assert recipient.channels == ["poll_1"]
    assert not Delivery.objects.using("log").exists()


def test_tells_how_late_it_is_and_reports_after_each_settle(enqueue, clock, recipient):
    enqueue(20, objects=20)
    Delivery.objects.update(deliver_after=timezone.now() - 90 * SECOND)
    reports = []
    relay = Relay(
        "default", batch_size=10, concurrency=1, report=lambda one: reports.append((one.tally.sent, one.lag))
    )
    relay.drain()
    assert reports == [(10, 90), (20, 90)]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"concurrency": -1}, {"batch_size": 2.5}])
def test_options_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} = .*write a whole number above 0"):
        Relay("default", **wrong)


# What it costs


def statements(relay, **options):
    with CaptureQueriesContext(connection) as captured:
        relay.drain(**options)
    return [query["sql"].split()[0] for query in captured.captured_queries]


if connection.vendor == "sqlite":  # whether anything is due; and the one lock, where rows have none
    BEGIN, NOTHING = ["SELECT", "SAVEPOINT", "UPDATE"], ["SELECT"]
else:  # the server's time
    BEGIN, NOTHING = ["SELECT", "SAVEPOINT"], ["SELECT", "SAVEPOINT", "SELECT", "RELEASE"]


@pytest.mark.parametrize("count", [10, 100])
def test_statements(enqueue, recipient, queue, count):
    """However many rows; and receivers that another app connects for every model load none of them."""
    enqueue(count)

    def receiver(sender, **kwargs):
        pytest.fail("nobody is told of a delivery that is gone")

    for signal in (pre_delete, post_delete):
        signal.connect(receiver)
    try:
        claim = [*BEGIN, "SELECT", "UPDATE", "RELEASE", "SELECT", "SELECT"]
        assert statements(Relay("default"), limit=count) == [*claim, "DELETE"]
    finally:
        for signal in (pre_delete, post_delete):
            signal.disconnect(receiver)
    assert queue() == []


def test_an_empty_queue_costs_one_look(recipient):
    assert statements(Relay("default")) == NOTHING


# Several at once


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("objects", [1, 7, 300])
def test_relays_that_run_at_once_send_each_event_once(enqueue, recipient, objects):
    events = enqueue(300, objects=objects)
    together = threading.Barrier(3)

    def run():
        together.wait()
        try:
            while Delivery.objects.exists():
                drain(batch_size=20)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as threads:
        for running in [threads.submit(run) for _ in range(3)]:
            running.result()
    assert sorted(recipient.channels) == sorted(f"poll_{event.pk}" for event in events)
