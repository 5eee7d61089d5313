"""The settings: one line each, read from Django's settings whenever they are used.

Nothing is copied at import, so ``override_settings`` works everywhere. README.rst documents every name
below under a heading of its own; a test compares the two.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypedDict, TypeVar

from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string

T = TypeVar("T")

PUSHER_TRANSPORT = "pusherable.delivery.transports.PusherTransport"


class Backend(TypedDict, total=False):
    """How a dispatcher or transport is chosen: a dotted path, and keyword arguments for the class."""

    BACKEND: str
    OPTIONS: dict[str, Any]


class Setting(Generic[T]):
    """Reads the Django setting of its own name, or gives the default."""

    def __init__(self, default: T) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> T:
        value: T = getattr(settings, self.name, self.default)
        return value


class Conf:
    """Every setting of the package, with its type and default."""

    PUSHER_APP_ID = Setting[str | None](None)
    PUSHER_KEY = Setting[str | None](None)
    PUSHER_SECRET = Setting[str | None](None)
    PUSHER_CLUSTER = Setting[str]("mt1")
    PUSHER_HOST = Setting[str | None](None)
    PUSHER_PORT = Setting[int | None](None)
    PUSHER_SSL = Setting[bool](True)
    PUSHER_TIMEOUT = Setting[float](5)
    PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = Setting[str | None](None)

    PUSHERABLE_TRANSPORT = Setting[Backend]({"BACKEND": PUSHER_TRANSPORT})
    PUSHERABLE_DISPATCHER = Setting[Backend]({"BACKEND": "pusherable.delivery.dispatchers.ThreadDispatcher"})
    PUSHERABLE_MAX_ATTEMPTS = Setting[int | None](500)
    PUSHERABLE_CHANNELS = Setting[str]("public")
    PUSHERABLE_CAN_SUBSCRIBE = Setting[str | Callable[[Any, Any, str], bool]](
        "pusherable.authorization.can_subscribe"
    )
    PUSHERABLE_PRESENCE_INFO = Setting[str | Callable[[Any], Mapping[str, Any]] | None](None)
    PUSHERABLE_CHANNEL_FORMAT = Setting[str]("{model_name}_{pk}")
    PUSHERABLE_FEED = Setting[bool](False)
    PUSHERABLE_ON_ERROR = Setting[str]("raise")
    PUSHERABLE_REDACT = Setting[Sequence[str]](())
    PUSHERABLE_TRUSTED_PROXIES = Setting[Sequence[str]](())
    PUSHERABLE_CONTEXT = Setting[str | Callable[[HttpRequest | None], Mapping[str, Any]] | None](None)
    PUSHERABLE_RECORD_READING = Setting[bool](True)
    PUSHERABLE_RETENTION = Setting[Mapping[str, str | None]]({})
    PUSHERABLE_PUSHER_JS_URL = Setting[str | None](None)

    @property
    def has_credentials(self) -> bool:
        """Whether Pusher can be reached; without credentials the app is an access log only."""
        return bool(self.PUSHER_APP_ID and self.PUSHER_KEY and self.PUSHER_SECRET)

    @property
    def broadcasts(self) -> bool:
        """Whether events are sent at all: to Pusher with credentials, or by a transport that needs none."""
        return self.has_credentials or self.PUSHERABLE_TRANSPORT.get("BACKEND") != PUSHER_TRANSPORT

    @property
    def pusher_js_url(self) -> str:
        """``PUSHERABLE_PUSHER_JS_URL``, or Pusher's own copy: where there is a key, the one that decrypts."""
        build = "pusher-with-encryption" if self.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 else "pusher"
        return self.PUSHERABLE_PUSHER_JS_URL or f"https://js.pusher.com/8.6.0/{build}.min.js"

    @property
    def port(self) -> int:
        """The port of the HTTP API and of the WebSocket: ``PUSHER_PORT``, or what the scheme implies."""
        return self.PUSHER_PORT or (443 if self.PUSHER_SSL else 80)


conf = Conf()


def function_of(value: Any) -> Any:
    """The function that a setting is, or is the path of."""
    return import_string(value) if isinstance(value, str) else value
