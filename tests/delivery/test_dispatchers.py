"""Who sends after commit: the request itself, or a thread. Real threads on a real database."""

import threading
import time

import pytest
from django.db import connection, connections, transaction
from django.views.generic import DetailView

from pusherable.delivery import dispatchers
from pusherable.delivery.backends import Chosen
from pusherable.delivery.dispatchers import InlineDispatcher, RelayDispatcher, wake
from pusherable.delivery.relay import Relay
from pusherable.delivery.transports import TransportError
from pusherable.mixins import PusherDetailMixin
from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access
from tests.testapp.models import Poll

pytestmark = pytest.mark.django_db(transaction=True)

THREAD = {
    "BACKEND": "pusherable.delivery.dispatchers.ThreadDispatcher",
    "OPTIONS": {"flush_timeout": 60},
}


class PollView(PusherDetailMixin, DetailView):
    model = Poll
    template_name = "empty.html"


class Broken:
    """A dispatcher of the project's own, with a bug."""

    def wake(self, using):
        raise ZeroDivisionError


@pytest.fixture
def page(client, serve, settings, tmp_path, poll):
    """Asks for the page of a poll, which is recorded."""
    (tmp_path / "empty.html").write_text("served")
    settings.TEMPLATES = [engine | {"DIRS": [tmp_path]} for engine in settings.TEMPLATES]
    serve(PollView)
    return lambda: client.get(f"/{poll.pk}/")


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "pusherable"]


def queue_is_empty():
    return not Delivery.objects.exists()


# In the request


def test_inline_sends_after_commit(poll, recipient):
    with transaction.atomic():
        record_access(poll, "view")
        with transaction.atomic():
            record_access(poll, "update")
        assert recipient.calls == []
    assert [message.name for call in recipient.calls for message in call] == ["view", "update"]
    assert queue_is_empty()


def test_inline_sends_nothing_that_was_rolled_back(poll, recipient):
    with transaction.atomic():
        record_access(poll, "view")
        transaction.set_rollback(True)
    assert recipient.calls == []
    assert not AccessEvent.objects.exists()


def test_inline_sends_one_batch_of_a_backlog(enqueue, use_transport):
    senders = []
    use_transport(lambda messages: senders.append((len(messages), threading.current_thread())))
    enqueue(15, objects=15)
    InlineDispatcher().wake("default")
    assert senders == [(10, threading.current_thread())]
    assert Delivery.objects.count() == 5


def test_the_relay_dispatcher_leaves_it_to_the_relay(page, settings, recipient):
    settings.PUSHERABLE_DISPATCHER = {"BACKEND": "pusherable.delivery.dispatchers.RelayDispatcher"}
    assert page().status_code == 200
    RelayDispatcher().wake("default")
    assert recipient.calls == []
    assert AccessEvent.objects.get().status == "pending"
    assert threads() == []


@pytest.mark.parametrize("error", [TransportError("Pusher is away."), ZeroDivisionError("a bug")])
def test_a_failure_never_reaches_the_request(page, recipient, error):
    recipient.error = error
    answer = page()
    assert (answer.status_code, answer.content) == (200, b"served")
    [event] = AccessEvent.objects.all()
    assert (event.action, event.status) == ("view", "pending")


@pytest.mark.parametrize("backend", [f"{__name__}.Broken", "no.such.Dispatcher"])
def test_a_broken_dispatcher_never_reaches_the_request(page, settings, backend):
    settings.PUSHERABLE_DISPATCHER = {"BACKEND": backend}
    assert page().status_code == 200
    assert AccessEvent.objects.get().status == "pending"


# In a thread


@pytest.fixture
def in_a_thread(settings, monkeypatch):
    """The project's setting, as in production."""
    settings.PUSHERABLE_DISPATCHER = THREAD
    chosen = Chosen("PUSHERABLE_DISPATCHER", "wake")
    monkeypatch.setattr(dispatchers, "dispatcher", chosen)
    yield
    chosen.get().close()


def test_a_page_is_sent_from_a_thread(page, in_a_thread, use_transport, eventually):
    senders = []
    use_transport(lambda messages: senders.append(threading.current_thread().name))
    assert page().status_code == 200
    eventually(queue_is_empty)
    assert senders == ["pusherable"]


def test_the_request_never_waits(page, in_a_thread, gate):
    assert page().status_code == 200
    assert gate.reached.wait(60)
    started = time.monotonic()
    for _ in range(5):
        assert page().status_code == 200
    assert time.monotonic() - started < 45, "as long as the call"
    assert not gate.opened.is_set()


def test_the_thread_starts_when_it_is_needed(dispatcher, recipient, eventually):
    one = dispatcher()
    assert threads() == []
    one.wake("default")
    assert len(threads()) == 1
    one.close()
    assert threads() == []


def test_one_thread_however_many_wake_it(dispatcher, gate):
    one, together = dispatcher(), threading.Barrier(8)

    def wake():
        together.wait()
        one.wake("default")

    waking = [threading.Thread(target=wake) for _ in range(8)]
    for thread in waking:
        thread.start()
    for thread in waking:
        thread.join()
    assert len(threads()) == 1


def test_waking_never_waits_for_a_send_that_hangs(dispatcher, enqueue, gate):
    one = dispatcher()
    enqueue()
    one.wake("default")
    assert gate.reached.wait(60)
    started = time.monotonic()
    for _ in range(1_000):
        one.wake("default")
    assert time.monotonic() - started < 45, "as long as the call"
    assert not gate.opened.is_set()


