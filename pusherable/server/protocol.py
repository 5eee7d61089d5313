"""The Pusher Channels protocol as pure functions: names, limits, codes, frames and signatures.

Sources: https://pusher.com/docs/channels/library_auth_reference/pusher-websockets-protocol/ and
https://pusher.com/docs/channels/library_auth_reference/rest-api/
"""

import hashlib
import hmac
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

#: Protocol 5 made the server ping and put ``data`` in a string; nothing a client notices has changed since.
SUPPORTED_VERSIONS: Final = range(5, 8)

MAX_DATA_BYTES: Final = 10_240
MAX_EVENT_NAME: Final = 200
MAX_CHANNEL_NAME: Final = 164
MAX_CHANNELS: Final = 100
MAX_BATCH: Final = 10
MAX_MEMBERS: Final = 100
MAX_USER_ID: Final = 128
MAX_USER_INFO_BYTES: Final = 1024
CLIENT_EVENTS_PER_SECOND: Final = 10
TIMESTAMP_WINDOW: Final = 600

ENCRYPTED: Final = "private-encrypted-"
PRESENCE: Final = "presence-"
#: What the signature of a channel protects. Encrypted channels are private ones to the server.
AUTHORIZED: Final = ("private-", PRESENCE)

_CHANNEL_NAME = re.compile(rf"[-A-Za-z0-9_=@,.;]{{1,{MAX_CHANNEL_NAME}}}")
_SOCKET_ID = re.compile(r"[0-9]+\.[0-9]+")


class Code(IntEnum):
    """Close codes: 40xx do not come back unchanged, 42xx reconnect at once; 4301 closes nothing."""

    APP_NOT_FOUND = 4001
    PATH_NOT_FOUND = 4005
    INVALID_VERSION = 4006
    UNSUPPORTED_VERSION = 4007
    NO_VERSION = 4008
    UNAUTHORIZED = 4009
    RECONNECT = 4200
    PONG_NOT_RECEIVED = 4201
    CLIENT_EVENT_REJECTED = 4301


class InvalidRequestError(Exception):
    """What the HTTP API refuses: a status and the text of the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Credentials:
    app_id: str
    key: str
    secret: str

    def sign(self, text: str) -> str:
        return hmac.new(self.secret.encode(), _encode(text), hashlib.sha256).hexdigest()

    def channel_auth(self, socket_id: str, channel: str, channel_data: str | None = None) -> str:
        """The ``auth`` that lets this connection subscribe to a private or presence channel."""
        parts = [socket_id, channel] if channel_data is None else [socket_id, channel, channel_data]
        return f"{self.key}:{self.sign(':'.join(parts))}"

    def request_signature(self, method: str, path: str, params: Iterable[tuple[str, str]]) -> str:
        """The ``auth_signature`` of a call of the HTTP API; ``params`` are the other ones, unescaped."""
        query = "&".join(f"{name}={value}" for name, value in sorted((k.lower(), v) for k, v in params))
        return self.sign(f"{method}\n{path}\n{query}")

    def check_request(
        self, method: str, path: str, params: Mapping[str, str], body: bytes, now: float
    ) -> str | None:
        """What is wrong with the authentication of a call of the HTTP API, or None."""
        if params.get("auth_key") != self.key:
            return "Unknown auth_key."
        if params.get("auth_version") != "1.0":
            return "Unknown auth_version: it must be 1.0."
        timestamp = params.get("auth_timestamp", "")
        if not re.fullmatch(r"[0-9]{1,12}", timestamp):
            return "auth_timestamp must be the number of seconds since 1970."
        if abs(now - int(timestamp)) > TIMESTAMP_WINDOW:
            return f"auth_timestamp is more than {TIMESTAMP_WINDOW} seconds from the time of this server."
        md5 = params.get("body_md5")
        if (body or md5 is not None) and md5 != hashlib.md5(body, usedforsecurity=False).hexdigest():
            return "body_md5 is not the MD5 of the body."
        signed = [(name, value) for name, value in params.items() if name != "auth_signature"]
        if not same(params.get("auth_signature", ""), self.request_signature(method, path, signed)):
            return "Invalid auth_signature: is it made with this app's secret, method, path and parameters?"
        return None


@dataclass(frozen=True)
class Event:
    """An event as the HTTP API takes it: one name and data for one or more channels."""

    name: str
    channels: tuple[str, ...]
    data: str
    socket_id: str | None = None
    info: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, body: object) -> Self:
        """Read what a client sent; raise InvalidRequestError for what Pusher would refuse."""
        match body:
            case {"name": str(name), "data": str(data), **rest}:
                channels = rest.get("channels", [rest.get("channel")])
                socket_id = rest.get("socket_id")
            case _:
                raise InvalidRequestError("An event needs a name and data, both strings.")
        if not isinstance(channels, list) or not 1 <= len(channels) <= MAX_CHANNELS:
            raise InvalidRequestError(f"An event goes to 1 to {MAX_CHANNELS} channels.")
        for channel in channels:
            if not valid_channel(channel):
                raise InvalidRequestError(f"Invalid channel name: {channel!r:.200}")
        if not 1 <= len(name) <= MAX_EVENT_NAME:
            raise InvalidRequestError(f"An event name has 1 to {MAX_EVENT_NAME} characters.")
        if socket_id is not None and not (isinstance(socket_id, str) and _SOCKET_ID.fullmatch(socket_id)):
            raise InvalidRequestError(f"Invalid socket_id: {socket_id!r:.200}")
        if byte_length(data) > MAX_DATA_BYTES:
            raise InvalidRequestError(f"The data of an event is limited to {MAX_DATA_BYTES} bytes.", 413)
        # Each channel once, in the order of the request.
        return cls(name, tuple(dict.fromkeys(channels)), data, socket_id, parse_info(rest.get("info", "")))


def parse_info(info: object) -> frozenset[str]:
    """The attributes that ``info`` asks for, from their comma-separated names."""
    names = frozenset(info.split(",") if isinstance(info, str) and info else ())
    if not isinstance(info, str) or not names <= {"user_count", "subscription_count"}:
        raise InvalidRequestError("info takes user_count and subscription_count, separated by a comma.")
    return names


def valid_channel(name: object) -> bool:
    return isinstance(name, str) and _CHANNEL_NAME.fullmatch(name) is not None


def byte_length(text: str) -> int:
    return len(_encode(text))


def same(given: str, expected: str) -> bool:
    """Compare signatures in constant time."""
    return hmac.compare_digest(_encode(given), _encode(expected))


def _encode(text: str) -> bytes:
    # JSON may carry half of a surrogate pair, which plain UTF-8 cannot encode.
    return text.encode("utf-8", "surrogatepass")


def decode(text: str | bytes) -> object:
    """Parse JSON from outside; whatever is wrong with it is a ValueError."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("The JSON is nested too deeply.") from error


def _finite(text: str) -> float:
    """Refuse NaN and Infinity, which Python reads and writes but no browser parses."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is not JSON.")
    return value


def frame(event: str, data: object, **envelope: str) -> str:
    """One message to a client."""
    return json.dumps({"event": event, **envelope, "data": data})


def error(code: Code | None, message: str) -> str:
    return frame("pusher:error", {"code": code, "message": message})
