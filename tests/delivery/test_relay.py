"""Claiming, sending, settling."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections
from django.db.models.signals import post_delete, pre_delete
from django.utils import timezone

from pusherable.delivery import relay
from pusherable.delivery.relay import claim, drain, settle
from pusherable.delivery.transports import TransportError
from pusherable.models import AccessEvent, Delivery

pytestmark = pytest.mark.django_db

SECOND = dt.timedelta(seconds=1)


def keys(deliveries):
    return [delivery.event_id for delivery in deliveries]


def ids(events):
    return [event.pk for event in events]


# Claiming


def test_takes_the_oldest_first_and_at_most_so_many(enqueue):
    events = enqueue(5)
    assert keys(claim("default", size=3)) == ids(events[:3])
    assert keys(claim("default", size=3)) == ids(events[3:])
    assert claim("default") == []


def test_takes_ten_at_a_time(enqueue):
    enqueue(11)
    assert len(claim("default")) == 10


def test_takes_what_is_due_only(enqueue, clock):
    past, now, future = enqueue(3)
    Delivery.objects.filter(event=past).update(deliver_after=timezone.now() - SECOND)
    Delivery.objects.filter(event=future).update(deliver_after=timezone.now() + SECOND)
    assert keys(claim("default")) == ids([past, now])
    clock.tick(1)
    assert keys(claim("default")) == ids([future])


def test_does_not_take_what_was_given_up(enqueue, queue):
    event = enqueue()
    Delivery.objects.update(failed_at=timezone.now())
    assert claim("default") == []
    assert drain("default")
    assert keys(queue()) == [event.pk]


def test_a_claim_brings_the_events_along(enqueue, django_assert_num_queries):
    enqueue(3, username="ada")
    deliveries = claim("default")
    with django_assert_num_queries(0):
        assert [delivery.event.username for delivery in deliveries] == ["ada"] * 3
    assert {delivery.attempts for delivery in deliveries} == {1}


def test_nobody_else_gets_what_is_claimed_until_the_lease_is_over(enqueue, clock, queue):
    event = enqueue()
    first = claim("default")
    assert claim("default") == []
    clock.tick(relay.LEASE - SECOND)
    assert claim("default") == []
    clock.tick(SECOND)
    second = claim("default")
    assert keys(first) == keys(second) == [event.pk]
    assert first[0].claim != second[0].claim
    assert second[0].attempts == 2


def test_of_two_that_chose_the_same_deliveries_one_gets_them(enqueue):
    """Where rows cannot be locked, somebody else may claim them between choosing and claiming."""
    enqueue(3)
    theirs = []

    def interfere(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and not theirs:
            theirs.append("now")
            theirs[:] = claim("default")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(interfere):
        assert claim("default") == []
    assert len(theirs) == 3


@pytest.mark.parametrize(
    "end",
    [lambda late: settle("default", late), lambda late: relay.postpone("default", late, TransportError("x"))],
)
def test_who_comes_too_late_changes_nothing(enqueue, clock, end, queue):
    """A relay that stood still for longer than its lease: somebody else has the delivery now."""
    enqueue()
    late = claim("default")
    clock.tick(relay.LEASE)
    [theirs] = claim("default")
    end(late)
    [row] = queue()
    assert (row.claim, row.deliver_after, row.last_error) == (theirs.claim, theirs.deliver_after, "")
    settle("default", [theirs])
    assert queue() == []


def test_deliveries_of_deleted_events_are_dropped(enqueue, recipient, queue):
    events = enqueue(25)
    pruned = events[:12] + events[20:22]
    AccessEvent.objects.filter(pk__in=ids(pruned)).delete()
    for _ in range(3):  # a batch that was not full may be taken for the last
        assert drain("default")
    assert queue() == []
    assert recipient.channels == [f"poll_{event.pk}" for event in events if event not in pruned]
    assert recipient.most_often == 1


def test_deleted_events_do_not_hide_what_comes_after_them(enqueue, recipient):
    enqueue(20)
    AccessEvent.objects.all().delete()
    event = enqueue()
    assert drain("default", limit=10)
    assert recipient.channels == [f"poll_{event.pk}"]


def test_a_queue_of_nothing_but_deleted_events_is_emptied(enqueue, recipient, queue):
    enqueue(35)
    AccessEvent.objects.all().delete()
    assert drain("default")
    assert queue() == []
    assert recipient.calls == []


# Sending


def test_sends_everything_in_full_batches_and_empties_the_queue(enqueue, recipient, queue):
    events = enqueue(23)
    assert drain("default")
    assert [len(call) for call in recipient.calls] == [10, 10, 3]
    assert recipient.channels == [f"poll_{event.pk}" for event in events]
    assert queue() == []
    assert [event.status for event in AccessEvent.objects.all()] == ["delivered"] * 23


@pytest.mark.parametrize(("limit", "sent"), [(1, 10), (10, 10), (11, 20), (25, 25), (None, 25)])
def test_a_limit_may_be_passed_by_the_last_batch_only(enqueue, recipient, limit, sent):
    enqueue(25)
    assert drain("default", limit=limit)
    assert len(recipient.channels) == sent


def test_an_empty_queue_is_no_failure(recipient):
    assert drain("default")
    assert recipient.calls == []


def test_an_event_of_several_channels_is_sent_to_each(enqueue, recipient):
    enqueue(4, channels=["a", "b", "c"])
    assert drain("default")
    assert recipient.channels == ["a", "b", "c"] * 4
    assert [len(call) for call in recipient.calls] == [10, 2]


def test_an_event_of_several_channels_stays_until_all_have_it(enqueue, use_transport, queue):
    """At least once: the channels of the first call get it again."""
    calls = []

    def send(messages):
        calls.append(len(messages))
        if len(calls) == 2:
            raise TransportError

    use_transport(send)
    enqueue(4, channels=["a", "b", "c"])
    assert not drain("default")
    assert len(queue()) == 4


@pytest.mark.django_db(databases=["default", "log"])
def test_each_database_has_a_queue_of_its_own(recipient):
    event = AccessEvent(action="view", object_type="testapp.poll", channels=["poll_1"])
    event.save(using="log")
    Delivery(event=event).save(using="log")
    assert drain("default")
    assert recipient.calls == []
    assert drain("log")
    assert recipient.channels == ["poll_1"]
    assert not Delivery.objects.using("log").exists()


def test_queries(enqueue, recipient, django_assert_num_queries, queue):
    """However many rows: choose, claim, read with the events, settle; and other apps' receivers load none."""
    enqueue(10)

    def receiver(sender, **kwargs):
        pytest.fail("nobody is told of a delivery that is gone")

    for signal in (pre_delete, post_delete):
        signal.connect(receiver)
    try:
        transaction = 2 if connection.features.has_select_for_update_skip_locked else 0
        with django_assert_num_queries(4 + transaction):
            assert drain("default", limit=10)
    finally:
        for signal in (pre_delete, post_delete):
            signal.disconnect(receiver)
    assert queue() == []


def test_an_empty_queue_costs_one_look(recipient, django_assert_num_queries):
    transaction = 2 if connection.features.has_select_for_update_skip_locked else 0
    with django_assert_num_queries(1 + transaction):
        drain("default")


# Two at once


@pytest.mark.django_db(transaction=True)
def test_relays_that_run_at_once_send_each_event_once(enqueue, recipient):
    events = enqueue(120)
    together = threading.Barrier(3)

    def run():
        together.wait()
        try:
            while Delivery.objects.exists():
                drain("default")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as threads:
        for running in [threads.submit(run) for _ in range(3)]:
            running.result()
    assert sorted(recipient.channels) == sorted(f"poll_{event.pk}" for event in events)
