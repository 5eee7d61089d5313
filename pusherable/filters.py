"""Which events: the one definition that the admin, the activity page, exports and commands share."""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django_filters import CharFilter, ChoiceFilter, Filter, FilterSet

from pusherable.models import AccessEvent, model_of
from pusherable.moments import MomentField
from pusherable.retention.durations import ago
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
#: And as people read it.
STATUS_LABELS: Final = {
    "not broadcast": _("not broadcast"),
    "pending": _("pending"),
    "failed": _("failed"),
    "delivered": _("delivered"),
}


def storable(value: str) -> None:
    """Refuse what is in no event, and what a database may not even take in a question."""
    if value != clean(value):
        raise ValidationError(_("It has characters that no event has."))


class WithOthers(forms.Select):
    """A select that also shows a value that is not among its choices: an address may carry any."""

    def optgroups(self, name: str, value: list[str], attrs: dict[str, Any] | None = None) -> list[Any]:
        groups: list[Any] = super().optgroups(name, value, attrs)
        offered = {str(choice) for choice, _label in self.choices}
        groups += [
            (None, [self.create_option(name, other, other, True, len(groups))], len(groups))
            for other in value
            if str(other) not in offered
        ]
        return groups


class AgoField(forms.CharField):
    """The moment that lies a duration ago, such as ``1h``, ``7d`` or ``P1Y6M``."""

    widget = WithOthers(
        choices=[
            ("", _("Any time")),
            ("1h", _("The last hour")),
            ("24h", _("The last 24 hours")),
            ("7d", _("The last 7 days")),
            ("30d", _("The last 30 days")),
        ]
    )

    def to_python(self, value: Any) -> dt.datetime | None:  # type: ignore[override]
        text = super().to_python(value)
        if not text:
            return None
        try:
            return ago(text, timezone.now())
        except ValueError as error:
            raise ValidationError(_("Enter a duration, such as 1h, 24h, 7d or P1Y6M.")) from error


class TypeField(forms.CharField):
    """A model's label, as events have it."""

    default_validators = [RegexValidator(r"\A\w+\.\w+\Z", _("Enter a model, such as blog.post.")), storable]

    def clean(self, value: Any) -> str:
        label: str = super().clean(value)
        return type_of_label(label) if label else label


class TypeFilter(Filter):  # type: ignore[misc]
    field_class = TypeField


class MomentFilter(Filter):  # type: ignore[misc]
    field_class = MomentField


class AgoFilter(Filter):  # type: ignore[misc]
    field_class = AgoField


class IdFilter(Filter):  # type: ignore[misc]
    field_class = forms.IntegerField


class TextFilter(CharFilter):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"validators": [storable]} | kwargs)


class EventForm(forms.Form):
    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data.get("object_pk") and not data.get("object_type") and "object_type" not in self.errors:
            self.add_error("object_pk", _("Choose an object type too: keys of different models are alike."))
        return data


_beginning: Final = forms.TextInput(attrs={"placeholder": _("begins with …")})
_example: Final = forms.TextInput(attrs={"placeholder": "2026-11-22"})


class AccessEventFilter(FilterSet):  # type: ignore[misc]
    """Events by the parameters of a query string.

    ``action``, ``username``, ``user_pk``, ``remote_addr``, ``request_id``
        What the column of this name has.
    ``object_type``
        A model: ``blog.post``. The case of its name does not matter, and it need not exist any more.
    ``object_pk``
        The key of an object; it needs the ``object_type``.
    ``status``
        What ``AccessEvent.status`` says: ``not broadcast``, ``pending``, ``failed`` or ``delivered``.
    ``after``, ``before``
        ISO dates or datetimes. `after` is included and `before` is not; but a date is the whole day in both.
    ``within``
        Not longer ago than this: ``24h``, ``7d``, ``P1Y6M``.
    ``q``
        How the object's representation or the username begins.
    ``after_id``, ``before_id``
        Events with a greater id, or with a lower one.

    A value that cannot be is in ``errors``, and then ``qs`` has no events. What is empty does not count, nor
    do parameters of other names, which in a query string belong to the page. The order is the caller's.

    ``qs`` are all of these events, however long it takes to find them; pages take `browsing.paging`.
    """

    action = TextFilter(label=_("Action"))
    object_type = TypeFilter(label=_("Object type"))
    object_pk = TextFilter(label=_("Object key"), strip=False)
    username = TextFilter(label=_("Username"))
    user_pk = TextFilter(label=_("User key"), strip=False)
    remote_addr = TextFilter(label=_("Address"))
    request_id = TextFilter(label=_("Request id"))
    status = ChoiceFilter(
        label=_("Delivery"),
        empty_label=_("Any"),
        choices=list(STATUS_LABELS.items()),
        method="filter_status",
    )
    within = AgoFilter("occurred_at", "gte", label=_("When"))
    after = MomentFilter("occurred_at", "gte", label=_("From"), widget=_example)
    before = MomentFilter("occurred_at", "lt", label=_("Until"), widget=_example, day_ends=True)
    q = TextFilter(label=_("Object or user"), method="filter_text", widget=_beginning)
    after_id = IdFilter("id", "gt", label=_("After id"), min_value=0, widget=forms.HiddenInput)
    before_id = IdFilter("id", "lt", label=_("Before id"), min_value=0, widget=forms.HiddenInput)

    class Meta:
        model = AccessEvent
        fields = ()
        form = EventForm

    @property
    def given(self) -> list[str]:
        """The parameters that count, by name."""
        return [name for name, value in self.form.cleaned_data.items() if value not in (None, "")]

    def narrow(self, queryset: Events, names: Iterable[str]) -> Events:
        """By these parameters and no others. The filter has to be valid."""
        for name in names:
            queryset = self.filters[name].filter(queryset, self.form.cleaned_data[name])
        return queryset

    def filter_queryset(self, queryset: Events) -> Events:
        # django-filter ignores a field that is invalid, and so would return everything.
        return self.narrow(queryset, self.given) if self.is_valid() else queryset.none()

    def filter_status(self, queryset: Events, _name: str | None, value: str) -> Events:
        return queryset.filter(STATUS[value])

    def filter_text(self, queryset: Events, _name: str | None, value: str) -> Events:
        return queryset.filter(Q(object_repr__startswith=value) | Q(username__startswith=value))


def type_of_label(label: str) -> str:
    if model := model_of(label):
        return object_type(model)
    app, _dot, name = label.partition(".")  # the log outlives the apps
    return f"{app}.{name.lower()}"
