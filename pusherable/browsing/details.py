"""What the page of one event shows of it."""

import json
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from pusherable.browsing.diffs import Part, diff
from pusherable.browsing.paging import Page
from pusherable.delivery.messages import Message, messages_of
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent


@dataclass(frozen=True)
class Change:
    """A field that was changed, by its name for people."""

    label: str
    before: list[Part]
    after: list[Part]


def of(event: AccessEvent, events: QuerySet[AccessEvent]) -> dict[str, Any]:
    """For a template; `events` are those among which its neighbours are."""
    return {
        "event": event,
        "context_rows": context(event),
        "snapshot": snapshot(event),
        "changes": changes(event),
        "messages_sent": raw(event),
        "delivery": getattr(event, "delivery", None),
        "before": neighbour(events, event, "before_id"),
        "after": neighbour(events, event, "after_id"),
    }


def snapshot(event: AccessEvent) -> list[tuple[str, str]]:
    """The fields as they were, by their names for people."""
    return [(label(event, name), readable(value)) for name, value in _items(event.snapshot)]


def context(event: AccessEvent) -> list[tuple[str, str]]:
    return [(name, readable(value)) for name, value in _items(event.context)]


def changes(event: AccessEvent) -> list[Change]:
    found = []
    for name, pair in _items(event.changes):
        match pair:
            case [str(old), str(new)]:
                before, after = diff(old, new)
            case [old, new]:
                before, after = ([Part(readable(value), value is not None)] for value in (old, new))
            case _:  # an event of the project's own making
                before, after = [], [Part(readable(pair), True)]
        found.append(Change(label(event, name), before, after))
    return found


def raw(event: AccessEvent) -> list[Message]:
    """The messages as they were sent, or will be."""
    replayed = getattr(getattr(event, "delivery", None), "replayed", False)
    return messages_of(event, replayed=replayed)


def neighbour(events: QuerySet[AccessEvent], event: AccessEvent, cursor: str) -> AccessEvent | None:
    """The event of the same object after this one (``after_id``) or before it (``before_id``)."""
    if not event.object_pk:
        return None
    data = {"object_type": event.object_type, "object_pk": event.object_pk, cursor: str(event.pk)}
    return next(iter(Page.of(AccessEventFilter(data, events), size=1).events), None)


def label(event: AccessEvent, name: str) -> str:
    """What a field is called, where its model still exists and has it."""
    try:
        field = apps.get_model(event.object_type)._meta.get_field(name)
    except (LookupError, ValueError, FieldDoesNotExist):
        return name
    return str(capfirst(getattr(field, "verbose_name", name)))


def readable(value: Any) -> str:
    if value is None:
        return "–"  # noqa: RUF001  # a dash, as for nothing in a table
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []
