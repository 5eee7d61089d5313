"""Who may listen: whether a user may subscribe to a channel, and the signature that lets them in."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse
from pusher.signature import sign

from pusherable.channels import FEED, PREFIXES, Target, kind_of, parse
from pusherable.conf import conf, function_of
from pusherable.encryption import is_encrypted, shared_secret
from pusherable.mixins import PusherOptions
from pusherable.presence import channel_data

logger = logging.getLogger(__name__)

Answer = dict[str, str]


def authorize(
    user: Any, names: Sequence[str], socket_id: str, *, editing: Sequence[str] = ()
) -> dict[str, Answer | None]:
    """What to answer Pusher's client for each channel; None is no, for whatever reason, and is logged.

    `editing` names the presence channels that the user joins with an update page.
    """
    allowed = permitted(user, names)
    answers: dict[str, Answer | None] = {}
    for name in names:
        answers[name] = _answer(user, name, socket_id, name in editing) if name in allowed else None
        if answers[name] is None:
            logger.warning("The user %r may not subscribe to %.200r.", str(getattr(user, "pk", None)), name)
    return answers


def permitted(user: Any, names: Sequence[str]) -> dict[str, models.Model | None]:
    """Those of the channels, public ones apart, that the user may listen to, with their objects.

    The feed, which has none, is for who may read the log.
    """
    known = broadcast_models()
    targets = {name: target for name in names if (target := parse(name, known)) and target.kind != "public"}
    objects = existing_objects(targets.values())
    allowed: dict[str, models.Model | None] = {}
    if FEED in names and conf.PUSHERABLE_FEED and user.has_perm("pusherable.view_accessevent"):
        allowed[FEED] = None
    for name, target in targets.items():
        obj = objects.get((target.model, target.pk))
        may_subscribe = function_of(conf.PUSHERABLE_CAN_SUBSCRIBE)
        # Asked for an object that does not exist, too: the answer must not come sooner then.
        if may_subscribe(user, obj or target.model(pk=target.pk), name) and obj is not None:
            allowed[name] = obj
    return allowed


def _answer(user: Any, name: str, socket_id: str, editing: bool) -> Answer | None:
    signed, answer = f"{socket_id}:{name}", Answer()
    if name.startswith(PREFIXES["presence"]):
        if (member := channel_data(user, editing=editing)) is None:
            return None
        signed, answer["channel_data"] = f"{signed}:{member}", member
    if is_encrypted(name):
        try:
            answer["shared_secret"] = shared_secret(name)
        except ImproperlyConfigured as error:
            logger.error("Nobody can listen to %r: %s", name, error)  # noqa: TRY400  # a traceback tells no more
            return None
    return {"auth": f"{conf.PUSHER_KEY}:{sign(conf.PUSHER_SECRET, signed)}"} | answer


def can_subscribe(user: Any, obj: models.Model, channel: str) -> bool:  # noqa: ARG001  # as the project's own
    """The default of ``PUSHERABLE_CAN_SUBSCRIBE``: a user who may view the model's objects, or this one."""
    opts = obj._meta.concrete_model._meta if obj._meta.concrete_model else obj._meta
    permission = f"{opts.app_label}.{get_permission_codename('view', opts)}"
    return bool(user.is_authenticated and (user.has_perm(permission) or user.has_perm(permission, obj)))


def endpoint(name: str) -> str | None:
    """Where pages ask for what is in ``pusherable.urls``; None where that is not included."""
    try:
        return reverse(f"pusherable:{name}") if hasattr(settings, "ROOT_URLCONF") else None
    except NoReverseMatch:
        return None


class Broadcast(NamedTuple):
    """That events of a model are sent to channels of a kind: by a view or admin, or as the model has it."""

    model: type[models.Model]
    kind: str
    view: Any


def broadcasts() -> list[Broadcast]:
    """Who broadcasts what: the views and admins in the URLconf, and models with a ``pusher_channel_kind``.

    The latter is for models of which no view says by `model`, `queryset` or `form_class` that it is about
    them.
    """
    views = pusher_views(get_resolver()) if hasattr(settings, "ROOT_URLCONF") else ()
    found: list[tuple[type[models.Model], Any, Any]] = [
        (model, view, view) for view in views if (model := _model_of(view))
    ]
    # Of the objects in an admin's inlines all fields are sent, and so no view is named that chooses some.
    admins = [view for view in views if not isinstance(view, type)]
    found += [
        (inline.model, admin, None)
        for admin in admins
        for inline in admin.inlines
        if not inline.model._meta.auto_created
    ]
    found += [
        (model, None, None) for model in apps.get_models() if getattr(model, "pusher_channel_kind", None)
    ]
    return [
        Broadcast(
            model._meta.concrete_model or model,
            getattr(owner, "pusher_channel_kind", None) or kind_of(model),
            view,
        )
        for model, owner, view in found
    ]


def broadcast_models() -> list[type[models.Model]]:
    """The models whose events are broadcast."""
    return sorted({broadcast.model for broadcast in broadcasts()}, key=lambda model: model._meta.label)


@lru_cache(maxsize=8)
def pusher_views(resolver: URLResolver) -> tuple[Any, ...]:
    """What in the URLconf records events: the classes of views, and instances of `PusherableModelAdmin`."""
    return tuple(dict.fromkeys(_views(resolver)))


def _views(resolver: URLResolver) -> Iterator[Any]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            view = getattr(pattern.callback, "view_class", None)
            model_admin = getattr(pattern.callback, "model_admin", None)
            if isinstance(view, type) and issubclass(view, PusherOptions):
                yield view
            elif isinstance(model_admin, PusherOptions):
                yield model_admin
        else:
            yield from _views(pattern)


def _model_of(view: Any) -> type[models.Model] | None:
    options = getattr(getattr(view, "form_class", None), "_meta", None)
    queryset = getattr(view, "queryset", None)
    model: type[models.Model] | None = getattr(view, "model", None)
    return model or (queryset.model if queryset is not None else getattr(options, "model", None))


def existing_objects(targets: Iterable[Target]) -> dict[tuple[type[models.Model], Any], models.Model]:
    """Those that exist, by model and key: one query for each model."""
    wanted: dict[type[models.Model], list[Any]] = {}
    for target in targets:
        if _is_storable(target):
            wanted.setdefault(target.model, []).append(target.pk)
    return {
        (model, obj.pk): obj
        for model, keys in wanted.items()
        for obj in model._default_manager.filter(pk__in=keys)  # noqa: SLF001  # documented by Django
    }


def _is_storable(target: Target) -> bool:
    """Whether an object can have the key: where none can, some databases do not even take the question."""
    field: Any = target.model._meta.pk
    if isinstance(field, models.CompositePrimaryKey):
        fields: list[Any] = list(field.fields)
        parts = list(zip(fields, target.pk, strict=True))
    else:
        parts = [(field, target.pk)]
    try:
        for part, value in parts:
            part.run_validators(value)
    except ValidationError:
        return False
    return "\0" not in str(target.pk)
