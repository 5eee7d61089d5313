"""How long the pages of the log take with 1,000,000 events, compared with 10,000.

Run with ``python -m benchmarks.browsing``. Both logs are on one PostgreSQL, and each page is asked for in
both by turns. After the table come the plans of the queries of each page, as the large log carried them out.
"""

import argparse
import datetime as dt
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.generate import fill
from benchmarks.process import set_up

AIM = 1.5
MIDDLE = "MIDDLE"
#: Queries for session and user.
OTHERS = ("django_session", "auth_user")


class Router:
    """Everything is read and written in one of the two logs."""

    current = "default"

    def db_for_read(self, _model: Any, **_hints: Any) -> str:
        return Router.current

    db_for_write = db_for_read


SETTINGS: dict[str, Any] = {
    "SECRET_KEY": "only for benchmarks",
    "ALLOWED_HOSTS": ["testserver"],
    "ROOT_URLCONF": "benchmarks.urls",
    "STATIC_URL": "/static/",
    "DATABASE_ROUTERS": [Router()],
    "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
    "INSTALLED_APPS": [
        *(f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "sessions", "messages")),
        "django.contrib.staticfiles",
        "pusherable",
        "benchmarks",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    "PUSHER_APP_ID": "4242",
    "PUSHER_KEY": "key",
    "PUSHER_SECRET": "secret",
    "PUSHERABLE_FEED": True,
    "PUSHERABLE_TRANSPORT": {"BACKEND": "pusherable.delivery.transports.LocmemTransport"},
}


class Log:
    """One of the logs, and a superuser who reads it."""

    def __init__(self, alias: str) -> None:
        from django.contrib.auth.models import User
        from django.test import Client

        from pusherable.models import AccessEvent

        Router.current = self.alias = alias
        self.user = User.objects.create_superuser("auditor")
        self.client = Client()
        self.client.force_login(self.user)
        #: The id of the event in the middle of the log.
        self.middle = AccessEvent.objects.using(alias).newest().values_list("pk", flat=True)[0] // 2

    def measure(self, read: "Read") -> float:
        Router.current = self.alias
        start = time.perf_counter()
        read(self)
        return 1000 * (time.perf_counter() - start)

    def queries(self, read: "Read") -> list[str]:
        from django.db import connections
        from django.test.utils import CaptureQueriesContext

        Router.current = self.alias
        with CaptureQueriesContext(connections[self.alias]) as captured:
            read(self)
        return [query["sql"] for query in captured.captured_queries]


Read = Callable[[Log], Any]


def page(address: str, **parameters: Any) -> Read:
    """A page; `MIDDLE` stands for an event in the middle of the log."""

    def read(log: Log) -> None:
        values = {name: log.middle if value == MIDDLE else value for name, value in parameters.items()}
        path = address.replace(MIDDLE, str(log.middle))
        response = log.client.get(path, values)
        assert response.status_code == 200, (path, response.status_code)

    return read


def tag(source: str) -> Read:
    """A template with the activity tag in it."""
    from django.contrib.auth.models import User
    from django.template import engines

    from benchmarks.models import Article

    template = engines["django"].from_string("{% load pusherable_tags %}" + source)
    context = {"object": Article(pk=4), "someone": User(pk=4)}
    context["object"]._state.adding = False

    def read(_log: Log) -> None:
        assert "<li" in template.render(context.copy())

    return read


