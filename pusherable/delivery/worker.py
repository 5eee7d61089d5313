"""What can be woken and told to end, while it waits and while it works."""

import time
from queue import Empty, SimpleQueue


class Worker:
    """Every method may be called from any thread and from a signal's handler; `_pause` is the worker's own.

    That rules threading.Event out: a handler that sets one can meet its own thread holding the event's lock.
    """

    def __init__(self) -> None:
        self._woken = False
        self._finishing = False
        self._stopped = False
        self._bell: SimpleQueue[None] = SimpleQueue()

    def wake(self) -> None:
        """There is something to do."""
        if not self._woken:
            self._woken = True
            self._bell.put(None)

    def finish(self) -> None:
        """End once everything is done."""
        self._finishing = True
        self._bell.put(None)

    def stop(self) -> None:
        """End as soon as what is in hand is done."""
        self._stopped = True
        self.finish()

    def _pause(self, seconds: float, *, until_woken: bool = False) -> bool:
        """Wait until told to end, or also until woken; returns whether either was the case."""
        until = time.monotonic() + seconds
        while not (self._finishing or (until_woken and self._woken)):
            try:
                self._bell.get(timeout=max(until - time.monotonic(), 0))
            except Empty:
                return False
        return True
