"""``{% load pusherable_tags %}``: the page's script, its subscriptions, and the recent-activity list."""

import json
import re
from math import inf
from typing import Any, Final

from django import template
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.template import TemplateSyntaxError
from django.template.context import Context
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from pusherable.activity import EVERYTHING, items, query
from pusherable.authorization import endpoint, permitted
from pusherable.channels import channel_name
from pusherable.conf import conf
from pusherable.live import live_list
from pusherable.models import AccessEvent
from pusherable.presence import member_id
from pusherable.versions import LENGTH, version

register = template.Library()


@register.inclusion_tag("pusherable/script.html", takes_context=True)
def pusherable_script(context: Context, *, pusher_js: bool = True) -> dict[str, Any]:
    """The stylesheet of the page and its scripts, deferred: pusher-js and ours.

    Without credentials only what makes the times of lists relative. ``pusher_js=False`` leaves pusher-js out,
    for pages that load it themselves.
    """
    return {
        "pusher_js": conf.pusher_js_url if pusher_js else None,
        "nonce": context.get("csp_nonce"),
        "language": _language(),
        "key": conf.PUSHER_KEY if conf.has_credentials else None,
        "cluster": "" if conf.PUSHER_HOST else conf.PUSHER_CLUSTER,
        "host": conf.PUSHER_HOST,
        "port": str(conf.port),  # as text: a number would be localized
        "tls": "true" if conf.PUSHER_SSL else "false",
    } | _authorization(context)


def _authorization(context: Context) -> dict[str, Any]:
    """Where to ask for a private channel, and how; nothing where ``pusherable.urls`` is not included."""
    header = settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-")
    return {"endpoint": endpoint("auth"), "csrf_header": header, "csrf_token": context.get("csrf_token")}


@register.simple_tag
def pusherable_subscribe(*events_and_object: Any, kind: str | None = None) -> SafeString:
    """``{% pusherable_subscribe 'update' 'updated' object %}``: hear of these events of the object.

    The last argument is the object; nothing is rendered for None or an object that is not saved yet (the
    page of a create form). `kind` is needed where the view has a kind of channel of its own.
    """
    *events, obj = events_and_object or ("",)
    if obj is None or (isinstance(obj, models.Model) and (obj._state.adding or obj.pk is None)):
        return SafeString("")
    if not isinstance(obj, models.Model):
        raise TemplateSyntaxError(
            f"pusherable_subscribe: the last argument must be a model instance, not {obj!r}; "
            "write for example {% pusherable_subscribe 'update' object %}."
        )
    if not events or not all(isinstance(event, str) and event and not event.isspace() for event in events):
        raise TemplateSyntaxError(
            f"pusherable_subscribe: name the events before the object, each a string, not {events!r}; "
            "write for example {% pusherable_subscribe 'update' object %}."
        )
    return format_html(
        '<pusherable-subscribe data-channel="{}" data-events="{}" hidden></pusherable-subscribe>',
        channel_name(obj, kind),
        " ".join(events),
    )


#: What a person reads of who is here; viewers.js and changes.js fill in the names.
TEXTS: Final = {
    "label": _("Here now"),
    "name": "{name}",
    "you": _("{name} (you)"),
    "editing": _("{name} is editing"),
    "editing_many": _("{names} are editing"),
    "warning": _("{name} is editing this too. Whoever saves last overwrites what the other has saved."),
    "warning_many": _(
        "{names} are editing this too. Whoever saves last overwrites what the others have saved."
    ),
    "came": _("{name} is here"),
    "stopped": _("{name} is no longer editing"),
    "left": _("{name} has left"),
    "count": _("People here now: {count}"),
    "changed": _("This has been changed since you opened it. Saving would overwrite that."),
    "changed_by": _("{name} has changed this since you opened it. Saving would overwrite that."),
    "deleted": _("This has been deleted since you opened it."),
    "deleted_by": _("{name} has deleted this since you opened it."),
    "gone": _("This has been deleted since you opened it, or you may no longer see it."),
}


