"""How the queue of a database is doing: what waits, for how long, and whether anybody works on it."""

import datetime as dt
from dataclasses import dataclass
from typing import Final, Self

from django.db.models import Count, Min, Q

from pusherable.delivery import clock
from pusherable.delivery.relay import relay_of
from pusherable.models import Delivery

#: Seconds in a unit of time, largest first.
UNITS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True)
class Status:
    """Numbers of deliveries; of times, seconds by the clock of the database.

    `lag` is how long the oldest delivery that is neither sent nor given up has waited: since its event, or,
    where it is a replay of an old event, since it was due. So it grows throughout an outage, in which
    deliveries are tried in vain and then not due for a while.
    """

    database: str
    lag: float  # 0 if nothing waits
    due: int  # to be sent now
    oldest_due: float  # for how long the oldest of them has been due; 0 if none is
    sending: int  # claimed by a relay
    relays: int  # relays that have claimed something; one that has nothing to do leaves no trace
    scheduled: int  # to be sent later, most often because it was tried in vain
    failed: int  # given up

    @classmethod
    def of(cls, using: str) -> Self:
        """Read the queue: no lock, no write, and one pass over it."""
        now = clock.now(using)
        queue = Delivery.objects.using(using).order_by()
        is_due, is_later = Q(failed_at=None, deliver_after__lte=now), Q(failed_at=None, deliver_after__gt=now)
        # There is one claim for each batch in hand, and None for all other deliveries: a few groups.
        groups = queue.values("claim").annotate(
            due=Count("pk", filter=is_due),
            first_due=Min("deliver_after", filter=is_due),
            later=Count("pk", filter=is_later),
            failed=Count("pk", filter=~Q(failed_at=None)),
        )
        rows = list(groups)
        in_hand = {row["claim"]: row["later"] for row in rows if row["claim"] is not None and row["later"]}
        sending = sum(in_hand.values())
        oldest_due = max((_seconds(now, row["first_due"]) for row in rows if row["due"]), default=0)
        # The keys are in the order of the log, so that this stops at the first row.
        waiting = queue.filter(failed_at=None, replayed=False).order_by("event_id")
        occurred_at = waiting.values_list("event__occurred_at", flat=True).first()
        return cls(
            database=using,
            lag=max(oldest_due, _seconds(now, occurred_at) if occurred_at else 0),
            due=sum(row["due"] for row in rows),
            oldest_due=oldest_due,
            sending=sending,
            relays=len({relay_of(claim) for claim in in_hand}),
            scheduled=sum(row["later"] for row in rows) - sending,
            failed=sum(row["failed"] for row in rows),
        )


def readable(seconds: float) -> str:
    """A time in its two largest units: ``0.2 s``, ``5 m``, ``1 h 30 m``."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    rest, parts = round(seconds), []
    for unit, size in UNITS.items():
        count, rest = divmod(rest, size)
        parts.append(f"{count} {unit}" if count else "")
    largest = next(place for place, part in enumerate(parts) if part)
    return " ".join(filter(None, parts[largest : largest + 2]))


def _seconds(now: dt.datetime, since: dt.datetime) -> float:
    """Never negative, though a web server's clock may be a moment ahead."""
    return max(round((now - since).total_seconds(), 3), 0)
