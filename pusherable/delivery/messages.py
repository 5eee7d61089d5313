"""What goes over the wire for an event."""

import datetime as dt
import json
from typing import Any, Final, NamedTuple

from pusherable.channels import FEED
from pusherable.encryption import is_encrypted
from pusherable.models import AccessEvent, Delivery, model_of

#: Pusher refuses more bytes of UTF-8 than this in one event's data (https://pusher.com/docs/channels/library_auth_reference/rest-api).
MAX_DATA: Final = 10_240
#: What remains of it for a text that is encrypted (16 bytes more), in base64, beside its nonce, as JSON.
MAX_ENCRYPTED: Final = 7_616


class Message(NamedTuple):
    """One event on one channel; `data` is JSON text."""

    channel: str
    name: str
    data: str


def messages(delivery: Delivery) -> list[Message]:
    """The messages of a delivery, one for each of its event's channels."""
    return messages_of(delivery.event, replayed=delivery.replayed)


def messages_of(event: AccessEvent, *, replayed: bool = False) -> list[Message]:
    own = [channel for channel in event.channels if channel != FEED]
    limits = {channel: MAX_ENCRYPTED if is_encrypted(channel) else MAX_DATA for channel in own}
    data = {limit: encode(event, limit, replayed=replayed) for limit in set(limits.values())}
    found = [Message(channel, event.action, data[limit]) for channel, limit in limits.items()]
    if FEED in event.channels:
        found.append(Message(FEED, event.action, hint(event, replayed=replayed)))
    return found


def hint(event: AccessEvent, *, replayed: bool = False) -> str:
    """The message's JSON on the feed: that there is an event. Who may read it asks the site what it is."""
    return _dump({"event_id": event.pk} | ({"replayed": True} if replayed else {}))


def encode(event: AccessEvent, limit: int = MAX_DATA, *, replayed: bool = False) -> str:
    """The message's JSON. `object` is reduced to its key where all of it would be more than `limit` bytes."""
    message: dict[str, Any] = {
        "object": event.snapshot,
        "user": event.username,
        "model": event.object_type.rpartition(".")[2],
        "event_id": event.pk,
        "at": event.occurred_at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if event.action == "updated":
        message["changed"] = list(event.changes)
    if replayed:
        message["replayed"] = True
    data = _dump(message)
    if len(data.encode()) > limit:
        message |= {"object": _key(event), "truncated": True}
        data = _dump(message)
    if len(data.encode()) > limit:  # the names of hundreds of changed fields
        data = _dump(message | {"changed": []})
    return data


def _key(event: AccessEvent) -> dict[str, Any]:
    model = model_of(event.object_type)
    name = model._meta.pk.name if model else "pk"
    key = event.snapshot.get(name, event.object_pk)
    return {name: key if len(str(key)) <= 255 else event.object_pk}


def _dump(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
