"""What has come to the log while a list of it is open."""

from typing import Any, Final

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext, ngettext

from pusherable.authorization import permitted
from pusherable.channels import FEED
from pusherable.conf import conf
from pusherable.filters import Events

#: So many events are counted, at most.
MOST: Final = 99


def is_told(user: Any) -> bool:
    """Whether the user's page can hear that there are new events."""
    try:
        reverse("pusherable:auth")
    except NoReverseMatch:
        return False
    return conf.has_credentials and FEED in permitted(user, [FEED])


def since(events: Events, known: int) -> str:
    """How many of these events are newer than the one with this id, as a sentence; empty if none is."""
    ids = events.filter(pk__gt=known).order_by("pk").values_list("pk", flat=True)
    count = len(ids[: MOST + 1])
    if count > MOST:
        return gettext("More than %(count)s new events") % {"count": MOST}
    return ngettext("%(count)s new event", "%(count)s new events", count) % {"count": count} if count else ""
