"""A queue to fill, transports that do what a test says, a real server, and processes of their own."""

import datetime as dt
import json
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings as project
from django.db import connection
from django.test import override_settings
from freezegun import freeze_time

from pusherable.delivery import breaker as breakers
from pusherable.delivery import calls, relay
from pusherable.delivery import clock as database_clock
from pusherable.delivery.breaker import breaker
from pusherable.delivery.dispatchers import ThreadDispatcher
from pusherable.delivery.messages import Message
from pusherable.delivery.relay import Relay
from pusherable.delivery.transports import LocmemTransport, TransportError, transport
from pusherable.models import AccessEvent, Delivery
from pusherable.server.testing import LocalServer

PUSHER = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}


class FunctionTransport:
    """Calls functions of the test's own, in whatever thread the dispatcher sends."""

    def __init__(self, send, **others):
        self.send = send
        vars(self).update(others)


class Recipient:
    """What has arrived, and what happens to what arrives next: `error` is raised."""

    def __init__(self):
        self.error = None
        self.calls = []

    def send(self, messages):
        if self.error is not None:
            raise self.error
        self.calls.append(list(messages))

    @property
    def channels(self):
        return [message.channel for call in self.calls for message in call]

    @property
    def most_often(self):
        return max(Counter(self.channels).values(), default=0)


class Gate:
    """A transport's function that waits, in whatever thread sends, until it is opened."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def send(self, messages):
        self.reached.set()
        assert self.opened.wait(60)


class Killed(BaseException):
    """Ends a relay in the middle of a call, as SIGKILL does."""


@pytest.fixture(autouse=True)
def clean_state():
    """Nothing sent and no outage known, as in a new process."""
    LocmemTransport.sent.clear()
    breaker.reset()
    yield
    LocmemTransport.sent.clear()
    breaker.reset()


@pytest.fixture
def eventually():
    """Wait until a condition holds, looking often; fail if it does not within the deadline."""

    def wait(condition, timeout=60):
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            threading.Event().wait(0.01)
        return result

    return wait


@pytest.fixture
def enqueue():
    """Events with their deliveries, due now, straight into the tables: nobody is woken.

    They take turns among so many `objects`; the events of one object share a lane.
    """

    def write(count=1, *, objects=1, **fields):
        defaults = {"action": "view", "object_type": "testapp.poll", "object_repr": "Poll"}
        keys = [{"object_pk": str(number % objects + 1)} for number in range(count)]
        written = AccessEvent.objects.bulk_create(AccessEvent(**defaults | key | fields) for key in keys)
        if "channels" not in fields:
            for event in written:
                event.channels = [f"poll_{event.pk}"]
            AccessEvent.objects.bulk_update(written, ["channels"], batch_size=100)
        now = database_clock.now("default")
        Delivery.objects.bulk_create(Delivery.of(event, deliver_after=now) for event in written)
        return written[0] if count == 1 else written

    return write


@pytest.fixture
def queue():
    """The rows of the queue, oldest first."""
    return lambda: list(Delivery.objects.order_by("event_id"))


@pytest.fixture
def killed(queue):
    """Let a relay claim what is due, and kill it while it sends; returns the rows that it holds."""

    def send(messages):
        raise Killed

    def claim(batch_size=100):
        before = {None} | {row.claim for row in queue()}
        transport = {"BACKEND": "tests.delivery.conftest.FunctionTransport", "OPTIONS": {"send": send}}
        with override_settings(PUSHERABLE_TRANSPORT=transport), suppress(Killed):
            Relay("default", batch_size=batch_size, concurrency=1).drain()
        return [row for row in queue() if row.claim not in before]

    return claim


@pytest.fixture
def clock(monkeypatch):
    """Stands still until it is told to move: for Python, on the database server, and for every pause."""
    start = dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC)
    with freeze_time(start) as clock:

        def now(using="default"):
            return clock().replace(tzinfo=dt.UTC)

        monkeypatch.setattr(database_clock, "now", now)
        # To threads freezegun shows the real time.
        still = SimpleNamespace(monotonic=lambda: now().timestamp())
        for module in (breakers, calls, relay):
            monkeypatch.setattr(module, "time", still)
        yield clock


@pytest.fixture
def use_transport(settings):
    """Choose a function as the transport, and maybe another as its probe."""

    def use(send, **others):
        settings.PUSHERABLE_TRANSPORT = {
            "BACKEND": "tests.delivery.conftest.FunctionTransport",
            "OPTIONS": {"send": send, **others},
        }

    return use


@pytest.fixture
def recipient(use_transport):
    recipient = Recipient()
    use_transport(recipient.send)
    return recipient


@pytest.fixture
def gate(use_transport):
    gate = Gate()
    use_transport(gate.send)
    yield gate
    gate.opened.set()


@pytest.fixture
def outage(recipient):
    recipient.error = TransportError("Pusher is away.")
    return recipient


@pytest.fixture
def dispatcher():
    """Makes thread dispatchers, and ends their threads."""
    made = []

    def make(*, flush_timeout=60, **options):
        made.append(ThreadDispatcher(flush_timeout=flush_timeout, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
        for _, thread in one._running.values():
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
def server(settings, monkeypatch):
    """The local Pusher server, and a project that sends to it."""
    monkeypatch.setenv("no_proxy", "*")
    with LocalServer(app_id="4242", key="test-key", secret="test-secret") as server:
        settings.PUSHER_HOST, settings.PUSHER_PORT, settings.PUSHER_SSL = server.host, server.port, False
        settings.PUSHERABLE_TRANSPORT, settings.PUSHER_TIMEOUT = PUSHER, 30
        yield server
        transport.get().client.http.pool.clear()


@pytest.fixture
def message():
    def make(channel="poll_1", name="view", data='{"user":"admin"}'):
        return Message(channel, name, data)

    return make


PROLOGUE = """
import json, os, signal, sys
os.register_at_fork(after_in_child=lambda: signal.alarm(100))  # a child that hangs must not outlive the test
from django.conf import settings
settings.configure(**json.loads(sys.argv[1]))
import django
django.setup()
"""


@pytest.fixture
def run_script():
    """Run a script in a new process, on the database of this test and with the given settings."""

    def run(code, *, environment=None, **settings):
        database = {
            name: connection.settings_dict[name] for name in ("ENGINE", "USER", "PASSWORD", "HOST", "PORT")
        }
        database |= {
            "NAME": str(connection.settings_dict["NAME"]),
            "OPTIONS": connection.settings_dict["OPTIONS"],
        }
        names = [name for name in dir(project) if name.startswith("PUSHER")]
        values = {name: getattr(project, name) for name in names} | settings
        values |= {
            "USE_TZ": True,
            "SECRET_KEY": project.SECRET_KEY,
            "DATABASES": {"default": database},
            "INSTALLED_APPS": project.INSTALLED_APPS,
        }
        done = subprocess.run(
            # Python warns of every fork of a process with threads, which is what these tests are about.
            [
                sys.executable,
                "-W",
                "ignore:This process",
                "-c",
                PROLOGUE + textwrap.dedent(code),
                json.dumps(values),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    return run