@register.inclusion_tag("pusherable/viewers.html", takes_context=True)
def pusherable_viewers(
    context: Context, obj: Any, *, editing: bool = False, kind: str | None = None
) -> dict[str, Any]:
    """``{% pusherable_viewers object %}``: the people who have a page of the object open, the user first.

    On the update page, ``editing=True`` marks the user as one who edits, on everybody's page. It also warns
    of others who edit and of changes since the page was rendered, for which it reads the object from the
    database; `kind` is needed where the view has a kind of channel of its own. Nothing is rendered for
    None, an object that is not saved yet, an anonymous visitor, and without credentials.
    """
    if obj is not None and not isinstance(obj, models.Model):
        raise TemplateSyntaxError(
            f"pusherable_viewers: the argument must be a model instance, not {obj!r}; "
            "write for example {% pusherable_viewers object %}."
        )
    user = _reader(context)
    me = member_id(user, editing=False)
    if obj is None or obj._state.adding or obj.pk is None or not me or not conf.has_credentials:
        return {}
    changed_url = _endpoint("changed", "pusherable_viewers needs the endpoint that says who may see whom")
    channel = channel_name(obj, "presence")
    return {
        "channel": channel,
        "me": me,
        "editing": editing,
        "events_channel": channel_name(obj, kind),
        "changed_url": changed_url,
        "version": _version(context, obj, channel, user) if editing else "",
        "texts": json.dumps({"language": _language()} | {name: str(text) for name, text in TEXTS.items()}),
    }


def _reader(context: Context) -> Any:
    """The user whose page it is: on the page about a user, `user` in the context may be that one."""
    return getattr(context.get("request"), "user", None) or context.get("user")


def _endpoint(name: str, why: str) -> str:
    url = endpoint(name)
    if url is None:
        raise ImproperlyConfigured(
            f'{why}: write path("pusherable/", include("pusherable.urls")) in your URLconf.'
        )
    return url


def _version(context: Context, obj: models.Model, channel: str, user: Any) -> str:
    """The version that the page shows; empty for a user who could not ask whether there is another.

    A form that is shown again with its errors was made of the version that its page had sent along.
    """
    request, form = context.get("request"), context.get("form")
    if request is not None and request.method == "POST" and getattr(form, "errors", None):
        sent = request.POST.get(f"pusherable-version-{channel}", "")
        if re.fullmatch(f"[0-9a-f]{{{LENGTH}}}", sent):
            return str(sent)
    return version(obj) if permitted(user, [channel]) else ""


def _language() -> str:
    """The language of the texts, as browsers know it: without the variant that some of Django's have."""
    return (get_language() or "en").partition("@")[0]


@register.inclusion_tag("pusherable/activity.html", takes_context=True)
def pusherable_activity(
    context: Context,
    subject: Any = EVERYTHING,
    *,
    user: Any = EVERYTHING,
    limit: int = 10,
    live: bool = False,
    kind: str | None = None,
) -> dict[str, Any]:
    """The most recent events, newest first: of an object, of a model (class or "app.model"), or of all.

    `user` leaves only what that user did. For None, a deleted object or an anonymous user the list is empty.
    Raises LookupError for an unknown model and ValueError for a limit below 1.

    With ``live=True`` what happens appears in the list, for a user who may listen to the object's channel
    (`kind` is needed where the view has one of its own) or, if it is not an object's list, to the feed. For
    others, and without credentials, it is the same list and stays as it is.
    """
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"pusherable_activity: limit={limit!r} must be a number from 1 up.")
    try:
        parameters = query(subject, user)
    except TypeError as error:
        raise TemplateSyntaxError(f"pusherable_activity: {error}") from error
    page: dict[str, Any] = {"items": items(parameters, limit)}
    if live and parameters is not None:
        listened = live_list(parameters, limit, subject=subject, kind=kind, user=_reader(context))
        if listened is not None:
            channel, shown = listened
            url = _endpoint(
                "items", "pusherable_activity with live=True needs the endpoint that has its items"
            )
            page |= {
                "channel": channel,
                "url": f"{url}?{urlencode({'list': shown.signed()})}",
                "limit": str(limit),
                "texts": json.dumps({"language": _language(), "new": gettext("New events: {count}")}),
            }
    return page


@register.filter
def pusherable_name(text: str) -> str:
    """A name for a ``<bdi>``, without the controls that would end it and turn the sentence around."""
    return re.sub("[\u202a-\u202e\u2066-\u2069]", "", text)


@register.filter
def pusherable_stay(event: AccessEvent) -> dict[str, int]:
    """How long the visit was that a `left` has ended, as people say it: {"minutes": 5}; empty if unknown."""
    seconds = event.context.get("duration")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < inf:
        return {}
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return {unit: round(seconds / length)}
    return {"seconds": max(1, round(seconds))}
