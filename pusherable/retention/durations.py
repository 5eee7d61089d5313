"""How old is old: ``90d``, ``P1Y6M`` or a date, as the moment before which events are old."""

import calendar
import datetime as dt
import re
from typing import Final

from django.core.exceptions import ValidationError
from django.utils import timezone

from pusherable.moments import MomentField, local

EXAMPLES: Final = "90d, 12h, 2w, 6m (months), 2y or P1Y6M"

_SHORT = re.compile("[0-9]+[hdwmy]")
_ISO = re.compile(
    """
    P          (?: (?P<years>[0-9]{1,9}) Y)?   (?: (?P<months>[0-9]{1,9}) M)?
               (?: (?P<weeks>[0-9]{1,9}) W)?   (?: (?P<days>[0-9]{1,9}) D)?
    (?:T (?=.) (?: (?P<hours>[0-9]{1,9}) H)?   (?: (?P<minutes>[0-9]{1,9}) M)?
               (?: (?P<seconds>[0-9]{1,9}) S)? )?
    """,
    re.VERBOSE,
)


def cutoff(text: str, now: dt.datetime) -> dt.datetime:
    """The moment that lies a duration before `now`, or the one that an ISO date or datetime names.

    Raises ValueError, with what to write, for anything else and for a moment after `now`.
    """
    if _parse(text) is not None:
        return ago(text, now)
    try:
        moment: dt.datetime = MomentField().clean(text)
    except ValidationError as error:
        raise ValueError(f"{text!r}: {error.messages[0]} A duration is {EXAMPLES}.") from error
    if moment > now:
        raise ValueError(f"{text!r}: That has not come yet. Enter a time in the past.")
    return moment


def ago(text: str, now: dt.datetime) -> dt.datetime:
    """The moment that lies a duration before `now`.

    Years and months are those of the calendar, in the current time zone: a month before March 31 is the last
    day of February. Weeks, days and the rest are subtracted from that, and a day has 24 hours.

    Raises ValueError, with what to write, for what is no duration and for one without length.
    """
    units = _parse(text)
    if units is None:
        raise ValueError(f"{text!r}: Enter a duration, such as {EXAMPLES}.")
    if not any(units.values()):
        raise ValueError(f"{text!r}: Enter a duration above zero, such as {EXAMPLES}.")
    months = 12 * units.pop("years") + units.pop("months")
    try:
        return _months_before(now, months) - dt.timedelta(**units)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r}: Enter a shorter one. This one begins before the year 1.") from error


def _parse(text: str) -> dict[str, int] | None:
    """How much there is of each unit, or None if the text is no duration. A mere number is an error."""
    if re.fullmatch("[0-9]+", text):
        raise ValueError(f"{text!r}: Enter a unit too, such as {EXAMPLES}.")
    if _SHORT.fullmatch(text):
        text = f"{'PT' if text.endswith('h') else 'P'}{text.upper()}"
    match = _ISO.fullmatch(text)
    return match and {unit: int(count) for unit, count in match.groupdict("0").items()}


def _months_before(now: dt.datetime, months: int) -> dt.datetime:
    here = local(now)
    year, month = divmod(here.year * 12 + here.month - 1 - months, 12)
    day = min(here.day, calendar.monthrange(year, month + 1)[1])
    moment = here.replace(year=year, month=month + 1, day=day)
    return moment.astimezone(dt.UTC) if timezone.is_aware(now) else moment
