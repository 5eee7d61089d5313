"""What a relay writes in the queue: each time one short transaction, begun again after a deadlock.

Of two transactions that wait for each other the database ends one. Relays that claim and settle at once in
the same table meet in that way now and then, on InnoDB above all.
"""

import datetime as dt
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from django.db import OperationalError, connections, transaction
from django.db.models import F, QuerySet

from pusherable.models import Delivery

T = TypeVar("T")
Deliveries = QuerySet[Delivery]

#: How often a transaction is begun, at most.
TRIES: Final = 5
#: Seconds until it is begun again, at most; by chance, so that the same two do not meet again.
PAUSE: Final = 0.05

#: PostgreSQL's SQLSTATE of a deadlock, and MySQL's error number.
_DEADLOCK: Final = ("40P01", 1213)


def locks_rows(using: str) -> bool:
    return connections[using].features.has_select_for_update_skip_locked


def take(due: Deliveries, size: int, claim: uuid.UUID, until: dt.datetime) -> dict[int, dt.datetime]:
    """Put up to `size` of these deliveries, oldest first, under the claim; returns when each was due."""

    def write() -> dict[int, dt.datetime]:
        queue = Delivery.objects.using(due.db)
        rows = due
        with transaction.atomic(using=due.db):
            if locks_rows(due.db):
                rows = rows.select_for_update(skip_locked=True)
            else:  # writing first takes SQLite's one lock at once, and waits for it
                queue.filter(event_id=0).update(attempts=0)
            chosen = dict(rows.order_by("event_id").values_list("event_id", "deliver_after")[:size])
            if chosen:
                mine = queue.filter(event_id__in=list(chosen))
                mine.update(claim=claim, deliver_after=until, attempts=F("attempts") + 1)
        return chosen

    return _retried(write, due.db)


def update(deliveries: Iterable[Delivery], using: str, **values: Any) -> int:
    """Change the rows whose claims still hold; returns how many."""
    return sum(_retried(partial(rows.update, **values), using) for rows in _held(deliveries, using))


def delete(deliveries: Iterable[Delivery], using: str) -> None:
    """Delete the rows whose claims still hold."""
    for rows in _held(deliveries, using):
        # Not `delete()`: receivers that another app connects for every model would make it load each row.
        _retried(partial(rows._raw_delete, using), using)


def _held(deliveries: Iterable[Delivery], using: str) -> list[Deliveries]:
    """Their rows, as far as the claims still hold; one queryset for each claim."""
    keys = defaultdict(list)
    for delivery in deliveries:
        keys[delivery.claim].append(delivery.event_id)
    queue = Delivery.objects.using(using)
    return [queue.filter(event_id__in=ids, claim=claim) for claim, ids in keys.items()]


def _retried(write: Callable[[], T], using: str) -> T:
    for _ in range(TRIES - 1):
        try:
            return write()
        except OperationalError as error:
            # A transaction of the caller's has ended with it.
            if connections[using].in_atomic_block or not _is_deadlock(error):
                raise
        time.sleep(random.uniform(0, PAUSE))  # noqa: S311  # nothing secret
    return write()


def _is_deadlock(error: OperationalError) -> bool:
    return (getattr(error.__cause__, "sqlstate", None) or next(iter(error.args), None)) in _DEADLOCK
