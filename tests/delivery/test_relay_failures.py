"""What becomes of deliveries that cannot be sent: now, for the moment, or ever."""

import datetime as dt
import uuid

import pytest
from django.utils import timezone

from pusherable.conf import conf
from pusherable.delivery import breaker as breakers
from pusherable.delivery.breaker import backoff, breaker
from pusherable.delivery.relay import RETRY_AT_MOST, Relay, Tally, lease
from pusherable.delivery.transports import ConfigurationError, RefusedError, TransportError
from pusherable.models import AccessEvent, Delivery
from pusherable.signals import delivery_failed

pytestmark = pytest.mark.django_db


def drain():
    return Relay("default").drain()


def state(rows):
    return [(row.attempts, row.last_error, row.claim, row.failed_at) for row in rows]


@pytest.fixture
def given_up():
    """What `delivery_failed` tells: (event id, error)."""
    told = []

    def receiver(sender, event, error, using, **kwargs):
        assert (sender, using) == (Relay, "default")
        told.append((event.pk, error))

    delivery_failed.connect(receiver)
    yield told
    delivery_failed.disconnect(receiver)


# For the moment


def test_a_failure_keeps_the_deliveries_and_says_why(enqueue, clock, outage, queue, given_up):
    enqueue(3)
    assert drain() == Tally(postponed=3)
    assert state(queue()) == [(1, "Pusher is away.", None, None)] * 3
    assert given_up == []


@pytest.mark.parametrize(
    "failure",
    [
        (429, "Too many requests"),
        (500, "Oops"),
        (503, "Oops"),
        (301, ""),
        (200, '{"error": "The app is busy", "code": 4301}'),
        (200, "<html>"),
        "hang",
    ],
)
def test_whatever_may_pass_is_tried_again(server, settings, enqueue, clock, queue, failure):
    settings.PUSHER_TIMEOUT = 1 if failure == "hang" else 30
    server.fail_with = failure
    enqueue(3)
    assert drain() == Tally(postponed=3)
    assert [(row.attempts, row.failed_at, bool(row.last_error)) for row in queue()] == [(1, None, True)] * 3
    server.fail_with, settings.PUSHER_TIMEOUT = None, 30
    clock.tick(1)
    assert drain() == Tally(sent=3)
    assert len(server.messages) == 3


def test_waits_longer_after_each_failure(enqueue, outage, clock, queue):
    enqueue()
    for attempt, most in enumerate([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600], start=1):
        assert drain() == Tally(postponed=1)
        breaker.reset()
        [row] = queue()
        assert 0 < (row.deliver_after - timezone.now()).total_seconds() <= most
        assert row.attempts == attempt
        clock.move_to(row.deliver_after - dt.timedelta(microseconds=1))
        assert drain() == Tally(), "it is not due yet"
        clock.move_to(row.deliver_after)


def test_the_attempts_last_for_a_day():
    assert conf.PUSHERABLE_MAX_ATTEMPTS == 500
    for _ in range(50):
        waits = sum(backoff(attempt, RETRY_AT_MOST) for attempt in range(1, 500))
        assert waits > dt.timedelta(hours=24).total_seconds()


def test_is_sent_when_pusher_is_back(enqueue, outage, clock, queue):
    old = enqueue()
    assert drain() == Tally(postponed=1)
    clock.tick(2)
    outage.error = None
    new = enqueue()
    assert drain() == Tally(sent=2)
    assert outage.channels == [f"poll_{old.pk}", f"poll_{new.pk}"]


@pytest.mark.parametrize("answer", ["\x00\udcff", "x" * 100_000])
def test_whatever_a_server_answered_can_be_stored(enqueue, clock, outage, answer, queue):
    outage.error = TransportError(answer)
    enqueue()
    assert drain() == Tally(postponed=1)
    [row] = queue()
    assert 0 < len(row.last_error) <= 1_000


# Too often


def test_is_given_up_after_so_many_attempts(enqueue, outage, clock, queue, settings, caplog, given_up):
    settings.PUSHERABLE_MAX_ATTEMPTS = 3
    first, second = enqueue(2, objects=2)
    for _ in range(2):
        assert drain() == Tally(postponed=2)
        breaker.reset()
        clock.tick(10)
    outage.error = TransportError("still away")
    caplog.clear()
    assert drain() == Tally(failed=2)
    assert state(queue()) == [(3, "still away", None, timezone.now())] * 2
    assert given_up == [(first.pk, "still away"), (second.pk, "still away")]
    assert AccessEvent.objects.get(pk=first.pk).status == "failed"
    [logged] = [record for record in caplog.records if record.name.endswith("relay")]
    assert logged.levelname == "ERROR"
    assert logged.message == f"Access event {first.pk} and 1 more cannot be sent: given up. still away"


