"""Which events go: found a window at a time, from the oldest to the newest."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

from django.db import connections
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from pusherable.models import AccessEvent, Delivery
from pusherable.retention.policy import Policy

#: The bounds of a window: an event's time, the same again, and its id. The second half of each says it all,
#: but by that alone neither MySQL nor SQLite finds its way.
_UNTIL: Final = "occurred_at <= %s AND (occurred_at, id) <= (%s, %s)"
_AFTER: Final = " AND occurred_at >= %s AND (occurred_at, id) > (%s, %s)"
#: SQLite may prefer the index of another condition, and then reads all events of an action for each window.
_HINT: Final = {"sqlite": " INDEXED BY pusherable_time"}


class Window(NamedTuple):
    """Some events that follow each other in time, whether they have expired or not."""

    where: str
    params: list[Any]
    end: (
        tuple[Any, int] | None
    )  # time and id of the last one, as the driver has them; None: there are no more


class Expired:
    """Those of `events` that the policy lets go.

    Of each object, the newest `keep_last` of `events` stay however old they are. What has still to be sent
    stays too, unless `include_undelivered`.
    """

    def __init__(
        self,
        events: QuerySet[AccessEvent],
        policy: Policy,
        *,
        keep_last: int | None = None,
        include_undelivered: bool = False,
    ) -> None:
        self.using = events.db
        self.latest = policy.latest
        self._connection = connections[self.using]
        self._table = self._connection.ops.quote_name(AccessEvent._meta.db_table)
        self._table += _HINT.get(self._connection.vendor, "")
        self._queue = Delivery.objects.using(self.using).order_by()
        old = events.order_by().filter(policy.expired)
        if keep_last is not None:
            same = events.filter(object_type=OuterRef("object_type"), object_pk=OuterRef("object_pk"))
            first_kept = same.order_by("-pk").values("pk")[keep_last - 1 : keep_last]
            old = old.filter(pk__lt=Subquery(first_kept))  # NULL where there are fewer
        is_joined = len(old.query.alias_map) > 1
        if is_joined:  # as no DELETE can be
            old = AccessEvent.objects.using(self.using).order_by().filter(pk__in=old.values("pk"))
        #: Whether to find them, the table is looked into a second time.
        self.looks_into_itself = is_joined or keep_last is not None
        self._old = old  # sent or not
        self.events = old
        if not include_undelivered:
            # Old events are from before the first in the queue, as a rule; and then one look there is enough.
            first = Subquery(self._queue.order_by("event_id").values("event_id")[:1])
            is_before = Q(pk__lt=Coalesce(first, Value(2**63 - 1)))
            self.events = old.filter(is_before | ~Exists(self._queue.filter(event=OuterRef("pk"))))

    @property
    def is_empty(self) -> bool:
        """Whether there can be none, whatever is in the table."""
        return self.events.query.is_empty()

    def windows(self, size: Callable[[], int]) -> Iterator[Window]:
        """All events before `latest`, so many at a time.

        By time and not by id: events need not have been recorded in the order in which they occurred.
        """
        adapted = self._connection.ops.adapt_datetimefield_value
        latest, after, place = adapted(self.latest), "", list[Any]()
        while not self.is_empty:
            rest = Window(f"occurred_at < %s{after}", [latest, *place], None)
            sql = f"SELECT occurred_at, id FROM {self._table} WHERE {rest.where} ORDER BY occurred_at, id"  # noqa: S608
            ends = self._fetch(f"{sql} LIMIT 1 OFFSET %s", [*rest.params, size() - 1])
            if not ends:
                yield rest
                return
            (end,) = ends
            until = [end[0], end[0], end[1]]
            yield Window(_UNTIL + after, until + place, end)
            after, place = _AFTER, until

    def statement(self, verb: str, window: Window) -> tuple[str, list[Any]]:
        """What does something ("DELETE FROM") with the expired events of the window, with its parameters."""
        expired, params = self._where
        return f"{verb} {self._table} WHERE {window.where} AND {expired}", [*window.params, *params]

    def keys(self, window: Window) -> list[int]:
        return [key for (key,) in self._fetch(*self.statement("SELECT id FROM", window))]

    def rows(self, window: Window) -> list[AccessEvent]:
        """Them, by their ids."""
        sql, params = self.statement("SELECT * FROM", window)
        return list(AccessEvent.objects.using(self.using).raw(f"{sql} ORDER BY id", params))

    def count(self) -> int:
        counts = (
            self._fetch(*self.statement("SELECT COUNT(*) FROM", one)) for one in self.windows(lambda: 10_000)
        )
        return sum(count for ((count,),) in counts)

    def count_undelivered(self) -> int:
        """How many go, or would go, though they have still to be sent."""
        expired = self._old.filter(pk=OuterRef("event_id"))
        return self._queue.filter(Exists(expired)).count()  # by way of the queue, which is the smaller table

    def moment(self, window: Window) -> Any:
        """Up to when the window goes."""
        if window.end is None:
            return self.latest
        value, field = window.end[0], AccessEvent._meta.get_field("occurred_at")
        for convert in self._connection.ops.get_db_converters(field.cached_col):
            value = convert(value, field.cached_col, self._connection)
        return value

    @cached_property
    def _where(self) -> tuple[str, Sequence[Any]]:
        """Compiled once: to build and compile a query for each window takes a fifth of the time of a run."""
        query = self.events.query
        sql, params = query.get_compiler(self.using).compile(query.where)
        return sql, params

    def _fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())
