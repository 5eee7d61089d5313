"""Sending events again, beside whoever else sends."""

import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pusherable.delivery import replay as module
from pusherable.delivery.breaker import breaker
from pusherable.delivery.relay import Relay
from pusherable.delivery.replay import Replay, enqueue
from pusherable.delivery.transports import ConfigurationError, RefusedError, TransportError
from pusherable.models import AccessEvent, Delivery
from tests.delivery.events import HOUR, log

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)


@pytest.fixture
def seconds(monkeypatch):
    """A clock that goes on only while the replay sleeps."""
    clock = SimpleNamespace(now=1000.0)

    def pause(replay, duration):
        if duration > 0:
            clock.now += duration
            clock.meanwhile()

    clock.meanwhile = lambda: None
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(Replay, "_pause", pause)
    return clock


def run(replay):
    for _ in replay:
        pass
    return replay


def everything(**options):
    return Replay(AccessEvent.objects.all(), **options)


def outcome(replay):
    return {"sent": replay.sent, "failed": replay.failed, "queued": replay.queued}


def received(recipient):
    """What arrived, as (id of the event, whether it was marked)."""
    data = [json.loads(message.data) for call in recipient.calls for message in call]
    return [(message["event_id"], message.get("replayed", False)) for message in data]


# Events of each status


def test_a_delivered_event_is_sent_again_and_marked(recipient, queue):
    [key] = log()
    replay = run(everything())
    assert received(recipient) == [(key, True)]
    assert outcome(replay) == {"sent": 1, "failed": 0, "queued": 0}
    assert replay.is_complete
    assert queue() == []


def test_a_failed_event_gets_all_its_attempts_again_and_is_marked(recipient, settings):
    settings.PUSHERABLE_MAX_ATTEMPTS = 2
    [key] = log(status="failed")
    recipient.error = TransportError("Not now.")
    assert outcome(run(everything())) == {"sent": 0, "failed": 0, "queued": 1}
    delivery = Delivery.objects.get()
    assert (delivery.attempts, delivery.failed_at, delivery.last_error) == (1, None, "Not now.")
    recipient.error = None
    assert run(everything()).sent == 1
    assert received(recipient) == [(key, True)]


def test_the_reason_of_a_failure_stays_until_there_is_news(recipient):
    log(status="failed")
    recipient.error = ConfigurationError("Wrong key.")
    run(everything())
    assert Delivery.objects.get().last_error == "It was too bad."


def test_an_event_that_waits_is_sent_now_and_has_not_been_sent_before(recipient):
    [key] = log(status="pending")
    run(everything())
    assert received(recipient) == [(key, False)]


def test_the_attempts_of_an_event_that_waits_still_count(outage):
    log(status="pending")
    run(everything())
    assert Delivery.objects.get().attempts == 8


def test_an_event_keeps_its_id_and_time(recipient):
    [key] = log(action="updated", changes={"question": ["old", "new"]})
    run(everything())
    message = json.loads(recipient.calls[0][0].data)
    at = AccessEvent.objects.get().occurred_at
    assert (message["event_id"], message["changed"], message["user"]) == (key, ["question"], "ada")
    assert message["at"].startswith(at.strftime("%Y-%m-%dT%H:%M:%S"))


def test_the_events_of_an_object_leave_in_order(recipient):
    keys = log(25, object_pk="1") + log(25, "failed", object_pk="1") + log(5, "pending", object_pk="1")
    run(everything())
    assert [key for key, _ in received(recipient)] == keys


def test_other_events_are_left_alone(recipient):
    log(status="failed")
    log(status="pending", action="printed")
    Delivery.objects.filter(failed_at=None).update(deliver_after=timezone.now() - HOUR)
    log(action="printed")
    replay = run(Replay(AccessEvent.objects.filter(action="view")))
    assert (replay.sent, len(received(recipient))) == (1, 1)
    assert Delivery.objects.get().event.action == "printed"


# Other relays and other replays