def test_what_thousands_have_in_common_is_logged_once_a_minute(enqueue, clock, use_transport, caplog):
    def refuse(messages):
        raise RefusedError("wrong")

    use_transport(refuse)
    relay = Relay("default", concurrency=1)
    enqueue(250, objects=250)
    for tally, more in ((Tally(failed=250), 99), (Tally(failed=1), 150)):
        assert relay.drain() == tally
        [logged] = caplog.records
        assert logged.message.endswith(f" and {more} more cannot be sent: given up. wrong")
        caplog.clear()
        clock.tick(60)
        enqueue()


def test_what_somebody_else_has_by_now_has_not_failed(enqueue, clock, use_transport, queue, given_up):
    """A relay that stood still for longer than its lease has no say any more."""

    def send(messages):
        Delivery.objects.update(claim=uuid.uuid4())
        raise RefusedError("wrong")

    use_transport(send)
    enqueue()
    drain()
    assert given_up == []
    assert queue()[0].failed_at is None


def test_may_be_tried_for_ever(enqueue, outage, clock, queue, settings):
    settings.PUSHERABLE_MAX_ATTEMPTS = None
    enqueue()
    Delivery.objects.update(attempts=1_000_000)
    assert drain() == Tally(postponed=1)
    [row] = queue()
    assert (row.attempts, row.failed_at) == (1_000_001, None)
    assert row.deliver_after <= timezone.now() + dt.timedelta(seconds=600)


def test_what_kills_its_relay_each_time_comes_to_an_end(
    enqueue, clock, recipient, queue, settings, caplog, given_up, killed
):
    settings.PUSHERABLE_MAX_ATTEMPTS = 3
    deadly = enqueue()
    for attempt in (1, 2, 3):
        [row] = killed()
        assert (row.attempts, row.failed_at) == (attempt, None)
        clock.tick(lease())
    later = enqueue()
    assert drain() == Tally(sent=1, failed=1)
    assert recipient.channels == [f"poll_{later.pk}"]
    reason = "It was tried 3 times, the last time without an end."
    [row] = queue()
    assert (row.event_id, row.claim, row.last_error, row.failed_at) == (
        *(deadly.pk, None),
        *(reason, timezone.now()),
    )
    assert given_up == [(deadly.pk, reason)]
    [logged] = caplog.records
    assert (logged.levelname, reason in logged.message) == ("ERROR", True)


def test_what_kills_its_relay_may_be_tried_for_ever(enqueue, clock, recipient, settings, killed):
    settings.PUSHERABLE_MAX_ATTEMPTS = None
    enqueue()
    Delivery.objects.update(attempts=1_000_000)
    assert len(killed()) == 1
    clock.tick(lease())
    assert drain() == Tally(sent=1)


# Until somebody puts the settings right


def check_that_nothing_was_burnt(rows, count):
    """They are due as they were, and no attempt has been counted."""
    assert [(row.attempts, row.claim, row.failed_at) for row in rows] == [(0, None, None)] * count
    assert {row.deliver_after for row in rows} == {timezone.now()}
    assert breaker.is_open


def test_a_configuration_error_costs_no_attempts(enqueue, clock, outage, queue, caplog, given_up, settings):
    settings.PUSHERABLE_MAX_ATTEMPTS = 1
    outage.error = ConfigurationError("Who are you?")
    enqueue(25)
    assert drain().sent == 0
    check_that_nothing_was_burnt(queue(), 25)
    assert given_up == []
    [logged] = caplog.records
    assert logged.levelname == "ERROR"
    assert "not sent until the settings are right. Who are you?" in logged.message


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_answer_that_the_settings_are_to_blame_for(server, enqueue, clock, queue, caplog, status):
    server.fail_with = (status, "No.")
    enqueue(3)
    assert drain() == Tally(postponed=3)
    check_that_nothing_was_burnt(queue(), 3)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    server.fail_with = None
    clock.tick(1)
    assert drain() == Tally(sent=3)


def test_a_wrong_secret_and_then_the_right_one(server, settings, enqueue, eventually, queue, monkeypatch):
    monkeypatch.setattr(breakers, "PAUSE_AT_MOST", 0.05)
    right, settings.PUSHER_SECRET = settings.PUSHER_SECRET, "wrong"
    enqueue(30, objects=30)
    for _ in range(3):
        assert drain().sent == 0
    assert {row.attempts for row in queue()} == {0}
    settings.PUSHER_SECRET = right
    eventually(lambda: drain() and not queue())
    assert len(server.messages) == 30


