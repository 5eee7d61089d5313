"""The events of one object leave in the order of their ids, and hold back those of no other."""

import random
import threading
from collections import defaultdict

import pytest
from django.db import connection, connections, transaction

from pusherable.delivery import breaker as breakers
from pusherable.delivery import relay as relays
from pusherable.delivery.breaker import breaker
from pusherable.delivery.relay import Relay, Tally, lease
from pusherable.delivery.transports import RefusedError, TransportError
from pusherable.models import AccessEvent, Delivery

pytestmark = pytest.mark.django_db(transaction=True)


class Stormy:
    """Fails now and then, in every way that there is; remembers in which order events arrived first."""

    def __init__(self, seed, refused=()):
        self.chance = random.Random(seed)
        self.refused = set(refused)
        self.lock = threading.Lock()
        self.arrived = []

    def send(self, messages):
        with self.lock:
            kind, arrives = self.chance.random(), self.chance.random() < 0.5
            slow = self.chance.random() < 0.1
        if slow:
            threading.Event().wait(0.02)
        if any(message.channel in self.refused for message in messages):
            raise RefusedError("wrong")
        if kind < 0.3 and not arrives:
            raise TransportError("It did not arrive.")
        with self.lock:
            self.arrived += [message.channel for message in messages if message.channel not in self.arrived]
        if kind < 0.3:
            raise TransportError("It did arrive, but nobody said so.")


@pytest.fixture
def impatient(monkeypatch):
    """Everything is tried again soon."""
    monkeypatch.setattr(relays, "RETRY_AT_MOST", 0.03)
    monkeypatch.setattr(breakers, "PAUSE_AT_MOST", 0.01)


@pytest.fixture
def at_once():
    """Runs so many relays, each in a thread with a database connection of its own."""
    running = []

    def start(count, **options):
        for _ in range(count):
            relay = Relay("default", **options)
            thread = threading.Thread(target=relay.run, kwargs={"idle": 0.02})
            running.append((relay, thread))
            thread.start()

    yield start
    for relay, _ in running:
        relay.stop()
    for _, thread in running:
        thread.join(60)
        assert not thread.is_alive()


def check_order(events, arrived):
    """Each object's events arrived for the first time in the order of their ids."""
    place = {channel: number for number, channel in enumerate(arrived)}
    objects = defaultdict(list)
    for event in events:
        if f"poll_{event.pk}" in place:
            objects[event.object_pk].append(place[f"poll_{event.pk}"])
    for places in objects.values():
        assert places == sorted(places)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("count", "objects"), [(1, 5), (3, 5), (3, 40)])
def test_whatever_fails_and_however_many_relays(
    enqueue, use_transport, eventually, impatient, at_once, seed, count, objects
):
    stormy = Stormy(seed)
    use_transport(stormy.send)
    events = enqueue(200, objects=objects)
    at_once(count, batch_size=20 + 20 * seed, concurrency=4)
    events += enqueue(100, objects=objects)
    eventually(lambda: not Delivery.objects.exists())
    assert len(stormy.arrived) == 300
    check_order(events, stormy.arrived)


@pytest.mark.parametrize("seed", range(2))
def test_what_is_given_up_is_left_out(enqueue, use_transport, eventually, impatient, at_once, seed):
    stormy = Stormy(seed)
    events = enqueue(150, objects=12)
    bad = random.Random(seed).sample(events, 20)
    stormy.refused = {f"poll_{event.pk}" for event in bad}
    use_transport(stormy.send)
    at_once(3, batch_size=30, concurrency=4)
    eventually(lambda: not Delivery.objects.filter(failed_at=None).exists())
    assert sorted(Delivery.objects.values_list("pk", flat=True)) == sorted(event.pk for event in bad)
    assert len(stormy.arrived) == 130
    check_order(events, stormy.arrived)


@pytest.mark.parametrize("seed", range(2))
def test_where_relays_are_killed(enqueue, use_transport, impatient, killed, clock, seed):
    """What they had in hand is due again when the lease is over, and comes before what is later."""
    stormy, chance = Stormy(seed), random.Random(seed)
    use_transport(stormy.send)
    events = enqueue(60, objects=6)
    for _ in range(500):
        if not Delivery.objects.exists():
            break
        if chance.random() < 0.3:
            killed(batch_size=chance.randint(1, 20))
        Relay("default", batch_size=chance.randint(1, 30), concurrency=1).drain(limit=chance.randint(1, 30))
        clock.tick(lease() if chance.random() < 0.2 else 0.01)
    assert len(stormy.arrived) == 60
    check_order(events, stormy.arrived)


