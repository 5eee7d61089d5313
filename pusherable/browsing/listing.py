"""What is around the events on a page: the filter's form, the periods, and the links to other pages."""

from collections.abc import Mapping

from django import forms
from django.http import QueryDict
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from pusherable.browsing.facets import Facets, Period, chosen, within
from pusherable.browsing.paging import CURSORS, TIMES, Page
from pusherable.filters import AccessEventFilter, WithOthers
from pusherable.models import Action

#: The parameters whose fields are always shown.
USUAL = ("q", "action", "object_type", "username", "within")


class Listing:
    """One page of events, for a template; nothing is counted."""

    filterset: AccessEventFilter
    page: Page
    #: The query string.
    filter_params: Mapping[str, list[str]]
    #: Parameters of the filter that nobody chooses on this page; they have no field.
    fixed: Mapping[str, str] = {}

    @cached_property
    def periods_chosen(self) -> list[Period]:
        data = self.filterset.data
        return chosen(data.get("after", ""), data.get("before", ""))

    @cached_property
    def facets(self) -> Facets:
        events = self.filterset.queryset
        if events.query.where:
            # A project that shows a part of the log does not mean to tell what there is in the rest.
            return Facets([], [], [])
        return Facets.of(events.db, within(self.periods_chosen))

    @cached_property
    def form(self) -> forms.Form:
        """The filter's form, with what there is to choose from."""
        form: forms.Form = self.filterset.form
        form.auto_id = "pusherable-%s"  # a site has ids of its own
        actions = [(action, Action.name_of(action)) for action in self.facets.actions]
        types = [(label, label) for label in self.facets.object_types]
        for name, choices in (("action", actions), ("object_type", types)):
            if not choices:
                continue  # it is typed
            form.fields[name].widget = WithOthers(choices=[("", _("Any")), *choices])
        return form

    def fields(self) -> list[forms.BoundField]:
        return [self.form[name] for name in USUAL if name not in self.fixed]

    def more_fields(self) -> list[forms.BoundField]:
        shown = {*USUAL, *CURSORS, *self.fixed}
        return [self.form[name] for name in self.form.fields if name not in shown]

    def cursors(self) -> list[forms.BoundField]:
        return [self.form[name] for name in CURSORS]

    def is_more_open(self) -> bool:
        """Whether one of the other fields is in use, or says what is wrong with it."""
        return any(field.value() or field.errors for field in self.more_fields())

    def kept(self) -> list[tuple[str, str]]:
        """The parameters that are not the filter's; the form sends them too."""
        others = {name: values for name, values in self.filter_params.items() if name not in self.form.fields}
        return [(name, value) for name, values in others.items() for value in values]

    def is_filtered(self) -> bool:
        names = self.form.fields.keys() - CURSORS
        return any(any(values) for name, values in self.filter_params.items() if name in names)

    def without_filter(self) -> str:
        return self._with(**dict.fromkeys(self.form.fields))

    def newest(self) -> str:
        return self._at()

    def newer(self) -> str:
        return self._at(after_id=self.page.newer)

    def older(self) -> str:
        return self._at(before_id=self.page.older)

    def is_newest(self) -> bool:
        return self.page.newer is None

    def is_oldest(self) -> bool:
        return self.page.older is None

    def periods(self) -> list[tuple[str, str]]:
        """What the chosen period consists of, as label and address."""
        return [(period.label, self._within(period)) for period in self.facets.periods]

    def trail(self) -> list[tuple[str, str]]:
        """The periods that lead to the chosen one, with that for all times first; without it itself."""
        chosen = self.periods_chosen
        addresses = [self._at(**dict.fromkeys(TIMES)), *map(self._within, chosen[:-1])]
        labels = [_("All times"), *(period.label for period in chosen[:-1])]
        return list(zip(labels, addresses, strict=True)) if chosen else []

    def _within(self, period: Period) -> str:
        after = str(period.after) if period.after else None
        return self._at(after=after, before=str(period.before), within=None)

    def _at(self, **parameters: str | int | None) -> str:
        return self._with(**dict.fromkeys(CURSORS) | parameters)

    def _with(self, **parameters: str | int | None) -> str:
        """The query string with these parameters, or without those that are None."""
        values = {**self.filter_params, **parameters}
        given = sorted((name, value) for name, value in values.items() if value is not None)
        return f"?{urlencode(given, doseq=True)}"


class QueryListing(Listing):
    """The page that a query string asks for."""

    def __init__(self, query: QueryDict, fixed: Mapping[str, str]) -> None:
        self.filter_params, self.fixed = dict(query.lists()), fixed
        self.filterset = AccessEventFilter(query.dict() | dict(fixed))
        self.page = Page.of(self.filterset)
