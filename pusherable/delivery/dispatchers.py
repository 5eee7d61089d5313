"""Who sends after commit: the request itself, a thread of the process, or nobody but the relay."""

import atexit
import os
import threading
import time
from abc import ABC, abstractmethod
from math import inf
from typing import Generic, Protocol, TypeVar

from pusherable.delivery.backends import Chosen
from pusherable.delivery.calls import BATCH
from pusherable.delivery.notify import notify
from pusherable.delivery.relay import Relay
from pusherable.delivery.worker import Worker


class Dispatcher(Protocol):
    """What a project's own dispatcher has to offer."""

    def wake(self, using: str) -> None:
        """Deliveries were committed to the database `using`; called in the request, so it must not wait."""


class InlineDispatcher:
    """Sends in the request, after commit: for tests and scripts, since the request waits for Pusher."""

    def wake(self, using: str) -> None:
        # One batch: a backlog from an outage is not this request's to work off.
        Relay(using, concurrency=1).drain(limit=BATCH)


class RelayDispatcher:
    """Sends nothing: that is left to ``manage.py pusherable_relay``, which PostgreSQL tells at once."""

    def wake(self, using: str) -> None:
        notify(using)


W = TypeVar("W", bound=Worker)


class Background(ABC, Generic[W]):
    """One thread of the process for each database, which starts at the first wake-up.

    The request only sets a flag. A thread that has died is replaced; a forked child has threads of its own.
    At exit they get `flush_timeout` (seconds) to finish.
    """

    def __init__(self, *, flush_timeout: float, **seconds: float) -> None:
        for name, value in {"flush_timeout": flush_timeout, **seconds}.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < inf:
                raise ValueError(f"{name} = {value!r}: write a number of seconds, for example {name} = 2.")
        self.flush_timeout = flush_timeout
        self._reset()
        os.register_at_fork(after_in_child=self._reset)
        atexit.register(self.close)

    @abstractmethod
    def make(self, using: str) -> W:
        """The worker for a database."""

    @abstractmethod
    def work(self, worker: W) -> None:
        """What the worker's thread does, until the worker is told to end."""

    def wake(self, using: str) -> None:
        worker, thread = self._running.get(using, (None, None))
        if worker is None or thread is None or not thread.is_alive():
            self._start(using)
        else:
            worker.wake()

    def close(self) -> None:
        """Let the threads finish, within `flush_timeout`; what is not sent by then stays due."""
        with self._starting:
            self._closed = True
        deadline = time.monotonic() + self.flush_timeout
        running = list(self._running.values())
        for worker, _ in running:
            worker.finish()
        for worker, thread in running:
            thread.join(max(deadline - time.monotonic(), 0))
            worker.stop()

    def _reset(self) -> None:
        # Also in a forked child: it has none of its parent's threads, and locks in an unknown state.
        self._running: dict[str, tuple[W, threading.Thread]] = {}
        self._starting = threading.Lock()
        self._closed = False

    def _start(self, using: str) -> None:
        with self._starting:
            _, thread = self._running.get(using, (None, None))
            if self._closed or (thread is not None and thread.is_alive()):
                return
            worker = self.make(using)
            thread = threading.Thread(target=self.work, args=(worker,), name="pusherable", daemon=True)
            self._running[using] = worker, thread
            thread.start()


class ThreadDispatcher(Background[Relay]):
    """Relays from a background thread of the process.

    It sends everything that is due, also what earlier or other processes left, and tries again what failed.
    `linger` (seconds) lets the events of a busy moment share calls to Pusher, of which up to `concurrency`
    are made at once; `poll` (seconds) is how often the thread looks without being woken; at exit it gets
    `flush_timeout` (seconds) to send what is due.
    """

    def __init__(
        self,
        *,
        linger: float = 0.1,
        poll: float = 60,
        flush_timeout: float = 2,
        concurrency: int = 4,
    ) -> None:
        super().__init__(flush_timeout=flush_timeout, linger=linger, poll=poll)
        self.linger = linger
        self.poll = poll
        self.concurrency = concurrency
        self.make("default")  # raises for options that cannot be

    def make(self, using: str) -> Relay:
        return Relay(using, concurrency=self.concurrency)

    def work(self, worker: Relay) -> None:
        worker.run(idle=self.poll, linger=self.linger)


dispatcher: Chosen[Dispatcher] = Chosen("PUSHERABLE_DISPATCHER", "wake")


def wake(using: str) -> None:
    """Tell the chosen dispatcher that the database `using` has new deliveries."""
    dispatcher.get().wake(using)
