"""The command: which events, what it says, and how it ends."""

import json
import sys
import threading
from io import StringIO
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connections

from pusherable.delivery import replay as module
from pusherable.delivery.transports import RefusedError, TransportError
from pusherable.models import AccessEvent, Delivery
from tests.delivery.events import log
from tests.management.commands.conftest import Terminal
from tests.management.commands.replays import fails, replay

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0)


def received(recipient):
    """The ids of the events that arrived; those of different objects may change places."""
    return sorted(json.loads(message.data)["event_id"] for call in recipient.calls for message in call)


# Which events


def test_by_every_field(recipient):
    log(status="pending")
    wanted = {
        "--status": "delivered",
        "--action": "updated",
        "--object": "testapp.poll:7",
        "--user": "ada",
        "--since": "2026-11-22",
        "--until": "2026-11-22T12:00",
        "--after-id": "1",
    }
    [other] = log(occurred_at="2026-11-23T12:00Z")
    fields = {"action": "updated", "object_pk": "7", "occurred_at": "2026-11-22T10:00Z", "username": "ada"}
    keys = log(2, **fields)
    for name, value in {"action": "view", "object_pk": "8", "username": "eve"}.items():
        log(**fields | {name: value})
    wanted["--after-id"] = str(other)
    arguments = [part for option in wanted.items() for part in option]
    assert "Sent: 2, failed: 0, still in the queue: 0." in replay("--no-input", *arguments)
    assert received(recipient) == keys


def test_failed_events_need_no_confirmation(recipient):
    log()
    keys = log(3, "failed")
    out = replay(status="failed")
    assert "Events to send: 3 (delivered: 0, failed: 3, pending: 0)" in out
    assert f"Sent: 3, failed: 0, still in the queue: 0. Last id: {keys[-1]}." in out
    assert received(recipient) == keys
    assert not Delivery.objects.exists()


def test_no_more_than_the_limit_and_the_oldest_first(recipient):
    first = log(status="not broadcast")
    keys = log(3, "failed")
    log(status="not broadcast")
    out = replay(after_id=first[0] - 1, limit=2)
    assert (
        "Events to send: 2 (delivered: 0, failed: 2, pending: 0). Not broadcast, and passed over: 1." in out
    )
    assert received(recipient) == keys[:2]


def test_what_is_not_broadcast_is_passed_over(recipient):
    log(2, "not broadcast")
    [key] = log(status="failed")
    assert "passed over: 2" in replay(after_id=0)
    assert received(recipient) == [key]
    log(1, "not broadcast", action="printed")
    out = replay(action="printed")
    assert "Events to send: 0" in out
    assert "passed over: 1" in out


def test_a_filter_that_matches_nothing(recipient):
    log()
    assert replay(action="printed") == "No event matches.\n"


def test_a_rate_per_minute(recipient, monkeypatch):
    slept = []
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: sum(slept)))
    monkeypatch.setattr(module.Replay, "_pause", lambda _, seconds: slept.append(max(seconds, 0)))
    log(3, "failed")
    replay(status="failed", rate="6/m")
    assert sum(slept) == pytest.approx(20)


def test_what_is_recorded_meanwhile_is_not_meant(use_transport, monkeypatch):
    """Otherwise it would never end on a busy site."""
    monkeypatch.setattr(module, "CHUNK", 1)
    arrived = []

    def send(messages):
        arrived.extend(messages)
        if len(arrived) < 10:
            log()

    use_transport(send)
    log(2)
    replay("--no-input", status="delivered")
    assert len(arrived) == 2


def test_what_is_delivered_meanwhile_is_not_sent_again_unasked(use_transport, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1)
    keys = log(2, "pending")
    arrived = []

    def send(messages):
        arrived.extend(message.channel for message in messages)
        Delivery.objects.filter(event_id=keys[1]).delete()

    use_transport(send)
    replay(after_id=0)
    assert arrived == ["poll_0"]


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_in_another_database(recipient):
    log(3, "failed")
    [key] = log(status="failed", using="log")
    assert f"Sent: 1, failed: 0, still in the queue: 0. Last id: {key}." in replay(
        status="failed", database="log"
    )
    assert Delivery.objects.count() == 3


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_the_router_says_where_the_log_is(recipient, settings):
    settings.DATABASE_ROUTERS = ["tests.management.commands.test_pusherable_replay.LogRouter"]
    [key] = log(status="failed", using="log")
    replay(status="failed")
    assert received(recipient) == [key]


class LogRouter:
    def db_for_read(self, model, **hints):
        return "default"

    def db_for_write(self, model, **hints):
        return "log" if model is AccessEvent else None


# What it shows


