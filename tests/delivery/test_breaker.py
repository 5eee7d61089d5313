"""When calls fail in a row the process pauses, instead of letting every delivery wait for its own timeout."""

import logging
import statistics
import threading

import pytest

from pusherable.delivery.breaker import PAUSE_AT_MOST, RECONNECT, TRIP_AFTER, backoff, breaker
from pusherable.delivery.dispatchers import InlineDispatcher
from pusherable.delivery.relay import Relay, Tally
from pusherable.delivery.transports import (
    ConfigurationError,
    RefusedError,
    TransportError,
    UnreachableError,
)
from pusherable.models import Delivery

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _still(clock):
    """The pauses are over when a test says so."""


@pytest.fixture
def logged(caplog):
    """The levels of what was logged about incidents so far."""
    caplog.set_level(logging.INFO, "pusherable.delivery.breaker")

    def levels():
        return [record.levelname for record in caplog.records if record.name == "pusherable.delivery.breaker"]

    return levels


class Server:
    """Fails with `error` as long as there is one; counts what it is asked."""

    def __init__(self):
        self.error = self.refusal = None
        self.delay = 0
        self.calls = self.probes = 0

    def send(self, messages):
        self.calls += 1
        threading.Event().wait(self.delay)
        self.answer()
        if self.refusal is not None:
            raise self.refusal

    def probe(self):
        self.probes += 1
        self.answer()

    def answer(self):
        if self.error is not None:
            raise self.error


@pytest.fixture
def away(use_transport):
    server = Server()
    use_transport(server.send, probe=server.probe)
    return server


def drain(**options):
    return Relay("default", **options).drain()


# How long


def test_a_wait_may_be_of_any_length_up_to_twice_the_one_before():
    for failures, most in [(1, 1), (2, 2), (3, 4), (7, 64), (10, 512), (11, 600), (1_000_000, 600)]:
        waits = [backoff(failures, 600) for _ in range(2_000)]
        assert 0 <= min(waits) < most * 0.02
        assert most * 0.98 < max(waits) <= most
        assert statistics.mean(waits) == pytest.approx(most / 2, rel=0.1)


def test_pauses_grow_and_are_bounded(clock):
    longest = []
    for _ in range(200):
        breaker.reset()
        pauses = []
        for _ in range(10):
            clock.tick(breaker.pause + 0.001)
            breaker.failed(UnreachableError())
            pauses.append(breaker.pause)
        longest.append(pauses)
    for number, pauses in enumerate(zip(*longest, strict=True)):
        assert max(pauses) <= min(2**number, PAUSE_AT_MOST)
        assert max(pauses) > min(2**number, PAUSE_AT_MOST) * 0.9


# Opening


def test_opens_after_so_many_failures_in_a_row():
    for _ in range(TRIP_AFTER - 1):
        breaker.failed(TransportError())
    assert not breaker.is_open
    assert breaker.is_ready()
    breaker.failed(TransportError())
    assert breaker.is_open
    assert not breaker.is_ready()


def test_failures_now_and_then_are_none_in_a_row(logged):
    for _ in range(50):
        breaker.failed(TransportError())
        breaker.failed(TransportError())
        breaker.succeeded()
    assert not breaker.is_open
    assert logged() == []


@pytest.mark.parametrize("error", [UnreachableError(), ConfigurationError()])
def test_opens_at_once_where_trying_is_hopeless(error):
    breaker.failed(error)
    assert breaker.is_open
    assert breaker.pause > 0


@pytest.mark.parametrize(
    "error", [TransportError("500"), UnreachableError("gone"), ConfigurationError("401")]
)
def test_a_backlog_does_not_wait_for_a_timeout_each(enqueue, away, queue, error):
    away.error = error
    enqueue(500, objects=500)
    assert drain().sent == 0
    most = 8 + TRIP_AFTER - 1  # those that were under way when it opened, and those that had made it open
    assert away.calls <= most
    assert {row.claim for row in queue()} == {None}
    assert sum(row.attempts == 0 for row in queue()) >= 500 - most * 10
    calls = away.calls
    assert drain() == Tally()
    assert away.calls == calls


def test_one_after_another_it_takes_three(enqueue, away):
    away.error = TransportError("500")
    enqueue(500, objects=500)
    assert drain(concurrency=1) == Tally(postponed=30)
    assert away.calls == 3


def test_inline_does_not_call_while_it_is_open(enqueue, away, clock):
    away.error = UnreachableError("gone")
    enqueue(20, objects=20)
    for _ in range(10):
        InlineDispatcher().wake("default")
    assert (away.calls, away.probes) == (1, 0)


# Half open


def test_makes_one_call_when_the_pause_is_over(enqueue, away, clock):
    """Also after many, when the oldest have failed so often that each is sent alone."""
    away.error = TransportError("500")
    enqueue(500, objects=500)
    drain()
    away.delay = 0.02
    for _ in range(10):
        clock.tick(breaker.pause + 600)
        calls = away.calls
        assert drain().postponed > 0
        assert away.calls == calls + 1
        assert breaker.pause > 0


