"""Spans of time that follow each other, as the bars of a chart: hours, days, weeks, months or years."""

import datetime as dt
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

from django.utils.formats import date_format
from django.utils.translation import gettext

from pusherable.moments import beginning, local

#: So many days are shown by the hour.
DAYS_OF_HOURS: Final = 3
#: So many days, weeks or months may follow each other.
MOST: Final = 92

HOUR: Final = dt.timedelta(hours=1)
DAY: Final = dt.timedelta(days=1)
#: The days that a span has at most, and the format of its short label.
UNITS: Final = {
    "day": (1, "MONTH_DAY_FORMAT"),
    "week": (7, "SHORT_DATE_FORMAT"),
    "month": (31, "M Y"),
    "year": (366, "Y"),
}


@dataclass(frozen=True)
class Span:
    """From one moment to another, the end excluded; its unit says what it is in the current time zone."""

    unit: str
    start: dt.datetime
    end: dt.datetime

    @classmethod
    def hour(cls, start: dt.datetime) -> Self:
        return cls("hour", start, start + HOUR)

    @property
    def label(self) -> str:
        start, end = local(self.start), local(self.end)
        if self.unit == "hour":
            values = {"date": date_format(start), "start": f"{start:%H:%M}", "end": f"{end:%H:%M}"}
            return gettext("%(date)s, %(start)s to %(end)s") % values
        if self.unit == "week":
            values = {"start": date_format(start), "end": date_format(end.date() - DAY)}
            return gettext("%(start)s to %(end)s") % values
        return date_format(start, {"month": "YEAR_MONTH_FORMAT", "year": "Y"}.get(self.unit))

    @property
    def tick(self) -> str:
        """A short label."""
        start = local(self.start)
        if self.unit == "hour":
            return f"{start:%H:%M}" if start.hour else date_format(start, "MONTH_DAY_FORMAT")
        return date_format(start, UNITS[self.unit][1])

    def chosen(self, bounds: dict[str, Any]) -> dict[str, str]:
        """The parameters of a filter with these bounds that choose it, without choosing more than before."""
        start, end = local(self.start), local(self.end)
        if self.unit == "hour":
            values = {"after": start.isoformat(), "before": end.isoformat()}
        else:
            values = {"after": str(start.date()), "before": str(end.date() - DAY)}
        after, before = bounds.get("after"), bounds.get("before")
        if after and after > self.start:
            del values["after"]
        if before and before < self.end:
            del values["before"]
        return values


def spans(first: dt.datetime, last: dt.datetime) -> list[Span]:
    """The shortest spans, but not too many, that contain two moments and all between; whole days at least."""
    start, end = local(first).date(), local(last).date()
    days = (end - start).days
    if days < DAYS_OF_HOURS:
        unit, edges = "hour", [beginning(start)]
        while edges[-1] <= last or local(edges[-1]).date() == end:
            edges.append(edges[-1] + HOUR)
    else:
        unit = next((unit for unit, (length, _) in UNITS.items() if days < length * MOST), "year")
        dates = [_first(unit, start)]
        while dates[-1] <= end:
            dates.append(_first(unit, dates[-1] + DAY * UNITS[unit][0]))
        edges = [beginning(date) for date in dates]
    return [Span(unit, *pair) for pair in pairwise(edges)]


def hour_of(moment: dt.datetime) -> dt.datetime:
    """Its beginning by the clock: where clocks are put back, that of one of the two."""
    now = local(moment)
    return moment - dt.timedelta(minutes=now.minute, seconds=now.second, microseconds=now.microsecond)


def _first(unit: str, date: dt.date) -> dt.date:
    """The first day of the span that a day is in."""
    if unit == "week":
        return date - dt.timedelta(days=date.weekday())
    firsts = {"month": {"day": 1}, "year": {"month": 1, "day": 1}}
    return date.replace(**firsts.get(unit, {}))
