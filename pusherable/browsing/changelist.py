"""The admin's list of events: pages by key instead of by number, and one filter instead of lookups."""

from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from pusherable.browsing.links import add_links
from pusherable.browsing.listing import Listing
from pusherable.browsing.news import is_told
from pusherable.browsing.paging import Page
from pusherable.channels import FEED
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent


class AccessEventChangeList(Listing, ChangeList):
    """One page of events; nothing is counted."""

    filter_params: dict[str, list[str]]

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:  # noqa: ARG002
        # What the admin's own filters would leave behind; themes look at it.
        self.filter_specs, self.has_filters, self.has_active_filters = [], False, False
        self.filterset = AccessEventFilter(request.GET, self.root_queryset)
        if request.method == "POST":  # an action: it is for what was selected, whatever else is sent along
            return self.root_queryset.filter(pk__in=selected(request))
        return self.root_queryset

    def get_results(self, request: HttpRequest) -> None:
        self.reader = request.user
        self.page = Page.of(self.filterset, size=self.list_per_page)
        add_links(self.page.events, self.model_admin.admin_site, request)
        self.result_list = self.page.events
        # Themes show how many there are where the two differ, and only the page's are known.
        self.result_count = self.full_result_count = len(self.page.events)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    @cached_property
    def channel(self) -> str:
        """Where the page hears of new events; empty if it is not to, or if they would not be at its top."""
        is_all = self.filterset.is_valid() and not self.filterset.given
        return FEED if is_all and is_told(self.reader) else ""


def selected(request: HttpRequest) -> list[int]:
    """The keys of the rows that were selected in the list."""
    key = AccessEvent._meta.pk
    try:
        return [key.clean(value, None) for value in request.POST.getlist(ACTION_CHECKBOX_NAME)]
    except ValidationError as error:
        raise SuspiciousOperation("What was selected is no event.") from error
