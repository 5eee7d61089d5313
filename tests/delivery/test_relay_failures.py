"""What becomes of deliveries that cannot be sent: now, for the moment, or ever."""

import datetime as dt
import logging

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from pusherable.delivery import relay
from pusherable.delivery.relay import drain
from pusherable.delivery.transports import RefusedError, TransportError
from pusherable.models import AccessEvent

pytestmark = pytest.mark.django_db


def test_a_failure_keeps_the_deliveries_and_says_why(enqueue, outage, queue):
    enqueue(3)
    assert not drain("default")
    assert {(row.attempts, row.last_error, row.claim, row.failed_at) for row in queue()} == {
        (1, "Pusher is away.", None, None)
    }


def test_stops_at_the_first_failure(enqueue, use_transport, queue):
    calls = []

    def send(messages):
        calls.append(messages)
        raise TransportError

    use_transport(send)
    enqueue(25)
    assert not drain("default")
    assert len(calls) == 1
    assert [row.attempts for row in queue()] == [1] * 10 + [0] * 15


def test_waits_longer_after_each_failure(enqueue, outage, clock, queue):
    enqueue()
    longest = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    for attempt, most in enumerate(longest, start=1):
        assert not drain("default")
        [row] = queue()
        wait = (row.deliver_after - timezone.now()).total_seconds()
        assert most / 2 <= wait <= most
        assert row.attempts == attempt
        assert relay.next_due("default") == row.deliver_after
        clock.move_to(row.deliver_after - dt.timedelta(milliseconds=1))
        assert drain("default"), "it is not due yet"
        clock.move_to(row.deliver_after)


def test_waits_are_spread_and_bounded():
    waits = {relay.backoff(4).total_seconds() for _ in range(200)}
    assert len(waits) > 100
    assert all(4 <= wait <= 8 for wait in waits)
    assert max(relay.backoff(1_000_000) for _ in range(50)) <= relay.RETRY_AT_MOST


def test_is_sent_when_pusher_is_back(enqueue, outage, clock, queue):
    old = enqueue()
    assert not drain("default")
    clock.tick(2)
    outage.error = None
    new = enqueue()
    assert drain("default")
    assert outage.channels == [f"poll_{old.pk}", f"poll_{new.pk}"]


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(enqueue, outage, clock, caplog, queue):
    caplog.set_level(logging.INFO, "pusherable")
    for _ in range(3):
        enqueue()
        assert not drain("default")
        clock.tick(120)
    [begun] = caplog.records
    assert begun.levelname == "WARNING"
    assert "Pusher is away." in begun.message
    assert begun.exc_info is None
    outage.error = None
    for _ in range(3):
        enqueue()
        assert drain("default")
    ended = caplog.records[1:]
    assert [(record.levelname, "works again" in record.message) for record in ended] == [("INFO", True)]
    outage.error = TransportError("away again")
    enqueue()
    assert not drain("default")
    assert "away again" in caplog.records[-1].message


def test_an_exception_nobody_expected_is_logged_with_its_traceback(enqueue, outage, caplog, queue):
    outage.error = ZeroDivisionError("a bug")
    enqueue()
    assert not drain("default")
    [row] = queue()
    assert row.last_error == "a bug"
    assert row.deliver_after > timezone.now()
    [logged] = caplog.records
    assert logged.exc_info[0] is ZeroDivisionError


def test_a_wrong_setting_keeps_the_events_and_names_itself(enqueue, settings, caplog, queue):
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "no.such.Transport"}
    enqueue()
    assert not drain("default")
    assert queue()[0].last_error.startswith("PUSHERABLE_TRANSPORT = ")
    assert caplog.records[0].exc_info[0] is ImproperlyConfigured


@pytest.mark.parametrize("answer", ["\x00\udcff", "x" * 100_000])
def test_whatever_a_server_answered_can_be_stored(enqueue, outage, answer, queue):
    outage.error = TransportError(answer)
    enqueue()
    assert not drain("default")
    [row] = queue()
    assert 0 < len(row.last_error) <= 1_000


# What can never be sent


def refuse(*channels, most=10):
    def send(messages):
        send.calls.append([message.channel for message in messages])
        if len(messages) > most:
            raise RefusedError("413: too large together")
        if wrong := [message.channel for message in messages if message.channel in channels]:
            raise RefusedError(f"{wrong[0]} is no channel")

    send.calls = []
    return send


def test_one_that_is_refused_does_not_keep_the_others_back(enqueue, use_transport, caplog, queue):
    send = refuse("wrong")
    use_transport(send)
    enqueue(4)
    bad = enqueue(channels=["wrong"])
    enqueue(4)
    assert drain("default")
    assert [len(call) for call in send.calls] == [9] + [1] * 9
    [row] = queue()
    assert row.event_id == bad.pk
    assert row.failed_at is not None
    assert (row.last_error, row.claim) == ("wrong is no channel", None)
    assert AccessEvent.objects.get(pk=bad.pk).status == "failed"
    [logged] = caplog.records
    assert logged.levelname == "ERROR"
    assert f"Access event {bad.pk} cannot be sent" in logged.message


def test_what_is_too_large_together_is_sent_apart(enqueue, use_transport, queue):
    """Reverb takes no more than 10,000 bytes in a call."""
    use_transport(refuse(most=1))
    enqueue(10)
    assert drain("default")
    assert queue() == []


def test_where_everything_is_refused_nothing_is_given_up(enqueue, use_transport, queue):
    """A proxy that answers 400 to whatever comes, for example."""
    use_transport(refuse("wrong"))
    enqueue(3, channels=["wrong"])
    assert not drain("default")
    assert [(row.failed_at, row.last_error) for row in queue()] == [(None, "wrong is no channel")] * 3


def test_one_that_fails_when_sent_apart_is_tried_again(enqueue, use_transport, queue):
    first, *_rest = enqueue(3)

    def send(messages):
        if len(messages) > 1:
            raise RefusedError
        if messages[0].channel == f"poll_{first.pk}":
            raise TransportError("a hiccup")

    use_transport(send)
    assert drain("default")
    [row] = queue()
    assert (row.event_id, row.last_error, row.failed_at) == (first.pk, "a hiccup", None)


def test_an_event_that_cannot_be_encoded_does_not_keep_the_others_back(enqueue, recipient, queue):
    broken = enqueue(action="updated", changes=17)
    fine = enqueue()
    assert drain("default")
    assert recipient.channels == [f"poll_{fine.pk}"]
    [row] = queue()
    assert row.event_id == broken.pk
    assert row.failed_at is not None
    assert "cannot be encoded: TypeError" in row.last_error
