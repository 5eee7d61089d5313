"""Sending events again that the queue has given up, or has forgotten because they were delivered."""

import time
from collections.abc import Iterator
from typing import Final

from django.db.models import QuerySet

from pusherable.delivery import clock
from pusherable.delivery.relay import Relay
from pusherable.delivery.worker import Worker
from pusherable.models import AccessEvent, Delivery

#: Events that are in the queue at a time on behalf of a replay, at most.
CHUNK: Final = 500
#: Seconds in which at least one of them has to leave the queue.
PATIENCE: Final = 5
#: Seconds after which the queue is looked at again.
LOOK_AFTER: Final = 0.1


class Replay(Worker):
    """Puts events into the queue again, a chunk at a time, and drives a relay until they have left it.

        replay = Replay(AccessEvent.objects.filter(action="updated").exclude(channels=[]))
        for _chunk in replay:
            print(replay.sent, replay.last)

    `events` have to be broadcast ones; they are taken in the order of the log. `rate` is how many of them are
    sent in a second, at most.

    An event that was delivered gets a new delivery. One that was given up gets all its attempts again. Both
    are marked as replayed. One that waits to be tried again is due now, and stays what it was. What somebody
    is sending at the moment is left to them: other relays, and other replays, may run at the same time.
    """

    def __init__(self, events: QuerySet[AccessEvent], *, rate: float | None = None) -> None:
        super().__init__()
        self.using = events.db
        self.rate = rate
        self.sent = 0
        self.failed = 0
        self.taken = 0
        self.last = 0  # the id of the last event that was taken; all before it were as well
        self.is_complete = False
        # A quarter of a second's worth, so that a rate of thousands a second is even, too.
        self._size = CHUNK if rate is None else max(1, min(CHUNK, int(rate / 4)))
        self._events = (
            events.order_by("pk")
            .select_related("delivery")
            .only("object_type", "object_pk", "delivery__event")
        )
        self._relay = Relay(self.using)

    def __iter__(self) -> Iterator[None]:
        """Yields after every chunk. Ends when all are through, after `stop`, or when nothing can be sent."""
        earliest = 0.0
        while chunk := list(self._events.filter(pk__gt=self.last)[: self._size]):
            self._pause(earliest - time.monotonic())
            if self._stopped:
                return
            earliest = time.monotonic() + (len(chunk) / self.rate if self.rate else 0)
            enqueue(chunk, self.using)
            self.taken += len(chunk)
            self.last = chunk[-1].pk
            has_moved = self._send([event.pk for event in chunk])
            yield
            if not has_moved:
                return
        self.is_complete = True

    @property
    def queued(self) -> int:
        """How many were taken and are still in the queue: they are sent by whoever relays next."""
        return self.taken - self.sent - self.failed

    def _send(self, keys: list[int]) -> bool:
        """Relay until all have left the queue, or no more of them do; returns whether any has.

        What this relay does not get is in the hands of others, or behind such in its lane, or was tried in
        vain and will be due again in a moment.
        """
        waiting = keys
        queue = Delivery.objects.using(self.using)
        deadline = time.monotonic() + PATIENCE
        while waiting:
            self._relay.drain(only=waiting)
            rows = dict(queue.filter(event_id__in=waiting).values_list("event_id", "failed_at"))
            left = [key for key, failed_at in rows.items() if failed_at is None]
            self.sent += len(waiting) - len(rows)
            self.failed += len(rows) - len(left)
            if len(left) < len(waiting):
                deadline = time.monotonic() + PATIENCE
            elif self._stopped or time.monotonic() > deadline:
                break
            waiting = left
            self._pause(LOOK_AFTER if waiting else 0)
        return len(waiting) < len(keys)


def enqueue(events: list[AccessEvent], using: str) -> None:
    """Put broadcast events into the queue again, as `Replay` says; they are sent by whoever relays next."""
    now = clock.now(using)
    queue = Delivery.objects.using(using)
    rows = queue.filter(event_id__in=[event.pk for event in events])
    delivered = [event for event in events if not hasattr(event, "delivery")]
    # Another replay may have been quicker, so a row that is there by now is none the worse.
    queue.bulk_create(
        [Delivery.of(event, deliver_after=now, replayed=True) for event in delivered],
        ignore_conflicts=True,
    )
    rows.exclude(failed_at=None).update(failed_at=None, attempts=0, claim=None, replayed=True)
    # Without a claim: with one, it is a lease that somebody holds.
    rows.filter(failed_at=None, claim=None, deliver_after__gt=now).update(deliver_after=now)
