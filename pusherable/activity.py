"""The recent-activity list: of what it is, and the items that it shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.db import models

from pusherable.browsing.paging import newest
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent
from pusherable.snapshots import object_key, object_type

#: A subject or user that is not given. None cannot say so: `object` is None on the page of a create form.
EVERYTHING: Final = object()


@dataclass(frozen=True)
class Item:
    """What one line of the list is about: some events, the newest first."""

    events: list[AccessEvent]

    @property
    def event(self) -> AccessEvent:
        return self.events[0]


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
    """The newest events of this query, as so many items at most: in one query, by an index."""
    if parameters is None:
        return []
    filterset = AccessEventFilter(parameters)
    if not filterset.is_valid():
        return []
    return [Item([event]) for event in newest(filterset, limit, without=("snapshot", "changes"))]
