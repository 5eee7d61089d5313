"""Relays that stand still or die while a call is under way: another one takes over when the lease ends."""

import datetime as dt
import json
import os
import signal
import threading

import pytest

from pusherable.delivery import clock
from pusherable.models import Delivery
from tests.delivery.chaos import Processes

pytestmark = pytest.mark.django_db(transaction=True)

#: Seconds that a claim holds of those who are to lose it, instead of minutes.
LEASE = 2


class Relays(Processes):
    """Relays in processes of their own, which send to a server that knows what they do to each other."""

    def __init__(self, folder, server):
        super().__init__(folder)
        self.server = server

    def start_another(self):
        return self.start("relay", 600)

    def start_and_interrupt(self, sent, end):
        """Send the relay a signal while the server has its first call, which then ends as told."""

        def strike(request):
            process.send_signal(sent)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            self.server.fail_with = None
            struck.set()
            return end

        struck = threading.Event()
        self.server.fail_with = strike
        process = self.start("relay", LEASE)
        assert struck.wait(60)
        return process

    @property
    def sent(self):
        """The ids of the events that have arrived so far."""
        return [json.loads(message.data)["event_id"] for message in self.server.messages]


@pytest.fixture
def relays(tmp_path, server):
    relays = Relays(tmp_path, server)
    yield relays
    relays.kill()


def queue_is_empty():
    return not Delivery.objects.exists()


@pytest.mark.parametrize(("end", "arrived"), [(None, 10), ((500, "Internal server error"), 0)])
def test_one_that_was_paused_past_its_lease_does_no_harm(relays, enqueue, eventually, end, arrived):
    events = enqueue(25)
    keys = [event.pk for event in events]
    paused = relays.start_and_interrupt(signal.SIGSTOP, end)
    relays.start_another()
    eventually(queue_is_empty)
    assert relays.sent == keys[:arrived] + keys
    # The same events again, not due yet: these rows are not the ones that the paused relay has claimed.
    later = clock.now("default") + dt.timedelta(hours=1)
    Delivery.objects.bulk_create(Delivery.of(event, deliver_after=later, replayed=True) for event in events)
    replays = list(Delivery.objects.order_by("pk").values())
    paused.send_signal(signal.SIGCONT)
    eventually(lambda: "settled" in relays.log(paused))
    assert list(Delivery.objects.order_by("pk").values()) == replays
    assert relays.sent == keys[:arrived] + keys
    paused.terminate()  # what it claims, it may lose again
    paused.wait(60)
    Delivery.objects.update(deliver_after=clock.now("default"))
    eventually(queue_is_empty)
    assert relays.sent == keys[:arrived] + keys + keys
    relays.stop()


@pytest.mark.parametrize(("end", "arrived"), [(None, 10), ("hang", 0)])
def test_the_events_of_one_that_was_killed_are_taken_over(relays, enqueue, eventually, end, arrived):
    keys = [event.pk for event in enqueue(25)]
    relays.start_and_interrupt(signal.SIGKILL, end)
    eventually(lambda: relays.sent == keys[:arrived])
    assert {row.attempts for row in Delivery.objects.all()} == {1}
    relays.start_another()
    eventually(queue_is_empty)
    assert relays.sent == keys[:arrived] + keys
    relays.stop()