def test_what_somebody_is_sending_is_left_to_them(recipient):
    log(status="pending")
    lease = {"claim": uuid.uuid4(), "deliver_after": timezone.now() + HOUR}
    Delivery.objects.update(**lease)
    assert outcome(run(everything())) == {"sent": 0, "failed": 0, "queued": 1}
    assert Delivery.objects.filter(**lease).exists()
    assert recipient.calls == []


def test_a_lease_that_has_ended_is_nobodys(recipient):
    log(status="pending")
    Delivery.objects.update(claim=uuid.uuid4(), deliver_after=timezone.now() - HOUR)
    assert run(everything()).sent == 1


def test_what_somebody_is_sending_is_waited_for(gate, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 30)
    monkeypatch.setattr(Replay, "_pause", lambda *_: gate.opened.set())
    log(status="pending")
    Delivery.objects.update(deliver_after=timezone.now() - HOUR)

    def relay():
        Relay("default").drain()
        connections.close_all()

    other = threading.Thread(target=relay)
    other.start()
    assert gate.reached.wait(60)
    replay = run(everything())
    other.join()
    assert outcome(replay) == {"sent": 1, "failed": 0, "queued": 0}


def test_as_long_as_others_get_on_there_is_patience(recipient, seconds, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 1)
    keys = log(10, "pending")
    Delivery.objects.update(claim=uuid.uuid4(), deliver_after=timezone.now() + HOUR)

    def send_one():
        if keys and round(seconds.now * 10) % 5 == 0:
            Delivery.objects.filter(event_id=keys.pop()).delete()

    seconds.meanwhile = send_one
    assert outcome(run(everything())) == {"sent": 10, "failed": 0, "queued": 0}


def test_nobody_is_waited_for_after_a_stop(recipient, seconds, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 30)
    log(3)
    log(status="pending")
    Delivery.objects.update(claim=uuid.uuid4(), deliver_after=timezone.now() + HOUR)
    begun, replay = seconds.now, everything()
    seconds.meanwhile = replay.stop
    run(replay)
    assert outcome(replay) == {"sent": 3, "failed": 0, "queued": 1}
    assert seconds.now - begun < 1


def test_what_a_relay_has_delivered_meanwhile_is_not_sent_again(recipient):
    """It was in the queue when the replay looked, so this would be once more than anybody asked for."""
    log(status="pending")
    chunk = list(everything()._events)
    Delivery.objects.all().delete()
    enqueue(chunk, "default")
    assert not Delivery.objects.exists()


def test_another_replay_may_have_been_quicker(recipient):
    """Both have seen the event as delivered; meanwhile the other one is sending it."""
    keys = log(3)
    chunk = list(everything()._events)
    enqueue(chunk, "default")
    claimed = Relay("default")._claim(10, None)
    enqueue(chunk, "default")
    assert [delivery.event_id for delivery in claimed] == keys
    assert Delivery.objects.filter(claim=claimed[0].claim).count() == 3


def test_two_replays_at_once(recipient, small_chunks, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 30)
    keys = log(30) + log(10, "failed") + log(10, "pending")
    barrier = threading.Barrier(2)

    def replay():
        try:
            one = everything()
            barrier.wait(60)
            return run(one)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        replays = [future.result(60) for future in [pool.submit(replay), pool.submit(replay)]]
    assert [one.is_complete for one in replays] == [True, True]
    assert [one.queued + one.failed for one in replays] == [0, 0]
    assert {key for key, _ in received(recipient)} == set(keys)
    assert recipient.most_often <= 2 * 3  # three events share a channel, and each is sent twice at most
    assert not Delivery.objects.exists()


def test_beside_a_relay_that_takes_what_it_finds(recipient, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 30)
    keys = log(300)
    relay = Relay("default", batch_size=7)
    thread = threading.Thread(target=relay.run, kwargs={"idle": 0.01})
    thread.start()
    replay = run(everything())
    relay.stop()
    thread.join(60)
    assert outcome(replay) == {"sent": 300, "failed": 0, "queued": 0}
    assert sorted(received(recipient)) == [(key, True) for key in keys]


# Failures


