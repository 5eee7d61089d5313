"""What the tests of the filter have in common."""

import datetime as dt

from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent

NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)


def record(**fields):
    values = {"action": "view", "object_type": "testapp.poll", "object_pk": "1", "occurred_at": NOON}
    return AccessEvent.objects.create(**values | fields)


def found(**data):
    """The ids of the events, oldest first; the filter has to find nothing wrong."""
    filterset = AccessEventFilter(data)
    assert not filterset.errors
    return list(filterset.qs.order_by("id").values_list("id", flat=True))


def error(**data):
    """The one error; with it comes no event."""
    filterset = AccessEventFilter(data)
    assert list(filterset.qs) == []
    [(name, [message])] = filterset.errors.items()
    assert name in data
    return message


def ids(*events):
    return [event.pk for event in events]
