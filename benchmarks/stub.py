"""The cheapest thing that passes for Pusher, in a process of its own: says yes to every call, if later."""

import asyncio
import multiprocessing
import re
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

SPAWN = multiprocessing.get_context("spawn")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Stub(asyncio.Protocol):
    """One connection, kept alive; its client sends the next call when it has read the answer to the last."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if data.startswith(b"\x16"):  # TLS, which is not spoken here
            self.transport.write(ANSWER)
        elif end and len(body) >= (int(length[1]) if length else 0):
            self.received = b""
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.transport.write, ANSWER)
            else:
                self.transport.write(ANSWER)


async def serve(delay: float, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(delay), "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, pipe.poll, None)


def run(delay: float, pipe: Connection) -> None:
    asyncio.run(serve(delay, pipe))


@contextmanager
def stub(delay: float) -> Iterator[int]:
    """The port of a stub that answers after so many seconds."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=run, args=(delay, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    yield ours.recv()
    ours.send("stop")
    process.join()
