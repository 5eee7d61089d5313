"""The partitions of the event table, by ranges of `id`: which there are, new ones ahead, and dropping one."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import OperationalError, connections, transaction
from django.db.backends.utils import CursorWrapper, truncate_name

from pusherable.models import AccessEvent

#: So many whole partitions lie beyond the last id; a partition has so many ids unless the others have more.
AHEAD: Final = 4
ROWS: Final = 1_000_000
#: Whoever needs a lock for which we wait waits behind us. So we wait briefly, again and again, for a minute.
LOCK_TIMEOUT: Final = "200ms"
PATIENCE: Final = 60.0
#: No insert waits for the lock on a partition that no new id falls into, so that may take longer.
FREEZE_TIMEOUT: Final = "10s"
#: The constraint that the table has while it is made the first partition.
BOUND: Final = "pusherable_partition_bound"
#: 55P03: it has taken longer than the timeout. 40P01: a deadlock.
_NO_LOCK: Final = ("55P03", "40P01")


class PartitionError(Exception):
    """What cannot be done, and why."""


@dataclass(frozen=True)
class Partition:
    """The events with ``low <= id < high``. The name is as SQL takes it: quoted, with a schema if need be."""

    name: str
    low: int | None  # None: no lower bound
    high: int


def is_partitioned(using: str) -> bool:
    """Whether the event table is partitioned by ranges of `id`."""
    if connections[using].vendor != "postgresql":
        return False
    (row,) = rows(using, "SELECT pg_get_partkeydef(to_regclass(%s))", [table_name(using)])
    return bool(row[0] == "RANGE (id)")


def partitions(using: str) -> list[Partition]:
    """All of them, the lowest first."""
    return _bounds(using)[0]


def closed(using: str) -> list[Partition]:
    """Those into which no new id can fall any more."""
    last = last_given(using)
    return [partition for partition in partitions(using) if partition.high <= last]


def ahead(using: str) -> list[Partition]:
    """Those that the ids have not reached yet."""
    return _beyond(last_given(using), partitions(using))


def room(using: str) -> int | None:
    """How many ids are left until inserts fail; None where the table takes any."""
    if connections[using].vendor != "postgresql":
        return None
    existing, bound = _bounds(using)
    if existing:
        bound = existing[-1].high
    return None if bound is None else max(bound - 1 - last_given(using), 0)


def broken_off(using: str) -> int | None:
    """The bound that a conversion has put on the table, if it is under way or was killed."""
    return _bounds(using)[1]


def last_given(using: str) -> int:
    """The last id that was given out; for those who may not read the sequence, the highest in the table."""
    ((sequence, is_readable),) = rows(using, _SEQUENCE, [table_name(using)])
    ((last,),) = rows(
        using,
        f"SELECT last_value - (NOT is_called)::int FROM {sequence}"  # noqa: S608
        if is_readable
        else f"SELECT coalesce(max(id), 0) FROM {table_name(using)}",  # noqa: S608
    )
    return int(last)


def missing(using: str, *, width: int | None = None) -> list[tuple[int, int]]:
    """The ranges that `extend` would create, each with so many ids, or as many as the highest has now."""
    existing, last = partitions(using), last_given(using)
    width = width or _width(existing)
    high = existing[-1].high if existing else last // width * width
    ranges = _up_to(last, high, width)
    for _ in range(AHEAD - len(_beyond(last, existing))):
        high = ranges[-1][1] if ranges else high
        ranges.append((high, high + width))
    return ranges


def extend(using: str, *, width: int | None = None) -> list[Partition]:
    """Create what is missing ahead, and return it. No insert waits for that."""
    if not is_partitioned(using):
        return []
    ranges = missing(using, width=width)
    _create(using, ranges)
    return [partition for partition in partitions(using) if (partition.low, partition.high) in ranges]


def cover(using: str, first_id: int, last_id: int) -> None:
    """Create partitions for events that come back, where theirs have been dropped."""
    if not is_partitioned(using):
        return
    existing = partitions(using)
    width = _width(existing)
    begin, end = first_id // width * width, (last_id // width + 1) * width
    ranges = []
    edge = -(2**63) if existing else begin
    for partition in existing:
        low = edge if partition.low is None else partition.low
        if max(edge, first_id) < min(low, last_id + 1):
            ranges.append((max(edge, begin), min(low, end)))
        edge = partition.high
    _create(using, ranges + _up_to(last_id, edge, width))


def freeze(using: str, partition: Partition) -> None:
    """Until the transaction ends nothing is written to this partition; reading goes on."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout TO '{FREEZE_TIMEOUT}'")
        try:
            cursor.execute(f"LOCK TABLE ONLY {partition.name} IN SHARE MODE")
        except OperationalError as error:
            if _sqlstate(error) not in _NO_LOCK:
                raise
            raise PartitionError(f"The partition {partition.name} is in use.") from error


def drop(using: str, partition: Partition) -> None:
    """Drop it, in the transaction of the caller; from then until its end, inserts wait."""
    alone(using, "ONLY " + table_name(using), lambda cursor: cursor.execute(f"DROP TABLE {partition.name}"))


