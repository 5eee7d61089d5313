"""Who is here: what a presence channel tells everybody on a page about each of its members."""

import json
import logging
import re
from typing import Any, Final
from urllib.parse import quote, unquote

from django.core.serializers.json import DjangoJSONEncoder

from pusherable.conf import conf, function_of
from pusherable.origin import actor
from pusherable.snapshots import clean

logger = logging.getLogger(__name__)

#: Pusher's limits (https://pusher.com/docs/channels/using_channels/presence-channels/).
MAX_USER_ID: Final = 128
MAX_INFO_BYTES: Final = 1024

#: A person with an update page open is a member of their own, with this after the user's key. The page makes
#: one person of both; Pusher tells everybody at once when the one comes and when it goes.
EDITING: Final = "!edit"

_MAX_NAME = 100
_HOST_OF_ADDRESS = re.compile(r"(?<=\S)@\S+")


def member_id(user: Any, *, editing: bool) -> str:
    """The ``user_id`` of a user on a presence channel, for example "5", or "5!edit" on the update page.

    Empty for an anonymous user. The key is quoted as in a URL, so that none can end like that by itself.
    """
    key, _ = actor(user)
    return quote(key) + EDITING if key and editing else quote(key)


def parse_member(user_id: str) -> tuple[str, bool]:
    """The user's key, and whether the member is one who edits; the inverse of `member_id`."""
    return unquote(user_id.removesuffix(EDITING)), user_id.endswith(EDITING)


def channel_data(user: Any, *, editing: bool) -> str | None:
    """The member as JSON with ``user_id`` and ``user_info``; None for one whom Pusher could not tell."""
    user_id = member_id(user, editing=editing)
    if not 1 <= len(user_id) <= MAX_USER_ID:
        return None
    return _dump({"user_id": user_id, "user_info": user_info(user)})


def user_info(user: Any) -> dict[str, Any]:
    """The display name as ``name``, and what ``PUSHERABLE_PRESENCE_INFO`` adds; at most 1,024 bytes."""
    info = {"name": display_name(user)}
    function = conf.PUSHERABLE_PRESENCE_INFO
    if function is None:
        return info
    added = info | dict(function_of(function)(user))
    if (size := len(_dump(added).encode())) > MAX_INFO_BYTES:
        logger.error(
            "PUSHERABLE_PRESENCE_INFO gives %s bytes for user %r; Pusher takes %s: the name alone is sent.",
            *(size, member_id(user, editing=False), MAX_INFO_BYTES),
        )
        return info
    return added


def display_name(user: Any) -> str:
    """The full name or the username, cut to 100 characters; of an e-mail address what stands before the @."""
    key, username = actor(user)
    full_name = clean(str(getattr(user, "get_full_name", str)())).strip()
    return _HOST_OF_ADDRESS.sub("", full_name or username or key)[:_MAX_NAME]


def _dump(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False, separators=(",", ":"))
