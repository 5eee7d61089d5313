"""What there is to choose from: the actions and object types of the log, and the periods that have events.

Not by DISTINCT and not by date functions, which read all events: one look into an index finds the next value
(a loose index scan), or whether a period has events.
"""

import calendar
import datetime as dt
from dataclasses import dataclass
from typing import Any, Final, Self

from django.db import connections
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext

from pusherable.models import AccessEvent
from pusherable.moments import beginning, local

#: So many values of a column are looked for, at most.
MOST: Final = 200
#: So many years are offered one by one, and those before them together.
YEARS: Final = 10


@dataclass(frozen=True)
class Period:
    """A year, a month or a day, as the dates that ``after`` and ``before`` take: both are included."""

    label: str
    after: dt.date | None
    before: dt.date

    @classmethod
    def year(cls, year: int) -> Self:
        return cls(str(year), dt.date(year, 1, 1), dt.date(year, 12, 31))

    @classmethod
    def month(cls, year: int, month: int) -> Self:
        first = dt.date(year, month, 1)
        return cls(date_format(first, "YEAR_MONTH_FORMAT"), first, first.replace(day=_days(first)))

    @classmethod
    def day(cls, day: dt.date) -> Self:
        return cls(date_format(day, "MONTH_DAY_FORMAT"), day, day)


@dataclass(frozen=True)
class Facets:
    """The values that two columns have, and which of the periods have events."""

    actions: list[str]
    object_types: list[str]
    periods: list[Period]

    @classmethod
    def of(cls, using: str, periods: list[Period]) -> Self:
        """In one query."""
        connection = connections[using]
        table = connection.ops.quote_name(AccessEvent._meta.db_table)
        columns = "action", "object_type"
        loose = ", ".join(_loose(column, table) for column in columns)
        parts = [f"SELECT '{column}', value FROM {column}s WHERE value IS NOT NULL" for column in columns]  # noqa: S608
        params: list[Any] = []
        for place, period in enumerate(periods):
            bounds = [("<", period.before + dt.timedelta(days=1))]
            bounds += [(">=", period.after)] if period.after else []
            where = " AND ".join(f"occurred_at {sign} %s" for sign, _day in bounds)
            params += [connection.ops.adapt_datetimefield_value(beginning(day)) for _sign, day in bounds]
            # Not EXISTS: for that, PostgreSQL may read the table until it comes to such an event.
            first = f"SELECT id FROM {table} WHERE {where} ORDER BY occurred_at LIMIT 1"  # noqa: S608
            parts.append(
                f"SELECT 'period', '{place}' FROM (SELECT 1 AS one) AS one WHERE ({first}) IS NOT NULL"  # noqa: S608
            )
        with connection.cursor() as cursor:
            cursor.execute(f"WITH RECURSIVE {loose} {' UNION ALL '.join(parts)}", params)
            rows = cursor.fetchall()
        values = {kind: [value for one, value in rows if one == kind] for kind in (*columns, "period")}
        there = {int(place) for place in values["period"]}
        found_periods = [period for place, period in enumerate(periods) if place in there]
        return cls(values["action"], values["object_type"], found_periods)


def chosen(after: str, before: str) -> list[Period]:
    """The year, month and day that two ISO dates are about, as far as it is exactly one."""
    try:
        first, last = dt.date.fromisoformat(after), dt.date.fromisoformat(before)
    except ValueError:
        return []
    if not dt.MINYEAR < first.year < dt.MAXYEAR:
        return []
    trail = [Period.year(first.year), Period.month(first.year, first.month), Period.day(first)]
    depths = [depth for depth, period in enumerate(trail) if (period.after, period.before) == (first, last)]
    return trail[: depths[0] + 1] if depths else []


def within(trail: list[Period]) -> list[Period]:
    """What the last of the chosen periods consists of, the newest first; the years where none is chosen."""
    if not trail:
        this = local(timezone.now()).year
        before = gettext("Before %(year)s") % {"year": this - YEARS + 1}
        older = Period(before, None, dt.date(this - YEARS, 12, 31))
        return [*(Period.year(this - ago) for ago in range(YEARS)), older]
    first = trail[-1].after
    if first is None or len(trail) > 2:
        return []
    if len(trail) == 1:
        return [Period.month(first.year, month) for month in range(12, 0, -1)]
    return [Period.day(first.replace(day=day)) for day in range(_days(first), 0, -1)]


def _days(month: dt.date) -> int:
    return calendar.monthrange(month.year, month.month)[1]


def _loose(column: str, table: str) -> str:
    """A table expression: the values of a column, each found from the one before it by an index."""
    after = f"SELECT {column} FROM {table} WHERE {column} > found.value ORDER BY {column} LIMIT 1"  # noqa: S608
    return (
        f"{column}s (value, place) AS (SELECT (SELECT {column} FROM {table} ORDER BY {column} LIMIT 1), 1"  # noqa: S608
        f" UNION ALL SELECT ({after}), found.place + 1 FROM {column}s found"
        f" WHERE found.value IS NOT NULL AND found.place < {MOST})"
    )
