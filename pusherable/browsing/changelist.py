"""The admin's list of events: pages by key instead of by number, and one filter instead of lookups."""

from typing import Any

from django import forms
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from pusherable.browsing.facets import Facets, Period, chosen, within
from pusherable.browsing.links import add_links
from pusherable.browsing.paging import CURSORS, TIMES, Page
from pusherable.filters import AccessEventFilter, WithOthers
from pusherable.models import Action

#: The parameters whose fields are always shown.
USUAL = ("q", "action", "object_type", "username", "within")


class AccessEventChangeList(ChangeList):
    """One page of events; nothing is counted."""

    page: Page

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:  # noqa: ARG002
        # What the admin's own filters would leave behind; themes look at it.
        self.filter_specs, self.has_filters, self.has_active_filters = [], False, False
        self.filterset = AccessEventFilter(request.GET, self.root_queryset)
        return self.root_queryset

    def get_results(self, request: HttpRequest) -> None:
        self.page = Page.of(self.filterset, size=self.list_per_page)
        add_links(self.page.events, self.model_admin.admin_site, request)
        self.result_list = self.page.events
        self.result_count = len(self.page.events)
        self.full_result_count = None
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False

    @cached_property
    def periods_chosen(self) -> list[Period]:
        return chosen(self.params.get("after", ""), self.params.get("before", ""))

    @cached_property
    def facets(self) -> Facets:
        return Facets.of(self.root_queryset.db, within(self.periods_chosen))

    @cached_property
    def form(self) -> forms.Form:
        """The filter's form, with what there is to choose from."""
        form: forms.Form = self.filterset.form
        names = dict(Action.choices)
        actions = [(action, names.get(action, action)) for action in self.facets.actions]
        types = [(label, label) for label in self.facets.object_types]
        for name, choices in (("action", actions), ("object_type", types)):
            form.fields[name].widget = WithOthers(choices=[("", _("Any")), *choices])
        return form

    def fields(self) -> list[forms.BoundField]:
        return [self.form[name] for name in USUAL]

    def more_fields(self) -> list[forms.BoundField]:
        return [self.form[name] for name in self.form.fields if name not in (*USUAL, *CURSORS)]

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
        return any(self.params.get(name) for name in self.form.fields if name not in CURSORS)

    def without_filter(self) -> str:
        return self.get_query_string(dict.fromkeys(self.form.fields))

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
        return self.get_query_string(dict.fromkeys(CURSORS) | parameters)