def test_goes_on_with_everything_once_a_batch_arrives(enqueue, away, clock, logged):
    away.error = TransportError("500")
    enqueue(500, objects=500)
    postponed = drain().postponed
    clock.tick(breaker.pause + 0.001)
    away.error = None
    assert drain().sent >= 500 - postponed
    assert not breaker.is_open
    clock.tick(1)
    drain()
    assert not Delivery.objects.exists()
    assert logged() == ["WARNING", "INFO"]


def test_a_refusal_is_no_failure_and_no_proof_of_success(enqueue, away, clock):
    """The server is there, but whether it takes anything is not known yet."""
    for _ in range(TRIP_AFTER):
        breaker.failed(TransportError())
    clock.tick(breaker.pause + 0.001)
    away.refusal = RefusedError("wrong")
    enqueue()
    assert drain() == Tally(failed=1)
    assert (breaker.is_open, breaker.pause) == (True, 0)
    away.refusal = None
    enqueue(30, objects=30)
    assert drain() == Tally(sent=30)
    assert not breaker.is_open


# Nobody there


def test_while_nobody_is_there_it_only_asks(enqueue, away, clock, queue):
    away.error = UnreachableError("gone")
    enqueue(30, objects=30)
    drain(concurrency=1)
    assert (away.calls, away.probes) == (1, 0)
    for asked in range(1, 20):
        assert drain() == Tally(), "the pause is not over"
        clock.tick(breaker.pause + 0.001)
        assert drain() == Tally()
        assert (away.calls, away.probes) == (1, asked)
    assert sorted(row.attempts for row in queue()) == [0] * 20 + [1] * 10


def test_the_pages_get_time_to_connect_again(enqueue, away, clock):
    away.error = UnreachableError("gone")
    enqueue(30, objects=30)
    drain(concurrency=1)
    clock.tick(breaker.pause + 0.001)
    drain()
    clock.tick(breaker.pause + 0.001)
    away.error = None
    assert drain() == Tally()
    assert breaker.pause == pytest.approx(RECONNECT)
    clock.tick(RECONNECT - 0.1)
    assert drain() == Tally()
    assert away.calls == 1
    clock.tick(0.2)
    assert drain() == Tally(sent=30)
    assert (away.calls > 1, away.probes) == (True, 2)


def test_a_connection_that_failed_once_is_no_outage(enqueue, away, clock):
    """The pages have not lost theirs, and get their messages at once."""
    away.error = UnreachableError("gone")
    enqueue(30, objects=30)
    drain(concurrency=1)
    clock.tick(1)
    away.error = None
    assert drain() == Tally(sent=30)
    assert away.probes == 1


@pytest.mark.parametrize("error", [TransportError("500"), RefusedError("400"), ConfigurationError("401")])
def test_an_answer_of_any_kind_means_that_somebody_is_there(enqueue, away, clock, error):
    away.error = UnreachableError("gone")
    enqueue()
    drain()
    clock.tick(1)
    away.error = error
    drain()
    assert (away.calls, away.probes > 0) == (2, True)


def test_a_transport_that_cannot_ask_just_tries(enqueue, use_transport, clock):
    server = Server()
    use_transport(server.send)
    server.error = UnreachableError("gone")
    enqueue()
    drain()
    for tried in range(2, 6):
        clock.tick(2**tried)
        drain()
        assert server.calls == tried


# Logging


def test_an_incident_is_logged_when_it_begins_and_when_it_ends(enqueue, away, clock, logged, caplog):
    for error in (TransportError("busy"), UnreachableError("gone")):
        away.error = error
        for _ in range(20):
            enqueue(20, objects=20)
            drain()
            clock.tick(60)
        assert logged() == ["WARNING"]
        assert str(error) in caplog.records[0].message
        assert caplog.records[0].exc_info is None
        away.error = None
        for _ in range(5):
            enqueue()
            drain()
            clock.tick(600)
        assert logged() == ["WARNING", "INFO"]
        assert "works again" in caplog.records[1].message
        caplog.clear()


def test_an_exception_nobody_expected_is_logged_with_its_traceback(enqueue, away, clock, caplog, queue):
    away.error = ZeroDivisionError("a bug")
    enqueue(30, objects=30)
    drain()
    assert "a bug" in {row.last_error for row in queue()}
    [logged] = caplog.records
    assert logged.exc_info[0] is ZeroDivisionError


def test_settings_that_turn_out_to_be_wrong_are_logged_too(away, enqueue, clock, logged):
    away.error = TransportError("busy")
    enqueue(30, objects=30)
    drain()
    away.error = ConfigurationError("401")
    for _ in range(5):
        clock.tick(600)
        drain()
    assert logged() == ["WARNING", "ERROR"]


def test_threads_that_fail_together_open_it_once(logged):
    together = threading.Barrier(8)

    def fail():
        together.wait()
        breaker.failed(UnreachableError("gone"))

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert breaker.is_open
    assert set(logged()) == {"WARNING"}
