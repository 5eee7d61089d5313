"""The server as an aiohttp application, and a way to run it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from pusherable.server.channels import Hub
from pusherable.server.http_api import HttpApi
from pusherable.server.protocol import Credentials, Event
from pusherable.server.webhooks import Webhooks
from pusherable.server.websocket import WebSocketApi

#: How long a call in flight may still take when the server stops.
SHUTDOWN_TIMEOUT = 0.1


def create_app(
    credentials: Credentials,
    *,
    on_event: Callable[[Event], object] = lambda _event: None,
    webhooks: Webhooks | None = None,
    activity_timeout: float = 120,
    pong_timeout: float = 30,
) -> web.Application:
    """The WebSocket and the HTTP API of one app.

    ``on_event`` is called with each event that the HTTP API accepts; ``webhooks`` tell who comes and goes. A
    client that is silent for ``activity_timeout`` seconds is pinged, and disconnected if it stays silent for
    ``pong_timeout`` more.
    """
    hub = Hub(credentials, webhooks.notify) if webhooks else Hub(credentials)
    http = HttpApi(hub, on_event)
    websocket = WebSocketApi(hub, activity_timeout=activity_timeout, pong_timeout=pong_timeout)
    app = web.Application(middlewares=[http.guard])
    app.add_routes([web.get("/app/{key}", websocket.connect), *http.routes()])
    app.router.add_route("*", "/{path:.*}", websocket.not_found)
    app.on_shutdown.append(websocket.shut_down)
    if webhooks:
        app.cleanup_ctx.append(webhooks.run)
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the block runs; the value is the port, which the system chooses if it is 0."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
