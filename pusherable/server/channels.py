"""Who is subscribed to what: the state of the server. No input or output happens here."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from pusherable.server import protocol
from pusherable.server.protocol import Credentials, Event


class Client(Protocol):
    """A connection as its channels see it."""

    @property
    def socket_id(self) -> str: ...

    def send(self, frame: str) -> None: ...


class SubscriptionError(Exception):
    """Why a client was not let in, in the fields of ``pusher:subscription_error``."""

    def __init__(self, message: str, error_type: str = "InvalidData", status: int = 400) -> None:
        super().__init__(message)
        self.data = {"type": error_type, "error": message, "status": status}

    @classmethod
    def limit(cls, message: str) -> "SubscriptionError":
        return cls(message, "LimitReached", 403)


@dataclass(frozen=True)
class Member:
    """A user of a presence channel, who may be there several times: one connection for each open tab."""

    user_id: str
    user_info: object

    @classmethod
    def parse(cls, channel_data: str) -> "Member":
        try:
            data = protocol.decode(channel_data)
        except ValueError as error:
            raise SubscriptionError(f"channel_data is not JSON: {error}") from error
        match data:
            case {"user_id": str() | int() as user_id, **rest}:
                member = cls(str(user_id), rest.get("user_info"))
            case _:
                raise SubscriptionError("channel_data needs a user_id.")
        if not 1 <= len(member.user_id) <= protocol.MAX_USER_ID:
            raise SubscriptionError.limit(f"A user_id has 1 to {protocol.MAX_USER_ID} characters.")
        info = json.dumps(member.user_info, ensure_ascii=False, separators=(",", ":"))
        if protocol.byte_length(info) > protocol.MAX_USER_INFO_BYTES:
            raise SubscriptionError.limit(f"user_info has at most {protocol.MAX_USER_INFO_BYTES} bytes.")
        return member


@dataclass(frozen=True)
class Change:
    """That a channel is occupied or vacated, or a member is added or removed: an event of a webhook."""

    name: str
    channel: str
    user_id: str | None = None

    @property
    def event(self) -> dict[str, str]:
        event = {"name": self.name, "channel": self.channel}
        return event if self.user_id is None else event | {"user_id": self.user_id}


class Channel:
    """A channel exists while somebody is subscribed to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: In the order in which they came; the value is None on channels without presence.
        self.subscribers: dict[Client, Member | None] = {}

    @property
    def users(self) -> dict[str, Member]:
        users: dict[str, Member] = {}
        for member in filter(None, self.subscribers.values()):
            users.setdefault(member.user_id, member)
        return users

    def broadcast(self, frame: str, *, exclude: str | None = None) -> None:
        for client in self.subscribers:
            if client.socket_id != exclude:
                client.send(frame)

    def join(self, client: Client, member: Member | None) -> Member | None:
        """Let the client in; the member who was added by that, if any."""
        if member is None:
            self.subscribers[client] = None
            self._confirm(client, {})
            return None
        if is_new := member.user_id not in self.users:
            if len(self.users) >= protocol.MAX_MEMBERS:
                raise SubscriptionError.limit(f"A channel has at most {protocol.MAX_MEMBERS} members.")
            data = {"user_id": member.user_id, "user_info": member.user_info}
            self.broadcast(self._internal("member_added", data))
        # Another tab of a user changes nothing for the others, who keep what the first one told.
        self.subscribers[client] = member if is_new else self.users[member.user_id]
        users = self.users
        presence = {
            "count": len(users),
            "ids": list(users),
            "hash": {user.user_id: user.user_info for user in users.values()},
        }
        self._confirm(client, {"presence": presence})
        return member if is_new else None

    def leave(self, client: Client) -> Member | None:
        """Let the client go; the member who was removed by that, if any."""
        member = self.subscribers.pop(client)
        if member is None or member.user_id in self.users:
            return None
        self.broadcast(self._internal("member_removed", {"user_id": member.user_id}))
        return member

    def info(self, attributes: Iterable[str]) -> dict[str, int]:
        """The attributes that apply: only a presence channel counts users."""
        counts = {"subscription_count": len(self.subscribers)}
        if self.name.startswith(protocol.PRESENCE):
            counts["user_count"] = len(self.users)
        return {name: counts[name] for name in sorted(attributes) if name in counts}

    def _confirm(self, client: Client, data: object) -> None:
        client.send(self._internal("subscription_succeeded", data))

    def _internal(self, event: str, data: object) -> str:
        return protocol.frame(f"pusher_internal:{event}", json.dumps(data), channel=self.name)


class Hub:
    """All channels of one app; ``on_change`` is called with whatever changes in them."""

    def __init__(
        self, credentials: Credentials, on_change: Callable[[Change], object] = lambda _change: None
    ) -> None:
        self.credentials = credentials
        self.on_change = on_change
        self.channels: dict[str, Channel] = {}

    def channel(self, name: str) -> Channel:
        """The channel of that name; an empty one if nobody is subscribed."""
        return self.channels.get(name) or Channel(name)

    def subscribe(self, client: Client, name: str, auth: object, channel_data: object) -> None:
        """Let the client in, or raise SubscriptionError."""
        if not protocol.valid_channel(name):
            raise SubscriptionError(f"Invalid channel name: {name!r:.200}")
        channel = self.channel(name)
        if client in channel.subscribers:
            raise SubscriptionError(f"Existing subscription to channel {name}.")
        if name.startswith(protocol.AUTHORIZED):
            text = channel_data if isinstance(channel_data, str) else None
            expected = self.credentials.channel_auth(client.socket_id, name, text)
            if not isinstance(auth, str) or not protocol.same(auth, expected):
                signed = ":".join(filter(None, [client.socket_id, name, text]))
                message = (
                    f"Invalid auth: it must be the key, a colon and the HMAC SHA256 of {signed!r:.2000}."
                )
                raise SubscriptionError(message, "AuthError", 401)
        member = None
        if name.startswith(protocol.PRESENCE):
            member = Member.parse(channel_data if isinstance(channel_data, str) else "null")
        added = channel.join(client, member)
        if name not in self.channels:
            self.channels[name] = channel
            self.on_change(Change("channel_occupied", name))
        if added is not None:
            self.on_change(Change("member_added", name, added.user_id))

    def unsubscribe(self, client: Client, name: str) -> None:
        channel = self.channel(name)
        if client in channel.subscribers:
            removed = channel.leave(client)
            if removed is not None:
                self.on_change(Change("member_removed", name, removed.user_id))
            if not channel.subscribers:
                del self.channels[name]
                self.on_change(Change("channel_vacated", name))

    def disconnect(self, client: Client) -> None:
        for name in list(self.channels):
            self.unsubscribe(client, name)

    def publish(self, event: Event) -> None:
        for name in event.channels:
            frame = protocol.frame(event.name, event.data, channel=name)
            self.channel(name).broadcast(frame, exclude=event.socket_id)
