"""The recent-activity list: of what it is, and the items that it shows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from django.apps import apps
from django.db import models

from pusherable.browsing.paging import newest
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent, Action
from pusherable.snapshots import object_key, object_type

#: A subject or user that is not given. None cannot say so: `object` is None on the page of a create form.
EVERYTHING: Final = object()
#: A page was opened: done again and again, it is told once.
OPENINGS: Final = frozenset({Action.VIEW, Action.UPDATE, Action.CREATE, Action.DELETE})
#: So many events are read for each item, at most.
EVENTS: Final = 5


@dataclass(frozen=True)
class Item:
    """What one line of the list is about: some events, the newest first."""

    events: list[AccessEvent]
    is_whole: bool = True

    @property
    def event(self) -> AccessEvent:
        return self.events[0]

    @property
    def count(self) -> int | None:
        """How often it was done, if that is known."""
        return len(self.events) if self.is_whole else None

    @property
    def addresses(self) -> list[str]:
        return list(dict.fromkeys(event.remote_addr for event in self.events if event.remote_addr))


def query(subject: Any = EVERYTHING, user: Any = EVERYTHING) -> dict[str, str] | None:
    """The parameters of `AccessEventFilter` for an object, a model (class or "app.model") or everything.

    With `user`, only for what that user did. None stands for no events at all: for None, an object that is
    not saved or was deleted, an anonymous user. Raises LookupError for an unknown model and TypeError for
    what is no subject.
    """
    parameters: dict[str, str] = {}
    if isinstance(subject, str) and "." in subject:
        subject = apps.get_model(subject)
    if subject is None:
        return None
    if isinstance(subject, models.Model) and not subject._state.adding:
        if subject.pk is None:
            return None
        parameters |= {"object_type": object_type(subject), "object_pk": object_key(subject)}
    elif hasattr(subject, "_meta"):
        # A template calls a class that it is given, so that a new instance arrives here.
        parameters["object_type"] = object_type(subject._meta.model)
    elif subject is not EVERYTHING:  # also "", which Django makes of a variable that is not set
        raise TypeError(f"{subject!r} is neither an object nor a model, as a class or 'app.model'.")
    if isinstance(user, models.Model) and user.pk is not None:
        parameters["user_pk"] = object_key(user)
    elif user is not EVERYTHING:  # nobody, or an anonymous user
        return None
    return parameters


def items(parameters: Mapping[str, str] | None, limit: int) -> list[Item]:
    """The newest events of this query, as so many items at most: in one query, by an index.

    They are fewer where more than `EVENTS` times as many events would be needed.
    """
    if parameters is None:
        return []
    filterset = AccessEventFilter(parameters)
    if not filterset.is_valid():
        return []
    most = EVENTS * limit
    events = list(newest(filterset, most, without=("snapshot", "changes")))
    found = grouped(events)
    if len(events) == most:  # the last item may go on with what was not read
        found[-1] = replace(found[-1], is_whole=False)
    return found[:limit]


def grouped(events: Iterable[AccessEvent]) -> list[Item]:
    """The same events as items: neighbours are one if the same user opened the same page again.

    Visitors who are not signed in are left apart: nobody knows whether they are one person.
    """
    return [Item(list(group)) for _sameness, group in groupby(events, key=_sameness)]


def _sameness(event: AccessEvent) -> tuple[object, ...]:
    user = event.user_pk, event.username
    if event.action not in OPENINGS or not any(user):
        return (event.pk,)
    name = event.object_pk or event.object_repr
    return (*user, event.action, event.object_type, event.object_pk, name)
