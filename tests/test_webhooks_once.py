"""Each webhook is in the log once: replays, failures, the same at the same moment, and what is remembered."""

import threading

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from freezegun import freeze_time

from pusherable.models import AccessEvent, Webhook
from pusherable.signals import event_recorded
from tests.webhooks import bring, removed, tell, webhook

pytestmark = pytest.mark.django_db

LEFT = removed("presence-poll_1", "5")


@pytest.fixture(autouse=True)
def _site(settings):
    settings.ROOT_URLCONF = "tests.webhooks"


def recorded():
    return list(AccessEvent.objects.order_by("pk").values_list("action", "object_pk", "user_pk"))


def test_a_replay_makes_no_second_row():
    body = webhook(LEFT)
    assert [bring(body).status_code for _ in range(3)] == [200, 200, 200]
    assert len(recorded()) == 1


def test_the_same_from_another_visit_is_another_one():
    tell(LEFT, ago=60)
    tell(LEFT)
    assert len(recorded()) == 2


@pytest.fixture
def in_the_transaction(settings):
    """Has a function called while the first webhook is being recorded; what it raises takes that back."""

    def in_the_transaction(function):
        calls = iter([function])
        settings.PUSHERABLE_CONTEXT = lambda request: next(calls, dict)()

    return in_the_transaction


def fail():
    raise RuntimeError("The server is being stopped.")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic", [False, True], ids=["no", "ATOMIC_REQUESTS"])
@pytest.mark.parametrize("policy", ["raise", "log"])
def test_what_could_not_be_recorded_is_told_again(settings, monkeypatch, in_the_transaction, policy, atomic):
    """Pusher repeats what is answered with 500."""
    settings.PUSHERABLE_ON_ERROR = policy
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    body = webhook(LEFT)
    in_the_transaction(fail)
    assert bring(body, Client(raise_request_exception=False)).status_code == 500
    assert (recorded(), Webhook.objects.count()) == ([], 0)
    for _ in range(2):
        assert bring(body).status_code == 200
        assert (len(recorded()), Webhook.objects.count()) == (1, 1)


class Bringer(threading.Thread):
    """Brings a webhook from a thread and a database connection of its own."""

    def __init__(self, body, barrier=None):
        super().__init__()
        self.body = body
        self.barrier = barrier
        self.answered = threading.Event()

    def run(self):
        try:
            if self.barrier:
                self.barrier.wait(60)
            # A client hears of the errors of all threads, and would raise them.
            self.status = bring(self.body, Client(raise_request_exception=False)).status_code
            self.answered.set()
        finally:
            connections.close_all()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fails", [False, True], ids=["recorded", "taken back"])
def test_a_replay_waits_for_what_becomes_of_the_first(in_the_transaction, fails):
    """Were it answered before, the event would be lost if the first one is taken back."""
    body = webhook(LEFT)
    second, too_early = Bringer(body), []

    def meanwhile():
        second.start()
        too_early.append(second.answered.wait(0.5))
        return fail() if fails else {}

    in_the_transaction(meanwhile)
    first = bring(body, Client(raise_request_exception=False))
    second.join(60)
    assert too_early == [False]
    assert (first.status_code, second.status) == (500 if fails else 200, 200)
    assert len(recorded()) == 1


@pytest.mark.django_db(transaction=True)
def test_many_at_the_same_moment():
    barrier = threading.Barrier(8)
    bodies = [webhook(LEFT), webhook(LEFT, removed("presence-poll_2", "6"), ago=1)]
    bringers = [Bringer(body, barrier) for body in bodies * 4]
    for bringer in bringers:
        bringer.start()
    for bringer in bringers:
        bringer.join(60)
    assert [bringer.status for bringer in bringers] == [200] * 8
    assert sorted(recorded()) == [("left", "1", "5"), ("left", "1", "5"), ("left", "2", "6")]


@pytest.mark.django_db(transaction=True)
def test_the_table_stays_small():
    """A row goes when its webhook would be refused anyway, and not before."""
    with freeze_time("2026-11-22 10:00:00") as clock:
        first = webhook(LEFT)
        tell(LEFT)
        clock.move_to("2026-11-22 10:10:01")
        assert bring(first).status_code == 400
        tell(LEFT)
        assert Webhook.objects.count() == 2
        for minute in range(10, 59):
            clock.move_to(f"2026-11-22 12:{minute}:00")
            tell(LEFT)
        assert Webhook.objects.count() <= 60
        clock.move_to("2026-11-22 15:00:00")
        tell(LEFT)
        assert Webhook.objects.count() == 1
    assert len(recorded()) == 52


@pytest.mark.django_db(transaction=True)
def test_old_rows_are_found_by_an_index():
    Webhook.objects.bulk_create(
        Webhook(digest=f"{number:064}", received_at=timezone.now()) for number in range(2000)
    )
    if connection.vendor != "mysql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {Webhook._meta.db_table}")
    with CaptureQueriesContext(connection) as captured:
        tell(LEFT)
    [delete] = [query["sql"] for query in captured if query["sql"].startswith("DELETE")]
    with connection.cursor() as cursor:
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {delete}")
        assert "pusherable_webhook_time" in str(cursor.fetchall())


class LogApart:
    """The log in a database of its own; who reads without asking the router's writer finds nothing."""

    def db_for_write(self, model, **hints):
        return "log" if model._meta.app_label == "pusherable" else None


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_the_log_in_a_database_of_its_own(settings):
    settings.DATABASE_ROUTERS = [LogApart()]
    body = webhook(LEFT)
    for _ in range(2):
        assert bring(body).status_code == 200
    assert (AccessEvent.objects.count(), Webhook.objects.count()) == (0, 0)
    assert (AccessEvent.objects.using("log").count(), Webhook.objects.using("log").count()) == (1, 1)


def test_projects_hear_of_it():
    heard = []

    def receiver(event, using, **kwargs):
        heard.append((event.action, event.pk, using))

    event_recorded.connect(receiver)
    try:
        tell(LEFT)
    finally:
        event_recorded.disconnect(receiver)
    assert heard == [("left", AccessEvent.objects.get().pk, "default")]
