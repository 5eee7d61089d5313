"""A backlog to send, and commands that run in processes of their own."""

import json
import os
import pty
import queue
import subprocess
import sys
import threading
import time
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as project
from django.db import connection, connections

from pusherable.delivery import clock
from pusherable.models import AccessEvent, Delivery
from tests.delivery.conftest import clean_state, eventually, recipient, server, use_transport

__all__ = ["clean_state", "eventually", "recipient", "server", "use_transport"]

MANAGE = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its jobs in the background ignore it
from django.conf import settings
settings.configure(**json.loads(sys.argv[1]))
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[2:]])
"""


@pytest.fixture
def enqueue():
    """Events and their deliveries, each of an object of its own unless it is named; nobody is woken."""

    def write(count=1, *, using="default", object_pk=None, occurred_at=None, **delivery):
        now = clock.now(using)
        events = [
            AccessEvent(
                occurred_at=occurred_at or now,
                action="view",
                object_type="testapp.poll",
                object_pk=object_pk or str(number),
                object_repr="Poll",
                channels=[f"poll_{number}"],
            )
            for number in range(count)
        ]
        for event in events:
            event.save(using=using)
            Delivery.of(event, **{"deliver_after": now} | delivery).save(using=using, force_insert=True)
        return events

    return write


class Terminal(StringIO):
    def isatty(self):
        return True


@pytest.fixture
def keyboard(monkeypatch):
    """Types on a terminal, which is the command's standard input."""
    master, slave = pty.openpty()
    with os.fdopen(master, "wb", buffering=0) as keys, os.fdopen(slave, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield keys.write


class Process:
    """A command that runs; its lines can be waited for."""

    def __init__(self, arguments, settings):
        self.popen = subprocess.Popen(
            [sys.executable, "-c", MANAGE, json.dumps(settings), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
            # What a command does not flush must not be flushed for it.
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
        self.out = []
        self._lines = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.popen.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def line(self, text):
        """The next line with this text."""
        while (line := self._lines.get(timeout=60)) is not None:
            self.out.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not in {self.out} {self.popen.stderr.read()}")

    def interrupt(self, number):
        """Send a signal once the command waits.

        One that comes just before a system call begins is seen by Python only when that is over.
        """
        deadline = time.monotonic() + 60
        while "(sleeping)" not in Path(f"/proc/{self.popen.pid}/status").read_text():
            assert time.monotonic() < deadline, "it does not wait"
            threading.Event().wait(0.01)
        self.popen.send_signal(number)

    def end(self, number=None):
        """Send a signal, if any, and wait for the end; returns exit code and what it wrote to stderr."""
        if number is not None:
            self.popen.send_signal(number)
        code = self.popen.wait(60)
        self._reader.join(60)
        while (line := self._lines.get()) is not None:
            self.out.append(line)
        return code, self.popen.stderr.read()

    def close(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        self._reader.join(60)
        self.popen.stdout.close()
        self.popen.stderr.close()


@pytest.fixture
def start():
    """Start a command in a new process, on the database of this test and with the given settings."""
    started = []

    def start(*arguments, **settings):
        database = {
            name: connection.settings_dict[name]
            for name in ("ENGINE", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
        } | {"NAME": str(connection.settings_dict["NAME"])}
        values = {name: getattr(project, name) for name in dir(project) if name.startswith("PUSHER")}
        names = (
            "INSTALLED_APPS",
            "MIDDLEWARE",
            "TEMPLATES",
            "SILENCED_SYSTEM_CHECKS",
            "DEFAULT_AUTO_FIELD",
            "USE_TZ",
        )
        values |= {name: getattr(project, name) for name in names}
        values |= {"DATABASES": {"default": database}, "SECRET_KEY": project.SECRET_KEY} | settings
        started.append(Process(arguments, values))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.fixture
def unreachable(monkeypatch, tmp_path):
    """The alias of a database that is not there; the test has to be allowed to use "log"."""
    connections["log"].close()
    settings = connections.databases["log"]
    monkeypatch.setitem(settings, "HOST", "127.0.0.1")
    monkeypatch.setitem(settings, "PORT", "1")
    if connection.vendor == "sqlite":
        monkeypatch.setitem(settings, "NAME", tmp_path / "missing" / "db.sqlite3")
    yield "log"
    connections["log"].close()
