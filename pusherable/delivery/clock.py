"""The one clock of the queue: the database server's, which is all that processes on many machines share."""

import datetime as dt
from typing import Any, Final

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

#: The present, as a column of time stores it. SQLite has no server, and so no clock of its own.
SQL: Final = {
    "postgresql": "STATEMENT_TIMESTAMP()",
    "mysql": "CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', %s)",
}


def now(using: str) -> dt.datetime:
    """The time by the clock of the database `using`: aware or naive, as ``USE_TZ`` has it."""
    connection = connections[using]
    if connection.vendor not in SQL:
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {SQL[connection.vendor]}", params(connection))
        (value,) = cursor.fetchone()
    moment: dt.datetime = value
    if settings.USE_TZ and timezone.is_naive(moment):
        return timezone.make_aware(moment, connection.timezone)
    return moment


def params(connection: BaseDatabaseWrapper) -> list[Any]:
    """The parameters of ``SQL``."""
    if connection.vendor == "postgresql":
        return []
    if connection.vendor == "mysql":  # its columns hold local time, by the offset of the connection's zone
        local = dt.datetime.now(connection.timezone or timezone.get_default_timezone())
        return [local.isoformat()[-6:]]
    return [connection.ops.adapt_datetimefield_value(timezone.now())]
