"""How old events go: in small batches, each a short transaction, from the oldest to the newest."""

import datetime as dt
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from django.db import Error, connections, transaction
from django.db.models import BooleanField, Exists, Max, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import RawSQL
from django.utils.functional import cached_property

from pusherable.delivery.worker import Worker
from pusherable.models import AccessEvent, Delivery
from pusherable.retention import partitions
from pusherable.retention.archive import COLUMNS, Archive
from pusherable.retention.policy import Policy

#: A place in the order of the walk: the time and the id of an event.
Mark = tuple[dt.datetime, int]

#: Deletes the rows with these keys: by a join, since a list of thousands takes long to parse and to plan.
_BY_KEYS: Final = {
    "postgresql": "DELETE FROM {table} USING UNNEST(%s::bigint[]) AS one WHERE {key} = one",
    "mysql": "DELETE {table} FROM {table} JOIN JSON_TABLE(%s, '$[*]' COLUMNS (one BIGINT PATH '$')) AS given "
    "ON {key} = given.one",
    "sqlite": "DELETE FROM {table} WHERE {key} IN (SELECT value FROM JSON_EACH(%s))",
}
#: The bounds of a window, places in the order of the walk. The second half of each says it all, but MySQL
#: finds its way by the first.
_AFTER: Final = "occurred_at >= %s AND (occurred_at, id) > (%s, %s)"
_UNTIL: Final = "occurred_at <= %s AND (occurred_at, id) <= (%s, %s)"
#: SQLite has one lock, which a batch holds for about so many seconds. The first batch is so large.
HOLD, FIRST = 0.04, 500
#: Seconds between two batches there. Who waits for the lock looks for it every 25 ms at first, and then less
#: and less often: so everybody gets it in the first pause.
GAP = 0.03


