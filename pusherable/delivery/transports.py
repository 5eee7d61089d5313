"""How a message leaves: through Pusher's HTTP API, to the console, or into a list for tests."""

import json
import os
import ssl
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3
from django.core.exceptions import ImproperlyConfigured
from pusher.errors import PusherBadAuth, PusherBadRequest, PusherError, PusherForbidden
from pusher.http import process_response
from pusher.pusher_client import PusherClient
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from pusherable.conf import conf
from pusherable.delivery.backends import Chosen
from pusherable.delivery.messages import Message
from pusherable.encryption import encrypted, is_encrypted
from pusherable.snapshots import clean

_UNREACHABLE = (
    urllib3.exceptions.ConnectTimeoutError,  # also refused connections and unknown names
    urllib3.exceptions.SSLError,
    urllib3.exceptions.ProxyError,
)


class TransportError(Exception):
    """The messages could not be handed over; they should be tried again later."""


class UnreachableError(TransportError):
    """There is nobody to talk to: no connection could be made."""


class ConfigurationError(TransportError):
    """Nothing can be sent until somebody has put the settings or the account right."""


class RefusedError(TransportError):
    """The server does not take these messages: one of them is wrong, or they are too large together."""


def error_text(error: Exception) -> str:
    """The error in words that every database takes; what a server answered may be long, or hold a NUL."""
    return clean(f"{error}")[:1000]


class Transport(Protocol):
    """What a project's own transport has to offer.

    It may also have a method ``probe()``, which makes a call that changes nothing, and raises what `send`
    would raise. After an UnreachableError nothing is sent until the probe gets through, and until the pages
    that were connected to the server have had the time to connect again.
    """

    def send(self, messages: Sequence[Message]) -> None:
        """Hand over at most 10 messages, all or none; called from several threads.

        Raises TransportError if they may not have arrived: UnreachableError if there was no connection,
        ConfigurationError if nothing can be sent with these settings, and RefusedError if the messages are
        at fault.
        """


class PusherTransport:
    """Pusher Channels, or a server that speaks its HTTP API where ``PUSHER_HOST`` is set."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        # A forked child must not share its parent's sockets, and may find the lock held for ever.
        self._lock = threading.Lock()
        self._made_for: tuple[object, ...] = ()
        self._client: PusherClient | None = None

    def send(self, messages: Sequence[Message]) -> None:
        batch = [_sealed(message)._asdict() for message in messages]
        # Encoded already: the client would measure the text with sys.getsizeof, not in bytes of UTF-8.
        with _errors():
            answer = self.client.trigger_batch(batch, already_encoded=True)
        # Some self-hosted servers report a failure with status 200.
        if isinstance(answer, dict) and answer.get("error"):
            raise TransportError(f"The server answered {answer['error']!r} (code {answer.get('code')}).")

    def probe(self) -> None:
        with _errors():
            self.client.channels_info(prefix_filter="pusherable-probe")

    @property
    def client(self) -> PusherClient:
        """The one client of this process; it keeps its connections open between calls."""
        made_for = (
            *(conf.PUSHER_APP_ID, conf.PUSHER_KEY, conf.PUSHER_SECRET, conf.PUSHER_CLUSTER),
            *(conf.PUSHER_HOST, conf.PUSHER_PORT, conf.PUSHER_SSL, conf.PUSHER_TIMEOUT),
        )
        with self._lock:
            if self._client is None or self._made_for != made_for:
                self._client = Client()
                self._made_for = made_for
            return self._client


def _sealed(message: Message) -> Message:
    """The message as it goes to the server: on an encrypted channel, it cannot be read there."""
    if not is_encrypted(message.channel):
        return message
    try:
        return message._replace(data=encrypted(message.channel, message.data))
    except ImproperlyConfigured as error:
        raise ConfigurationError(str(error)) from error


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except _UNREACHABLE as error:
        raise UnreachableError(f"{type(error).__name__}: {error}") from error
    except (PusherError, urllib3.exceptions.HTTPError) as error:
        status = str(error).partition(":")[0]  # of those that the client has no exception for
        kind = TransportError
        if isinstance(error, PusherBadRequest) or status == "413":
            kind = RefusedError
        elif isinstance(error, (PusherBadAuth, PusherForbidden)) or status == "404":
            kind = ConfigurationError
        raise kind(f"{type(error).__name__}: {error}") from error


class Client(PusherClient):  # type: ignore[misc]
    """The Python client, made from the settings, with our HTTP backend.

    It refuses an app id that is not all digits; self-hosted servers have such ids, so it is set afterwards.
    """

    def __init__(self) -> None:
        super().__init__(
            "0",
            conf.PUSHER_KEY,
            conf.PUSHER_SECRET,
            ssl=conf.PUSHER_SSL,
            host=conf.PUSHER_HOST,
            port=conf.port,
            timeout=conf.PUSHER_TIMEOUT,
            cluster=conf.PUSHER_CLUSTER,
            backend=Urllib3Backend,
        )
        self._app_id = conf.PUSHER_APP_ID


class Urllib3Backend:
    """The client's HTTP calls over a pool of kept connections.

    The client's own backend pins a bundle of certificate authorities from 2021; this one trusts those of the
    system and of the installed certifi. Like that one, it goes through the proxy that HTTPS_PROXY names.
    """

    def __init__(self, client: PusherClient) -> None:
        context = None
        if client.ssl:
            context = ssl.create_default_context()
            context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
        options: dict[str, Any] = {"maxsize": 64, "timeout": client.timeout, "retries": False}
        proxy = getproxies().get(client.scheme)
        if proxy and not proxy_bypass(client.host):
            auth = urllib3.util.parse_url(proxy).auth
            headers = urllib3.make_headers(proxy_basic_auth=unquote(auth)) if auth else None
            self.pool: urllib3.PoolManager = urllib3.ProxyManager(
                proxy, proxy_headers=headers, ssl_context=context, **options
            )
        else:
            self.pool = urllib3.PoolManager(ssl_context=context, **options)

    def send_request(self, request: Any) -> Any:
        response = self.pool.request(request.method, request.url, body=request.body, headers=request.headers)
        text = response.data.decode(errors="replace")
        try:
            return process_response(response.status, text)
        except json.JSONDecodeError as error:
            raise PusherError(f"The answer is not JSON: {text!r:.200}") from error


class ConsoleTransport:
    """Prints every message on standard output: for development without a server."""

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            sys.stdout.write(f"{message.channel} {message.name} {message.data}\n")
        sys.stdout.flush()


class LocmemTransport:
    """Keeps every message in the list ``LocmemTransport.sent``: for tests."""

    sent: ClassVar[list[Message]] = []

    def send(self, messages: Sequence[Message]) -> None:
        self.sent.extend(messages)


transport: Chosen[Transport] = Chosen("PUSHERABLE_TRANSPORT", "send")


def probe() -> None:
    """Make a call that changes nothing, where the transport has one; raises what `send` would raise."""
    if (ask := getattr(transport.get(), "probe", None)) is not None:
        ask()