def alone(
    using: str, tables: str, work: Callable[[CursorWrapper], object], *, patience: float | None = None
) -> None:
    """Call `work`, which has to be short, in a transaction or savepoint of its own with nobody at the table.

    If others do not make way in time, it raises PartitionError that names them.
    """
    for _attempt in patiently(using, PATIENCE if patience is None else patience):
        try:
            with transaction.atomic(using=using), connections[using].cursor() as cursor:
                # For this lock no insert waits, and PostgreSQL ends an autovacuum that is in its way.
                cursor.execute("SET LOCAL lock_timeout TO '2s'")
                cursor.execute(f"LOCK TABLE {tables} IN SHARE UPDATE EXCLUSIVE MODE")
                cursor.execute(f"SET LOCAL lock_timeout TO '{LOCK_TIMEOUT}'")
                cursor.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
                work(cursor)
                return
        except OperationalError as error:
            if _sqlstate(error) not in _NO_LOCK:
                raise


def patiently(using: str, seconds: float) -> Iterator[None]:
    """Yields at once, and again after pauses that grow; raises PartitionError when the time is over."""
    deadline, pause = time.monotonic() + seconds, 0.1
    while True:
        yield
        if time.monotonic() > deadline:
            who = "; ".join(text for (text,) in rows(using, _IN_THE_WAY, [table_name(using)]))
            raise PartitionError(f"The event table is in use. At work on it: {who or 'nobody any more'}.")
        time.sleep(pause)
        pause = min(2 * pause, 5)


def table_name(using: str) -> str:
    return connections[using].ops.quote_name(AccessEvent._meta.db_table)


def aside(using: str, name: str, suffix: object) -> str:
    """A name, quoted, for what is to stand beside the one with this name."""
    operations = connections[using].ops
    return operations.quote_name(truncate_name(f"{name}_{suffix}", operations.max_name_length()))


def home(using: str) -> tuple[str, str]:
    """The table's schema and its owner, quoted."""
    found = rows(using, _HOME, [table_name(using)])
    if not found:
        raise PartitionError(f"There is no table {table_name(using)}; run migrate first.")
    return found[0][0], found[0][1]


def rows(
    using: str, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    with connections[using].cursor() as cursor:
        cursor.execute(sql, params)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _create(using: str, ranges: Sequence[tuple[int, int]]) -> None:
    """Make tables apart and then attach them: ``PARTITION OF`` would lock out everybody else."""
    parent, (schema, owner) = table_name(using), home(using)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        for low, high in ranges:
            name = f"{schema}.{aside(using, AccessEvent._meta.db_table, high)}"
            # The indexes come with the attaching, and the identity is the parent's.
            cursor.execute(
                f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL EXCLUDING IDENTITY EXCLUDING INDEXES)"
            )
            cursor.execute(f"ALTER TABLE {name} OWNER TO {owner}")
            cursor.execute(
                f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})"
            )


def _up_to(last: int, low: int, width: int) -> list[tuple[int, int]]:
    """The ranges from `low` on to that of the id `last`; what lies between, if anything, is one range."""
    if last < low:
        return []
    begin = low + (last - low) // width * width
    return [*([(low, begin)] if low < begin else []), (begin, begin + width)]


def _beyond(last: int, existing: Sequence[Partition]) -> list[Partition]:
    return [partition for partition in existing if partition.low is not None and last < partition.low]


def _width(existing: Sequence[Partition]) -> int:
    """That of the highest, so that an operator can change it."""
    if not existing or existing[-1].low is None:
        return ROWS
    return existing[-1].high - existing[-1].low


def _bounds(using: str) -> tuple[list[Partition], int | None]:
    """The partitions, and the bound of a table that was to be one."""
    found, bound = [], None
    for name, text in rows(using, _BOUNDS, {"table": table_name(using), "bound": BOUND}):
        if match := re.fullmatch(r"FOR VALUES FROM \((?:MINVALUE|'(-?\d+)')\) TO \('(-?\d+)'\)", text):
            low, high = match.groups()
            found.append(Partition(name, None if low is None else int(low), int(high)))
        elif name == BOUND:
            (number,) = re.findall(r"\d+", text)
            bound = int(number)
    return sorted(found, key=lambda partition: partition.high), bound


def _sqlstate(error: Exception) -> str | None:
    return getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)


_BOUNDS: Final = """SELECT part.oid::regclass::text, pg_get_expr(part.relpartbound, part.oid)
    FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid WHERE inhparent = to_regclass(%(table)s)
    UNION ALL SELECT conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE conrelid = to_regclass(%(table)s) AND conname = %(bound)s
"""
_SEQUENCE: Final = """
    SELECT name, has_sequence_privilege(name, 'SELECT') FROM pg_get_serial_sequence(%s, 'id') name
"""
_HOME: Final = """
    SELECT quote_ident(nspname), quote_ident(pg_get_userbyid(relowner))
    FROM pg_class JOIN pg_namespace space ON space.oid = relnamespace WHERE pg_class.oid = to_regclass(%s)
"""
_IN_THE_WAY: Final = """
    SELECT DISTINCT concat_ws(
        ' ', 'process', coalesce(pid::text, 'of a prepared transaction'), '(' || usename || ')',
        state, coalesce('for ' || round(extract(epoch FROM clock_timestamp() - xact_start)) || ' s', ''),
        left(query, 100)
    )
    FROM (SELECT to_regclass(%s) AS oid) event
    JOIN pg_locks ON relation = event.oid OR relation IN (SELECT relid FROM pg_partition_tree(event.oid))
    LEFT JOIN pg_stat_activity USING (pid)
    WHERE granted AND pid IS DISTINCT FROM pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
