"""What happened when, and who and what was busy: figures of the newest events that a filter selects.

A window of events is read, however many there are. They are counted here and not by the database, so that
hours and days are those of the current time zone, on any database.
"""

import datetime as dt
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nlargest
from operator import attrgetter
from typing import Final, NamedTuple, Self

from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.translation import get_language_bidi, gettext

from pusherable.browsing import paging
from pusherable.browsing.spans import Span, hour_of, spans
from pusherable.filters import AccessEventFilter
from pusherable.models import Action
from pusherable.moments import local

#: So many actions are told apart, and so many of the busiest users and objects are named.
ACTIONS: Final = 5
BUSIEST: Final = 5
#: So many bars have a label below them, at most.
TICKS: Final = 6

#: The parameters that choose a user or an object; none for visitors, or for what is about no object.
Key = tuple[tuple[str, str], ...]


class Row(NamedTuple):
    """What is counted of an event."""

    occurred_at: dt.datetime
    action: str
    object_type: str
    object_pk: str
    object_repr: str
    user_pk: str
    username: str

    @property
    def user(self) -> Key:
        names = ("user_pk", self.user_pk), ("username", self.username)
        return next(((name,) for name in names if name[1]), ())

    @property
    def object(self) -> Key:
        return (("object_type", self.object_type), ("object_pk", self.object_pk)) if self.object_pk else ()


@dataclass(frozen=True)
class Mark:
    """A count as a box in a drawing: its number among those upon each other, and the attributes of SVG."""

    label: str
    count: int
    number: int
    x: str
    y: str
    width: str
    height: str

    @classmethod
    def of(
        cls, label: str, count: int, most: int, *, place: int, places: int, number: int = 0, below: int = 0
    ) -> Self:
        """In one of the places side by side, where `most` is as high as the drawing."""
        box = (place + 0.08) / places, 1 - (below + count) / most, 0.84 / places, count / most
        return cls(label, count, number, *map(_percent, box))


@dataclass(frozen=True)
class Bar:
    """The events of a span, by action where there are several."""

    span: Span
    url: str
    counts: list[int]

    @property
    def count(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True)
class Busy:
    """A user or an object, by the newest of its events."""

    row: Row
    url: str
    count: int
    #: How long its bar is beside that of the busiest.
    width: str
    #: How many different objects a user has been at, or users at an object.
    others: int
    #: The hour with the most of its events.
    hour: Bar
    #: Its events by the hour of the day.
    day: list[Mark]


class Charts:
    """Of a valid filter. The links are to its list at an address, and choose some of its events."""

    def __init__(self, filterset: AccessEventFilter, address: str) -> None:
        self._filterset, self._address = filterset, address
        rows, self.is_more = paging.window_of(filterset, *Row._fields)
        self._rows = [Row(*row) for row in rows]
        self.count = len(rows)
        #: How many events were looked through for fewer, where it did not go on.
        self.looked_through = paging.WINDOW if self.is_more and self.count < paging.WINDOW else None
        if rows:
            times = [row.occurred_at for row in self._rows]
            self.first, self.last = min(times), max(times)

    @cached_property
    def actions(self) -> list[tuple[str, int]]:
        """The most frequent ones, and one for the others: what they are called, and how many there are."""
        actions = [(Action.name_of(action), count) for action, count in self._counts[:ACTIONS]]
        others = sum(count for _action, count in self._counts[ACTIONS:])
        return [*actions, (gettext("other actions"), others)] if others else actions

    @cached_property
    def bars(self) -> list[Bar]:
        """One for each of the spans between the first event and the last."""
        places = {action: min(place, ACTIONS) for place, (action, _count) in enumerate(self._counts)}
        found = spans(self.first, self.last)
        starts = [span.start for span in found]
        counts = [[0] * len(self.actions) for _span in found]
        for row in self._rows:
            counts[bisect_right(starts, row.occurred_at) - 1][places[row.action]] += 1
        return [self._bar(span, some) for span, some in zip(found, counts, strict=True)]

    @cached_property
    def highest(self) -> Bar:
        return max(self.bars, key=attrgetter("count"))

    @cached_property
    def drawn(self) -> list[tuple[Bar, list[Mark]]]:
        """The bars that are not empty, and their parts."""
        return [(bar, self._parts(place, bar)) for place, bar in enumerate(self.bars) if bar.count]

    @property
    def ticks(self) -> list[tuple[str, str]]:
        """Labels below some of the bars, and where these begin."""
        step = -(-len(self.bars) // TICKS)
        return [(self.bars[n].span.tick, _at(n / len(self.bars))) for n in range(0, len(self.bars), step)]

    @property
    def hours(self) -> list[tuple[str, str]]:
        """The same for the hours of the day."""
        return [(str(hour), _at(hour / 24)) for hour in range(0, 24, 6)]

    @cached_property
    def users(self) -> list[Busy]:
        return self._busiest(attrgetter("user"), attrgetter("object"))

    @cached_property
    def objects(self) -> list[Busy]:
        return self._busiest(attrgetter("object"), attrgetter("user"))

    @cached_property
    def _counts(self) -> list[tuple[str, int]]:
        return Counter(row.action for row in self._rows).most_common()

    def _parts(self, place: int, bar: Bar) -> list[Mark]:
        parts, at = [], {"place": place, "places": len(self.bars)}
        below = 0
        for number, count in enumerate(bar.counts):
            label = self.actions[number][0]
            parts.append(Mark.of(label, count, self.highest.count, **at, number=number, below=below))
            below += count
        return [part for part in parts if part.count]

    def _busiest(self, by: Callable[[Row], Key], other: Callable[[Row], Key]) -> list[Busy]:
        groups = defaultdict(list)
        for row in self._rows:
            groups[by(row)].append(row)
        groups.pop((), None)
        largest = nlargest(BUSIEST, groups.items(), key=lambda group: len(group[1]))
        return [
            self._busy(dict(key), rows, len(largest[0][1]), {*map(other, rows)} - {()})
            for key, rows in largest
        ]

    def _busy(self, key: dict[str, str], rows: list[Row], most: int, others: set[Key]) -> Busy:
        hours = Counter(hour_of(row.occurred_at) for row in rows)
        ((start, count),) = hours.most_common(1)
        day: Counter[int] = Counter()
        for hour, some in hours.items():
            day[local(hour).hour] += some
        highest = max(day.values())
        marks = [
            Mark.of(f"{hour:02}:00", some, highest, place=hour, places=24)
            for hour, some in sorted(day.items())
        ]
        busiest = self._bar(Span.hour(start), [count], key)
        return Busy(
            rows[0], self._link(key), len(rows), _percent(len(rows) / most), len(others), busiest, marks
        )

    def _bar(self, span: Span, counts: list[int], key: dict[str, str] | None = None) -> Bar:
        return Bar(span, self._link((key or {}) | span.chosen(self._filterset.form.cleaned_data)), counts)

    def _link(self, chosen: dict[str, str]) -> str:
        given = {name: value for name, value in self._filterset.data.items() if name not in paging.CURSORS}
        return f"{self._address}?{urlencode(given | chosen)}"


def _at(share: float) -> str:
    """How far from the left; time goes as the language does."""
    return _percent(1 - share if get_language_bidi() else share)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
