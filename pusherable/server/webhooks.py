"""What the server tells the site: who came and who went, as signed webhooks.

Source: https://pusher.com/docs/channels/server_api/webhooks/
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Final

import aiohttp
import yarl
from aiohttp import web

from pusherable.server.channels import Change
from pusherable.server.protocol import Credentials

#: Seconds that a departure is kept back, as at Pusher: whoever opens the next page in time has not left.
DELAY: Final = 3.0

#: How events are gathered, and how long an answer may take, at Pusher too.
BATCH_WINDOW: Final = 0.25
MAX_BATCH: Final = 20
TIMEOUT: Final = 4

#: Seconds between the attempts. Pusher goes on for five minutes; a developer has seen the message by then.
PAUSES: Final = (0.5, 1, 2)

_DEPARTURES: Final = {"channel_occupied": "channel_vacated", "member_added": "member_removed"}


class Webhooks:
    """Tells a URL of changes, in their order.

    ``on_sent`` is called with the changes of each webhook that was accepted, and ``on_failure`` with a
    sentence when the URL begins to fail. Raises ValueError for what is no URL.
    """

    def __init__(
        self,
        credentials: Credentials,
        url: str,
        *,
        delay: float = DELAY,
        on_sent: Callable[[Sequence[Change]], object] = lambda _changes: None,
        on_failure: Callable[[str], object] = lambda _problem: None,
    ) -> None:
        try:
            self.url = yarl.URL(url)
        except ValueError as error:
            raise ValueError(f"{url!r} is not a URL: {error}") from error
        if self.url.scheme not in {"http", "https"} or not self.url.host:
            raise ValueError(
                f"{url!r} is not a URL: it begins with http:// or https:// and the name of a host."
            )
        self.credentials = credentials
        self.delay = delay
        self.on_sent = on_sent
        self.on_failure = on_failure
        self._leaving: dict[Change, asyncio.TimerHandle] = {}
        self._due: asyncio.Queue[Change] = asyncio.Queue()
        self._fails = False

    def notify(self, change: Change) -> None:
        """Tell of it; but neither of a departure nor of the return if that comes in time."""
        if change.name not in _DEPARTURES:
            timer = asyncio.get_running_loop().call_later(self.delay, self._left, change)
            self._leaving[change] = timer
            return
        departure = replace(change, name=_DEPARTURES[change.name])
        if departure in self._leaving:
            self._leaving.pop(departure).cancel()
        else:
            self._due.put_nowait(change)

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """Send while the application runs; what is not sent when it ends is dropped."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT)) as session:
            sender = asyncio.create_task(self._send(session))
            yield
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender
        for timer in self._leaving.values():
            timer.cancel()

    def _left(self, change: Change) -> None:
        del self._leaving[change]
        self._due.put_nowait(change)

    async def _send(self, session: aiohttp.ClientSession) -> None:
        while True:
            changes = [await self._due.get()]
            await asyncio.sleep(BATCH_WINDOW)
            while len(changes) < MAX_BATCH and not self._due.empty():
                changes.append(self._due.get_nowait())
            if await self._deliver(session, changes):
                self.on_sent(changes)

    async def _deliver(self, session: aiohttp.ClientSession, changes: Sequence[Change]) -> bool:
        events = [change.event for change in changes]
        body = json.dumps({"time_ms": time.time_ns() // 1_000_000, "events": events})
        headers = {
            "Content-Type": "application/json",
            "X-Pusher-Key": self.credentials.key,
            "X-Pusher-Signature": self.credentials.sign(body),
        }
        for pause in (*PAUSES, None):
            problem = await self._post(session, body, headers)
            if problem is None:
                self._fails = False
                return True
            if not self._fails:
                self._fails = True
                self.on_failure(problem)
            if pause is not None:
                await asyncio.sleep(pause)
        return False

    async def _post(self, session: aiohttp.ClientSession, body: str, headers: dict[str, str]) -> str | None:
        """What is wrong, or None."""
        try:
            async with session.post(
                self.url, data=body.encode(), headers=headers, allow_redirects=False
            ) as response:
                if 200 <= response.status < 300:
                    return None
                text = (await response.content.read(200)).decode(errors="replace")
                return f"The webhook's URL {self.url} answers {response.status}: {' '.join(text.split())}"
        except TimeoutError:
            return f"The webhook's URL {self.url} does not answer within {TIMEOUT} seconds."
        except (aiohttp.ClientError, OSError, ValueError) as error:  # the last for a host that cannot be
            return f"The webhook's URL {self.url} cannot be reached: {error}"
