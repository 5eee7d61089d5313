"""System checks of channels: their kinds, their names, and what everybody may hear on the public ones."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from pusherable.authorization import broadcasts, endpoint
from pusherable.channels import KINDS, format_error, format_name
from pusherable.checks import NEW_KEY, is_function
from pusherable.conf import conf
from pusherable.snapshots import snapshot_fields

_ALL_KINDS = ", ".join(f'"{kind}"' for kind in KINDS)


@checks.register(checks.Tags.compatibility)
def check_channels(**_kwargs: Any) -> list[checks.CheckMessage]:
    return [*_kinds(), *_functions(), *_listeners(), *_names(), *_users()]


@checks.register(checks.Tags.security, deploy=True)
def check_deployment(**_kwargs: Any) -> list[checks.CheckMessage]:
    if not _is_broadcast() or conf.PUSHERABLE_CHANNELS != "public":
        return []
    message = 'With PUSHERABLE_CHANNELS = "public", everybody who has seen a page can listen to every object.'
    hint = 'Write PUSHERABLE_CHANNELS = "private" and include pusherable.urls in your URLconf.'
    return [checks.Warning(message, hint=hint, id="pusherable.W003")]


def _is_broadcast() -> bool:
    # Another check tells of a transport that is no dict.
    return isinstance(conf.PUSHERABLE_TRANSPORT, dict) and conf.broadcasts


def _kinds() -> Iterator[checks.CheckMessage]:
    if conf.PUSHERABLE_CHANNELS not in KINDS:
        yield checks.Error(
            f"PUSHERABLE_CHANNELS = {conf.PUSHERABLE_CHANNELS!r} is not a kind of channel.",
            hint=f"Write one of {_ALL_KINDS}.",
            id="pusherable.E019",
        )
    owners = [*apps.get_models(), *(broadcast.view for broadcast in broadcasts() if broadcast.view)]
    for owner in dict.fromkeys(owners):
        kind = getattr(owner, "pusher_channel_kind", None)
        if kind is not None and kind not in KINDS:
            yield checks.Error(
                f"pusher_channel_kind = {kind!r} is not a kind of channel.",
                hint=f"Write one of {_ALL_KINDS}.",
                obj=owner,
                id="pusherable.E019",
            )


def _functions() -> Iterator[checks.CheckMessage]:
    function, info = conf.PUSHERABLE_CAN_SUBSCRIBE, conf.PUSHERABLE_PRESENCE_INFO
    if not is_function(function):
        yield checks.Error(
            f"PUSHERABLE_CAN_SUBSCRIBE = {function!r} is not a function, nor the path of one.",
            hint='Write for example "myproject.access.can_subscribe", a function that takes the user, the '
            "object and the channel's name, and returns whether the user may hear of the object.",
            id="pusherable.E020",
        )
    if info is not None and not is_function(info):
        yield checks.Error(
            f"PUSHERABLE_PRESENCE_INFO = {info!r} is not a function, nor the path of one.",
            hint='Write for example "myproject.people.presence_info", a function that takes the user and '
            'returns a dict, such as {"avatar": user.avatar.url}.',
            id="pusherable.E022",
        )


def _listeners() -> Iterator[checks.CheckMessage]:
    """Whether what is sent to channels other than public ones can be heard."""
    kinds = [conf.PUSHERABLE_CHANNELS, *(broadcast.kind for broadcast in broadcasts())]
    is_private = conf.PUSHERABLE_FEED or any(kind in KINDS and kind != "public" for kind in kinds)
    if not _is_broadcast() or not is_private:
        return
    if "private-encrypted" in kinds and conf.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 is None:
        yield checks.Error(
            "Events are sent to encrypted channels, but PUSHER_ENCRYPTION_MASTER_KEY_BASE64 is not set.",
            hint=NEW_KEY,
            id="pusherable.E021",
        )
    if endpoint("auth") is None:
        yield checks.Warning(
            "Nobody can listen to private channels: no page is told where to ask for them.",
            hint='Write path("pusherable/", include("pusherable.urls")) in your URLconf, or add '
            "'pusherable.W004' to SILENCED_SYSTEM_CHECKS if you write what asks for them yourself.",
            id="pusherable.W004",
        )


def _users() -> Iterator[checks.CheckMessage]:
    """What the public channels tell of users."""
    told: dict[type[models.Model], set[str]] = {}
    for model, kind, view in broadcasts() if _is_broadcast() else ():
        if kind == "public":
            told.setdefault(model, set()).update(_user_fields(model, view))
    for model, names in told.items():
        if names:
            yield checks.Warning(
                f"Public channels tell everybody who listens about users: {', '.join(sorted(names))}.",
                hint='Write pusher_channel_kind = "private" in the model or its views, or leave the fields '
                "out with pusher_exclude_model_fields; or add 'pusherable.W005' to SILENCED_SYSTEM_CHECKS.",
                obj=model,
                id="pusherable.W005",
            )


def _user_fields(model: type[models.Model], view: Any) -> set[str]:
    """The fields that are sent and refer to a user; where the model is the users' own, all but the key."""
    include = getattr(view, "pusher_include_model_fields", None)
    exclude = getattr(view, "pusher_exclude_model_fields", None)
    try:
        names = snapshot_fields(model, include, exclude)
    except FieldDoesNotExist:  # raised with a clear message when the view is used
        return set()
    users, opts = get_user_model(), model._meta
    if issubclass(model, users):
        return set(names) - {opts.pk.name}
    related: dict[str, Any] = {
        field.name: field.related_model for field in (*opts.concrete_fields, *opts.many_to_many)
    }
    return {name for name in names if related[name] and issubclass(related[name], users)}


def _names() -> Iterator[checks.CheckMessage]:
    template = conf.PUSHERABLE_CHANNEL_FORMAT
    if error := format_error(template):
        yield checks.Error(
            f"PUSHERABLE_CHANNEL_FORMAT = {template!r}: {error}",
            hint='Write for example "{model_name}_{pk}" (the default) or "{app_label}_{model_name}_{pk}".',
            id="pusherable.E014",
        )
        return
    around_key = {
        model: format_name(model, "\0").split("\0") for model in apps.get_models() if not model._meta.proxy
    }
    for one, other in combinations(around_key, 2):
        if _may_collide(one, around_key[one], around_key[other]) or _may_collide(
            other, around_key[other], around_key[one]
        ):
            yield checks.Warning(
                f"{one._meta.label} and {other._meta.label} share channel names: events of the one reach "
                "pages of the other.",
                hint='Set PUSHERABLE_CHANNEL_FORMAT = "{app_label}_{model_name}_{pk}", or add '
                "'pusherable.W002' to SILENCED_SYSTEM_CHECKS if only one of them is broadcast.",
                id="pusherable.W002",
            )


def _may_collide(model: type[models.Model], own: list[str], other: list[str]) -> bool:
    """Whether a key of the model can make a channel name that a key of the other one makes too.

    Equal names around the key always do; `foo` with the text key "bar_1" also meets `foo_bar` with key 1.
    """
    if own == other:
        return True
    free_text = isinstance(model._meta.pk, (models.CharField, models.TextField))
    return free_text and other[0].startswith(own[0]) and other[1].endswith(own[1])
