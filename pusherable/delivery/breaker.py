"""Whether calls to Pusher are worth trying: when they fail in a row, the whole process pauses."""

import logging
import random
import time
from typing import Final

from pusherable.delivery.transports import (
    ConfigurationError,
    TransportError,
    UnreachableError,
    error_text,
    probe,
)

logger = logging.getLogger(__name__)

#: The calls pause after so many failures in a row, or at once where there is nobody to talk to.
TRIP_AFTER: Final = 3
#: The longest pause, in seconds; the first is up to one second, each next one up to twice as long.
PAUSE_AT_MOST: Final = 60
#: Seconds that pages get to connect again to a server that was gone, before anything is sent.
RECONNECT: Final = 20


def backoff(failures: int, at_most: float) -> float:
    """Seconds to wait after so many failures in a row: exponential, with full jitter."""
    return random.uniform(0, min(2 ** min(failures - 1, 30), at_most))  # noqa: S311  # not for secrets


class Breaker:
    """Shared by all relays of a process. Closed: calls are made. Open: they pause, then one is tried.

    While the server cannot be reached at all, no delivery is tried, it is only asked whether it is back. The
    pages have lost their connection with it, and a message sent at once would find nobody there.

    Needs no lock: two threads that meet can at worst count one failure less, or ask once more.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._failures = 0
        self._pauses = 0
        self._until = 0.0
        self._unreachable = False
        self._gone = False
        self._logged: set[type[TransportError]] = set()

    @property
    def is_open(self) -> bool:
        return self._pauses > 0

    @property
    def pause(self) -> float:
        """Seconds until it is worth trying again; 0 if it is now."""
        return max(self._until - time.monotonic(), 0)

    def is_ready(self) -> bool:
        """Whether to call now: it is closed, or the pause is over and the server can be reached."""
        if self.pause:
            return False
        if self._unreachable and not _can_connect():
            self._gone = True
            self._extend()
            return False
        self._unreachable = False
        if self._gone:
            self._gone = False
            self._until = time.monotonic() + RECONNECT
        return not self.pause

    def failed(self, error: Exception) -> None:
        self._failures += 1
        hopeless = isinstance(error, (ConfigurationError, UnreachableError))
        if (hopeless or self.is_open or self._failures >= TRIP_AFTER) and not self.pause:
            self._unreachable = isinstance(error, UnreachableError)
            self._extend()
            self._log(error)

    def succeeded(self) -> None:
        if self.is_open:
            logger.info("Sending access events works again.")
            self.reset()
        self._failures = 0

    def _extend(self) -> None:
        self._pauses += 1
        self._until = time.monotonic() + backoff(self._pauses, PAUSE_AT_MOST)

    def _log(self, error: Exception) -> None:
        """Once per incident; and once more where the settings turn out to be behind it."""
        kind = ConfigurationError if isinstance(error, ConfigurationError) else TransportError
        if kind in self._logged:
            return
        self._logged.add(kind)
        text = error_text(error)
        if kind is ConfigurationError:
            logger.error("Access events are kept, but not sent until the settings are right. %s", text)
        else:
            trace = None if isinstance(error, TransportError) else error
            logger.warning(
                "Sending access events fails; they are kept and tried again. %s", text, exc_info=trace
            )


def _can_connect() -> bool:
    try:
        probe()
    except UnreachableError:
        return False
    except Exception:  # noqa: BLE001  # an answer of whatever kind; the next call tells more
        return True
    return True


breaker = Breaker()
