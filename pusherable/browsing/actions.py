"""What can be done with the events that were selected in the admin's list."""

from typing import Final, TypeAlias

from django.contrib import admin, messages
from django.db import router, transaction
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from pusherable.browsing import export
from pusherable.browsing.paging import LARGE
from pusherable.conf import conf
from pusherable.delivery.dispatchers import wake
from pusherable.delivery.replay import CHUNK, enqueue
from pusherable.filters import Events
from pusherable.models import AccessEvent
from pusherable.reading import record_export_of

ModelAdmin: TypeAlias = "admin.ModelAdmin[AccessEvent]"


@admin.action(description=_("Export as CSV"), permissions=["export"])
def export_csv(model_admin: ModelAdmin, request: HttpRequest, events: Events) -> StreamingHttpResponse:
    return _export(model_admin, request, events, "csv")


@admin.action(description=_("Export as JSON Lines"), permissions=["export"])
def export_jsonl(model_admin: ModelAdmin, request: HttpRequest, events: Events) -> StreamingHttpResponse:
    return _export(model_admin, request, events, "jsonl")


@admin.action(description=_("Send again"), permissions=["replay"])
def send_again(model_admin: ModelAdmin, request: HttpRequest, events: Events) -> None:
    selected = _selected(model_admin, request, events.defer(*LARGE))
    count = resend(selected)
    if count:
        text = ngettext(
            "%(count)d event is being sent again.", "%(count)d events are being sent again.", count
        )
        model_admin.message_user(request, text % {"count": count}, messages.SUCCESS)
    if others := len(selected) - count:
        text = ngettext("%(count)d event is not broadcast.", "%(count)d events are not broadcast.", others)
        model_admin.message_user(request, text % {"count": others}, messages.WARNING)


ACTIONS: Final = (export_csv, export_jsonl, send_again)


def resend(events: list[AccessEvent]) -> int:
    """Put those that are broadcast into the delivery queue again, and return how many they are.

    Sending them is left to the dispatcher.
    """
    broadcast = [event for event in events if event.channels] if conf.broadcasts else []
    if broadcast:
        using = router.db_for_write(AccessEvent, instance=broadcast[0])
        for start in range(0, len(broadcast), CHUNK):
            enqueue(broadcast[start : start + CHUNK], using)
        transaction.on_commit(lambda: wake(using), using=using, robust=True)
    return len(broadcast)


def _export(
    model_admin: ModelAdmin, request: HttpRequest, events: Events, format_: str
) -> StreamingHttpResponse:
    selected = _selected(model_admin, request, events)
    record_export_of(request, selected, format_)
    return export.respond(request, format_, iter([selected]))


def _selected(model_admin: ModelAdmin, request: HttpRequest, events: Events) -> list[AccessEvent]:
    """Newest first, as far as whoever asks may open them."""
    found = events.select_related("delivery").order_by("-pk")
    return [event for event in found if model_admin.has_view_permission(request, event)]
