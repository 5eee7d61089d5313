"""The one engine that claims due deliveries, sends them and settles them; every dispatcher drives it."""

import datetime as dt
import logging
import random
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

from django.db import connections, transaction
from django.db.models import F, Min, QuerySet
from django.utils import timezone

from pusherable.delivery.messages import messages
from pusherable.delivery.transports import TransportError, transport
from pusherable.models import Delivery

logger = logging.getLogger(__name__)

#: Pusher takes at most this many events in one call.
BATCH: Final = 10
#: How long a claim holds: longer than any send, so that nobody else takes the delivery meanwhile.
LEASE: Final = dt.timedelta(minutes=2)
#: A failed delivery is due again after 1, 2, 4, ... seconds, but never later than the second value.
RETRY_AFTER: Final = dt.timedelta(seconds=1)
RETRY_AT_MOST: Final = dt.timedelta(minutes=1)

# The aliases whose last send failed: an outage is logged when it begins and when it ends.
_failing: set[str] = set()


def drain(using: str, limit: int | None = None) -> bool:
    """Send what is due in the database `using`, oldest first, until nothing is left.

    `limit` is the most deliveries to send (the last batch may pass it). Stops at the first failure, because
    what comes next would fail likewise. Returns whether everything went well; never raises for a failed send.
    """
    sent = 0
    while limit is None or sent < limit:
        deliveries = claim(using)
        if not deliveries:
            break
        if not _send(using, deliveries):
            return False
        sent += len(deliveries)
        if len(deliveries) < BATCH:
            break
    return True


def claim(using: str, size: int = BATCH) -> list[Delivery]:
    """Take up to `size` due deliveries under a lease, with their events; no other caller gets them meanwhile.

    The condition is checked again by the UPDATE, so this is also right where rows cannot be locked (SQLite).
    """
    now = timezone.now()
    token = uuid.uuid4()
    due = Delivery.objects.using(using).filter(deliver_after__lte=now, failed_at=None)
    can_lock = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using) if can_lock else nullcontext():
        locked = due.select_for_update(skip_locked=True) if can_lock else due
        keys = list(locked.order_by("event_id").values_list("event_id", flat=True)[:size])
        if not keys:
            return []
        due.filter(event_id__in=keys).update(
            claim=token, deliver_after=now + LEASE, attempts=F("attempts") + 1
        )
    mine = Delivery.objects.using(using).filter(event_id__in=keys, claim=token)
    return list(mine.select_related("event").order_by("event_id"))


def settle(using: str, deliveries: Sequence[Delivery]) -> None:
    """The deliveries have been sent: they leave the queue, as far as their claim still holds."""
    # Not `delete()`: receivers that another app connects for every model would make it load each row.
    rows = _claimed(using, deliveries)
    rows._raw_delete(using)


def postpone(using: str, deliveries: Sequence[Delivery], error: str) -> None:
    """Sending failed: the deliveries are due again later, the later the more often that happened."""
    now = timezone.now()
    for attempts in {delivery.attempts for delivery in deliveries}:
        same = [delivery for delivery in deliveries if delivery.attempts == attempts]
        wait = backoff(attempts)
        _claimed(using, same).update(claim=None, last_error=error, deliver_after=now + wait)


def backoff(attempts: int) -> dt.timedelta:
    """How long to wait after so many failures in a row: doubling, and spread so that not all come at once."""
    longest = min(RETRY_AFTER * 2 ** min(attempts - 1, 30), RETRY_AT_MOST)
    spread = random.uniform(0.5, 1)  # noqa: S311  # not for secrets
    return dt.timedelta(seconds=longest.total_seconds() * spread)


def next_due(using: str) -> dt.datetime | None:
    """When the next delivery will be due; None if the queue is empty."""
    waiting = Delivery.objects.using(using).filter(failed_at=None)
    earliest: dt.datetime | None = waiting.aggregate(earliest=Min("deliver_after"))["earliest"]
    return earliest


def _send(using: str, deliveries: Sequence[Delivery]) -> bool:
    batch = [message for delivery in deliveries for message in messages(delivery)]
    try:
        for start in range(0, len(batch), BATCH):
            transport.get().send(batch[start : start + BATCH])
    except Exception as error:
        postpone(using, deliveries, f"{error}")
        if using not in _failing:
            expected = isinstance(error, TransportError)
            logger.warning(
                "Sending access events failed; they are kept and tried again. %s",
                error,
                exc_info=not expected,
            )
            _failing.add(using)
        return False
    settle(using, deliveries)
    if using in _failing:
        logger.info("Sending access events works again.")
        _failing.discard(using)
    return True


def _claimed(using: str, deliveries: Sequence[Delivery]) -> QuerySet[Delivery]:
    keys = [delivery.event_id for delivery in deliveries]
    return Delivery.objects.using(using).filter(event_id__in=keys, claim=deliveries[0].claim)