def test_a_wrong_setting_keeps_the_events_and_names_itself(enqueue, clock, settings, caplog, queue):
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "no.such.Transport"}
    enqueue()
    assert drain() == Tally(postponed=1)
    check_that_nothing_was_burnt(queue(), 1)
    [logged] = caplog.records
    assert "PUSHERABLE_TRANSPORT = {'BACKEND': 'no.such.Transport'}" in logged.message


def test_where_everything_is_refused_nothing_is_given_up(enqueue, clock, use_transport, queue, caplog):
    """A server that expects https, for example, and answers 400 to whatever comes."""

    def refuse(*messages):
        raise RefusedError("400: plain HTTP")

    use_transport(refuse, probe=refuse)
    enqueue(13, objects=13)
    assert drain().failed == 0
    check_that_nothing_was_burnt(queue(), 13)
    [logged] = caplog.records
    assert "Every call is refused: 400: plain HTTP" in logged.message


# What can never be sent


def test_one_that_is_refused_does_not_keep_the_others_back(enqueue, server, caplog, queue, given_up):
    enqueue(4)
    bad = enqueue(channels=["no channel"])
    enqueue(5)
    assert drain() == Tally(sent=9, failed=1)
    assert len(server.messages) == 9
    [row] = queue()
    assert (row.event_id, row.claim, row.failed_at is None) == (bad.pk, None, False)
    assert row.last_error.startswith("PusherBadRequest: ")
    assert given_up == [(bad.pk, row.last_error)]
    assert AccessEvent.objects.get(pk=bad.pk).status == "failed"
    [logged] = caplog.records
    assert logged.levelname == "ERROR"
    assert f"Access event {bad.pk} cannot be sent" in logged.message
    assert not breaker.is_open


@pytest.mark.parametrize("status", [400, 413])
def test_a_single_one_that_is_refused_is_given_up_at_once(enqueue, server, queue, status):
    """A call that changes nothing has shown that the server does not refuse everything."""
    server.fail_with = (status, "Too large")
    enqueue()
    assert drain() == Tally(failed=1)
    assert [request.method for request in server.requests] == ["POST", "GET"]
    [row] = queue()
    assert "Too large" in row.last_error
    assert not breaker.is_open


def test_what_is_refused_while_the_server_goes_away_is_kept(enqueue, clock, use_transport, queue):
    def refuse(messages):
        raise RefusedError("400")

    def probe():
        raise TransportError("503")

    use_transport(refuse, probe=probe)
    enqueue()
    assert drain() == Tally(postponed=1)
    assert state(queue()) == [(1, "503", None, None)]


def test_what_is_too_large_together_is_sent_apart(enqueue, use_transport, queue):
    """Reverb takes no more than 10,000 bytes in a call."""
    calls = []

    def send(messages):
        calls.append(len(messages))
        if len(messages) > 1:
            raise RefusedError("413: too large together")

    use_transport(send)
    enqueue(10)
    assert drain() == Tally(sent=10)
    assert calls == [10] + [1] * 10


def test_one_that_fails_when_sent_apart_is_tried_again(enqueue, clock, use_transport, queue):
    _first, second, third = enqueue(3)

    def send(messages):
        if len(messages) > 1:
            raise RefusedError
        if messages[0].channel == f"poll_{second.pk}":
            raise TransportError("a hiccup")

    use_transport(send)
    assert drain() == Tally(sent=1, postponed=1)
    assert [(row.event_id, row.attempts, row.last_error, row.failed_at) for row in queue()] == [
        (second.pk, 1, "a hiccup", None),
        (third.pk, 0, "", None),
    ]


def test_an_event_that_cannot_be_encoded_does_not_keep_the_others_back(enqueue, recipient, queue):
    broken = enqueue(action="updated", changes=17)
    fine = enqueue()
    assert drain() == Tally(sent=1, failed=1)
    assert recipient.channels == [f"poll_{fine.pk}"]
    [row] = queue()
    assert row.event_id == broken.pk
    assert row.failed_at is not None
    assert "cannot be encoded: TypeError" in row.last_error


def test_what_waits_behind_one_that_is_given_up_is_sent(enqueue, use_transport, queue):
    """Though both were not claimed at once."""
    first, second = enqueue(2)
    sent = []

    def send(messages):
        if messages[0].channel == f"poll_{first.pk}":
            raise RefusedError("wrong")
        sent.append(messages[0].channel)

    use_transport(send)
    assert Relay("default", batch_size=1).drain() == Tally(sent=1, failed=1)
    assert sent == [f"poll_{second.pk}"]
