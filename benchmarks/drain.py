"""How fast relays work off a backlog, and what memory that takes. Run with ``python -m benchmarks.drain``.

PostgreSQL, the relays and the stub that stands for Pusher share the machine. Each relay is a process of its
own. The time runs from when all of them are ready until the queue is empty.
"""

import argparse
import os
import platform
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.process import running, set_up
from benchmarks.stub import stub

#: The backlog is about so many objects; the events of one leave one after another.
OBJECTS = 1_000


@dataclass
class Case:
    delay: float
    relays: int
    concurrency: int
    events: int


def set_up_with(database: dict[str, Any], port: int) -> None:
    set_up(
        {"default": database},
        PUSHER_APP_ID="4242",
        PUSHER_KEY="test-key",
        PUSHER_SECRET="test-secret",
        PUSHER_HOST="127.0.0.1",
        PUSHER_PORT=port,
        PUSHER_SSL=False,
    )


def relay(database: dict[str, Any], port: int, concurrency: int, pipe: Connection) -> None:
    """What a relay's process does: say that it is ready, wait for the start, relay until SIGTERM."""
    set_up_with(database, port)
    from pusherable.delivery.relay import Relay
    from pusherable.models import Delivery

    one = Relay("default", concurrency=concurrency)
    signal.signal(signal.SIGTERM, lambda *_: one.stop())
    assert Delivery.objects.exists(), "there is no backlog"
    pipe.send("ready")
    pipe.recv()
    one.run(idle=0.1)


def pile_up(count: int) -> None:
    """A backlog, as an outage leaves it."""
    from django.db import connection
    from django.utils import timezone

    from pusherable.models import AccessEvent, Delivery

    for start in range(0, count, 5_000):
        events = [
            AccessEvent(
                action="updated",
                object_type="newsroom.article",
                object_pk=str(number % OBJECTS),
                object_repr="Harbour bridge to close",
                user_pk="1",
                username="editor",
                snapshot={
                    "id": number % OBJECTS,
                    "title": "Harbour bridge to close",
                    "body": "Bridge. " * 40,
                },
                changes={"title": ["Harbour bridge closes", "Harbour bridge to close"]},
                channels=[f"article_{number % OBJECTS}"],
            )
            for number in range(start, min(start + 5_000, count))
        ]
        AccessEvent.objects.bulk_create(events)
        Delivery.objects.bulk_create(Delivery.of(event, deliver_after=timezone.now()) for event in events)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def measure(case: Case, database: dict[str, Any]) -> None:
    """Print the row of a case."""
    from pusherable.models import AccessEvent, Delivery

    AccessEvent.objects.all().delete()
    pile_up(case.events)
    tick = threading.Event()
    with ExitStack() as stack:
        port = stack.enter_context(stub(case.delay))
        arguments = (database, port, case.concurrency)
        processes = [stack.enter_context(running(relay, *arguments)) for _ in range(case.relays)]
        started = time.perf_counter()
        for process in processes:
            process.pipe.send("go")
        while Delivery.objects.exists():
            for process in processes:
                process.sizes.append(process.measure())
            tick.wait(0.05)
        seconds = time.perf_counter() - started
        peaks = [process.measure("VmHWM") for process in processes]
    sizes = ["{:.0f} {:.0f} {:.0f}".format(*quartiles(process.sizes)) for process in processes]
    cells = (
        f"{1000 * case.delay:.0f} ms | {case.relays} | {case.concurrency} | {case.events:,} | {seconds:.1f}"
    )
    memory = f"{', '.join(sizes)} | {max(peaks):.0f}"
    print(f"| {cells} | {case.events / seconds:,.0f} | {memory} |", flush=True)


def quartiles(sizes: list[float]) -> list[float]:
    """After a quarter of the time (the start is over), in the middle and at the end."""
    return [sizes[len(sizes) // 4], sizes[len(sizes) // 2], sizes[-1]]


def main() -> None:
    import django

    from tests import databases

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="the backlog (default 100000)")
    count = parser.parse_args().events
    database = databases.postgres()
    set_up_with(database, 0)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    print(f"Python {platform.python_version()}, Django {django.__version__}, {os.cpu_count()} cores\n")
    print("| Pusher answers after | relays | calls at once | events | seconds | events/s | MiB | peak |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |", flush=True)
    for case in (
        Case(0, 1, 8, count),
        Case(0, 2, 8, count),
        Case(0.05, 1, 1, count // 100),
        Case(0.05, 1, 8, count // 10),
        Case(0.05, 1, 32, count // 10),
        Case(0.05, 2, 32, count // 10),
    ):
        measure(case, database)


if __name__ == "__main__":
    main()
