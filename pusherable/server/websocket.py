"""The WebSocket side: ``/app/KEY``."""

import asyncio
import contextlib
import itertools
import json
import random
from collections import deque

from aiohttp import WSMsgType, web

from pusherable.server import protocol
from pusherable.server.channels import Hub, SubscriptionError
from pusherable.server.protocol import Code

#: Room for the largest client event with every character escaped.
MAX_MESSAGE_BYTES = 128 * 1024
#: Seconds that a client has to take leave.
CLOSE_TIMEOUT = 1


class Connection:
    """One WebSocket. What it is sent waits in a queue, so that a slow client holds nobody else up."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, socket_id: str) -> None:
        self.socket = socket
        self._request = request
        self.socket_id = socket_id
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._client_events: deque[float] = deque(maxlen=protocol.CLIENT_EVENTS_PER_SECOND)

    def send(self, frame: str) -> None:
        self._outbox.put_nowait(frame)

    async def write(self) -> None:
        """Send what is in the queue until cancelled, or until the client is gone."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.socket.send_str(await self._outbox.get())

    async def close(self, code: Code, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.socket.close(code=code, message=reason.encode())
        except TimeoutError:
            # It does not even read, so it cannot be told; what waits in the buffers is given up.
            if transport := self._request.transport:
                transport.abort()

    def may_send_client_event(self) -> bool:
        """Count a client event, unless there were too many in the last second."""
        now = asyncio.get_running_loop().time()
        if len(self._client_events) == self._client_events.maxlen and now - self._client_events[0] < 1:
            return False
        self._client_events.append(now)
        return True


class WebSocketApi:
    """Speaks the protocol with each client and keeps the hub informed."""

    def __init__(self, hub: Hub, *, activity_timeout: float, pong_timeout: float) -> None:
        self.hub = hub
        self.activity_timeout = activity_timeout
        self.pong_timeout = pong_timeout
        self._connections: set[Connection] = set()
        self._numbers = itertools.count(1)

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, timeout=CLOSE_TIMEOUT)
        await socket.prepare(request)
        if refusal := self._refuse(request):
            await self._reject(socket, *refusal)
            return socket
        # Two numbers, as at Pusher. The first makes ids differ between two runs of the server.
        socket_id = f"{random.randrange(1, 10**6)}.{next(self._numbers)}"  # noqa: S311
        connection = Connection(socket, request, socket_id)
        writer = asyncio.create_task(connection.write())
        self._connections.add(connection)
        try:
            established = {"socket_id": connection.socket_id, "activity_timeout": self.activity_timeout}
            connection.send(protocol.frame("pusher:connection_established", json.dumps(established)))
            await self._read(connection)
        finally:
            self._connections.discard(connection)
            self.hub.disconnect(connection)
            writer.cancel()
        return socket

    async def not_found(self, request: web.Request) -> web.WebSocketResponse:
        """Answer for every other path: browsers can read a close code, but not a status."""
        if not web.WebSocketResponse().can_prepare(request):
            raise web.HTTPNotFound(text="There is nothing at this path.")
        socket = web.WebSocketResponse(timeout=CLOSE_TIMEOUT)
        await socket.prepare(request)
        await self._reject(socket, Code.PATH_NOT_FOUND, "Path not found: connect to /app/KEY.")
        return socket

    async def shut_down(self, _app: web.Application) -> None:
        """Close every connection in the way that makes clients come back at once."""
        reason = "The server is shutting down."
        await asyncio.gather(*(client.close(Code.RECONNECT, reason) for client in self._connections))

    def _refuse(self, request: web.Request) -> tuple[Code, str] | None:
        if request.match_info["key"] != self.hub.credentials.key:
            return Code.APP_NOT_FOUND, "There is no app with this key."
        version = request.query.get("protocol")
        if version is None:
            return Code.NO_VERSION, "No protocol version supplied: add ?protocol=7."
        if not (version.isascii() and version.isdigit()):
            return Code.INVALID_VERSION, "The protocol version must be a number."
        if version not in map(str, protocol.SUPPORTED_VERSIONS):
            return Code.UNSUPPORTED_VERSION, "Unsupported protocol version: use 7."
        return None

    async def _reject(self, socket: web.WebSocketResponse, code: Code, message: str) -> None:
        # The message goes out as an event too: not every client shows the reason of a close.
        with contextlib.suppress(ConnectionError):
            await socket.send_str(protocol.error(code, message))
        await socket.close(code=code, message=message.encode())

    async def _read(self, connection: Connection) -> None:
        """Receive until the connection ends; ping a silent client, and give up on it if it stays silent."""
        pinged = False
        while True:
            timeout = self.pong_timeout if pinged else self.activity_timeout
            try:
                message = await connection.socket.receive(timeout)
            except TimeoutError:
                if pinged:
                    await connection.close(Code.PONG_NOT_RECEIVED, "Pong reply not received in time.")
                    return
                connection.send(protocol.frame("pusher:ping", {}))
                pinged = True
                continue
            pinged = False
            if message.type is WSMsgType.TEXT:
                self._receive(connection, message.data)
            elif message.type is WSMsgType.BINARY:
                connection.send(protocol.error(None, "Binary frames are not supported."))
            else:
                return

    def _receive(self, connection: Connection, text: str) -> None:
        try:
            message = protocol.decode(text)
        except ValueError as error:
            connection.send(protocol.error(None, f"Invalid JSON: {error}"))
            return
        match message:
            case {"event": "pusher:ping"}:
                connection.send(protocol.frame("pusher:pong", {}))
            case {"event": "pusher:pong"}:
                pass
            case {"event": "pusher:subscribe", "data": {"channel": str(name), **data}}:
                self._subscribe(connection, name, data.get("auth"), data.get("channel_data"))
            case {"event": "pusher:unsubscribe", "data": {"channel": str(name)}}:
                self.hub.unsubscribe(connection, name)
            case {"event": "pusher:signin"}:
                connection.send(protocol.error(Code.UNAUTHORIZED, "This server has no user sign-in."))
            case {"event": str(event), "channel": str(name), **rest} if event.startswith("client-"):
                self._client_event(connection, event, name, rest.get("data"))
            case _:
                connection.send(protocol.error(None, "Not an event of the protocol, or without its fields."))

    def _subscribe(self, connection: Connection, name: str, auth: object, channel_data: object) -> None:
        try:
            self.hub.subscribe(connection, name, auth, channel_data)
        except SubscriptionError as error:
            connection.send(protocol.frame("pusher:subscription_error", error.data, channel=name))

    def _client_event(self, connection: Connection, event: str, name: str, data: object) -> None:
        if refusal := self._refuse_client_event(connection, event, name, data):
            message = f"Client event rejected: {refusal}"
            connection.send(protocol.error(Code.CLIENT_EVENT_REJECTED, message))
            return
        channel = self.hub.channel(name)
        member = channel.subscribers[connection]
        sender = {} if member is None else {"user_id": member.user_id}
        frame = protocol.frame(event, data, channel=name, **sender)
        channel.broadcast(frame, exclude=connection.socket_id)

    def _refuse_client_event(self, connection: Connection, event: str, name: str, data: object) -> str | None:
        if not name.startswith(protocol.AUTHORIZED) or name.startswith(protocol.ENCRYPTED):
            return "only private and presence channels take them."
        if connection not in self.hub.channel(name).subscribers:
            return "subscribe to the channel first."
        if len(event) > protocol.MAX_EVENT_NAME:
            return f"the name has more than {protocol.MAX_EVENT_NAME} characters."
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        if protocol.byte_length(text) > protocol.MAX_DATA_BYTES:
            return f"the data has more than {protocol.MAX_DATA_BYTES} bytes."
        if not connection.may_send_client_event():
            return f"more than {protocol.CLIENT_EVENTS_PER_SECOND} in a second."
        return None
