"""The event browser: the log in the admin, to be read and not to be changed."""
# ruff: noqa: ARG002  # the admin passes arguments that few methods need

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from pusherable.changelist import AccessEventChangeList
from pusherable.filters import STATUS_LABELS
from pusherable.models import AccessEvent, Action

if TYPE_CHECKING:
    Base = admin.ModelAdmin[AccessEvent]
else:
    Base = object


class AccessEventAdminMixin(Base):
    """All that the event browser does; for a ``ModelAdmin`` of whatever look.

    Nobody may add, change or delete an event, whatever their permissions. ``view_accessevent`` is needed to
    read, ``replay_accessevent`` to send an event again and ``export_accessevent`` to take the log away.
    """

    actions = None
    list_display = ("time", "user", "what", "object", "remote_addr", "delivery_status")
    list_display_links = ("time",)
    list_per_page = 50
    sortable_by = ()
    ordering = ()

    class Media:
        css = {"all": ["pusherable/admin.css"]}

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

    @admin.display(description=_("time"))
    def time(self, event: AccessEvent) -> str:
        moment = event.occurred_at
        local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
        return format_html(
            '<time datetime="{}">{}</time>',
            local.isoformat(),
            local.replace(tzinfo=None).isoformat(" ", "seconds"),
        )

    @admin.display(description=_("user"))
    def user(self, event: AccessEvent) -> str:
        if not event.user_pk and not event.username:
            return str(_("A visitor"))
        names = {"user_pk": event.user_pk} if event.user_pk else {"username": event.username}
        return format_html(
            '<a href="{}?{}"><bdi>{}</bdi></a>',
            reverse(f"{self.admin_site.name}:pusherable_accessevent_changelist"),
            urlencode(names),
            event.username or event.user_pk,
        )

    @admin.display(description=_("action"))
    def what(self, event: AccessEvent) -> str:
        return format_html('<span class="pusherable-action">{}</span>', action_label(event.action))

    @admin.display(description=_("object"))
    def object(self, event: AccessEvent) -> str:
        url, text = getattr(event, "object_url", None), event.object_repr or event.object_pk
        name = format_html("<bdi>{}</bdi>", text)
        if url:
            name = format_html('<a href="{}">{}</a>', url, name)
        return format_html('{} <span class="pusherable-type">{}</span>', name, event.object_type)

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


def action_label(action: str) -> str:
    return str(dict(Action.choices).get(action, action))
