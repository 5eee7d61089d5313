"""Events as they are some time after they were recorded: delivered, or still in the queue."""

import datetime as dt

from django.utils import timezone

from pusherable.models import AccessEvent, Delivery

HOUR = dt.timedelta(hours=1)


def log(count=1, status="delivered", *, using="default", **fields):
    """Events of this status, each of an object of its own; returns their ids, oldest first."""
    return [_write(number, status, using, fields) for number in range(count)]


def _write(number, status, using, fields):
    event = AccessEvent(
        **{"action": "view", "object_type": "testapp.poll", "object_pk": f"{number}", "object_repr": "Poll"}
        | {"username": "ada", "channels": [] if status == "not broadcast" else [f"poll_{number}"]}
        | fields
    )
    event.save(using=using)
    rows = {
        "failed": {"failed_at": timezone.now(), "attempts": 500, "last_error": "It was too bad."},
        "pending": {"attempts": 7, "last_error": "It was bad."},
    }
    if status in rows:
        later = timezone.now() + HOUR  # also where it failed: that is when its lease would have ended
        Delivery.of(event, deliver_after=later, **rows[status]).save(using=using)
    return event.pk