def test_what_an_earlier_process_left_is_sent_at_the_first_wake(dispatcher, enqueue, recipient, eventually):
    events = enqueue(25)
    dispatcher().wake("default")
    eventually(queue_is_empty)
    assert recipient.channels == [f"poll_{event.pk}" for event in events]


def test_the_events_of_a_busy_moment_share_a_call(dispatcher, enqueue, recipient, eventually):
    one = dispatcher(linger=3600)
    one.wake("default")
    [(relay, _thread)] = one._running.values()
    eventually(lambda: relay._looked)
    for _ in range(5):
        enqueue()
        one.wake("default")
        eventually(relay._bell.empty)  # it has heard
    one.close()
    assert queue_is_empty()
    assert len(recipient.calls) == 1


def test_as_many_calls_at_once_as_it_may_make(dispatcher, enqueue, use_transport, eventually):
    inside, opened = [], threading.Event()

    def send(messages):
        inside.append(messages)
        assert opened.wait(60)

    use_transport(send)
    enqueue(100, objects=100)
    dispatcher(concurrency=3).wake("default")
    eventually(lambda: len(inside) == 3)
    opened.set()
    eventually(queue_is_empty)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "4"])
def test_a_number_of_calls_that_cannot_be(dispatcher, wrong):
    with pytest.raises(ValueError, match="concurrency = "):
        dispatcher(concurrency=wrong)


def test_tries_again_by_itself(dispatcher, enqueue, outage, eventually):
    event = enqueue()
    dispatcher().wake("default")
    eventually(lambda: Delivery.objects.filter(attempts=1, claim=None).exists())
    outage.error = None
    eventually(queue_is_empty)
    assert outage.channels == [f"poll_{event.pk}"]


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_each_database_has_a_thread_of_its_own(dispatcher, enqueue, use_transport, eventually):
    """One that hangs does not keep the other back."""
    sent, opened = [], threading.Event()

    def send(messages):
        if messages[0].channel == "slow":
            assert opened.wait(60)
        sent.extend(message.channel for message in messages)

    use_transport(send)
    one = dispatcher()
    event = AccessEvent(action="view", object_type="testapp.poll", channels=["slow"])
    event.save(using="log")
    Delivery.of(event).save(using="log")
    one.wake("log")
    fine = enqueue()
    one.wake("default")
    eventually(lambda: sent == [f"poll_{fine.pk}"])
    assert len(threads()) == 2
    opened.set()
    eventually(lambda: not Delivery.objects.using("log").exists())


def test_a_thread_that_has_died_is_replaced_at_the_next_wake(
    dispatcher, enqueue, recipient, eventually, monkeypatch
):
    ran = []

    def run(relay, **options):
        ran.append(relay)
        if len(ran) > 1:
            original(relay, **options)

    original = Relay.run
    monkeypatch.setattr(Relay, "run", run)
    enqueue()
    one = dispatcher()
    one.wake("default")
    [(_, thread)] = one._running.values()
    eventually(lambda: not thread.is_alive())
    one.wake("default")
    eventually(queue_is_empty)
    assert len(ran) == 2


def test_a_transport_that_ends_its_thread_does_not_end_delivery(
    dispatcher, enqueue, use_transport, eventually
):
    calls = []

    def send(messages):
        calls.append(messages)
        if len(calls) <= 2:
            raise SystemExit

    use_transport(send)
    enqueue(30, objects=30)
    one = dispatcher()
    one.wake("default")
    eventually(queue_is_empty)
    assert len(threads()) == 1


def lose_the_connection(wrapper):
    """As a restart of the server does; there is none to restart for SQLite."""
    if connection.vendor == "sqlite":
        wrapper.connection.close()
        return
    with wrapper.cursor() as cursor:
        cursor.execute(
            "SELECT pg_backend_pid()" if connection.vendor == "postgresql" else "SELECT connection_id()"
        )
        [key] = cursor.fetchone()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT pg_terminate_backend({key})" if connection.vendor == "postgresql" else f"KILL {key}"
        )


@pytest.mark.parametrize("lose", [lose_the_connection, lambda wrapper: wrapper.connection.close()])
def test_a_lost_database_connection_is_replaced(in_a_thread, enqueue, use_transport, eventually, lose):
    """While Pusher is being called, so that settling fails; other objects do not wait for it."""
    calls, reached, lost = [], threading.Event(), threading.Event()

    def send(messages):
        calls.append([message.channel for message in messages])
        if len(calls) == 1:  # the only call is made in the thread that has the connection
            send.wrapper = connections["default"]
            send.wrapper.inc_thread_sharing()
            reached.set()
            assert lost.wait(60)

    use_transport(send)
    first = enqueue()
    wake("default")
    assert reached.wait(60)
    lose(send.wrapper)
    lost.set()
    later = enqueue(object_pk="other")
    wake("default")
    eventually(lambda: [f"poll_{later.pk}"] in calls)
    assert len(threads()) == 1
    # The first is sent again when its lease is over: at least once.
    eventually(lambda: [row.event_id for row in Delivery.objects.all()] == [first.pk])


def test_an_idle_thread_has_no_database_connection(dispatcher, enqueue, use_transport, eventually):
    seen = []
    use_transport(lambda messages: seen.append(connections["default"]))
    one = dispatcher()
    for number in range(2):
        enqueue()
        one.wake("default")
        eventually(lambda number=number: len(seen) > number and seen[number].connection is None)
    assert seen[0] is seen[1]
    assert queue_is_empty()
    assert len(threads()) == 1
