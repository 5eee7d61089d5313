"""What workers do: `drain`, and its form for Celery, whose autodiscovery looks here.

The form for `django.tasks` is in ``pusherable.delivery.django_task``.
"""

from typing import Final

from pusherable.delivery.dispatchers import wake
from pusherable.delivery.relay import Relay

try:
    from celery import shared_task
except ImportError:
    pass
else:

    @shared_task(name="pusherable.drain", ignore_result=True)  # type: ignore[untyped-decorator]
    def celery_drain(using: str) -> None:
        drain(using)


#: Deliveries that one task tries at most: a worker that is to end waits for its task to end.
LIMIT: Final = 1000


def drain(using: str) -> None:
    """Send what is due in the database `using`; the rest of a backlog is for the next task."""
    if Relay(using).drain(limit=LIMIT).sent > LIMIT / 2:
        wake(using)