def test_one_that_fails_holds_back_its_own_object_and_no_other(enqueue, clock, use_transport, queue):
    events = enqueue(30, objects=3)
    mine = events[::3]
    Delivery.objects.filter(event__in=mine).update(attempts=4)  # so that each of them is sent alone
    sent = []

    def send(messages):
        if messages[0].channel == f"poll_{mine[2].pk}":
            raise TransportError("not now")
        sent.extend(message.channel for message in messages)

    use_transport(send)
    assert Relay("default").drain() == Tally(sent=22, postponed=1)
    check_order(events, sent)
    assert [(row.event_id, row.attempts, row.claim) for row in queue()] == [
        (mine[2].pk, 5, None),
        # Those behind it are due, wait all the same, and have not been tried.
        *((event.pk, 4, None) for event in mine[3:]),
    ]
    assert Relay("default").drain() == Tally()


def test_those_that_wait_are_not_claimed_in_vain(enqueue, clock, recipient, django_assert_max_num_queries):
    """There may be thousands behind one that has to be tried again."""
    first, *_rest = enqueue(50)
    Delivery.objects.filter(event=first).update(deliver_after=relays.clock.now("default") + lease())
    with django_assert_max_num_queries(5):
        assert Relay("default", batch_size=10).drain() == Tally()


def test_what_is_claimed_holds_back_what_comes_after_it(enqueue, clock, recipient, killed):
    first = enqueue()
    killed()
    second, other = enqueue(), enqueue(object_pk="other")
    assert Relay("default").drain() == Tally(sent=1)
    assert recipient.channels == [f"poll_{other.pk}"]
    clock.tick(lease())
    assert Relay("default").drain() == Tally(sent=2)
    assert recipient.channels[1:] == [f"poll_{first.pk}", f"poll_{second.pk}"]


def test_what_was_given_up_holds_nothing_back(enqueue, clock, recipient, queue):
    first, second = enqueue(2)
    Delivery.objects.filter(event=first).update(failed_at=relays.clock.now("default"))
    assert Relay("default").drain() == Tally(sent=1)
    assert recipient.channels == [f"poll_{second.pk}"]
    assert [row.event_id for row in queue()] == [first.pk]


def test_objects_are_told_apart_by_type_and_key(enqueue):
    lanes = {
        Delivery.of(AccessEvent(object_type=kind, object_pk=key)).lane
        for kind in ("testapp.poll", "testapp.page")
        for key in ("1", "2", "é" * 255, "😀")
    }
    assert len(lanes) == 8
    assert all(0 <= lane < 2**31 for lane in lanes)


@pytest.fixture
def unfinished():
    """Another relay is about to claim a delivery: it has changed the row, and not committed yet."""
    started, done = threading.Event(), threading.Event()
    threads = []

    def claim(event):
        def hold():
            try:
                with transaction.atomic():
                    Delivery.objects.filter(event=event).update(last_error="being claimed")
                    started.set()
                    assert done.wait(60)
            finally:
                connections.close_all()

        threads.append(threading.Thread(target=hold))
        threads[0].start()
        assert started.wait(60)
        if not connection.features.has_select_for_update_skip_locked:
            finish()  # where nobody else can write meanwhile, nobody else can claim

    def finish():
        done.set()
        threads[0].join(60)

    claim.finish = finish
    yield claim
    done.set()


def test_what_is_just_being_claimed_holds_back_what_comes_after_it(
    enqueue, recipient, unfinished, queue, eventually
):
    """Its row still looks as if it were due, which is all that a query can see."""
    *first, other = [enqueue(), enqueue(), enqueue(object_pk="other")]
    unfinished(first[0])
    spinning = []

    def count(execute, sql, params, many, context):
        spinning.append(sql)
        assert len(spinning) < 60, "it does not end"
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        Relay("default").drain()
    if connection.features.has_select_for_update_skip_locked:
        assert recipient.channels == [f"poll_{other.pk}"]
        assert [(row.attempts, row.claim) for row in queue()] == [(0, None)] * 2
        unfinished.finish()
    eventually(lambda: Relay("default").drain() and not queue())
    assert sorted(recipient.channels) == sorted(f"poll_{event.pk}" for event in [*first, other])
    check_order(first, recipient.channels)
    assert not breaker.is_open
