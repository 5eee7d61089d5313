"""What recording costs a request: bare, one plain INSERT (the floor) and ours, interleaved in one run.

Run with ``make bench``, or ``python -m benchmarks.request_cost --requests 2000``. Pusher answers at once or
after 50 ms, or cannot be reached in one way or another; these cases take turns, so that a noisy moment hits
them alike. The stubs that stand for Pusher are processes of their own; the dispatcher is the default one, a
thread of the process that serves the requests, and starts anew with each turn, as if nothing had failed yet.
"""

import argparse
import logging
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from typing import Any

from benchmarks.stub import stub

VARIANTS = ("bare", "floor", "ours")
#: What the others are compared with.
UP = "answers at once"
#: Requests of each variant before the next case has its turn.
TURN = 50


def cases(stack: ExitStack) -> dict[str, dict[str, Any]]:
    """Case -> the settings that bring it about."""
    bound, listening = (stack.enter_context(socket.socket()) for _ in range(2))
    for one in (bound, listening):
        one.bind(("127.0.0.1", 0))
    listening.listen()  # and nobody ever answers
    up = stack.enter_context(stub(0))
    return {
        UP: {"PUSHER_PORT": up},
        "after 50 ms": {"PUSHER_PORT": stack.enter_context(stub(0.05))},
        "refused": {"PUSHER_PORT": bound.getsockname()[1]},
        "black hole": {"PUSHER_PORT": listening.getsockname()[1]},
        "TLS error": {"PUSHER_PORT": up, "PUSHER_SSL": True},
        "DNS failure": {"PUSHER_HOST": "pusher.invalid"},
    }


def compare(times: list[float], others: list[float]) -> float:
    """The ratio of the medians of two cases, turn by turn, so that a slow minute of the machine hits both."""
    medians = (
        [statistics.median(one[start : start + TURN]) for start in range(0, len(one), TURN)]
        for one in (times, others)
    )
    return statistics.median(ours / theirs for ours, theirs in zip(*medians, strict=True))


def run(database: str, requests: int) -> None:
    """Print the table's rows of the database that the settings choose."""
    import django

    django.setup()
    logging.disable(logging.WARNING)
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client, override_settings

    from benchmarks.models import Article
    from pusherable.delivery.breaker import breaker
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
        settings = cases(stack)
        for method in ("GET", "POST"):
            times: dict[str, dict[str, list[float]]] = {case: defaultdict(list) for case in settings}
            for turn in range(1 + requests // TURN):
                for case in chance.sample(list(settings), k=len(settings)):
                    # Nothing is left over from the case before: not in its thread, the queue or the breaker.
                    with override_settings(**settings[case]):
                        take_turn(method, times[case] if turn else defaultdict(list))  # the first warms up
                        dispatcher.reset()
                    Delivery.objects.all().delete()
                    breaker.reset()
            for case in settings:
                bare, floor, ours = (statistics.median(times[case][variant]) for variant in VARIANTS)
                up = compare(times[case]["ours"], times[UP]["ours"])
                cells = f"{bare:.2f} | {floor:.2f} | {ours:.2f} | {ours / floor:.2f} | {up:.2f}"
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
    print("| database | request | Pusher | bare | floor | ours | ours / floor | ours / up |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for database in ("postgres", "sqlite"):
        again = ["-m", "benchmarks.request_cost", "--database", database, "--requests", str(options.requests)]
        subprocess.run([sys.executable, *again], check=True)


if __name__ == "__main__":
    main()
