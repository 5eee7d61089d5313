"""The one engine that claims due deliveries, sends them and settles them; every dispatcher drives it."""

import datetime as dt
import logging
import random
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

from django.db import connections, transaction
from django.db.models import Exists, F, Min, OuterRef, QuerySet
from django.utils import timezone

from pusherable.delivery.messages import messages
from pusherable.delivery.transports import RefusedError, TransportError, transport
from pusherable.models import AccessEvent, Delivery
from pusherable.snapshots import clean

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
        taken = due.filter(event_id__in=keys).update(
            claim=token, deliver_after=now + LEASE, attempts=F("attempts") + 1
        )
    mine = Delivery.objects.using(using).filter(event_id__in=keys, claim=token)
    deliveries = list(mine.select_related("event").order_by("event_id"))
    if len(deliveries) < taken:  # the events of the others have been deleted: there is nothing to send
        events = AccessEvent.objects.using(using).filter(pk=OuterRef("pk"))
        Delivery.objects.using(using).filter(~Exists(events))._raw_delete(using)
        return deliveries or claim(using, size)
    return deliveries


def settle(using: str, deliveries: Sequence[Delivery]) -> None:
    """The deliveries have been sent: they leave the queue, as far as their claim still holds."""
    # Not `delete()`: receivers that another app connects for every model would make it load each row.
    rows = _claimed(using, deliveries)
    rows._raw_delete(using)


def postpone(using: str, deliveries: Sequence[Delivery], error: Exception) -> None:
    """Sending failed: the deliveries are due again later, the later the more often that happened."""
    now = timezone.now()
    for attempts in {delivery.attempts for delivery in deliveries}:
        same = [delivery for delivery in deliveries if delivery.attempts == attempts]
        wait = backoff(attempts)
        _claimed(using, same).update(claim=None, last_error=_text(error), deliver_after=now + wait)


def give_up(using: str, delivery: Delivery, error: Exception) -> None:
    """The delivery can never be sent: it stays in the queue to be seen, but is not taken again."""
    logger.error("Access event %s cannot be sent and is given up. %s", delivery.event_id, _text(error))
    _claimed(using, [delivery]).update(claim=None, last_error=_text(error), failed_at=timezone.now())


def backoff(attempts: int) -> dt.timedelta:
    """How long to wait after so many failures in a row: doubling, and spread so that not all come at once."""
    longest = min(RETRY_AFTER * 2 ** min(attempts - 1, 30), RETRY_AT_MOST)
    spread = random.uniform(0.5, 1)  # noqa: S311  # not for secrets
    return dt.timedelta(seconds=longest.total_seconds() * spread)


def is_reachable() -> bool:
    """Whether the transport's server answers; asked during an outage, so as to spare the deliveries."""
    try:
        probe = getattr(transport.get(), "probe", None)
        return probe is None or bool(probe())
    except Exception:  # noqa: BLE001  # a wrong setting, or whatever a project's own transport raises
        return False


def next_due(using: str) -> dt.datetime | None:
    """When the next delivery will be due; None if the queue is empty."""
    waiting = Delivery.objects.using(using).filter(failed_at=None)
    earliest: dt.datetime | None = waiting.aggregate(earliest=Min("deliver_after"))["earliest"]
    return earliest


def _send(using: str, deliveries: Sequence[Delivery]) -> bool:
    error = _hand_over(deliveries)
    if isinstance(error, RefusedError) and len(deliveries) > 1:
        return _send_apart(using, deliveries)
    if error is not None:
        _log_failure(using, error)
        postpone(using, deliveries, error)
        return False
    _log_success(using)
    settle(using, deliveries)
    return True


def _send_apart(using: str, deliveries: Sequence[Delivery]) -> bool:
    """One that is wrong, or the size of all together, must not keep the others back.

    What is refused while others are taken is given up; if none is taken, the server may be what is wrong.
    """
    outcomes = [(delivery, _hand_over([delivery])) for delivery in deliveries]
    sent = [delivery for delivery, error in outcomes if error is None]
    for delivery, error in outcomes:
        if sent and isinstance(error, RefusedError):
            give_up(using, delivery, error)
        elif error is not None:
            _log_failure(using, error)
            postpone(using, [delivery], error)
    if sent:
        _log_success(using)
        settle(using, sent)
    return bool(sent)


def _hand_over(deliveries: Sequence[Delivery]) -> Exception | None:
    """Send all messages of the deliveries; returns why they may not have arrived."""
    try:
        try:
            batch = [message for delivery in deliveries for message in messages(delivery)]
        except Exception as error:
            raise RefusedError(f"It cannot be encoded: {type(error).__name__}: {error}") from error
        for start in range(0, len(batch), BATCH):
            transport.get().send(batch[start : start + BATCH])
    except Exception as error:  # noqa: BLE001  # a project's own transport may raise anything
        return error
    return None


def _log_failure(using: str, error: Exception) -> None:
    if using not in _failing:
        _failing.add(using)
        logger.warning(
            "Sending access events failed; they are kept and tried again. %s",
            _text(error),
            exc_info=None if isinstance(error, TransportError) else error,
        )


def _log_success(using: str) -> None:
    if using in _failing:
        _failing.discard(using)
        logger.info("Sending access events works again.")


def _text(error: Exception) -> str:
    """What a server answered may be long, and hold what not every database takes."""
    return clean(f"{error}")[:1000]


def _claimed(using: str, deliveries: Sequence[Delivery]) -> QuerySet[Delivery]:
    keys = [delivery.event_id for delivery in deliveries]
    return Delivery.objects.using(using).filter(event_id__in=keys, claim=deliveries[0].claim)
