"""Everything that can die dies, and everything that can fail fails: no event is lost."""

import json
import random
import signal
import threading
import time
from collections import Counter, defaultdict

import pytest
from django.db import connection
from django.utils import timezone

from pusherable.models import AccessEvent, Delivery
from tests.delivery.chaos import Processes
from tests.testapp.models import Poll

pytestmark = pytest.mark.django_db(transaction=True)

SEED = 1122
EVENTS = 10_000
POLLS = 100
RELAYS = 3
#: The writers and who sends what they record. Two send themselves; the other two leave it to the relays.
WRITERS = {"anna": "Thread", "bert": "Relay", "cora": "Thread", "dora": "Relay"}
#: Kills, one a second; more if the writers take longer.
KILLS = 20
#: Events that are recorded between two of them, or on a slow machine nobody would ever get anywhere.
BETWEEN = 100
#: Of what became of the calls: 20 % answer 500, 5 % time out (every other one having arrived), 1 % answer
#: 200 with an error, as soketi does. A 500 that has delivered all the same is the same as "mute" to us.
FAULTS = {
    (500, "Internal server error"): 0.20,
    "hang": 0.025,
    "mute": 0.025,
    (200, '{"error": "The app is busy", "code": 4301}'): 0.01,
}


class Faults:
    """What fails, in the order that the seed decides, and how often that was."""

    def __init__(self):
        self.chance = random.Random(SEED)
        self.counts = Counter()

    def __call__(self, request):
        [fault] = self.chance.choices([*FAULTS, None], [*FAULTS.values(), 1 - sum(FAULTS.values())])
        self.counts[fault if fault is None or isinstance(fault, str) else fault[0]] += 1
        return fault


@pytest.fixture
def processes(tmp_path):
    processes = Processes(tmp_path)
    yield processes
    processes.kill()


@pytest.fixture
def publish(record_property, capsys):
    """Print a report even where the test passes, and put it into the results."""

    def publish(report):
        record_property("report", json.dumps(report))
        with capsys.disabled():
            print(f"\n{json.dumps(report)}")

    return publish


def start_writer(processes, name):
    dispatcher = {"BACKEND": f"pusherable.delivery.dispatchers.{WRITERS[name]}Dispatcher"}
    return processes.start("writer", name, EVENTS // len(WRITERS), PUSHERABLE_DISPATCHER=dispatcher)


def let_them_die(processes):
    """Kill somebody every second, and start another in the same place, until everything is recorded."""
    chance, clock = random.Random(SEED), threading.Event()
    starts = {name: lambda name=name: start_writer(processes, name) for name in WRITERS}
    starts |= {number: lambda: processes.start("relay") for number in range(RELAYS)}
    running = {place: start() for place, start in starts.items()}
    kills, enough = Counter(), 0
    while kills.total() < KILLS or any(name in running for name in WRITERS):
        clock.wait(1)
        processes.check()
        recorded = AccessEvent.objects.count()
        if recorded < min(enough, EVENTS):
            continue
        enough = recorded + BETWEEN
        running = {place: process for place, process in running.items() if process.poll() is None}
        place = chance.choice(list(running))
        running[place].send_signal(signal.SIGKILL)
        running[place].wait()
        running[place] = starts[place]()
        kills["writers" if place in WRITERS else "relays"] += 1
    return kills


def first_arrivals_out_of_order(received):
    """How many events arrived for the first time when a later one of the same object had arrived already."""
    seen, newest, out_of_order = set(), defaultdict(int), 0
    for channel, event_id in received:
        if event_id not in seen:
            out_of_order += event_id < newest[channel]
            newest[channel] = max(newest[channel], event_id)
            seen.add(event_id)
    return out_of_order


def test_no_event_is_lost(server, settings, processes, eventually, publish):
    settings.PUSHER_TIMEOUT = 1
    Poll.objects.bulk_create(Poll(question=name, pub_date=timezone.now()) for name in [*WRITERS] * POLLS)
    server.fail_with = faults = Faults()
    started = time.monotonic()

    kills = let_them_die(processes)
    recorded = time.monotonic()
    # What a killed relay had in hand is due again when its lease is over.
    eventually(lambda: processes.check() or not Delivery.objects.filter(failed_at=None).exists(), timeout=300)
    ended = time.monotonic()
    processes.stop()

    events = set(AccessEvent.objects.values_list("pk", "action"))
    received = [(message.channels[0], json.loads(message.data)["event_id"]) for message in server.messages]
    times = Counter(event_id for _, event_id in received)
    report = {
        "database": connection.vendor,
        "events": len(events),
        "duplicates": len(received) - len(times),
        "most often": max(times.values()),
        "out of order": first_arrivals_out_of_order(received),
        "kills": dict(kills),
        "calls": faults.counts.total(),
        "answers": {str(fault or "fine"): count for fault, count in faults.counts.most_common()},
        "seconds": f"{recorded - started:.1f} + {ended - recorded:.1f}",
    }
    publish(report)
    assert {action for _, action in events} == {"view"}
    assert len(events) == EVENTS
    assert set(times) == {pk for pk, _ in events}, "lost, or never committed"
    assert not Delivery.objects.exists(), "some were given up"
    assert report["out of order"] == 0
