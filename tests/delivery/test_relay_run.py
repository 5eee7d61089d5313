"""Relaying until told to end: what wakes it, what ends it, and that it rests in between."""

import datetime as dt
import threading
from contextlib import ExitStack, contextmanager

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.models import F

from pusherable.delivery import breaker as breakers
from pusherable.delivery import clock as database_clock
from pusherable.delivery import relay as relays
from pusherable.delivery.breaker import breaker
from pusherable.delivery.relay import Relay, Tally, lease
from pusherable.delivery.transports import RefusedError, TransportError
from pusherable.models import Delivery

pytestmark = pytest.mark.django_db(transaction=True)


class Running:
    """A relay that runs in a thread of its own, and what it asks its database."""

    def __init__(self, *, idle=600, limit=None, **options):
        self.relay = Relay("default", **options)
        self.statements = []
        self.tally = self.connection = None
        self.busy = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(idle, limit))
        self.thread.start()

    def _run(self, idle, limit):
        self.connection = connections["default"]
        self.connection.inc_thread_sharing()
        with self.connection.execute_wrapper(self._count):
            self.tally = self.relay.run(idle=idle, limit=limit)

    def _count(self, execute, sql, params, many, context):
        self.statements.append(sql)
        if len(self.statements) > 100:
            self.busy.set()
        return execute(sql, params, many, context)

    @property
    def is_asleep(self):
        return bool(self.statements) and self.connection.connection is None

    def end(self):
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.tally


@pytest.fixture
def run():
    """Starts relays, and ends those that a test has left."""
    started = []

    def run(**options):
        started.append(Running(**options))
        return started[-1]

    yield run
    for running in started:
        running.relay.stop()
        running.end()


def queue_is_empty():
    return not Delivery.objects.exists()


# What wakes it


def test_sends_at_once_and_rests_without_a_connection(run, enqueue, recipient, eventually):
    enqueue(25)
    running = run()
    eventually(queue_is_empty)
    eventually(lambda: running.is_asleep)
    assert running.thread.is_alive()


def test_is_woken(run, enqueue, recipient, eventually):
    running = run()
    for _ in range(2):
        eventually(lambda: running.is_asleep)
        enqueue()
        running.relay.wake()
        eventually(queue_is_empty)


def test_wakes_by_itself_when_something_falls_due(run, enqueue, recipient, eventually):
    enqueue()
    Delivery.objects.update(deliver_after=F("deliver_after") + dt.timedelta(seconds=2))
    running = run()
    eventually(queue_is_empty)
    assert len(running.statements) < 30


def test_tries_again_by_itself(run, enqueue, outage, eventually, monkeypatch):
    monkeypatch.setattr(relays, "RETRY_AT_MOST", 0.1)
    enqueue()
    run()
    eventually(lambda: Delivery.objects.filter(attempts=1, claim=None).exists())
    outage.error = None
    eventually(queue_is_empty)


def test_looks_by_itself_for_what_another_process_left(run, enqueue, recipient, eventually):
    running = run(idle=0.1)
    eventually(lambda: running.is_asleep)
    enqueue()
    eventually(queue_is_empty)


def test_takes_what_a_killed_relay_held_when_the_lease_is_over(
    run, enqueue, recipient, eventually, killed, monkeypatch
):
    monkeypatch.setattr(relays, "lease", lambda: dt.timedelta(seconds=2))
    enqueue(5)
    assert len(killed()) == 5
    run()
    eventually(queue_is_empty)
    assert recipient.most_often == 1


# What ends it


def test_finish_sends_what_is_due_and_ends(run, enqueue, gate, eventually):
    enqueue()
    running = run()
    assert gate.reached.wait(60)
    enqueue(12, objects=12)
    running.relay.finish()
    gate.opened.set()
    assert running.end() == Tally(sent=13)
    assert queue_is_empty()


def test_finish_ends_one_that_is_asleep(run, enqueue, recipient, eventually):
    running = run()
    eventually(lambda: running.is_asleep)
    enqueue()
    running.relay.finish()
    assert running.end() == Tally(sent=1)


def test_finish_does_not_wait_for_pusher_to_come_back(run, enqueue, outage, eventually):
    breaker.failed(breakers.UnreachableError("gone"))
    breaker._until += 600
    enqueue()
    running = run()
    running.relay.finish()
    assert running.end() == Tally()
    assert not queue_is_empty()


@pytest.mark.parametrize("concurrency", [1, 3])
def test_stop_ends_the_calls_in_hand_and_gives_back_the_rest(
    run, enqueue, use_transport, queue, eventually, concurrency
):
    calls, opened = [], threading.Event()

    def send(messages):
        calls.append(messages)
        assert opened.wait(60)

    use_transport(send)
    enqueue(100, objects=100)
    running = run(concurrency=concurrency)
    eventually(lambda: len(calls) == concurrency)
    running.relay.stop()
    opened.set()
    assert running.end() == Tally(sent=10 * concurrency)
    assert len(calls) == concurrency
    now = database_clock.now("default")
    assert [(row.claim, row.attempts, row.deliver_after <= now) for row in queue()] == [(None, 0, True)] * (
        100 - 10 * concurrency
    )


@pytest.mark.parametrize("limit", [1, 25, 100])
def test_ends_by_itself_after_so_many(run, enqueue, recipient, queue, limit):
    enqueue(110, objects=110)
    assert run(limit=limit).end() == Tally(sent=limit)
    assert len(recipient.channels) == limit
    assert {row.claim for row in queue()} == {None}


