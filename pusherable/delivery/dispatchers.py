"""Who sends after commit: the request itself, or a thread of the process."""

import atexit
import logging
import os
import threading
from contextlib import suppress
from typing import Protocol

from django.db import Error, connections, router
from django.utils import timezone

from pusherable.delivery import relay
from pusherable.delivery.backends import Chosen
from pusherable.models import Delivery

logger = logging.getLogger(__name__)


class Dispatcher(Protocol):
    """What a project's own dispatcher has to offer."""

    def wake(self, using: str) -> None:
        """Deliveries were committed to the database `using`; called in the request, so it must not wait."""


class InlineDispatcher:
    """Sends in the request, after commit: for tests and scripts, since the request waits for Pusher."""

    def wake(self, using: str) -> None:
        # One batch: a backlog from an outage is not this request's to work off.
        relay.drain(using, limit=relay.BATCH)


class ThreadDispatcher:
    """Sends from one background thread of the process, which starts at the first wake-up.

    The request only adds an alias to a set. The thread then sends everything that is due, also what earlier
    or other processes left; it tries again when something has failed, and looks by itself once a minute.

    `linger` (seconds) lets the events of a busy moment share calls to Pusher; `poll` (seconds) is how often
    the thread looks without being woken; at exit it gets `flush_timeout` (seconds) to send what is due.
    `reconnect` (seconds) is what pages get to find a server again that was gone, before anything is sent.
    """

    def __init__(
        self, *, linger: float = 0.1, poll: float = 60, flush_timeout: float = 2, reconnect: float = 20
    ) -> None:
        self.linger = linger
        self.reconnect = reconnect
        self.poll = poll
        self.flush_timeout = flush_timeout
        self._reset()
        os.register_at_fork(after_in_child=self._reset)
        atexit.register(self.close)

    def wake(self, using: str) -> None:
        # A set of aliases is a queue that cannot grow; adding to it needs no lock.
        self._aliases.add(using)
        self._woken.set()
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def close(self) -> None:
        """Send what is due and end the thread, within `flush_timeout`; what is not sent stays due."""
        thread = self._thread
        self._closing.set()
        self._woken.set()
        if thread is not None and thread.is_alive():
            thread.join(self.flush_timeout)

    def _reset(self) -> None:
        # Also in a forked child: it has none of its parent's threads, and locks in an unknown state.
        self._aliases: set[str] = set()
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        with self._starting:
            if self._closing.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._run, name="pusherable", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        self._aliases.add(router.db_for_write(Delivery))
        failures = 0
        try:
            while not self._closing.is_set():
                self._woken.clear()
                if not self._drain():
                    failures = self._wait_out(failures + 1)
                    continue
                failures = 0
                if self._woken.wait(1) or self._sleep():
                    self._closing.wait(self.linger)
            if not failures:
                self._drain()
        finally:
            _disconnect()

    def _wait_out(self, failures: int) -> int:
        """Wait before the next try; no request cuts that short. Returns how many have failed by then.

        While the server cannot be reached at all, no delivery is tried, it is only asked whether it is back.
        The pages have lost their connection with it, and a message sent at once would find nobody there.
        """
        gone = not relay.is_reachable()
        self._closing.wait(relay.backoff(failures).total_seconds())
        while gone and not self._closing.is_set():
            if relay.is_reachable():
                self._closing.wait(self.reconnect)
                break
            failures += 1
            self._closing.wait(relay.backoff(failures).total_seconds())
        return failures

    def _drain(self) -> bool:
        # Each database is drained, whatever became of those before it.
        results = [self._drain_one(alias) for alias in list(self._aliases)]
        return all(results)

    def _drain_one(self, alias: str) -> bool:
        try:
            return relay.drain(alias)
        except Exception:
            logger.exception("The delivery queue could not be read; the events are kept and tried again.")
            _disconnect()
            return False

    def _sleep(self) -> bool:
        """Wait without a database connection, until woken, something is due, or `poll` is over."""
        try:
            due = [time for alias in list(self._aliases) if (time := relay.next_due(alias))]
        except Exception:  # noqa: BLE001  # the next drain meets it as well, and logs it
            due = []
        finally:
            _disconnect()
        wait = min([(time - timezone.now()).total_seconds() for time in due] + [self.poll])
        return self._woken.wait(max(wait, 0))


def _disconnect() -> None:
    with suppress(Error):  # a connection that is lost already is forgotten all the same
        connections.close_all()


dispatcher: Chosen[Dispatcher] = Chosen("PUSHERABLE_DISPATCHER", "wake")


def wake(using: str) -> None:
    """Tell the chosen dispatcher that the database `using` has new deliveries."""
    dispatcher.get().wake(using)
