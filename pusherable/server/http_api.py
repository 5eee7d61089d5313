"""The HTTP API: ``/apps/APP_ID/...``, by which events come in and channels are asked about."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from pusherable.server import protocol
from pusherable.server.channels import Hub
from pusherable.server.protocol import Event, InvalidRequestError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpApi:
    """The endpoints; ``on_event`` is called with each event that was accepted."""

    def __init__(self, hub: Hub, on_event: Callable[[Event], object]) -> None:
        self.hub = hub
        self.on_event = on_event

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/apps/{app_id}/events", self.events),
            web.post("/apps/{app_id}/batch_events", self.batch_events),
            web.get("/apps/{app_id}/channels", self.channels),
            web.get("/apps/{app_id}/channels/{channel}", self.channel),
            web.get("/apps/{app_id}/channels/{channel}/users", self.users),
        ]

    async def events(self, request: web.Request) -> web.Response:
        event = Event.parse(await _json(request))
        self._publish([event])
        answer = {name: self.hub.channel(name).info(event.info) for name in event.channels}
        return web.json_response({"channels": answer} if event.info else {})

    async def batch_events(self, request: web.Request) -> web.Response:
        match await _json(request):
            case {"batch": list(batch)} if len(batch) <= protocol.MAX_BATCH:
                events = [Event.parse(item) for item in batch]
            case _:
                raise InvalidRequestError(f"batch must be a list of at most {protocol.MAX_BATCH} events.")
        if any(len(event.channels) > 1 for event in events):
            raise InvalidRequestError("Each event of a batch goes to one channel.")
        self._publish(events)
        answer = [self.hub.channel(event.channels[0]).info(event.info) for event in events]
        return web.json_response({"batch": answer} if any(event.info for event in events) else {})

    async def channels(self, request: web.Request) -> web.Response:
        prefix = request.query.get("filter_by_prefix", "")
        info = self._info(request, prefix)
        channels = self.hub.channels.items()
        answer = {name: channel.info(info) for name, channel in channels if name.startswith(prefix)}
        return web.json_response({"channels": answer})

    async def channel(self, request: web.Request) -> web.Response:
        name = self._channel_name(request)
        channel = self.hub.channel(name)
        info = channel.info(self._info(request, name))
        return web.json_response({"occupied": bool(channel.subscribers), **info})

    async def users(self, request: web.Request) -> web.Response:
        name = self._channel_name(request)
        if not name.startswith(protocol.PRESENCE):
            raise InvalidRequestError("Only presence channels have users.")
        return web.json_response({"users": [{"id": user_id} for user_id in self.hub.channel(name).users]})

    def _publish(self, events: list[Event]) -> None:
        for event in events:
            self.hub.publish(event)
            self.on_event(event)

    def _info(self, request: web.Request, name: str) -> frozenset[str]:
        info = protocol.parse_info(request.query.get("info", ""))
        if "user_count" in info and not name.startswith(protocol.PRESENCE):
            raise InvalidRequestError("user_count applies to presence channels: ask with their prefix.")
        return info

    def _channel_name(self, request: web.Request) -> str:
        name = request.match_info["channel"]
        if not protocol.valid_channel(name):
            raise InvalidRequestError(f"Invalid channel name: {name!r:.200}")
        return name

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check who calls before any endpoint runs, and answer what an endpoint refuses."""
        app_id = request.match_info.get("app_id")
        if app_id is None:
            return await handler(request)
        if app_id != self.hub.credentials.app_id:
            raise web.HTTPNotFound(text="There is no app with this id.")
        body = await request.read()
        check = self.hub.credentials.check_request
        if problem := check(request.method, request.path, request.query, body, time.time()):
            raise web.HTTPUnauthorized(text=problem)
        try:
            return await handler(request)
        except InvalidRequestError as error:
            return web.Response(status=error.status, text=str(error))


async def _json(request: web.Request) -> object:
    try:
        return protocol.decode(await request.read())
    except ValueError as error:
        raise InvalidRequestError(f"The body is not JSON: {error}") from error
