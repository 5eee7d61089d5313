"""A server that is gone for a while: nothing is tried in vain, and what was missed waits for the pages."""

import threading
import time

import pytest

from pusherable.delivery import breaker as breakers
from pusherable.delivery import relay
from pusherable.models import Delivery

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def probes(monkeypatch):
    """The answers of the server's probe so far, each False or when it came; no wait is long."""
    answers, ask = [], breakers._can_connect
    monkeypatch.setattr(breakers, "PAUSE_AT_MOST", 0.1)
    monkeypatch.setattr(relay, "RETRY_AT_MOST", 0.1)

    def probe():
        answers.append(ask() and time.monotonic())
        return answers[-1]

    monkeypatch.setattr(breakers, "_can_connect", probe)
    return answers


@pytest.fixture
def reconnect(monkeypatch):
    """Set the time that the pages get."""
    return lambda seconds: monkeypatch.setattr(breakers, "RECONNECT", seconds)


def test_a_server_that_is_gone_is_only_asked_whether_it_is_back(
    server, dispatcher, enqueue, eventually, probes, reconnect
):
    reconnect(0)
    server.stop()
    enqueue(30)
    dispatcher().wake("default")
    eventually(lambda: len(probes) >= 5)
    assert probes == [False] * len(probes)
    assert sorted(Delivery.objects.values_list("attempts", flat=True)) == [0] * 20 + [1] * 10
    server.start()
    eventually(lambda: not Delivery.objects.exists())
    assert len(server.messages) == 30


def test_what_was_missed_is_sent_when_the_pages_are_back(
    server, dispatcher, enqueue, eventually, probes, reconnect
):
    reconnect(1.5)
    server.stop()
    enqueue()
    dispatcher().wake("default")
    eventually(lambda: len(probes) >= 2)
    server.start()
    back = eventually(lambda: probes[-1])
    server.wait_for_messages(1, timeout=60)
    assert time.monotonic() - back >= 1.5


def test_a_server_that_only_fails_is_not_waited_for(
    server, dispatcher, enqueue, eventually, probes, reconnect
):
    reconnect(600)
    server.fail_with = (500, "busy")
    enqueue()
    dispatcher().wake("default")
    eventually(lambda: len(server.requests) >= 4)
    server.fail_with = None
    server.wait_for_messages(1, timeout=60)
    assert probes == []


def test_closing_does_not_wait_for_a_server_that_is_gone(
    server, dispatcher, enqueue, eventually, probes, reconnect
):
    reconnect(600)
    server.stop()
    enqueue()
    one = dispatcher()
    one.wake("default")
    eventually(lambda: len(probes) >= 2)
    server.start()
    eventually(lambda: probes[-1])
    one.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "pusherable"]
    assert Delivery.objects.count() == 1


def test_a_wrong_setting_does_not_end_the_thread(settings, dispatcher, enqueue, eventually, probes):
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "no.such.Transport"}
    enqueue()
    one = dispatcher()
    one.wake("default")
    eventually(lambda: breakers.breaker._pauses >= 2)
    [(_, thread)] = one._running.values()
    assert thread.is_alive()
    assert Delivery.objects.get().attempts <= 1
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "pusherable.delivery.transports.LocmemTransport"}
    eventually(lambda: not Delivery.objects.exists())
