"""What recording costs a request: bare, one plain INSERT (the floor) and ours, interleaved in one run.

Run with ``make bench``, or ``python -m benchmarks.request_cost --requests 2000``. Pusher answers at once,
after 50 ms, or not at all; these cases take turns, so that a noisy moment hits them alike. The stubs that
stand for Pusher are processes of their own; the dispatcher is the default one, a thread of the process that
serves the requests, and starts anew with each turn.
"""

import argparse
import logging
import multiprocessing
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

SPAWN = multiprocessing.get_context("spawn")
VARIANTS = ("bare", "floor", "ours")
#: Case -> seconds until Pusher answers; None: connections are refused.
CASES = {"0 ms": 0.0, "50 ms": 0.05, "down": None}
#: Requests of each variant before the next case has its turn.
TURN = 50


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
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=stub, args=(delay, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    yield ours.recv()
    ours.send("stop")
    process.join()


def run(database: str, requests: int) -> None:
    """Print the table's rows of the database that the settings choose."""
    import django

    django.setup()
    logging.disable(logging.WARNING)
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client, override_settings

    from benchmarks.models import Article
    from pusherable.delivery.dispatchers import dispatcher
    from pusherable.models import Delivery

    connection.creation.create_test_db(verbosity=0)
    if database == "sqlite":
        connection.cursor().execute("PRAGMA journal_mode=WAL")
    article = Article.objects.create(
        title="Harbour bridge to close", body="The bridge. " * 80, section="City"
    )
    client = Client(headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"})
    client.force_login(User.objects.create_user("editor"))
    sent = 0
    chance = random.Random(1)

    def request(method: str, variant: str) -> None:
        nonlocal sent
        sent += 1
        if method == "GET":
            assert client.get(f"/{variant}/{article.pk}/").status_code == 200
        else:
            data = {"title": f"Title {sent}", "body": article.body, "section": "City", "words": "1"}
            assert client.post(f"/{variant}/{article.pk}/edit/", data).status_code == 302

    def take_turn(method: str, times: dict[str, list[float]]) -> None:
        for _ in range(TURN):
            # In no fixed order: what the thread does comes a while after its request, and must not always
            # meet the same variant.
            for variant in chance.sample(VARIANTS, k=len(VARIANTS)):
                start = time.perf_counter()
                request(method, variant)
                times[variant].append(1000 * (time.perf_counter() - start))

    with ExitStack() as stack:
        ports = {case: stack.enter_context(pusher(delay)) for case, delay in CASES.items()}
        for method in ("GET", "POST"):
            times: dict[str, dict[str, list[float]]] = {case: defaultdict(list) for case in CASES}
            for turn in range(1 + requests // TURN):
                for case, port in ports.items():
                    # Nothing is left over from the case before, neither in its thread nor in the queue.
                    with override_settings(PUSHER_PORT=port):
                        take_turn(method, times[case] if turn else defaultdict(list))  # the first warms up
                        dispatcher.reset()
                    Delivery.objects.all().delete()
            for case in CASES:
                bare, floor, ours = (statistics.median(times[case][variant]) for variant in VARIANTS)
                cells = f"{bare:.2f} | {floor:.2f} | {ours:.2f} | {ours / floor:.2f}"
                print(f"| {database} | {method} | {case} | {cells} |", flush=True)
    connection.creation.destroy_test_db("", verbosity=0)


def main() -> None:
    import django

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="requests of each kind (default 2000)")
    parser.add_argument(
        "--database", choices=["sqlite", "postgres"], help="only this one, without the heading"
    )
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    if options.database:
        os.environ["PUSHERABLE_TEST_DATABASE"] = options.database
        run(options.database, options.requests)
        return
    print(f"Python {platform.python_version()}, Django {django.__version__}, {os.cpu_count()} cores;")
    print(f"medians of {options.requests} requests in milliseconds, interleaved.\n")
    print("| database | request | Pusher answers | bare | floor | ours | ours / floor |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    for database in ("postgres", "sqlite"):
        again = ["-m", "benchmarks.request_cost", "--database", database, "--requests", str(options.requests)]
        subprocess.run([sys.executable, *again], check=True)


if __name__ == "__main__":
    main()
