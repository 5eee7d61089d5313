"""What a project hears of: for its metrics and its logs."""

import pytest
from django.db import connection, transaction

from pusherable import signals
from pusherable.delivery.relay import Relay
from pusherable.delivery.transports import LocmemTransport, TransportError
from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access
from tests.testapp.models import Poll

pytestmark = pytest.mark.django_db


@pytest.fixture
def listen():
    """Connects receivers to signals of ours, for the time of a test."""
    connected = []

    def listen(name, receiver):
        signal = getattr(signals, name)
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield listen
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def heard(listen):
    """All signals of one name so far, as dictionaries."""

    def hear(name):
        told = []

        def receiver(signal, **kwargs):
            told.append(kwargs)

        hear.receivers.append(receiver)  # a signal keeps a weak reference only
        listen(name, receiver)
        return told

    hear.receivers = []
    return hear


def refuse(*args, **kwargs):
    raise ZeroDivisionError("a bug of the receiver's")


# Recorded


def test_event_recorded(heard, poll, sent):
    told = heard("event_recorded")
    event = record_access(poll, "view")
    assert told == [{"sender": AccessEvent, "event": event, "using": "default"}]
    assert event.pk is not None


def test_event_recorded_of_what_is_not_broadcast(heard, sent):
    told = heard("event_recorded")
    event = record_access(Poll, "create")
    assert [one["event"] for one in told] == [event]
    assert sent == []


@pytest.mark.django_db(databases=["default", "log"])
def test_event_recorded_says_where(heard, poll, sent):
    told = heard("event_recorded")
    record_access(poll, "view", using="log")
    assert [one["using"] for one in told] == ["log"]


@pytest.mark.django_db(transaction=True)
def test_event_recorded_is_sent_in_the_transaction(listen, poll, sent):
    """As `post_save` is: what a receiver writes is committed with the event, or not at all."""
    inside = []

    def receiver(event, **kwargs):
        inside.append(
            (connection.in_atomic_block, AccessEvent.objects.filter(pk=event.pk).exists(), len(sent))
        )
        Poll.objects.create(question=f"of {event.pk}", pub_date=event.occurred_at)

    listen("event_recorded", receiver)
    with transaction.atomic():
        record_access(poll, "view")
        transaction.set_rollback(True)
    assert inside == [(True, True, 0)]
    assert not Poll.objects.filter(question__startswith="of").exists()


def test_event_recorded_is_not_sent_where_nothing_was_recorded(heard, settings, poll, sent):
    settings.PUSHERABLE_ON_ERROR = "log"
    told = heard("event_recorded")
    assert record_access(poll, "view", channels=["no channel"]) is None
    assert told == []


@pytest.mark.parametrize("handling", ["raise", "log"])
def test_a_receiver_that_raises_disturbs_nobody(
    listen, settings, poll, sent, heard, handling, django_capture_on_commit_callbacks
):
    settings.PUSHERABLE_ON_ERROR = handling
    for name in ("event_recorded", "events_delivered", "delivery_failed"):
        listen(name, refuse)
    told = heard("events_delivered")
    with django_capture_on_commit_callbacks(execute=True):
        event = record_access(poll, "view")
    assert len(sent) == len(told) == 1
    assert AccessEvent.objects.get(pk=event.pk).status == "delivered"


# Delivered


def test_events_delivered(heard, poll, woken):
    told = heard("events_delivered")
    events = [record_access(poll, "view") for _ in range(25)]
    Relay("default").drain()
    assert [(one["sender"], one["using"]) for one in told] == [(Relay, "default")] * len(told)
    assert [event for one in told for event in one["events"]] == events
    assert len(told) <= 3, "once for each settle, not for each event"


def test_events_delivered_comes_when_the_queue_has_forgotten_them(listen, poll, woken):
    left = []

    def receiver(events, **kwargs):
        left.append(Delivery.objects.filter(event__in=events).count())
        assert all(event.username == "" and event.channels for event in events)

    listen("events_delivered", receiver)
    record_access(poll, "view")
    Relay("default").drain()
    assert left == [0]


def test_nothing_delivered_is_no_news(heard, poll, woken, monkeypatch):
    def fail(self, messages):
        raise TransportError("away")

    told = heard("events_delivered")
    Relay("default").drain()
    record_access(poll, "view")
    monkeypatch.setattr(LocmemTransport, "send", fail)
    assert Relay("default").drain().postponed == 1
    assert told == []


# Given up


def test_delivery_failed(heard, settings, poll, woken, monkeypatch):
    def fail(self, messages):
        raise TransportError("away")

    settings.PUSHERABLE_MAX_ATTEMPTS = 1
    told = heard("delivery_failed")
    event = record_access(poll, "view")
    monkeypatch.setattr(LocmemTransport, "send", fail)
    Relay("default").drain()
    assert told == [{"sender": Relay, "event": event, "error": "away", "using": "default"}]
    assert Delivery.objects.get().failed_at is not None
