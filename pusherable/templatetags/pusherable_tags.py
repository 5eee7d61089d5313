"""``{% load pusherable_tags %}``: the page's script, its subscriptions, and the recent-activity list."""

from typing import Any, Final

from django import template
from django.apps import apps
from django.conf import settings
from django.db import models
from django.template import TemplateSyntaxError
from django.template.context import Context
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from pusherable.channels import channel_name
from pusherable.conf import conf
from pusherable.models import AccessEvent

register = template.Library()

#: An argument that is not given. None cannot say so: `object` is None on the page of a create form.
EVERYTHING: Final = object()


@register.inclusion_tag("pusherable/script.html", takes_context=True)
def pusherable_script(context: Context, *, pusher_js: bool = True) -> dict[str, Any]:
    """The scripts of the page, deferred: pusher-js and our one file; nothing where there are no credentials.

    ``pusher_js=False`` leaves the first out, for pages that load pusher-js themselves.
    """
    return {
        "pusher_js": conf.pusher_js_url if pusher_js else None,
        "nonce": context.get("csp_nonce"),
        "key": conf.PUSHER_KEY if conf.has_credentials else None,
        "cluster": "" if conf.PUSHER_HOST else conf.PUSHER_CLUSTER,
        "host": conf.PUSHER_HOST,
        "port": str(conf.port),  # as text: a number would be localized
        "tls": "true" if conf.PUSHER_SSL else "false",
    } | _authorization(context)


def _authorization(context: Context) -> dict[str, Any]:
    """Where to ask for a private channel, and how; nothing where ``pusherable.urls`` is not included."""
    try:
        endpoint = reverse("pusherable:auth") if hasattr(settings, "ROOT_URLCONF") else None
    except NoReverseMatch:
        endpoint = None
    header = settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-")
    return {"endpoint": endpoint, "csrf_header": header, "csrf_token": context.get("csrf_token")}


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


@register.inclusion_tag("pusherable/activity.html")
def pusherable_activity(
    subject: Any = EVERYTHING, *, user: Any = EVERYTHING, limit: int = 10
) -> dict[str, Any]:
    """The most recent events, newest first: of an object, of a model (class or "app.model"), or of all.

    `user` leaves only what that user did. For None, a deleted object or an anonymous user the list is empty.
    One query, backed by an index. Raises LookupError for an unknown model and ValueError for a limit below 1.
    """
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"pusherable_activity: limit={limit!r} must be a number from 1 up.")
    events = AccessEvent.objects.newest()
    if isinstance(subject, str) and "." in subject:
        subject = apps.get_model(subject)
    if subject is None:
        events = events.none()
    elif isinstance(subject, models.Model) and not subject._state.adding:
        events = events.of_object(subject) if subject.pk is not None else events.none()
    elif hasattr(subject, "_meta"):
        # A template calls a class that it is given, so that a new instance arrives here.
        events = events.of_model(subject._meta.model)
    elif subject is not EVERYTHING:  # also "", which Django makes of a variable that is not set
        raise TemplateSyntaxError(
            f"pusherable_activity: {subject!r} is neither an object nor a model, as a class or 'app.model'."
        )
    if isinstance(user, models.Model):
        events = events.by_user(user)
    elif user is not EVERYTHING:  # nobody, or an anonymous user
        events = events.none()
    return {"events": events.defer("snapshot", "changes", "context")[:limit]}
