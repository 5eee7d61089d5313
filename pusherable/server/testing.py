"""The server on a thread of its own, for tests: see LocalServer."""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, Self

from aiohttp import web

from pusherable.server.app import create_app, serving
from pusherable.server.http_api import Handler
from pusherable.server.protocol import Credentials, Event
from pusherable.server.webhooks import DELAY, Webhooks


@dataclass(frozen=True)
class ReceivedRequest:
    """A call of the HTTP API, whatever became of it."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)


#: What becomes of a POST: a status and a body; ``"hang"``; ``"mute"``; or None, it is accepted.
Failure = tuple[int, str] | Literal["hang", "mute"] | None


class LocalServer:
    """A Pusher-compatible server on a thread, and what it was sent.

        with LocalServer(app_id="4242", key="test-key", secret="test-secret") as server:
            ...  # PUSHER_HOST = server.host, PUSHER_PORT = server.port, PUSHER_SSL = False
            [event] = server.wait_for_messages(1)

    ``stop()`` and ``start()`` take it away and bring it back on the same port. ``requests`` lists the calls
    of the HTTP API, ``messages`` the events that were accepted. ``delay`` is a number of seconds before each
    answer of the HTTP API. ``webhook`` is a URL to which webhooks go, of departures after ``webhook_delay``
    seconds. ``timeouts`` are those of ``create_app``.

    ``fail_with`` makes POSTs of the HTTP API fail. A ``(status, body)`` is the answer, and ``"hang"`` means
    that there is none; neither accepts any event. ``"mute"`` accepts the events and does not answer: the
    client times out as with ``"hang"``, sends them again, and they arrive twice. It may also be a function
    of the ReceivedRequest that returns one of these, or None for a call that is to succeed. It is called
    on the server's thread, which waits for it, before the call is looked at::

        def now_and_then(request):
            return (500, "Try later.") if random.random() < 0.2 else None

        server.fail_with = now_and_then
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        app_id: str,
        key: str,
        secret: str,
        port: int = 0,
        webhook: str | None = None,
        webhook_delay: float = DELAY,
        **timeouts: float,
    ) -> None:
        self.credentials = Credentials(app_id, key, secret)
        self.port = port
        self.webhook = webhook
        self.webhook_delay = webhook_delay
        self.timeouts = timeouts
        self.requests: list[ReceivedRequest] = []
        self.messages: list[Event] = []
        self.fail_with: Failure | Callable[[ReceivedRequest], Failure] = None
        self.delay: float = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Return when the port accepts connections; raise OSError if it is taken."""
        webhooks = (
            Webhooks(self.credentials, self.webhook, delay=self.webhook_delay) if self.webhook else None
        )
        app = create_app(self.credentials, on_event=self._log, webhooks=webhooks, **self.timeouts)
        app.middlewares.insert(0, self._intercept)
        started: Future[int] = Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(app, started)), name="pusherable-server", daemon=True
        )
        thread.start()
        self.port = started.result()
        self._thread = thread

    def stop(self) -> None:
        """Close every connection and the port; return when the thread has ended."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._thread = None

    def wait_for_messages(self, count: int, timeout: float = 5) -> list[Event]:
        """The messages as soon as there are at least so many; TimeoutError if they do not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.messages) >= count, timeout):
                raise TimeoutError(f"{len(self.messages)} of {count} messages came in {timeout} seconds.")
            return list(self.messages)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    async def _serve(self, app: web.Application, started: "Future[int]") -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            async with serving(app, self.host, self.port) as port:
                started.set_result(port)
                await self._stopping.wait()
        except OSError as error:
            started.set_exception(error)

    def _log(self, event: Event) -> None:
        with self._changed:
            self.messages.append(event)
            self._changed.notify_all()

    @web.middleware
    async def _intercept(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if "app_id" not in request.match_info:
            return await handler(request)
        received = ReceivedRequest(request.method, request.path, dict(request.query), await request.read())
        self.requests.append(received)
        await asyncio.sleep(self.delay)
        failure = self._failure(received)
        if isinstance(failure, tuple):
            status, text = failure
            return web.Response(status=status, text=text)
        if failure == "hang":
            await asyncio.Event().wait()  # until the server stops
        answer = await handler(request)
        if failure == "mute":
            await asyncio.Event().wait()
        return answer

    def _failure(self, request: ReceivedRequest) -> Failure:
        if request.method != "POST":
            return None
        return self.fail_with(request) if callable(self.fail_with) else self.fail_with
