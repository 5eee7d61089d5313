"""What has come to the log while a list of it is open."""

from typing import Any, Final

from django.utils.translation import gettext, ngettext

from pusherable.authorization import endpoint, permitted
from pusherable.channels import FEED
from pusherable.conf import conf
from pusherable.filters import Events

#: So many events are counted, at most.
MOST: Final = 99


def is_told(user: Any) -> bool:
    """Whether the user's page can hear that there are new events."""
    return conf.has_credentials and endpoint("auth") is not None and FEED in permitted(user, [FEED])


def news(events: Events, first: int, shown: int) -> str:
    """How many of these events there are from the id `first` on beyond so many, as a sentence; empty if none.

    Not those after the newest that is shown: an event whose transaction took longer has a lower id.
    """
    ids = events.filter(pk__gte=first).order_by("pk").values_list("pk", flat=True)
    count = len(ids[: shown + MOST + 1]) - shown
    if count > MOST:
        return gettext("More than %(count)s new events") % {"count": MOST}
    text = ngettext("%(count)s new event", "%(count)s new events", count) % {"count": count}
    return text if count > 0 else ""
