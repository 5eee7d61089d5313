"""What recording costs a request: bare, one plain INSERT (the floor) and ours, interleaved in one run.

Run with ``make bench``, or ``python -m benchmarks.request_cost --requests 2000``. Pusher answers at once,
after 50 ms, or not at all: each case is a process with its own database, so that all three can take turns
and a noisy moment hits them alike. The stub that stands for Pusher is a process too; the dispatcher is the
default one, a thread of the process that serves the requests.
"""

import argparse
import logging
import multiprocessing
import os
import platform
import socket
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

SPAWN = multiprocessing.get_context("spawn")
VARIANTS = ("bare", "floor", "ours")
#: Case -> seconds until Pusher answers; None: connections are refused.
CASES = {"0 ms": 0.0, "50 ms": 0.05, "down": None}
#: Requests of each variant before the next case has its turn.
TURN = 25

Times = dict[str, list[float]]


def stub(delay: float, pipe: Connection) -> None:
    from pusherable.server.testing import LocalServer

    with LocalServer(app_id="4242", key="test-key", secret="test-secret") as server:
        server.delay = delay
        pipe.send(server.port)
        pipe.recv()


@contextmanager
def pusher(delay: float | None) -> Iterator[int]:
    """The port of something that answers so late."""
    if delay is None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
            yield taken.getsockname()[1]
        return
    with child(stub, delay) as pipe:
        yield pipe.recv()


@contextmanager
def child(target: Callable[..., None], *args: object) -> Iterator[Connection]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(*args, theirs))
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    try:
        yield ours
    finally:
        with suppress(BrokenPipeError):
            ours.send(None)
        process.join()


def worker(database: str, delay: float | None, pipe: Connection) -> None:
    """Serve one case: for each method that comes through the pipe, a turn; the answer is its times."""
    os.environ["PUSHERABLE_TEST_DATABASE"] = database
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django

    django.setup()
    logging.disable(logging.WARNING)
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client, override_settings

    from benchmarks.models import Article
    from pusherable.delivery.dispatchers import dispatcher

    connection.creation.create_test_db(verbosity=0)
    if database == "sqlite":
        connection.cursor().execute("PRAGMA journal_mode=WAL")
    article = Article.objects.create(
        title="Harbour bridge to close", body="The bridge. " * 80, section="City"
    )
    client = Client(headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"})
    client.force_login(User.objects.create_user("editor"))
    sent = 0

    def request(method: str, variant: str) -> None:
        nonlocal sent
        sent += 1
        if method == "GET":
            assert client.get(f"/{variant}/{article.pk}/").status_code == 200
        else:
            data = {"title": f"Title {sent}", "body": article.body, "section": "City", "words": "1"}
            assert client.post(f"/{variant}/{article.pk}/edit/", data).status_code == 302

    with pusher(delay) as port, override_settings(PUSHER_PORT=port):
        while method := pipe.recv():
            times: Times = defaultdict(list)
            for number in range(TURN):
                # Another one first each time, so that none always follows the same.
                for variant in VARIANTS[number % 3 :] + VARIANTS[: number % 3]:
                    start = time.perf_counter()
                    request(method, variant)
                    times[variant].append(1000 * (time.perf_counter() - start))
            pipe.send(dict(times))
        dispatcher.get().close()  # type: ignore[attr-defined]
    connection.creation.destroy_test_db("", verbosity=0)


def measure(database: str, requests: int) -> None:
    """Print the table's rows of one database."""
    with (
        child(worker, database, CASES["0 ms"]) as at_once,
        child(worker, database, CASES["50 ms"]) as late,
        child(worker, database, CASES["down"]) as down,
    ):
        pipes = dict(zip(CASES, (at_once, late, down), strict=True))
        for method in ("GET", "POST"):
            times: dict[str, Times] = {case: defaultdict(list) for case in CASES}
            for turn in range(1 + requests // TURN):
                for case, pipe in pipes.items():
                    pipe.send(method)
                    for variant, values in pipe.recv().items():
                        if turn:  # the first one warms up
                            times[case][variant] += values
            for case in CASES:
                bare, floor, ours = (statistics.median(times[case][variant]) for variant in VARIANTS)
                cells = f"{bare:.2f} | {floor:.2f} | {ours:.2f} | {ours / floor:.2f}"
                print(f"| {database} | {method} | {case} | {cells} |", flush=True)


def main() -> None:
    import django

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="requests of each kind (default 2000)")
    parser.add_argument("--database", choices=["sqlite", "postgres"], help="only this one")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, Django {django.__version__}, {os.cpu_count()} cores;")
    print(f"medians of {options.requests} requests in milliseconds, interleaved.\n")
    print("| database | request | Pusher answers | bare | floor | ours | ours / floor |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    for database in [options.database] if options.database else ["postgres", "sqlite"]:
        measure(database, options.requests)


if __name__ == "__main__":
    main()
