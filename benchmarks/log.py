"""Somebody who writes to a log all the time, and the ways to prune it."""

import datetime as dt
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from typing import Any, Literal

from benchmarks.generate import BODY
from benchmarks.process import Process, running, set_up

#: Events that the writer records in a second.
RATE = 200
#: Seconds for which the writer is watched while nothing else goes on.
IDLE = 5

Calls = list[float]


def write(database: dict[str, Any], pipe: Connection) -> None:
    """What the writer's process does: record, and hand over how long the calls since the last time took."""
    set_up({"default": database})
    from django.contrib.auth.models import Group, User
    from django.db import OperationalError

    from pusherable.recording import record_access

    user = User(pk=1, username="editor")
    calls: Calls = []
    pipe.send("ready")
    due = time.perf_counter()
    for number in count(1):
        while pipe.poll(max(0, due - time.perf_counter())):
            pipe.recv()
            pipe.send(calls)
            calls = []
        started = time.perf_counter()
        group = Group(pk=number % 20_000, name="Harbour bridge to close")
        with suppress(OperationalError):  # locked out for as long as SQLite may wait
            record_access(group, "view", user=user, snapshot={"id": group.pk, "body": BODY})
        now = time.perf_counter()
        calls.append(1000 * (now - started))
        due = max(due + 1 / RATE, now)


@contextmanager
def writing(database: dict[str, Any]) -> Iterator[Callable[[], Calls]]:
    """A writer; the function gives the milliseconds of each call since the last time."""
    with running(write, database) as process:

        def take() -> Calls:
            process.pipe.send("take")
            calls: Calls = process.pipe.recv()
            return calls

        yield take


def idle(take: Callable[[], Calls]) -> Calls:
    """The writer's calls while nothing else goes on."""
    take()
    threading.Event().wait(IDLE)
    return take()


def percentile(calls: Calls, share: float) -> float:
    return sorted(calls)[int(share * len(calls))]


@dataclass(frozen=True)
class Way:
    """How old events go: by the command, by one DELETE or by Django's own deletion of a queryset."""

    title: str
    by: Literal["command", "raw", "queryset"] = "command"
    options: tuple[str, ...] = ()
    archives: bool = False
    #: Of the log, from its oldest event on.
    share: float = 0.5
    #: Another app has connected a receiver for every model.
    receiver: bool = False

    def cutoff(self, using: str, total: int) -> tuple[int, dt.datetime]:
        """How many of so many events are to go, and the time of the first one that stays."""
        from pusherable.models import AccessEvent

        events = int(self.share * total)
        return events, AccessEvent.objects.using(using).get(pk=events + 1).occurred_at


#: What others are compared with.
RAW = Way("one raw DELETE", by="raw")


def receive(**kwargs: Any) -> None:
    """A receiver of every model's deletions, such as other apps have."""


def remove(database: dict[str, Any], way: Way, cutoff: dt.datetime, pipe: Connection) -> None:
    """What the pruning process does: wait for the start, let the events go, hand over the seconds it took.

    For PostgreSQL, also the bytes of WAL that it wrote.
    """
    set_up({"default": database})
    from django.core.management import call_command, load_command_class
    from django.db import connection
    from django.db.models.signals import post_delete

    from pusherable.models import AccessEvent

    if way.receiver:
        post_delete.connect(receive)
    command = load_command_class("pusherable", "pusherable_prune")
    connection.ensure_connection()
    pipe.send("ready")
    pipe.recv()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        events = AccessEvent.objects.filter(occurred_at__lt=cutoff)
        if way.by == "raw":
            events._raw_delete("default")
        elif way.by == "queryset":
            events.delete()
        else:
            options = [*way.options, *(["--archive", folder] if way.archives else [])]
            older = ["--older-than", cutoff.isoformat(), "--no-input"]
            call_command(command, *older, *options, verbosity=0)
        seconds = time.perf_counter() - started
    pipe.send(seconds)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute("SELECT wal_bytes FROM pg_stat_get_backend_wal(pg_backend_pid())")
            pipe.send(int(cursor.fetchone()[0]))
    pipe.recv()  # while its memory is looked at


def follow(process: Process, look: Callable[[], None] = lambda: None) -> float:
    """Give the start, watch until the end; the seconds between."""
    process.pipe.send("go")
    while not process.pipe.poll(0.02):
        process.sizes.append(process.measure())
        look()
    seconds: float = process.pipe.recv()
    return seconds


def heading(*names: str) -> None:
    """The head of a Markdown table whose first column is text."""
    print(f"| {' | '.join(names)} |")
    print(f"| --- |{' ---: |' * (len(names) - 1)}", flush=True)


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def verdict(way: str, aim: str, value: str, *, met: bool) -> None:
    print(f"- {way}: {aim}: {value}, {'met' if met else 'MISSED'}", flush=True)
