"""One at a time: what deletes, restores or rebuilds the log of a database excludes the others."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from django.core.files import locks
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

#: How to take the lock, whether that worked, and how to give it back. It ends with the session at the latest.
_SQL: Final[dict[str, tuple[str, str, str | int]]] = {
    "postgresql": ("SELECT PG_TRY_ADVISORY_LOCK(%s)", "SELECT PG_ADVISORY_UNLOCK(%s)", 0x70757368657261),
    # A name is the whole server's there.
    "mysql": (
        "SELECT GET_LOCK(CONCAT(%s, MD5(DATABASE())), 0)",
        "SELECT RELEASE_LOCK(CONCAT(%s, MD5(DATABASE())))",
        "pusherable-",
    ),
}


class Busy(Exception):  # noqa: N818  # a state, of somebody else's doing
    """Somebody else is at it."""


@contextmanager
def exclusive(using: str) -> Iterator[None]:
    """Hold the one lock of the database `using`; a process that is killed holds it no more.

    Raises Busy if somebody else holds it. With PgBouncer it needs the session mode.
    """
    connection = connections[using]
    held = _session(connection) if connection.vendor in _SQL else _file(connection)
    with held as has_it:
        if not has_it:
            raise Busy(f'Another prune, restore or partition command works on the database "{using}".')
        yield


@contextmanager
def _session(connection: BaseDatabaseWrapper) -> Iterator[bool]:
    take, give, key = _SQL[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(take, [key])
        (taken,) = cursor.fetchone()
    try:
        yield bool(taken)
    finally:
        if taken:
            with suppress(Error), connection.cursor() as cursor:  # with the connection, the lock is gone too
                cursor.execute(give, [key])


@contextmanager
def _file(connection: BaseDatabaseWrapper) -> Iterator[bool]:
    """SQLite has no such locks: a file beside the database has one, which the system frees."""
    name = str(connection.settings_dict["NAME"])
    if ":memory:" in name or "mode=memory" in name:  # nobody else has this database
        yield True
        return
    connection.ensure_connection()  # or what is no database were given a file as well
    with Path(f"{name}-retention").open("ab") as file:
        yield locks.lock(file, locks.LOCK_EX | locks.LOCK_NB)
