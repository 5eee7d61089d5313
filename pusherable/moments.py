"""Times, as people write and read them and as databases take them."""

import datetime as dt
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.forms.utils import from_current_timezone
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext_lazy as _


class MomentField(forms.Field):
    """An ISO date or datetime; without an offset, in the current time zone. A date is the day's beginning.

    With `day_ends` it is the day's end.
    """

    default_error_messages = {
        "invalid": _("Enter a date or time, such as 2026-11-22, 2026-11-22T10:30 or 2026-11-22T10:30+01:00.")
    }

    def __init__(self, *, day_ends: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.day_ends = day_ends

    def to_python(self, value: Any) -> dt.datetime | None:
        text = str(value or "").strip()
        if not text:
            return None
        try:
            if (day := parse_date(text)) is not None:
                return beginning(day + dt.timedelta(days=1) if self.day_ends else day)
            if (moment := parse_datetime(text)) is not None:
                return comparable(from_current_timezone(moment))
        except (ValueError, OverflowError):  # February 30, or a time that is no longer in any year in UTC
            pass
        raise ValidationError(self.error_messages["invalid"], code="invalid")


def beginning(day: dt.date) -> dt.datetime:
    """The first moment of a day in the current time zone."""
    return comparable(dt.datetime.combine(day, dt.time.min))


def local(moment: dt.datetime) -> dt.datetime:
    """As people read it: in the current time zone."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def comparable(moment: dt.datetime) -> dt.datetime:
    """As databases take it: in UTC, or naive where the project has no time zones."""
    if not settings.USE_TZ:
        return timezone.make_naive(moment) if timezone.is_aware(moment) else moment
    return (timezone.make_aware(moment) if timezone.is_naive(moment) else moment).astimezone(dt.UTC)
