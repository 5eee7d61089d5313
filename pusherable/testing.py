"""For a project's own tests: which accesses a piece of code recorded."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import router
from django.db.models import Max

from pusherable.models import AccessEvent


@contextmanager
def capture_events(using: str | None = None) -> Iterator[list[AccessEvent]]:
    """Collect the events that are recorded inside the ``with`` block, oldest first.

    The list is filled when the block ends, from the database, so that what a transaction took back is not
    in it, and what another thread (a live server) recorded is. ::

        with capture_events() as events:
            client.get("/polls/1/")
        assert [event.action for event in events] == ["view"]
    """
    log = AccessEvent.objects.using(using or router.db_for_write(AccessEvent))
    last = log.aggregate(last=Max("id"))["last"] or 0
    events: list[AccessEvent] = []
    yield events
    events += log.filter(id__gt=last).order_by("id")
