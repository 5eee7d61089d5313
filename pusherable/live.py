"""Live lists: where their pages hear that something has happened, and what they then ask for."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final, Self

from django.core import signing
from django.template.loader import render_to_string
from django.utils.translation import get_language, override

from pusherable.activity import items
from pusherable.authorization import permitted
from pusherable.channels import FEED, channel_name
from pusherable.conf import conf
from pusherable.origin import actor

#: To be changed with the fields of `LiveList`.
SALT: Final = "pusherable.live.LiveList"
MAX_AGE: Final = timedelta(hours=24)


@dataclass(frozen=True)
class LiveList:
    """A list that a template has shown to a user.

    Its page has it signed: what the template showed may be shown again, to the same user for a day, as long
    as they may listen to the `channel`.
    """

    parameters: dict[str, str]
    limit: int
    channel: str
    user_pk: str
    language: str | None

    @classmethod
    def of(cls, text: str) -> Self:
        """The signed one; raises BadSignature if it is not, or no longer."""
        return cls(**signing.loads(text, salt=SALT, max_age=MAX_AGE))

    def signed(self) -> str:
        return signing.dumps(asdict(self), salt=SALT, compress=True)

    def is_for(self, user: Any) -> bool:
        return self.user_pk == actor(user)[0] and self.channel in permitted(user, [self.channel])

    def html(self) -> str:
        """The items as they are now, like those on the page."""
        with override(self.language):
            context = {"items": items(self.parameters, self.limit)}
            return render_to_string("pusherable/activity_list.html", context)


def live_list(
    parameters: dict[str, str], limit: int, *, subject: Any, kind: str | None, user: Any
) -> tuple[str, LiveList] | None:
    """The channel that the page listens to, and the list; None if this user's page is not to be live.

    That of an object's list is the object's, and of others the feed. Everybody may listen to a public one,
    but what has happened is told only to who might listen to the private one.
    """
    user_pk = actor(user)[0]
    if not conf.has_credentials or not user_pk:
        return None
    channel = private = FEED
    if "object_pk" in parameters:
        channel = private = channel_name(subject, kind)
        if channel == channel_name(subject, "public"):
            private = channel_name(subject, "private")
    found = LiveList(parameters, limit, private, user_pk, get_language())
    return (channel, found) if found.is_for(user) else None