def test_an_outage_ends_it_and_what_is_queued_is_sent_later(outage, small_chunks):
    keys = log(6)
    replay = run(everything())
    assert outcome(replay) == {"sent": 0, "failed": 0, "queued": 2}
    assert (replay.is_complete, replay.last) == (False, keys[1])
    outage.error = None
    Delivery.objects.update(deliver_after=timezone.now() - HOUR)
    breaker.reset()
    Relay("default").drain()
    assert run(Replay(AccessEvent.objects.filter(pk__gt=replay.last))).is_complete
    assert received(outage) == [(key, True) for key in keys]


def test_an_event_that_is_refused_does_not_stop_the_others(use_transport, small_chunks):
    arrived = []

    def send(messages):
        if any(message.channel == "poll_1" for message in messages):
            raise RefusedError("That channel cannot be.")
        arrived.extend(message.channel for message in messages)

    use_transport(send)
    keys = log(4)
    replay = run(everything())
    assert arrived == ["poll_0", "poll_2", "poll_3"]
    assert outcome(replay) == {"sent": 3, "failed": 1, "queued": 0}
    assert replay.is_complete
    delivery = Delivery.objects.get()
    assert (delivery.event_id, delivery.last_error) == (keys[1], "That channel cannot be.")


def test_what_fails_once_is_tried_again(use_transport, monkeypatch):
    """A call in vain is due again within a second, and there is patience for that."""
    monkeypatch.setattr(module, "PATIENCE", 30)
    calls = []

    def send(messages):
        calls.append(messages)
        if len(calls) == 1:
            raise TransportError("Try again.")

    use_transport(send)
    log(3)
    assert outcome(run(everything())) == {"sent": 3, "failed": 0, "queued": 0}


# Pace, size and end


@pytest.mark.parametrize(("rate", "count", "duration"), [(10, 20, 2), (100, 100, 1), (0.5, 3, 6)])
def test_no_more_than_the_rate(recipient, seconds, rate, count, duration):
    log(count)
    begun, replay = seconds.now, everything(rate=rate)
    times = [(seconds.now - begun, replay.sent) for _ in replay]
    assert replay.sent == count
    for passed, sent in times:  # a quarter of a second's worth may go ahead, or one event
        assert sent <= rate * passed + max(rate / 4, 1)
    assert times[-1][0] == pytest.approx(duration, abs=max(0.25, 1 / rate) + 0.01)


def test_without_a_rate_it_does_not_wait(recipient, seconds):
    log(5)
    begun = seconds.now
    run(everything())
    assert seconds.now == begun


def test_a_pause_is_cut_short(recipient):
    log(2)
    begun, replay = time.monotonic(), everything(rate=1 / 60)
    for _ in replay:
        threading.Thread(target=replay.stop).start()
    assert (replay.sent, replay.is_complete) == (1, False)
    assert time.monotonic() - begun < 30


def test_it_ends_after_the_chunk_in_hand_and_can_be_resumed(recipient, small_chunks):
    keys = log(5)
    first = everything()
    for _ in first:
        first.stop()
    assert (first.sent, first.last, first.is_complete) == (2, keys[1], False)
    assert not Delivery.objects.exists()
    second = run(Replay(AccessEvent.objects.filter(pk__gt=first.last)))
    assert (second.sent, second.last, second.is_complete) == (3, keys[4], True)
    assert [key for key, _ in received(recipient)] == keys


def test_nothing_to_do(recipient):
    replay = run(everything())
    assert (replay.is_complete, replay.last) == (True, 0)


def queries(count):
    AccessEvent.objects.all().delete()
    log(count)
    with CaptureQueriesContext(connection) as captured:
        run(everything())
    return [query["sql"] for query in captured]


def test_the_number_of_queries_is_that_of_the_chunks(recipient, monkeypatch):
    assert len(queries(1)) == len(queries(9))
    monkeypatch.setattr(module, "CHUNK", 2)
    assert len(queries(6)) - len(queries(4)) == len(queries(4)) - len(queries(2))
    assert not any("OFFSET" in sql for sql in queries(6))