class Prune(Worker):
    """Deletes the expired ones of `events`, a batch at a time.

        prune = Prune(AccessEvent.objects.filter(action="view"), Policy.older_than("90d", timezone.now()))
        for _batch in prune:
            print(prune.deleted, prune.reached)

    Of each object, the newest `keep_last` of `events` stay however old they are. What has still to be sent
    stays too, unless `include_undelivered`. With an archive, no event is deleted before it stands there.

    A batch has at most `batch_size` events, and begins where the one before it ended: from the first event
    each time, it would walk over all that the others have deleted. Between two of them are `pause` seconds.
    Each is a transaction, so that an error or a kill leaves whole batches.

    Where the table is partitioned, a partition in which everything has expired is dropped, however large it
    is, and new partitions are added ahead.
    """

    def __init__(
        self,
        events: QuerySet[AccessEvent],
        policy: Policy,
        *,
        keep_last: int | None = None,
        include_undelivered: bool = False,
        batch_size: int = 10_000,
        pause: float = 0,
        archive: Archive | None = None,
    ) -> None:
        super().__init__()
        self.using = events.db
        self.deleted = 0
        self.batches = 0
        self.reached: dt.datetime | None = None  # what had expired by then is gone
        self.is_complete = False
        self._connection = connections[self.using]
        self._is_sqlite = self._connection.vendor == "sqlite"
        self._size = min(batch_size, FIRST) if self._is_sqlite else batch_size
        self._batch_size = batch_size
        self._between = pause
        self._held = 0.0  # for how many seconds the last DELETE held its locks
        self._archive = archive
        self._latest = policy.latest
        self._table = self._connection.ops.quote_name(AccessEvent._meta.db_table)
        self._all = AccessEvent.objects.using(self.using).order_by()
        self._queue = Delivery.objects.using(self.using).order_by()
        has_delivery = Exists(self._queue.filter(event=OuterRef("pk")))
        self._expired = events.order_by().filter(policy.expired)
        if keep_last is not None:
            same = events.filter(object_type=OuterRef("object_type"), object_pk=OuterRef("object_pk"))
            first_kept = same.order_by("-pk").values("pk")[keep_last - 1 : keep_last]
            self._expired = self._expired.filter(pk__lt=Subquery(first_kept))  # NULL where there are fewer
        self._old = self._expired  # sent or not
        if not include_undelivered:
            self._expired = self._expired.filter(~has_delivery)
        query, features = self._expired.query, self._connection.features
        self._by_keys = (
            archive is not None  # the same question might have another answer a moment later
            or (keep_last is not None and not features.delete_can_self_reference_subquery)
            or len(query.alias_map) > 1  # a condition on another table
            or query.is_empty()
        )

    def __iter__(self) -> Iterator[None]:
        """Yields after every batch that has deleted something. Ends when all are gone, or after `stop`."""
        with self._without_waiting_for_the_disk():
            for deleted in self._go():
                if deleted:
                    self.deleted += deleted
                    self.batches += 1
                    yield

    def count(self) -> int:
        """How many would be deleted now."""
        windows = self._windows()
        return sum(self._expired.filter(_condition(sql, params)).count() for sql, params, _end in windows)

    def count_undelivered(self) -> int:
        """How many would go but for being undelivered; or, with `include_undelivered`, go nevertheless."""
        expired = self._old.filter(pk=OuterRef("event_id"))
        return self._queue.filter(Exists(expired)).count()  # by way of the queue, which is the smaller table

    def _go(self) -> Iterator[int]:
        """The number of events that each step has deleted, which may be none."""
        if partitions.is_partitioned(self.using):
            partitions.extend(self.using)
            for partition in partitions.closed(self.using):
                yield self._drop(partition)
                if self._stopped:
                    return
        for window, params, end in self._windows():
            deleted = self._delete(window, params)
            self.reached = end[0] if end else self._latest
            if end is None:
                self._delete_orphans()
                self.is_complete = True
            yield deleted
            if end:
                self._rest(after_work=bool(deleted))
            if self._stopped:
                return

    def _windows(self) -> Iterator[tuple[str, list[Any], Mark | None]]:
        """The events before `latest`, so many at a time, as a condition with its parameters.

        The third is where the window ends; None for the last one. By time and not by id: events need not have
        been recorded in the order in which they occurred.
        """
        adapted = self._connection.ops.adapt_datetimefield_value
        marks = self._all.order_by("occurred_at", "pk").values_list("occurred_at", "pk")
        sql = "occurred_at < %s"
        params: list[Any] = [adapted(self._latest)]
        while True:
            rest = marks.filter(_condition(sql, params))
            end: Mark | None = next(iter(rest[self._size - 1 : self._size]), None)
            if end is None:
                yield sql, params, None
                return
            place = [adapted(end[0]), adapted(end[0]), end[1]]
            yield f"{sql} AND {_UNTIL}", params + place, end
            sql, params = f"occurred_at < %s AND {_AFTER}", [params[0], *place]

    def _delete(self, window: str, params: list[Any]) -> int:
        if self._by_keys:
            return self._delete_found(self._expired.filter(_condition(window, params)))
        # Not `delete()`: receivers that another app connects for every model would make it load each row.
        expired, values = self._where
        sql = f"DELETE FROM {self._table} WHERE {expired} AND {window}"  # noqa: S608
        return self._execute(sql, [*values, *params])

    @cached_property
    def _where(self) -> tuple[str, Sequence[Any]]:
        """What has expired, compiled once: for every batch anew, that takes a tenth of the whole time."""
        query = self._expired.query
        sql, params = query.get_compiler(self.using).compile(query.where)
        return sql, params

    def _delete_found(self, rows: QuerySet[AccessEvent]) -> int:
        columns = COLUMNS if self._archive is not None else ("id",)
        found = list(rows.order_by("pk").values_list(*columns))
        if found and self._archive is not None:
            self._archive.write(found)
        return self._delete_keys(AccessEvent, "id", [row[0] for row in found])

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
        event = self._all.filter(pk=OuterRef("event_id"))
        # In two steps: MySQL's DELETE waits for new deliveries, and then does not see their new events.
        orphans = self._queue.filter(~Exists(event)).values_list("event_id", flat=True)
        while keys := list(orphans[: self._batch_size]):
            self._delete_keys(Delivery, "event_id", keys)

    def _drop(self, partition: partitions.Partition) -> int:
        """Drop the partition if nothing in it stays; returns how many events went with it."""
        rows = (
            Q(pk__lt=partition.high)
            if partition.low is None
            else Q(pk__gte=partition.low, pk__lt=partition.high)
        )
        newest = self._all.filter(rows).aggregate(newest=Max("occurred_at"))["newest"]
        if newest is not None and newest >= self._latest:
            return 0
        with transaction.atomic(using=self.using):
            partitions.freeze(self.using, partition)
            total = self._all.filter(rows).count()
            if total != self._expired.filter(rows).count():
                return 0
            if self._archive is not None:
                self._copy(self._all.filter(rows), self._archive)
            partitions.drop(self.using, partition)
        self.reached = newest
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


def _condition(sql: str, params: Sequence[Any]) -> RawSQL:
    return RawSQL(sql, params, BooleanField())  # noqa: S611  # nothing in it comes from outside
