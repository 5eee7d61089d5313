"""How old events go: in small batches, each a short transaction, from the oldest to the newest."""

import datetime as dt
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter
from typing import Any, Final

from django.db import Error, connections, transaction
from django.db.models import Exists, Max, Model, OuterRef, Q, QuerySet

from pusherable.delivery.worker import Worker
from pusherable.models import AccessEvent, Delivery
from pusherable.retention import partitions
from pusherable.retention.archive import COLUMNS, Archive
from pusherable.retention.expired import Expired, Window

#: Deletes the rows with these keys: by a join, since a list of thousands takes long to parse and to plan.
_BY_KEYS: Final = {
    "postgresql": "DELETE FROM {table} USING UNNEST(%s::bigint[]) AS one WHERE {key} = one",
    "mysql": "DELETE {table} FROM {table} JOIN JSON_TABLE(%s, '$[*]' COLUMNS (one BIGINT PATH '$')) AS given "
    "ON {key} = given.one",
    "sqlite": "DELETE FROM {table} WHERE {key} IN (SELECT value FROM JSON_EACH(%s))",
}
#: SQLite has one lock, which a batch holds for about so many seconds. The first batch is so large.
HOLD, FIRST = 0.04, 500
#: Seconds between two batches there. Who waits for the lock looks for it every 25 ms at first, and then less
#: and less often: so everybody gets it in the first pause.
GAP = 0.03


class Prune(Worker):
    """Deletes what has expired, a batch at a time.

        policy = Policy.older_than("90d", timezone.now())
        prune = Prune(Expired(AccessEvent.objects.filter(action="view"), policy))
        for _batch in prune:
            print(prune.deleted, prune.reached)

    A batch has at most `batch_size` events, and begins where the one before it ended: from the first event
    each time, it would walk over all that the others have deleted. Between two of them are `pause` seconds.
    Each is a transaction, so that an error or a kill leaves whole batches. With an archive, no event is
    deleted before it stands there.

    Where the table is partitioned, a partition in which everything has expired is dropped, however large it
    is, and new partitions are added ahead.
    """

    def __init__(
        self,
        expired: Expired,
        *,
        batch_size: int = 10_000,
        pause: float = 0,
        archive: Archive | None = None,
    ) -> None:
        super().__init__()
        self.using = expired.using
        self.deleted = 0
        self.batches = 0
        self.reached: dt.datetime | None = None  # what had expired by then is gone
        self.is_complete = expired.is_empty
        self._expired = expired
        self._connection = connections[self.using]
        self._is_sqlite = self._connection.vendor == "sqlite"
        self._size = min(batch_size, FIRST) if self._is_sqlite else batch_size
        self._batch_size = batch_size
        self._between = pause
        self._held = 0.0  # for how many seconds the last DELETE held its locks
        self._archive = archive
        # MySQL would walk through the whole table for each batch.
        can_look = self._connection.features.delete_can_self_reference_subquery
        self._by_keys = expired.looks_into_itself and not can_look

    def __iter__(self) -> Iterator[None]:
        """Yields after every batch that has deleted something. Ends when all are gone, or after `stop`."""
        with self._without_waiting_for_the_disk():
            for deleted in self._go():
                if deleted:
                    self.deleted += deleted
                    self.batches += 1
                    yield

    def _go(self) -> Iterator[int]:
        """The number of events that each step has deleted, which may be none."""
        if partitions.is_partitioned(self.using):
            partitions.extend(self.using)
            for partition in partitions.closed(self.using):
                yield self._drop(partition)
                if self._stopped:
                    return
        for window in self._expired.windows(lambda: self._size):
            deleted = self._delete(window)
            self.reached = self._expired.moment(window)
            if window.end is None:
                self._delete_orphans()
                self.is_complete = True
            yield deleted
            if window.end is not None:
                self._rest(after_work=bool(deleted))
            if self._stopped:
                return

    def _delete(self, window: Window) -> int:
        if self._archive is not None:
            rows = self._expired.rows(window)
            self._archive.write(list(map(attrgetter(*COLUMNS), rows)))
            # No others: the same question might have another answer by now.
            return self._delete_keys(AccessEvent, "id", [row.pk for row in rows])
        if self._by_keys:
            return self._delete_keys(AccessEvent, "id", self._expired.keys(window))
        # Not `delete()`: receivers that another app connects for every model would make it load each row.
        return self._execute(*self._expired.statement("DELETE FROM", window))

    def _delete_keys(self, model: type[Model], column: str, keys: list[int]) -> int:
        quote = self._connection.ops.quote_name
        table = quote(model._meta.db_table)
        if not keys:
            return 0
        sql = _BY_KEYS[self._connection.vendor].format(table=table, key=f"{table}.{quote(column)}")
        return self._execute(sql, [keys if self._connection.vendor == "postgresql" else json.dumps(keys)])

    def _execute(self, sql: str, params: list[Any]) -> int:
        begun = time.monotonic()
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            deleted: int = cursor.rowcount
        self._held = time.monotonic() - begun
        return deleted

    def _delete_orphans(self) -> None:
        """Deliveries of events that are gone."""
        event = AccessEvent.objects.filter(pk=OuterRef("event_id"))
        # In two steps: MySQL's DELETE waits for new deliveries, and then does not see their new events.
        orphans = Delivery.objects.using(self.using).filter(~Exists(event)).values_list("event_id", flat=True)
        while keys := list(orphans[: self._batch_size]):
            self._delete_keys(Delivery, "event_id", keys)

    def _drop(self, partition: partitions.Partition) -> int:
        """Drop the partition if nothing in it stays; returns how many events went with it."""
        least = -(2**63) if partition.low is None else partition.low
        ids = Q(pk__gte=least, pk__lt=partition.high)
        events = AccessEvent.objects.using(self.using).order_by().filter(ids)
        newest = events.aggregate(newest=Max("occurred_at"))["newest"]
        if newest is not None and newest >= self._expired.latest:
            return 0
        with transaction.atomic(using=self.using):
            partitions.freeze(self.using, partition)
            total = events.count()
            if total != self._expired.events.filter(ids).count():
                return 0
            if self._archive is not None:
                self._copy(events, self._archive)
            partitions.drop(self.using, partition)
        return total

    def _copy(self, events: QuerySet[AccessEvent], archive: Archive) -> None:
        rest = events.order_by("pk").values_list(*COLUMNS)
        while rows := list(rest[: self._batch_size]):
            archive.write(rows)
            rest = rest.filter(pk__gt=rows[-1][0])

    def _rest(self, *, after_work: bool) -> None:
        """Let others in."""
        pause = self._between if after_work else 0
        if self._is_sqlite:
            wanted = self._size * HOLD / max(self._held, 0.001)
            wanted = max(
                min(wanted, 2 * self._size), FIRST / 5
            )  # it may have been waiting for the lock itself
            self._size = min(int(wanted), self._batch_size)
            pause = max(pause, GAP)
            with self._connection.cursor() as cursor:  # or the log of writes grows as long as others read
                cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._pause(pause)

    @contextmanager
    def _without_waiting_for_the_disk(self) -> Iterator[None]:
        """Let PostgreSQL bring a commit to the disk within a second.

        If its server crashes before, some events are back, and the next run deletes them again.
        """
        if self._connection.vendor != "postgresql":
            yield
            return
        with self._connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit TO off")
        try:
            yield
        finally:
            with suppress(Error), self._connection.cursor() as cursor:
                cursor.execute("RESET synchronous_commit")
