"""A queue to fill, transports that do what a test says, a real server, and processes of their own."""

import datetime as dt
import json
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings as project
from django.db import connection
from django.utils import timezone
from freezegun import freeze_time

from pusherable.delivery import relay
from pusherable.delivery.dispatchers import ThreadDispatcher
from pusherable.delivery.messages import Message
from pusherable.delivery.transports import LocmemTransport, TransportError, transport
from pusherable.models import AccessEvent, Delivery
from pusherable.server.testing import LocalServer

PUSHER = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}


class FunctionTransport:
    """Calls a function of the test's own, in whatever thread the dispatcher sends."""

    def __init__(self, send):
        self.send = send


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
        assert self.opened.wait(15)


@pytest.fixture(autouse=True)
def clean_state():
    """Nothing sent and no outage known, as in a new process."""
    LocmemTransport.sent.clear()
    relay._failing.clear()
    yield
    LocmemTransport.sent.clear()
    relay._failing.clear()


@pytest.fixture
def eventually():
    """Wait until a condition holds, looking often; fail if it does not within the deadline."""

    def wait(condition, timeout=30):
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            threading.Event().wait(0.01)
        return result

    return wait


@pytest.fixture
def enqueue():
    """Events with their deliveries, due now, straight into the tables: nobody is woken."""

    def write(count=1, **fields):
        defaults = {"action": "view", "object_type": "testapp.poll", "object_pk": "1", "object_repr": "Poll"}
        now = timezone.now()
        written = []
        for _ in range(count):
            event = AccessEvent(**defaults | fields)
            event.save()
            if "channels" not in fields:
                AccessEvent.objects.filter(pk=event.pk).update(channels=[f"poll_{event.pk}"])
                event.channels = [f"poll_{event.pk}"]
            Delivery.objects.create(event=event, deliver_after=now)
            written.append(event)
        return written[0] if count == 1 else written

    return write


@pytest.fixture
def queue():
    """The rows of the queue, oldest first."""
    return lambda: list(Delivery.objects.order_by("event_id"))


@pytest.fixture
def clock():
    """Stands still until it is told to move."""
    with freeze_time(dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC)) as clock:
        yield clock


@pytest.fixture
def use_transport(settings):
    """Choose a function as the transport."""

    def use(send):
        settings.PUSHERABLE_TRANSPORT = {
            "BACKEND": "tests.delivery.conftest.FunctionTransport",
            "OPTIONS": {"send": send},
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

    def make(**options):
        made.append(ThreadDispatcher(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()
        if one._thread is not None:
            one._thread.join(15)
            assert not one._thread.is_alive()


@pytest.fixture
def server(settings, monkeypatch):
    """The local Pusher server, and a project that sends to it."""
    monkeypatch.setenv("no_proxy", "*")
    with LocalServer(app_id="4242", key="test-key", secret="test-secret") as server:
        settings.PUSHER_HOST, settings.PUSHER_PORT, settings.PUSHER_SSL = server.host, server.port, False
        settings.PUSHERABLE_TRANSPORT = PUSHER
        yield server
        transport.get().client.http.pool.clear()


@pytest.fixture
def message():
    def make(channel="poll_1", name="view", data='{"user":"admin"}'):
        return Message(channel, name, data)

    return make


PROLOGUE = """
import json, os, signal, sys
os.register_at_fork(after_in_child=lambda: signal.alarm(50))  # a child that hangs must not outlive the test
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
            timeout=60,
            check=False,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    return run
