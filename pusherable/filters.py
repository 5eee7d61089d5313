"""Which events: the one definition that the admin, the activity page, exports and commands share."""

import datetime as dt
from typing import Any, Final

from django import forms
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db.models import Q, QuerySet
from django.forms.utils import from_current_timezone
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext_lazy as _
from django_filters import CharFilter, ChoiceFilter, Filter, FilterSet

from pusherable.models import AccessEvent
from pusherable.snapshots import clean, object_type

Events = QuerySet[AccessEvent]

BROADCAST: Final = ~Q(channels=[])

#: What `AccessEvent.status` says, as conditions. All but "not broadcast" join the small delivery table.
STATUS: Final = {
    "not broadcast": ~BROADCAST,
    "pending": BROADCAST & Q(delivery__isnull=False, delivery__failed_at=None),
    "failed": BROADCAST & Q(delivery__failed_at__isnull=False),
    "delivered": BROADCAST & Q(delivery=None),
}


def storable(value: str) -> None:
    """Refuse what is in no event, and what a database may not even take in a question."""
    if value != clean(value):
        raise ValidationError(_("It has characters that no event has."))


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
                first = day + dt.timedelta(days=1) if self.day_ends else day
                return _comparable(dt.datetime.combine(first, dt.time.min))
            if (moment := parse_datetime(text)) is not None:
                return _comparable(from_current_timezone(moment))
        except (ValueError, OverflowError):  # February 30, or a time that is no longer in any year in UTC
            pass
        raise ValidationError(self.error_messages["invalid"], code="invalid")


class MomentFilter(Filter):  # type: ignore[misc]
    field_class = MomentField


class IdFilter(Filter):  # type: ignore[misc]
    field_class = forms.IntegerField


class AccessEventFilter(FilterSet):  # type: ignore[misc]
    """Events by the parameters of a query string or the options of a command.

    ``status``
        What ``AccessEvent.status`` says: ``not broadcast``, ``pending``, ``failed`` or ``delivered``.
    ``action``
        The action: ``updated``.
    ``object``
        A model, or one of its objects by the key: ``blog.post`` or ``blog.post:17``. As for Django, the case
        of the model's name does not matter. The model need not exist any more.
    ``user``
        A username, or the user's key after ``pk:``, as in ``pk:42``.
    ``since``, ``until``
        ISO dates or datetimes. `since` is included and `until` is not; but a date is the whole day in both.
    ``after_id``
        Events with a greater id.

    A value that cannot be is in ``errors``, and then ``qs`` has no events. What is empty does not count, nor
    do parameters of other names, which in a query string belong to the page. The order is the caller's.
    """

    status = ChoiceFilter(
        label=_("status"),
        choices=[
            ("not broadcast", _("not broadcast")),
            ("pending", _("pending")),
            ("failed", _("failed")),
            ("delivered", _("delivered")),
        ],
        method="filter_status",
    )
    action = CharFilter(label=_("action"), validators=[storable])
    object = CharFilter(
        label=_("object"),
        validators=[
            RegexValidator(r"\A\w+\.\w+(?s::.+)?\Z", _("Enter blog.post, or blog.post:17 for one object.")),
            storable,
        ],
        method="filter_object",
    )
    user = CharFilter(
        label=_("user"),
        validators=[
            RegexValidator(r"\Apk:\Z", _("Enter a username, or pk:42 for a key."), inverse_match=True),
            storable,
        ],
        method="filter_user",
    )
    since = MomentFilter("occurred_at", "gte", label=_("since"))
    until = MomentFilter("occurred_at", "lt", label=_("until"), day_ends=True)
    after_id = IdFilter("id", "gt", label=_("after id"), min_value=0)

    class Meta:
        model = AccessEvent
        fields = ()

    def filter_queryset(self, queryset: Events) -> Events:
        # django-filter ignores a field that is invalid, and so would return everything.
        if not self.is_valid():
            return queryset.none()
        filtered: Events = super().filter_queryset(queryset)
        return filtered

    def filter_status(self, queryset: Events, _name: str | None, value: str) -> Events:
        return queryset.filter(STATUS[value])

    def filter_object(self, queryset: Events, _name: str | None, value: str) -> Events:
        label, _colon, key = value.partition(":")
        queryset = queryset.filter(object_type=type_of_label(label))
        return queryset.filter(object_pk=key) if key else queryset

    def filter_user(self, queryset: Events, _name: str | None, value: str) -> Events:
        if value.startswith("pk:"):
            return queryset.filter(user_pk=value.removeprefix("pk:"))
        return queryset.filter(username=value)


def _comparable(moment: dt.datetime) -> dt.datetime:
    """As databases take it: in UTC, or naive where the project has no time zones."""
    if not settings.USE_TZ:
        return timezone.make_naive(moment) if timezone.is_aware(moment) else moment
    return (timezone.make_aware(moment) if timezone.is_naive(moment) else moment).astimezone(dt.UTC)


def type_of_label(label: str) -> str:
    try:
        return object_type(apps.get_model(label))
    except LookupError:  # the log outlives the apps
        app, _dot, model = label.partition(".")
        return f"{app}.{model.lower()}"