def test_what_is_tried_in_vain_counts_towards_the_limit(run, enqueue, use_transport, queue):
    events = enqueue(30, objects=30)

    def send(messages):
        if f"poll_{events[0].pk}" in {message.channel for message in messages}:
            raise RefusedError("wrong")

    use_transport(send)
    assert run(limit=25, batch_size=10).end() == Tally(sent=24, failed=1)
    assert [row.event_id for row in queue()] == [event.pk for event in [events[0], *events[25:]]]


def test_its_connection_is_closed_in_the_end(run, enqueue, recipient, eventually):
    enqueue(5)
    running = run()
    eventually(queue_is_empty)
    running.relay.stop()
    running.end()
    assert running.connection.connection is None


# What it survives


def test_survives_the_absence_of_the_database(run, enqueue, recipient, eventually, monkeypatch, caplog):
    look, errors, looked = database_clock.now, [], threading.Event()

    def now(using):
        if errors and threading.current_thread() is not threading.main_thread():
            looked.set()
            raise errors[0]
        return look(using)

    caplog.set_level("INFO", "pusherable.delivery.relay")
    monkeypatch.setattr(relays, "backoff", lambda *_: 0.01)
    monkeypatch.setattr(database_clock, "now", now)
    running = run(idle=0.1)
    for error, is_bug in ((OperationalError("it is gone"), False), (ZeroDivisionError("a bug"), True)):
        caplog.clear()
        looked.clear()
        errors.append(error)
        for _ in range(5):  # as often as it likes
            assert looked.wait(60)
            looked.clear()
        errors.clear()
        enqueue()
        eventually(queue_is_empty)
        begun, over = eventually(lambda: caplog.records[:3] if len(caplog.records) > 1 else None)
        assert begun.message.endswith(f"cannot be used; what is in it is sent later. {error}")
        assert bool(begun.exc_info) is is_bug, "of an outage, a line says it all"
        assert over.message == "The delivery queue of the database 'default' can be used again."
    assert running.thread.is_alive()


@contextmanager
def migrating():
    """A time without the table."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE pusherable_delivery RENAME TO pusherable_away")
        yield
        cursor.execute("ALTER TABLE pusherable_away RENAME TO pusherable_delivery")


def test_survives_a_queue_that_is_not_there(run, enqueue, recipient, eventually, caplog):
    enqueue()
    with migrating():
        running = run(idle=0.1)
        eventually(lambda: "cannot be used" in caplog.text)
    eventually(queue_is_empty)
    assert running.thread.is_alive()


# It rests


def check_that_it_rests(running):
    """Neither drains nor asks again and again; some statements are spent before it falls asleep."""
    assert not running.busy.wait(1.2), f"{len(running.statements)} statements"


def test_rests_where_there_is_nothing_to_do(run):
    check_that_it_rests(run())


def test_rests_behind_one_that_waits_for_its_next_attempt(run, enqueue, recipient):
    first, *_rest = enqueue(20)
    later = database_clock.now("default") + dt.timedelta(seconds=60)
    Delivery.objects.filter(event=first).update(deliver_after=later)
    check_that_it_rests(run(batch_size=5))
    assert recipient.calls == []


def test_rests_while_others_have_everything(run, enqueue, recipient, killed):
    enqueue(20, objects=20)
    assert len(killed()) == 20
    enqueue(20, objects=20)  # behind them
    check_that_it_rests(run())
    assert recipient.calls == []


def test_rests_while_somebody_is_claiming(run, enqueue, recipient):
    """For however long: that relay may have been paused in the middle of it."""
    first, *_rest = enqueue(20)
    later = database_clock.now("default") + lease()
    with ExitStack() as unfinished:
        unfinished.enter_context(transaction.atomic())
        Delivery.objects.filter(event=first).update(deliver_after=later)
        if not connection.features.has_select_for_update_skip_locked:
            unfinished.close()  # nobody else could even look
        check_that_it_rests(run(batch_size=5))
    assert recipient.calls == []


@pytest.mark.parametrize("error", [TransportError("500"), breakers.UnreachableError("gone")])
def test_rests_while_the_breaker_is_open_and_nothing_is_due(run, error, monkeypatch):
    monkeypatch.setattr(breakers, "PAUSE_AT_MOST", 0.01)
    for _ in range(breakers.TRIP_AFTER):
        breaker.failed(error)
    check_that_it_rests(run())


def test_rests_while_pusher_is_away(run, enqueue, outage):
    enqueue(50, objects=50)
    outage.error = breakers.UnreachableError("gone")
    check_that_it_rests(run())


def test_rests_after_a_refusal_that_proves_nothing(run, enqueue, use_transport, eventually, monkeypatch):
    monkeypatch.setattr(breakers, "PAUSE_AT_MOST", 0.01)

    def refuse(messages):
        raise RefusedError("wrong")

    use_transport(refuse)
    for _ in range(breakers.TRIP_AFTER):
        breaker.failed(TransportError("500"))
    enqueue()
    running = run()
    eventually(lambda: Delivery.objects.exclude(failed_at=None).exists())
    check_that_it_rests(running)


def test_what_comes_while_it_sends_waits_for_the_next_round(enqueue, use_transport, monkeypatch):
    """So the events of a busy moment share calls, and the process has time for its requests."""
    happened = []

    def send(messages):
        happened.append("call")
        if len(happened) == 1:
            enqueue()

    def pause(relay, seconds, **_options):
        happened.append(seconds)
        if len(happened) > 2:
            relay.stop()

    use_transport(send)
    monkeypatch.setattr(Relay, "_pause", pause)
    enqueue()
    Relay("default").run(idle=5, linger=7)
    assert happened == ["call", 7, "call", 7]
