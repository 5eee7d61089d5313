"""A server that is gone for a while: nothing is tried in vain, and what was missed waits for the pages."""

import datetime as dt
import threading
import time

import pytest

from pusherable.delivery import relay
from pusherable.delivery.transports import PusherTransport
from pusherable.models import Delivery

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def probes(monkeypatch):
    """The answers of `is_reachable` so far; the next wait between two is short."""
    answers, ask = [], relay.is_reachable
    monkeypatch.setattr(relay, "RETRY_AT_MOST", dt.timedelta(seconds=0.1))
    monkeypatch.setattr(relay, "is_reachable", lambda: answers.append(ask()) or answers[-1])
    return answers


def test_a_server_that_is_gone_is_only_asked_whether_it_is_back(
    server, dispatcher, enqueue, eventually, probes
):
    server.stop()
    enqueue(30)
    dispatcher(reconnect=0).wake("default")
    eventually(lambda: len(probes) >= 5)
    assert probes == [False] * len(probes)
    assert sorted(Delivery.objects.values_list("attempts", flat=True)) == [0] * 20 + [1] * 10
    server.start()
    eventually(lambda: not Delivery.objects.exists())
    assert len(server.messages) == 30


def test_what_was_missed_is_sent_when_the_pages_are_back(server, dispatcher, enqueue, eventually, probes):
    server.stop()
    enqueue()
    dispatcher(reconnect=1.5).wake("default")
    eventually(lambda: len(probes) >= 2)
    server.start()
    eventually(lambda: probes[-1])
    back = time.monotonic()
    assert server.messages == []
    server.wait_for_messages(1, timeout=30)
    assert time.monotonic() - back > 1


def test_a_server_that_only_fails_is_not_waited_for(server, dispatcher, enqueue, eventually, probes):
    server.fail_with = (500, "busy")
    enqueue()
    dispatcher(reconnect=600).wake("default")
    eventually(lambda: probes)
    server.fail_with = None
    server.wait_for_messages(1, timeout=30)
    assert probes[0] is True


def test_closing_does_not_wait_for_a_server_that_is_gone(server, dispatcher, enqueue, eventually, probes):
    server.stop()
    enqueue()
    one = dispatcher(reconnect=600)
    one.wake("default")
    eventually(lambda: len(probes) >= 2)
    server.start()
    eventually(lambda: probes[-1])
    one.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "pusherable"]
    assert Delivery.objects.count() == 1


def test_an_answer_of_any_kind_means_that_the_server_is_there(server, settings):
    assert PusherTransport().probe()
    settings.PUSHER_SECRET = "wrong"
    assert PusherTransport().probe()
    server.stop()
    assert not PusherTransport().probe()


def test_a_wrong_setting_does_not_end_the_thread(settings, dispatcher, enqueue, eventually, probes):
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "no.such.Transport"}
    enqueue()
    one = dispatcher(reconnect=0)
    one.wake("default")
    eventually(lambda: len(probes) >= 2 or not one._thread.is_alive())
    assert one._thread.is_alive()
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "pusherable.delivery.transports.LocmemTransport"}
    eventually(lambda: not Delivery.objects.exists())