def reads() -> dict[str, Read]:
    """What is read, by title."""
    log, activity = "/admin/pusherable/accessevent/", "/pusherable/activity/"
    today = dt.datetime.now(dt.UTC).date()
    filters: dict[str, dict[str, Any]] = {
        "action=view": {"action": "view"},
        "action=imported (60, long ago)": {"action": "imported"},
        "action=never (none)": {"action": "never"},
        "object_type=benchmarks.article": {"object_type": "benchmarks.article"},
        "object_type=blog.gone (none)": {"object_type": "blog.gone"},
        "a frequent object": {"object_type": "benchmarks.article", "object_pk": "4"},
        "a rare object": {"object_type": "benchmarks.article", "object_pk": "102"},
        "username, frequent": {"username": "editor4"},
        "username, rare": {"username": "editor100"},
        "user_pk, frequent": {"user_pk": "4"},
        "user_pk, rare": {"user_pk": "100"},
        "remote_addr, frequent": {"remote_addr": "10.0.0.4"},
        "remote_addr, unknown": {"remote_addr": "192.0.2.1"},
        "request_id, unknown": {"request_id": "0" * 32},
        "status=pending": {"status": "pending"},
        "status=failed": {"status": "failed"},
        "status=delivered": {"status": "delivered"},
        "status=not broadcast": {"status": "not broadcast"},
        "within=24h": {"within": "24h"},
        "after=yesterday": {"after": str(today - dt.timedelta(days=1))},
        "before=today": {"before": str(today - dt.timedelta(days=1))},
        "one day": {"after": str(today - dt.timedelta(days=1)), "before": str(today - dt.timedelta(days=1))},
        "q=Harbour bridge 4": {"q": "Harbour bridge 4"},
        "q=editor4": {"q": "editor4"},
        "q=nothing": {"q": "nothing"},
        "user, action and time": {"username": "editor4", "action": "updated", "within": "24h"},
        "type, action and text": {"object_type": "benchmarks.article", "action": "view", "q": "Harbour"},
    }
    found = {"list, first page": page(log), "list, deep": page(log, before_id=MIDDLE)}
    found |= {f"list, {title}": page(log, **parameters) for title, parameters in filters.items()}
    found |= {
        "list, 120 days, deep": page(log, after=str(today - dt.timedelta(days=120)), before_id=MIDDLE),
        "list, a user, deep": page(log, username="editor4", before_id=MIDDLE),
        "page of an event": page(f"{log}{MIDDLE}/change/"),
        "charts": page(log + "charts/"),
        "charts, a rare user": page(log + "charts/", username="editor100"),
        "charts, an unknown address": page(log + "charts/", remote_addr="192.0.2.1"),
        "whether there are new events": page(log + "news/", first=MIDDLE, shown=50),
        "tag, everything": tag("{% pusherable_activity %}"),
        "tag, an object": tag("{% pusherable_activity object %}"),
        "tag, a model": tag("{% pusherable_activity 'benchmarks.article' %}"),
        "tag, a user": tag("{% pusherable_activity user=someone %}"),
        "tag, a user's of a model": tag("{% pusherable_activity 'benchmarks.article' user=someone %}"),
        "activity page": page(activity),
        "activity page, deep": page(activity, before_id=MIDDLE),
        "activity page, an object": page(activity + "benchmarks.article/4/"),
    }
    found |= {
        f"activity page, {title}": page(activity, **parameters)
        for title, parameters in filters.items()
        if title
        in {"action=imported (60, long ago)", "username, frequent", "remote_addr, unknown", "within=24h"}
    }
    return found


def plans(log: Log, read: Read) -> list[str]:
    """Of each query, how it was carried out."""
    from django.db import connections

    found = []
    for sql in log.queries(read):
        if not sql.startswith(("SELECT", "WITH")) or any(f'FROM "{table}"' in sql for table in OTHERS):
            continue
        with connections[log.alias].cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) {sql}")
            found.append("\n".join(line for (line,) in cursor.fetchall()))
    return found


def run(small: int, large: int, rounds: int) -> None:
    import django

    from tests import databases

    server = databases.postgres()
    aliases = {"small": small, "large": large}
    set_up({"default": server} | {alias: server | {"NAME": alias} for alias in aliases}, **SETTINGS)
    from django.core.management import call_command
    from django.db import connection

    from benchmarks.models import Article

    logs = {}
    for alias, events in aliases.items():
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {alias}")
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
        fill(alias, events)
        logs[alias] = Log(alias)
        Article.objects.bulk_create(Article(pk=key, title=f"Harbour bridge {key}") for key in range(1, 1001))
    print(f"Python {platform.python_version()}, Django {django.__version__}, {os.cpu_count()} cores;")
    print(f"medians of {rounds} requests in milliseconds, by turns.\n")
    print(f"| page | {small:,} events | {large:,} events | ratio | queries |")
    print("| --- | ---: | ---: | ---: | ---: |", flush=True)
    missed = []
    cases = reads()
    for title, read in cases.items():
        times: dict[str, list[float]] = {alias: [] for alias in aliases}
        for turn in range(rounds + 2):
            for alias, log in logs.items():
                took = log.measure(read)
                if turn > 1:  # the first ones warm up
                    times[alias].append(took)
        one, other = (statistics.median(times[alias]) for alias in aliases)
        own = [sql for sql in logs["large"].queries(read) if not any(table in sql for table in OTHERS)]
        selects = [sql for sql in own if sql.startswith(("SELECT", "WITH"))]
        print(f"| {title} | {one:.1f} | {other:.1f} | {other / one:.2f} | {len(selects)} |", flush=True)
        if other > AIM * one:
            missed.append(title)
    verdict = f"missed by {', '.join(missed)}" if missed else "met"
    print(f"\n- Every page within {AIM} times what it takes with {small:,} events: {verdict}")
    for title, read in cases.items():
        print(f"\n{title}\n{'-' * len(title)}")
        print("\n\n".join(plans(logs["large"], read)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=10_000, help="events of the small log")
    parser.add_argument("--large", type=int, default=1_000_000, help="events of the large log")
    parser.add_argument("--rounds", type=int, default=25, help="requests of each page in each log")
    options = parser.parse_args()
    run(options.small, options.large, options.rounds)


if __name__ == "__main__":
    main()
