"""The event browser: the log in the admin, to be read and not to be changed."""
# ruff: noqa: ARG002  # the admin passes arguments that few methods need

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseBase,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import escape, format_html
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from pusherable.browsing import details, export
from pusherable.browsing.actions import ACTIONS, resend
from pusherable.browsing.changelist import AccessEventChangeList
from pusherable.browsing.charts import Charts
from pusherable.browsing.links import add_links
from pusherable.browsing.news import news
from pusherable.browsing.paging import WINDOW
from pusherable.conf import conf
from pusherable.filters import STATUS_LABELS, AccessEventFilter
from pusherable.models import AccessEvent, Action
from pusherable.moments import local
from pusherable.reading import record_charts, record_export, record_opening, record_search
from pusherable.templatetags.pusherable_tags import pusherable_name

if TYPE_CHECKING:
    Base = admin.ModelAdmin[AccessEvent]
else:
    Base = object


class AccessEventAdminMixin(Base):
    """All that the event browser does; for a ``ModelAdmin`` of whatever look.

    Nobody may add, change or delete an event, whatever their permissions. ``view_accessevent`` is needed to
    read, ``replay_accessevent`` to send an event again and ``export_accessevent`` to take the log away.
    """

    # Named, so that they are those of a proxy model too.
    change_list_template = "admin/pusherable/accessevent/change_list.html"
    change_form_template = "admin/pusherable/accessevent/change_form.html"
    actions = ACTIONS
    list_display = ("time", "user", "what", "object", "address", "delivery_status")
    list_display_links = ("time",)
    list_per_page = 50
    sortable_by = ()
    ordering = ()

    class Media:
        css = {"all": ["pusherable/admin.css", "pusherable/charts.css"]}
        js = [
            forms.Script("pusherable/admin.js", defer=True),
            forms.Script("pusherable/admin-live.js", defer=True),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AccessEvent | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AccessEvent | None = None) -> bool:
        return False

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "export")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "replay")

    def _may(self, request: HttpRequest, what: str) -> bool:
        codename = get_permission_codename(what, self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[AccessEventChangeList]:
        return AccessEventChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # The admin would say that an event is to be selected, in several forms; it is a list to read.
        extra = {
            "title": capfirst(self.opts.verbose_name_plural),
            "may_export": self.has_export_permission(request),
        }
        response = super().changelist_view(request, extra | (extra_context or {}))
        page = response.context_data if isinstance(response, TemplateResponse) else None
        if page and "cl" in page:  # the page of an action of the project's has no list
            record_search(request, page["cl"].filterset)
        return response

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        wrap = self.admin_site.admin_view
        return [
            path("charts/", wrap(require_GET(self.charts)), name=f"{name}_charts"),
            path("news/", wrap(require_GET(self.news)), name=f"{name}_news"),
            path("export/", wrap(require_POST(self.export_events)), name=f"{name}_export"),
            path(
                "<path:object_id>/send-again/",
                wrap(require_POST(self.send_again)),
                name=f"{name}_send_again",
            ),
            *super().get_urls(),
        ]

    def charts(self, request: HttpRequest) -> HttpResponse:
        """Charts of the events that the filter selects: a part of the list's page, or a page of their own."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        filterset = AccessEventFilter(request.GET, self.get_queryset(request))
        record_charts(request, filterset)
        page: dict[str, Any] = {"charts": Charts(filterset, self._list()) if filterset.is_valid() else None}
        request.current_app = self.admin_site.name
        if request.headers.get("X-Requested-With") == "XMLHttpRequest":
            return TemplateResponse(request, "admin/pusherable/accessevent/charts.html", page)
        page |= {
            **self.admin_site.each_context(request),
            "title": gettext("Charts of access events"),
            "opts": self.opts,
            "media": self.media,
            "list_url": f"{self._list()}?{request.GET.urlencode()}",
        }
        return TemplateResponse(request, "admin/pusherable/accessevent/charts_page.html", page)

    def export_events(self, request: HttpRequest) -> HttpResponseBase:
        """All events that the filter in the address selects, as a file."""
        if not (self.has_view_permission(request) and self.has_export_permission(request)):
            raise PermissionDenied
        format_ = request.POST.get("format", "")
        if format_ not in export.FORMATS:
            return HttpResponseBadRequest()
        filterset = AccessEventFilter(request.GET, export.recorded_so_far(self.get_queryset(request)))
        if not filterset.is_valid():
            text = gettext("Nothing was exported, because a filter has a value that it does not take.")
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(f"{self._list()}?{request.GET.urlencode()}")
        record_export(request, filterset, format_)
        seen = (
            [event for event in events if self.has_view_permission(request, event)]
            for events in export.chunks_of(filterset)
        )
        return export.respond(request, format_, seen)

    def news(self, request: HttpRequest) -> HttpResponse:
        """How many more events there are now from the id ``first`` on than were ``shown``; empty if none."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        number = forms.IntegerField(min_value=0)
        shown = forms.IntegerField(min_value=0, max_value=WINDOW)
        try:
            first = number.clean(request.GET.get("first"))
            text = news(self.get_queryset(request), first, shown.clean(request.GET.get("shown")))
        except ValidationError:
            return HttpResponseBadRequest("first is the id of an event or 0, and shown a number of events.")
        return HttpResponse(escape(text))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one event."""
        event = self._event(request, object_id)
        if event is None:
            return super().change_view(request, object_id, form_url, extra_context)
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        page = details.of(event, self.get_queryset(request))
        add_links([event], self.admin_site, request)
        may_send = bool(event.channels) and conf.broadcasts and self.has_replay_permission(request)
        page |= {
            **self.admin_site.each_context(request),
            "title": gettext("Access event %(id)s") % {"id": event.pk},
            "opts": self.opts,
            "original": event,
            "media": self.media,
            "has_view_permission": True,
            "preserved_filters": self.get_preserved_filters(request),
            "columns": {
                name: getattr(self, name)(event) for name in ("time", "user", "what", "object", "address")
            },
            "status": self.delivery_status(event),
            "before_url": page["before"] and self._url(request, page["before"]),
            "after_url": page["after"] and self._url(request, page["after"]),
            "back_url": add_preserved_filters(self._filters(request), self._list()),
            "list_url": self._list(object_type=event.object_type, object_pk=event.object_pk),
            "send_url": self._url(request, event, "send_again") if may_send else None,
            **(extra_context or {}),
        }
        record_opening(request, event)
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.change_form_template, page)

    def send_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Put the event into the delivery queue again; sending it is left to the dispatcher."""
        event = self._event(request, object_id)
        if not self.has_replay_permission(request):
            raise PermissionDenied
        if event is None:
            raise Http404
        if resend([event]):
            self.message_user(request, gettext("The event is being sent again."), messages.SUCCESS)
        else:
            self.message_user(request, gettext("This event is not broadcast."), messages.ERROR)
        return HttpResponseRedirect(self._url(request, event))

    def _event(self, request: HttpRequest, object_id: str) -> AccessEvent | None:
        event: AccessEvent | None = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, event):
            raise PermissionDenied
        return event

    def _url(self, request: HttpRequest, event: AccessEvent, view: str = "change") -> str:
        """A page of the event; from there it goes back to the list as it was."""
        return add_preserved_filters(self._filters(request), self._reverse(view, event.pk))

    def _filters(self, request: HttpRequest) -> Any:
        return {"preserved_filters": self.get_preserved_filters(request), "opts": self.opts}

    def _list(self, **parameters: str) -> str:
        url = self._reverse("changelist")
        return f"{url}?{urlencode(parameters)}" if parameters else url

    def _reverse(self, view: str, *arguments: int) -> str:
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{view}"
        return reverse(name, args=arguments)

    @admin.display(description=_("time"))
    def time(self, event: AccessEvent) -> str:
        time = local(event.occurred_at)
        return format_html(
            '<time datetime="{}" dir="ltr" data-event-id="{}">{}</time>',
            time.isoformat(),
            event.pk,
            time.replace(tzinfo=None).isoformat(" ", "seconds"),
        )

    @admin.display(description=_("user"))
    def user(self, event: AccessEvent) -> str:
        if not event.user_pk and not event.username:
            return str(_("A visitor"))
        names = {"user_pk": event.user_pk} if event.user_pk else {"username": event.username}
        name = pusherable_name(event.username or event.user_pk)
        return format_html('<a href="{}"><bdi>{}</bdi></a>', self._list(**names), name)

    @admin.display(description=_("action"))
    def what(self, event: AccessEvent) -> str:
        return format_html('<span class="pusherable-action">{}</span>', Action.name_of(event.action))

    @admin.display(description=_("object"))
    def object(self, event: AccessEvent) -> str:
        url, text = getattr(event, "object_url", None), pusherable_name(event.object_repr or event.object_pk)
        name = format_html("<bdi>{}</bdi>", text)
        if url:
            name = format_html('<a href="{}">{}</a>', url, name)
        return format_html('{} <span class="pusherable-type">{}</span>', name, event.object_type)

    @admin.display(description=_("address"), empty_value="-")
    def address(self, event: AccessEvent) -> str:
        return event.remote_addr and format_html('<bdi dir="ltr">{}</bdi>', event.remote_addr)

    @admin.display(description=_("delivery"))
    def delivery_status(self, event: AccessEvent) -> str:
        status = event.status
        return format_html(
            '<span class="pusherable-status pusherable-status-{}">{}</span>',
            status.replace(" ", "-"),
            STATUS_LABELS[status],
        )


@admin.register(AccessEvent)
class AccessEventAdmin(AccessEventAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    pass
