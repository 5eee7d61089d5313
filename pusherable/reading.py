"""Reading the log is an access, too: who opened an event, searched or exported is in the log itself.

Such events are about the log: their object type is ``pusherable.accessevent``. They are never broadcast.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

from django.http import HttpRequest
from django.utils import timezone

from pusherable.browsing.paging import CURSORS
from pusherable.conf import conf
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent, Action
from pusherable.origin import actor
from pusherable.recording import record_access
from pusherable.snapshots import clean, object_type

LOG: Final = object_type(AccessEvent)
#: Characters of a parameter that are kept; no column that can be asked for holds more.
LENGTH: Final = 500
#: The charts of a list are asked for within this time, or count as a search of their own.
TOGETHER: Final = dt.timedelta(minutes=10)


def record_opening(request: HttpRequest, event: AccessEvent) -> None:
    """The page of an event was opened. That of an event of this kind is not recorded in its turn."""
    if event.object_type != LOG:
        _record(request, event, Action.VIEW)


def record_search(request: HttpRequest, filterset: AccessEventFilter) -> None:
    """A page of events was asked for; recorded if that asks for something, and not only where to go on."""
    if _is_search(filterset):
        _record(request, AccessEvent, Action.SEARCH, query=_query(filterset))


def record_charts(request: HttpRequest, filterset: AccessEventFilter) -> None:
    """Charts were asked for: a search of their own, unless they come with the list of the latest one."""
    if not (conf.PUSHERABLE_RECORD_READING and _is_search(filterset)):
        return
    last = AccessEvent.objects.filter(user_pk=actor(request.user)[0]).newest().first()
    if last is None or last.occurred_at < timezone.now() - TOGETHER or _asked(last) != _query(filterset):
        record_search(request, filterset)


def _is_search(filterset: AccessEventFilter) -> bool:
    return filterset.is_valid() and not set(CURSORS).issuperset(filterset.given)


def _asked(event: AccessEvent) -> dict[str, str] | None:
    is_search = (event.object_type, event.action) == (LOG, Action.SEARCH)  # and not one of the project's own
    query = event.context.get("query") if is_search else None
    return query and {name: value for name, value in query.items() if name not in CURSORS}


def record_export(request: HttpRequest, filterset: AccessEventFilter, format_: str) -> None:
    """What a filter selects is taken away as a file."""
    if filterset.is_valid():
        _record(request, AccessEvent, Action.EXPORT, query=_query(filterset), format=format_)


def record_export_of(request: HttpRequest, events: Iterable[AccessEvent], format_: str) -> None:
    """These events are taken away as a file."""
    selected = [event.pk for event in events]
    _record(request, AccessEvent, Action.EXPORT, selected=selected, format=format_)


def _query(filterset: AccessEventFilter) -> dict[str, str]:
    """The parameters that count, as they were given."""
    return {name: clean(str(filterset.data[name]))[:LENGTH] for name in filterset.given}


def _record(
    request: HttpRequest, obj: AccessEvent | type[AccessEvent], action: Action, **context: Any
) -> None:
    # Whoever asks by HEAD gets nothing to read.
    if conf.PUSHERABLE_RECORD_READING and request.method != "HEAD":
        record_access(obj, action, request=request, snapshot={}, extra=context, channels=[])