def test_a_dry_run_changes_nothing(recipient):
    keys = log(12) + log(status="failed") + log(status="pending") + log(status="not broadcast")
    before = list(Delivery.objects.values())
    out = replay("--dry-run", after_id=0)
    assert "Events to send: 14 (delivered: 12, failed: 1, pending: 1)" in out
    assert f"\n{keys[9]}  " in out
    assert f"\n{keys[10]}  " not in out
    assert "ada view testapp.poll 9  delivered\n" in out
    assert out.endswith("Nothing was changed.\n")
    assert list(Delivery.objects.values()) == before
    assert recipient.calls == []


def test_a_name_cannot_control_the_terminal(recipient):
    log(username="\x1b[2Jada\u202e")
    out = replay("--dry-run", after_id=0)
    assert "?[2Jada? view" in out


def test_verbosity_0_is_silent(recipient):
    log(status="failed")
    assert replay(status="failed", verbosity=0) == ""
    assert recipient.calls


def test_progress_is_for_terminals_only(recipient, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1)
    keys = log(3, "failed") + log(3, "failed")
    shown = replay(status="failed", limit=3, stdout=Terminal())
    assert "\r1 of 3\r2 of 3\r3 of 3\nSent: 3" in shown
    kept = replay(status="failed", after_id=keys[2])
    assert "\r" not in kept
    assert len(kept.splitlines()) == 2


# Asking first


def test_delivered_events_are_sent_again_after_a_yes(recipient, keyboard, capsys):
    keys = log(2) + log(status="failed")
    keyboard(b"yes\n")
    assert "Events to send: 3 (delivered: 2, failed: 1, pending: 0)" in replay(after_id=0)
    assert "2 of them have been delivered. Type 'yes'" in capsys.readouterr().out
    assert received(recipient) == keys


@pytest.mark.parametrize("answer", [b"no\n", b"\n", b"y\n", b"\x04"])
def test_and_after_nothing_else(recipient, keyboard, capsys, answer):
    log(2)
    keyboard(answer)
    assert fails(after_id=0) == (1, "Cancelled; nothing was done.")
    assert recipient.calls == []
    assert not Delivery.objects.exists()


def test_without_a_terminal_it_says_how_to_answer(recipient, monkeypatch):
    log(2)
    monkeypatch.setattr(sys, "stdin", StringIO("yes\n"))
    code, message = fails(status="delivered")
    assert code == 1
    assert "2 of these events have been delivered" in message
    assert "--no-input" in message
    assert recipient.calls == []


# How it ends


def test_an_outage_ends_it(recipient, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    recipient.error = TransportError("Pusher is away.")
    keys = log(5, "failed")
    code, message = fails(status="failed")
    assert code == 1
    assert "nothing can be sent at present" in message
    assert "What is in the queue is sent by whoever relays next." in message
    assert f"--after-id {keys[1]} --limit 3." in message
    statuses = [event.status for event in AccessEvent.objects.order_by("pk")]
    assert statuses == ["pending", "pending", "failed", "failed", "failed"]


def test_an_outage_that_leaves_nothing_to_go_on_with(recipient):
    recipient.error = TransportError("Pusher is away.")
    log(5, "failed")
    _code, message = fails(status="failed")
    assert message.endswith("What is in the queue is sent by whoever relays next.")


def test_a_part_that_fails(use_transport):
    def send(messages):
        if any(message.channel == "poll_1" for message in messages):
            raise RefusedError("No.")

    use_transport(send)
    log(3, "failed")
    out = StringIO()
    code, message = fails(status="failed", stdout=out)
    assert (code, message) == (1, "Not all of them were sent.")
    assert "Sent: 2, failed: 1, still in the queue: 0." in out.getvalue()


def test_a_database_that_fails(use_transport, without_table, monkeypatch):
    """What was taken by then is known, and so where to go on."""
    monkeypatch.setattr(module, "CHUNK", 1)
    keys = log(3, "failed")

    def send(messages):
        if messages[0].channel == "poll_1":
            without_table("pusherable_delivery")

    use_transport(send)
    out = StringIO()
    code, message = fails(status="failed", stdout=out)
    assert code == 1
    assert "The database failed: " in message
    assert "What is in the queue is sent by whoever relays next." in message
    assert f"--after-id {keys[1]} --limit 1." in message
    assert "Sent: 1, failed: 0, still in the queue: 1." in out.getvalue()


def test_a_database_that_fails_at_once(recipient, monkeypatch):
    """To go on after id 0 would be more than what was asked for."""

    def now(using):
        raise OperationalError("It is gone.")

    monkeypatch.setattr(module.clock, "now", now)
    [key] = log(status="failed")
    assert fails(after_id=key - 1) == (1, "The database failed: It is gone.")


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_without_a_database_it_fails_plainly(recipient, unreachable, dry_run):
    code, message = fails(status="failed", database=unreachable, dry_run=dry_run)
    assert code == 1
    assert message.startswith(f'The events in the database "{unreachable}" cannot be read. ')


def test_it_may_run_in_a_thread(recipient):
    """Where Python refuses to handle signals."""
    log(status="failed")
    out = []

    def run():
        try:
            out.append(replay(status="failed"))
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert "Sent: 1" in out[0]
