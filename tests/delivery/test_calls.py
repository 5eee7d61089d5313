"""Several calls at once, each with up to ten messages; and who has to leave alone."""

import threading
import time

import pytest

from pusherable.delivery.breaker import breaker
from pusherable.delivery.calls import BATCH, SUSPECT_AFTER, tracks
from pusherable.delivery.relay import Relay, Tally
from pusherable.delivery.transports import RefusedError, TransportError
from pusherable.models import Delivery

pytestmark = pytest.mark.django_db


class Crowd:
    """Calls wait here for each other until `size` of them are under way, but not for ever."""

    def __init__(self, size, patience=60):
        self.size = size
        self.patience = patience
        self.complete = threading.Event()
        self.inside = self.most = 0
        self.threads = set()
        self._lock = threading.Lock()

    def send(self, messages):
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.threads.add(threading.current_thread().name)
        if self.inside == self.size:
            self.complete.set()
        self.complete.wait(self.patience)
        with self._lock:
            self.inside -= 1


def rows(*lanes):
    """Deliveries of these lanes, each given as (lane, attempts)."""
    return [
        Delivery(event_id=number, lane=lane, attempts=attempts)
        for number, (lane, attempts) in enumerate(lanes, start=1)
    ]


def shape(made):
    return [[delivery.event_id for delivery in track.deliveries] for track in made]


# Who leaves with whom


def test_small_lanes_share_a_call():
    made = tracks(rows(*((lane, 1) for lane in range(23))), 0)
    assert [len(track.deliveries) for track in made] == [10, 10, 3]


def test_a_lane_stays_together_and_in_order():
    made = tracks(rows((1, 1), (2, 1), (1, 1), (3, 1), (1, 1)), 0)
    assert shape(made) == [[1, 3, 5, 2, 4]]
    made = tracks(rows(*[(1, 1)] * 8, *[(2, 1)] * 8, *[(1, 1)] * 8), 0)
    assert shape(made) == [[*range(1, 9), *range(17, 25)], [*range(9, 17)]]


def test_a_suspect_leaves_alone():
    """It has failed so often that it may be what fails the others."""
    worn = SUSPECT_AFTER + 1
    made = tracks(rows((1, 1), (2, worn), (3, 1), (4, worn), (5, 1)), 0)
    assert [2] in shape(made)
    assert [4] in shape(made)


def test_what_fails_more_than_three_times_is_sent_alone(enqueue, use_transport, clock):
    """By then the innocent have been sent."""
    events = enqueue(10, objects=10)
    bad, calls = f"poll_{events[4].pk}", []

    def send(messages):
        calls.append([message.channel for message in messages])
        if bad in calls[-1]:
            raise TransportError("It makes the server fail.")

    use_transport(send)
    for _ in range(SUSPECT_AFTER):
        assert Relay("default").drain() == Tally(postponed=10)
        breaker.reset()
        clock.tick(10)
    assert Relay("default").drain() == Tally(sent=9, postponed=1)
    assert [len(call) for call in calls] == [10] * 3 + [1] * 10


# Several at once


@pytest.mark.parametrize("concurrency", [1, 2, 3, 8])
@pytest.mark.parametrize("backlog", [1, 3])
def test_as_many_calls_as_may_be(enqueue, use_transport, concurrency, backlog):
    crowd = Crowd(concurrency)
    use_transport(crowd.send)
    count = concurrency * BATCH * backlog
    enqueue(count, objects=count)
    assert Relay("default", concurrency=concurrency).drain() == Tally(sent=count)
    assert crowd.complete.is_set()
    assert crowd.most == concurrency


def test_no_more_calls_than_that(enqueue, use_transport):
    crowd = Crowd(3, patience=0.5)
    use_transport(crowd.send)
    enqueue(40, objects=40)
    assert Relay("default", concurrency=2).drain() == Tally(sent=40)
    assert crowd.most <= 2


def test_as_many_calls_as_there_are_batches(enqueue, use_transport):
    crowd = Crowd(3)
    use_transport(crowd.send)
    enqueue(25, objects=25)
    assert Relay("default").drain() == Tally(sent=25)
    assert crowd.complete.is_set()


