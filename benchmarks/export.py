"""What an export of 1,000,000 events takes: the time until it begins and ends, and the memory of the server.

Run with ``python -m benchmarks.export``. The server is a process of its own, which sends over HTTP what the
button of the event browser asks for; its memory is that of the whole process.
"""

import argparse
import http.client
import os
import platform
import time
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlencode

from benchmarks.browsing import SETTINGS
from benchmarks.generate import fill
from benchmarks.process import Process, running, set_up

#: Seconds, and MiB.
BEGINS, MEMORY = 1, 200
TOKEN = "b" * 32


def serve(database: dict[str, Any], pipe: Connection) -> None:
    """What the server's process does; it tells its port."""
    set_up({"default": database}, **SETTINGS | {"DATABASE_ROUTERS": []})
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from django.core.wsgi import get_wsgi_application

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet) as server:
        pipe.send("ready")
        pipe.send(server.server_port)
        server.serve_forever()


def export(port: int, session: str, server: Process, **fields: str) -> tuple[float, float, int, int]:
    """Seconds to the first byte and to the last one, lines and bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {
        "Host": "testserver",
        "Cookie": f"sessionid={session}; csrftoken={TOKEN}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    start = time.perf_counter()
    body = urlencode(fields | {"csrfmiddlewaretoken": TOKEN})
    connection.request("POST", "/admin/pusherable/accessevent/export/", body, headers)
    response = connection.getresponse()
    assert response.status == 200, response.status
    chunk = response.read1()
    begun = time.perf_counter() - start
    lines = size = measured = 0
    while chunk:
        lines += chunk.count(b"\n")
        size += len(chunk)
        if size - measured > 10_000_000:
            server.sizes.append(server.measure())
            measured = size
        chunk = response.read1()
    connection.close()
    return begun, time.perf_counter() - start, lines, size


def run(events: int) -> None:
    import django

    from tests import databases

    database = databases.postgres()
    set_up({"default": database}, **SETTINGS | {"DATABASE_ROUTERS": []})
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", run_syncdb=True, verbosity=0)
    fill("default", events)
    client = Client()
    client.force_login(User.objects.create_superuser("auditor"))
    session = client.cookies["sessionid"].value
    print(f"Python {platform.python_version()}, Django {django.__version__}, {os.cpu_count()} cores\n")
    print("| file | events | begins (s) | seconds | events/s | MiB | MiB after 1/4, 1/2, 3/4 | peak |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    verdicts = []
    for name in ("csv", "jsonl"):
        with running(serve, database) as server:
            begun, seconds, lines, size = export(server.pipe.recv(), session, server, format=name)
            peak = server.measure("VmHWM")
        assert lines >= events, (lines, events)  # and the event of the export before
        quarters = ", ".join(f"{mib:.0f}" for mib in server.quarters())
        print(
            f"| {name} | {events:,} | {begun:.2f} | {seconds:.0f} | {events / seconds:,.0f} "
            f"| {size / 2**20:,.0f} | {quarters} | {peak:.0f} |",
            flush=True,
        )
        verdicts += [
            f"{name}: begins within {BEGINS} s: {begun:.2f} s, {'met' if begun < BEGINS else 'MISSED'}",
            f"{name}: below {MEMORY} MiB: {peak:.0f} MiB, {'met' if peak < MEMORY else 'MISSED'}",
        ]
    print("\n" + "\n".join(f"- {verdict}" for verdict in verdicts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    run(parser.parse_args().events)


if __name__ == "__main__":
    main()
