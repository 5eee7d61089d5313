"""Waking a relay in another process at once, through PostgreSQL's LISTEN and NOTIFY.

The rows are the guarantee, and a relay finds them by itself every few seconds. A notification only spares the
events that wait, so whatever goes wrong here costs seconds and never an event.
"""

import logging
import random
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final, Self

from django.db import connections

logger = logging.getLogger(__name__)

#: The name under which relays listen; names are per database, so there is one for all of its schemas.
CHANNEL: Final = "pusherable_delivery"
#: Seconds in which one notification speaks for all deliveries that a process commits to a database.
WINDOW: Final = 0.1
#: Seconds without another try where a notification could not be sent.
PAUSE: Final = 30
#: Seconds between two tries to listen, at most.
RECONNECT_AT_MOST: Final = 30
#: A listener never sends anything, so the kernel has to find out when the server has gone without a word.
DEFAULTS: Final = {
    "fallback_application_name": "pusherable_relay",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

# When each alias may be notified again, by the monotonic clock. Two threads that both read an old time send
# two notifications, which does no harm and is cheaper than a lock.
_quiet_until: dict[str, float] = {}


def notify(using: str) -> None:
    """Tell the relays that listen to the database `using` that it has new deliveries; never raises.

    Call it after the commit. Inside a transaction nothing is sent (the tests of a project run in one): there,
    NOTIFY takes a lock that makes the commits of all processes queue up.

    A notification that is left out, because the same process has sent one less than `WINDOW` ago, is no lost
    wake-up: the delivery that it stood for was committed within `WINDOW` after the one that was sent, and a
    Listener passes each of them on twice, at once and when `WINDOW` is over.
    """
    connection = connections[using]
    now = time.monotonic()
    if connection.vendor != "postgresql" or connection.in_atomic_block or now < _quiet_until.get(using, 0):
        return
    _quiet_until[using] = now + WINDOW
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")
    except Exception as error:  # noqa: BLE001  # the event is committed; the request must not fail any more
        _quiet_until[using] = now + PAUSE
        logger.warning("No relay could be notified; they find the events when they look next. %s", error)


def can_listen(using: str) -> bool:
    """Whether a relay can be woken by the database `using`: PostgreSQL with psycopg 3."""
    database: Any = connections[using]
    return bool(database.vendor == "postgresql" and database.Database.__name__ == "psycopg")


class Listener:
    """Calls `callback`, from a thread of its own, whenever somebody notifies the relays of `using`.

        with Listener("default", relay.wake):
            relay.run(idle=5)

    It calls again `WINDOW` later, for the deliveries that were committed meanwhile without a notification. It
    has a connection of its own, which it makes again when it is lost, and then it calls as well, since what
    was sent before that has gone unheard.
    """

    def __init__(self, using: str, callback: Callable[[], None]) -> None:
        self.using = using
        self.callback = callback
        # A wait for the database ends when the second of the two is closed.
        self._stopped, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="pusherable-listener", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.close()
        self._thread.join(1)  # it may be stuck in connecting, and ends with the process then

    def _run(self) -> None:
        failures, wait = 0, 0.0
        with self._stopped:
            while not self._stops_within(wait):
                try:
                    with closing(self._connect()) as connection:
                        connection.execute(f"LISTEN {CHANNEL}")
                        if failures:
                            logger.info("The database can wake the relay again.")
                        failures = 0
                        self._listen(connection)
                except Exception as error:  # noqa: BLE001  # the relay looks by itself, whatever the reason
                    if not failures:
                        logger.warning(
                            "The database cannot wake the relay; it still looks by itself. %s", error
                        )
                    failures += 1
                    # Spread, so that not all relays come at once when the database is back.
                    wait = random.uniform(0.5, 1) * min(2.0 ** min(failures - 1, 30), RECONNECT_AT_MOST)  # noqa: S311

    def _connect(self) -> Any:
        # Asked for each time, since a backend may give out passwords that expire. Django's own connections
        # are no use: they may come from a pool, and this one is kept for ever.
        database: Any = connections[self.using]
        params = DEFAULTS | database.get_connection_params()
        return database.Database.connect(**params | {"autocommit": True})

    def _listen(self, connection: Any) -> None:
        self.callback()
        again: float | None = WINDOW
        while not self._stops_within(again, connection):
            connection.pgconn.consume_input()
            notified = False
            while connection.pgconn.notifies():
                notified = True
            if notified or again:
                self.callback()
            again = WINDOW if notified else None

    def _stops_within(self, seconds: float | None, *others: Any) -> bool:
        """Wait until stopped, or for so long, or until one of the others has something to read."""
        readable, _, _ = select.select([self._stopped, *others], [], [], seconds)
        return self._stopped in readable