@pytest.mark.parametrize(("count", "options"), [(100, {"concurrency": 1}), (10, {})])
def test_no_thread_for_calls_that_follow_each_other(enqueue, use_transport, count, options):
    crowd = Crowd(1)
    use_transport(crowd.send)
    enqueue(count, objects=count)
    assert Relay("default", **options).drain() == Tally(sent=count)
    assert crowd.threads == {threading.current_thread().name}


def test_its_threads_end_with_it(enqueue, recipient, eventually):
    enqueue(100, objects=100)
    Relay("default").drain()
    eventually(lambda: "pusherable-call" not in {thread.name for thread in threading.enumerate()})


def test_the_others_go_on_while_one_call_hangs(enqueue, use_transport, eventually):
    calls, opened = [], threading.Event()
    slow, *_others = enqueue(60, objects=60)

    def send(messages):
        if f"poll_{slow.pk}" in [message.channel for message in messages]:
            assert opened.wait(60)
        else:
            calls.append(messages)
            if len(calls) == 5:
                opened.set()

    use_transport(send)
    assert Relay("default", batch_size=20, concurrency=2).drain() == Tally(sent=60)
    assert len(calls) == 5


def test_works_without_threads_where_none_can_be_started(enqueue, recipient, monkeypatch):
    """As at the end of a process."""

    def start(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    enqueue(50, objects=50)
    assert Relay("default").drain() == Tally(sent=50)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), ZeroDivisionError("a bug")])
def test_a_transport_that_ends_its_thread_does_not_hang_the_relay(
    enqueue, use_transport, clock, queue, error
):
    def send(messages):
        raise error

    use_transport(send)
    enqueue(30, objects=30)
    tally = Relay("default").drain()
    assert (tally.sent, tally.failed) == (0, 0)
    assert tally.postponed > 0
    assert {row.claim for row in queue()} == {None}


# One after another


def test_a_failed_call_ends_its_track(enqueue, use_transport, clock, queue):
    calls = []

    def send(messages):
        calls.append(len(messages))
        if len(calls) == 2:
            raise TransportError("away")

    use_transport(send)
    enqueue(35)
    assert Relay("default").drain() == Tally(sent=10, postponed=10)
    assert calls == [10, 10]
    assert [row.attempts for row in queue()] == [1] * 10 + [0] * 15


def test_no_call_begins_once_it_is_stopped(enqueue, use_transport, queue):
    calls = []

    def send(messages):
        calls.append(len(messages))
        relay.stop()

    relay = Relay("default", concurrency=1)
    use_transport(send)
    enqueue(35, objects=35)
    assert relay.drain() == Tally(sent=10)
    assert calls == [10]
    assert [(row.attempts, row.claim) for row in queue()] == [(0, None)] * 25
    assert relay.drain() == Tally()


def test_one_that_is_refused_does_not_end_its_track(enqueue, use_transport, queue):
    events = enqueue(25)
    bad = {f"poll_{events[number].pk}" for number in (0, 9, 10, 24)}
    sent = []

    def send(messages):
        if bad & {message.channel for message in messages}:
            raise RefusedError("wrong")
        sent.extend(message.channel for message in messages)

    use_transport(send)
    assert Relay("default").drain() == Tally(sent=21, failed=4)
    assert sent == [f"poll_{event.pk}" for event in events if f"poll_{event.pk}" not in bad]


def test_a_slow_server_does_not_use_up_the_lease(enqueue, use_transport, clock, queue):
    """Ten that are sent apart take ten times as long."""
    calls = []

    def send(messages):
        calls.append(len(messages))
        clock.tick(4)
        if len(messages) > 1:
            raise RefusedError("too large together")

    use_transport(send)
    enqueue(10)
    started = time.monotonic()
    relay = Relay("default", concurrency=1)
    relay.report = lambda one: one.stop()
    tally = relay.drain()
    assert 0 < tally.sent < 10
    assert time.monotonic() - started <= 30 + 4 + 4
    assert [(row.attempts, row.claim) for row in queue()] == [(0, None)] * (10 - tally.sent)


def test_nor_does_one_event_of_many_channels(enqueue, use_transport, clock, queue):
    calls = []

    def send(messages):
        calls.append(messages)
        clock.tick(4)

    use_transport(send)
    enqueue(channels=[f"poll_{number}" for number in range(100)])
    assert Relay("default").drain() == Tally(postponed=1)
    assert 1 < len(calls) < 10
    [row] = queue()
    assert row.last_error == f"There was time for {10 * len(calls)} of 100 messages."
