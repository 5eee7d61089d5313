"""One page of the events that a filter selects, newest first: as fast deep in the log as at its end.

A page is found by one index. Whatever the filter asks beyond what that index answers is looked for among so
many of its events, `WINDOW`, and no further; then `Page.looked_through` is set, and `older` goes on from
there. So no combination of filters reads more than that, however large the log is.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, Func, Q, QuerySet, Subquery, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.datastructures import BaseTable

from pusherable.filters import AccessEventFilter, Events
from pusherable.models import AccessEvent, Delivery
from pusherable.moments import beginning

#: Events of an index that are looked through for one page, at most.
WINDOW: Final = 10_000
SIZE: Final = 50

#: Parameters that say where a page begins.
CURSORS: Final = ("after_id", "before_id")
TIMES: Final = ("within", "after", "before")
#: Parameters that are the first columns of an index, before the id; those with the fewest events first.
KEYS: Final = (("object_type", "object_pk"), ("user_pk",), ("username",), ("object_type",), ("action",))
#: Columns that no list shows.
LARGE: Final = ("snapshot", "changes", "context")


@dataclass(frozen=True)
class Page:
    """Some events, newest first.

    `newer` is the ``after_id`` of the page before it and `older` the ``before_id`` of the next one, or None.
    `looked_through` is set if there is more to be looked through: the number of events that were.
    """

    events: list[AccessEvent]
    newer: int | None = None
    older: int | None = None
    looked_through: int | None = None

    @classmethod
    def of(cls, filterset: AccessEventFilter, *, size: int = SIZE) -> Self:
        """The page at the filter's ``before_id`` or ``after_id``, or the first; empty if it is invalid.

        The events come with their delivery, and without the large columns.
        """
        if not filterset.is_valid():
            return cls([])
        after, before = (filterset.form.cleaned_data[name] for name in CURSORS)
        is_upwards = after is not None and before is None
        way = replace(Way.of(filterset), is_upwards=is_upwards)
        rows = way.rows(after, before)
        found = way.found(rows).select_related("delivery").defer(*LARGE)
        events: list[AccessEvent] = list(found[: size + 1])
        end: int | None = None
        looked_through = None
        if len(events) > size:
            events = events[:size]
            end = events[-1].pk
        elif way.rest and (end := last_of_window(rows)) is not None:
            looked_through = WINDOW
        if is_upwards:
            events.reverse()
            return cls(events, end, events[-1].pk if events else after + 1, looked_through)
        newer = None
        if before is not None:
            newer = events[0].pk if events else max(before - 1, 0)
        return cls(events, newer, end, looked_through)


@dataclass(frozen=True)
class Way:
    """An index that has events in the order of the list, and what it answers of a filter."""

    filterset: AccessEventFilter
    answers: tuple[str, ...] = ()
    is_by_time: bool = False
    is_queue: bool = False
    is_upwards: bool = False
    without: tuple[str, ...] = LARGE

    @classmethod
    def of(cls, filterset: AccessEventFilter) -> Self:
        """The one with the fewest events, as far as that can be known without counting them."""
        given = set(filterset.given)
        by_time = cls(filterset, tuple(name for name in TIMES if name in given), is_by_time=True)
        key = next((names for names in KEYS if given.issuperset(names)), None)
        if filterset.form.cleaned_data["status"] in ("pending", "failed"):
            way = cls(filterset, is_queue=True)
        elif key is None:
            return by_time if by_time.answers else cls(filterset)
        else:
            way = cls(filterset, key)
        # Where a window does not hold all that it has, what is long ago is found by the time.
        return by_time if by_time.answers and last_of_window(way.rows(None, None)) is not None else way

    @property
    def rest(self) -> list[str]:
        """The parameters that the index does not answer."""
        return [name for name in self.filterset.given if name not in {*CURSORS, *self.answers}]

    def rows(self, after: int | None, before: int | None) -> QuerySet[Any]:
        """What the index has between two ids, in order: events, or deliveries of events."""
        if self.is_queue:
            rows: QuerySet[Any] = Delivery.objects.using(self.filterset.queryset.db).only("pk")
        else:
            pinned = self._pinned
            names = [name for name in self.answers if name != pinned]
            rows = self.filterset.narrow(self.filterset.queryset, names).defer(*self.without)
            if pinned:
                rows = rows.filter(_IsIn(pinned, Value(self.filterset.form.cleaned_data[pinned])))
        if after is not None:
            rows = rows.filter(self._past(after, "gt"))
        if before is not None:
            rows = rows.filter(self._past(before, "lt"))
        return self._ordered(rows)

    def found(self, rows: QuerySet[Any]) -> Events:
        """The events among these rows that the filter selects, in order."""
        if not self.rest:
            events: Events = rows
            return events
        events = self.filterset.queryset.all()
        try:
            sql, params = rows[:WINDOW].query.get_compiler(rows.db).as_sql()
        except EmptyResultSet:  # an id beyond all that there can be
            return events.none()
        if self.is_queue:
            events = events.filter(pk__in=RawSQL(f"SELECT w.event_id FROM ({sql}) w", params))  # noqa: S608, S611
        else:
            alias = events.query.get_initial_alias()
            events.query.alias_map[alias] = _Window(alias, sql, params)
        return self._ordered(self.filterset.narrow(events, self.rest))

    @property
    def _pinned(self) -> str:
        """The column that comes first in the order, and of which PostgreSQL is not told outright what it is.

        Told outright, the planner may go by the id instead, in the hope of soon having come across enough: in
        vain where an action, say, has not occurred for long.
        """
        has_key = bool(self.answers) and not self.is_by_time
        is_postgresql = connections[self.filterset.queryset.db].vendor == "postgresql"
        return self.answers[0] if has_key and is_postgresql else ""

    def _ordered(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        names = ["-occurred_at"] if self.is_by_time else [self._pinned] if self._pinned else []
        rows = rows.order_by(*names, "-pk")
        return rows.reverse() if self.is_upwards else rows

    def _past(self, key: int, lookup: str) -> Q:
        """The side of an event that comes after it ("gt") or before it ("lt"), in the order of the index."""
        # By the event's own column: that of a relation fails for a number that is too large for it.
        by_id = Q((f"{'event__id' if self.is_queue else 'id'}__{lookup}", key))
        if not self.is_by_time:
            return by_id
        # If it has gone since, the one after it stands in.
        there = AccessEvent.objects.using(self.filterset.queryset.db).filter(pk__gte=key).order_by("pk")
        end = Value(beginning(dt.date.max - dt.timedelta(days=1)))
        time = Coalesce(Subquery(there.values("occurred_at")[:1]), end)
        # The first condition is contained in the second, but finds the place in the index.
        return Q((f"occurred_at__{lookup}e", time)) & (Q((f"occurred_at__{lookup}", time)) | by_id)


class _IsIn(Func):
    """Whether a column has one of these values: the order by an index is that by the column and the rest."""

    template = "(%(expressions)s]))"
    arg_joiner = " = ANY (ARRAY["
    output_field = BooleanField()


class _Window(BaseTable):
    """Some rows of the event table, in its place: LIMIT keeps a database from finding another way to them."""

    def __init__(self, alias: str, sql: str, params: Sequence[Any]) -> None:
        super().__init__(AccessEvent._meta.db_table, alias)
        self.alias, self.sql, self.params = alias, sql, tuple(params)

    def as_sql(self, _compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        return f"({self.sql}) {connection.ops.quote_name(self.alias)}", self.params


def newest(filterset: AccessEventFilter, size: int, without: tuple[str, ...]) -> Events:
    """So many of the newest events of a valid filter at most, without these columns: in one query.

    It may be a second one where there is a time among the parameters.
    """
    way = replace(Way.of(filterset), without=without)
    return way.found(way.rows(None, None)).defer(*without)[:size]


def window_of(filterset: AccessEventFilter, *columns: str) -> tuple[list[Any], bool]:
    """These columns of the newest events, a window of them at most, and whether there may be more.

    It does not matter which page the filter is at. The filter has to be valid.
    """
    way = Way.of(filterset)
    rows = way.rows(None, None)
    events = list(way.found(rows).values_list(*columns)[: WINDOW + 1])
    is_more = last_of_window(rows) is not None if way.rest else len(events) > WINDOW
    return events[:WINDOW], is_more


def last_of_window(rows: QuerySet[Any]) -> int | None:
    """The id of the last row that is looked at, or None if there are not so many."""
    return next(iter(rows.values_list("pk", flat=True)[WINDOW - 1 : WINDOW]), None)
