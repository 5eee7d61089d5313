"""Nothing in the path of a request waits: neither for a Pusher that is away, nor for what sends to it."""

import re
import socket
import threading
import tracemalloc
from contextlib import ExitStack

import pytest
from django.views.generic import DetailView

from pusherable.delivery import breaker, dispatchers, relay
from pusherable.mixins import PusherDetailMixin
from pusherable.models import AccessEvent, Delivery
from pusherable.signals import events_delivered
from tests.testapp.models import Poll

pytestmark = pytest.mark.django_db(transaction=True)

THREAD = {
    "BACKEND": "pusherable.delivery.dispatchers.ThreadDispatcher",
    "OPTIONS": {"flush_timeout": 60},
}


class PollView(PusherDetailMixin, DetailView):
    model = Poll
    template_name = "empty.html"


@pytest.fixture
def page(client, serve, settings, tmp_path, poll):
    """Asks for the page of a poll, which is recorded; sending is left to the default dispatcher."""
    (tmp_path / "empty.html").write_text("served")
    settings.TEMPLATES = [engine | {"DIRS": [tmp_path]} for engine in settings.TEMPLATES]
    settings.PUSHERABLE_DISPATCHER = THREAD
    serve(PollView)
    yield lambda: client.get(f"/{poll.pk}/")
    dispatchers.dispatcher.reset()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """What has failed is tried again soon."""
    monkeypatch.setattr(breaker, "RECONNECT", 0)
    monkeypatch.setattr(breaker, "PAUSE_AT_MOST", 0.1)
    monkeypatch.setattr(relay, "RETRY_AT_MOST", 0.1)


def queue_is_empty():
    return not Delivery.objects.exists()


class Away:
    """The ways in which Pusher cannot be reached: each takes it away, and returns what brings it back."""

    def __init__(self, server, settings):
        self.server, self.settings = server, settings
        self.sockets = ExitStack()

    def refused(self):
        self.server.stop()
        return self.server.start

    def full(self):
        """Somebody listens, but does not accept, and no connection more fits into the backlog."""
        self.server.stop()
        address = (self.server.host, self.server.port)
        listening = self.sockets.enter_context(socket.create_server(address, backlog=0))
        listening.listen(0)
        self.sockets.enter_context(socket.create_connection(address))

        def back():
            self.sockets.close()
            self.server.start()

        return back

    def silent(self):
        """Connections are accepted, and calls are not answered."""
        self.server.fail_with = "hang"

        def back():
            self.server.stop()
            self.server.fail_with = None
            self.server.start()

        return back

    def tls(self):
        self.settings.PUSHER_SSL = True
        return lambda: setattr(self.settings, "PUSHER_SSL", False)

    def nameless(self):
        self.settings.PUSHER_HOST = "pusher.invalid"
        return lambda: setattr(self.settings, "PUSHER_HOST", self.server.host)


@pytest.fixture
def away(server, settings):
    away = Away(server, settings)
    with away.sockets:
        yield away


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("refused", "Connection refused"),
        ("full", "ConnectTimeoutError"),
        ("silent", "Read timed out"),
        ("tls", "SSLError"),
        ("nameless", "pusher.invalid"),
    ],
)
def test_an_event_is_kept_and_sent_when_pusher_is_back(away, how, reason, page, eventually):
    away.settings.PUSHER_TIMEOUT = 0.5
    back = getattr(away, how)()
    assert page().status_code == 200
    failed = eventually(lambda: Delivery.objects.exclude(last_error="").first())
    assert re.search(reason, failed.last_error)
    assert AccessEvent.objects.get().status == "pending"
    away.settings.PUSHER_TIMEOUT = 60
    back()
    eventually(queue_is_empty)
    assert [message.name for message in away.server.messages] == ["view"]


@pytest.mark.parametrize("how", ["full", "silent"])
def test_pages_are_served_while_a_call_hangs(away, how, page, eventually):
    away.settings.PUSHER_TIMEOUT = 60
    back = getattr(away, how)()
    assert page().status_code == 200
    claimed = eventually(lambda: Delivery.objects.exclude(claim=None).first())
    for _ in range(5):
        assert page().status_code == 200
    [first, *others] = Delivery.objects.order_by("event_id")
    assert (first.claim, first.last_error) == (claimed.claim, ""), "the call is not under way any more"
    assert [row.attempts for row in others] == [0] * 5
    back()
    eventually(queue_is_empty)
    assert len(away.server.messages) == 6


def test_ten_thousand_wakes_leave_nothing_behind(dispatcher, enqueue, gate):
    one = dispatcher()
    enqueue()
    one.wake("default")
    assert gate.reached.wait(60)
    tracemalloc.start()
    try:
        for _ in range(10_000):
            one.wake("default")
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()
    assert not gate.opened.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_is_replaced(page, recipient, eventually):
    """Not even a receiver of the project's that ends the thread is the end of sending."""
    dying = []

    def end(**kwargs):
        dying.append(threading.current_thread())
        events_delivered.disconnect(end)
        raise SystemExit

    events_delivered.connect(end)
    assert page().status_code == 200
    eventually(lambda: dying and not dying[0].is_alive())
    assert page().status_code == 200
    eventually(queue_is_empty)
    assert len(recipient.channels) == 2


POOL = """
import threading
from django.db import connections
from pusherable.delivery.transports import LocmemTransport
from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access
from pusherable.signals import events_delivered
from tests.testapp.models import Poll

# One connection in all, for which nobody waits as long as the call lasts.
settings.DATABASES["default"]["OPTIONS"]["pool"] = {"max_size": 1, "min_size": 1, "timeout": 20}
connection = connections["default"]
delivered, reached, opened = threading.Event(), threading.Event(), threading.Event()
events_delivered.connect(lambda **kwargs: delivered.set(), weak=False)

class Gate:
    def send(self, messages):
        reached.set()
        assert opened.wait(60)
"""


@pytest.mark.vendor("postgresql")  # the only one for which Django has pools
def test_requests_do_not_wait_for_the_connection_of_the_thread(poll, run_script):
    done = run_script(
        POOL
        + """
poll = Poll.objects.get()
record_access(poll, "view")
record_access(poll, "update")  # the thread would need the connection that is in use here
assert Delivery.objects.filter(attempts=0).count() == 2
connection.close()
assert reached.wait(60)
assert Poll.objects.count() == 1  # while the call is under way
connection.close()
opened.set()
assert delivered.wait(60)
assert not Delivery.objects.exists()  # when the thread has nothing to do
connection.close()
""",
        PUSHERABLE_DISPATCHER=THREAD,
        PUSHERABLE_TRANSPORT={"BACKEND": "__main__.Gate"},
    )
    assert done.code == 0, done.err
