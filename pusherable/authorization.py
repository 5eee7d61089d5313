"""Who may listen: whether a user may subscribe to a channel, and the signature that lets them in."""

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ValidationError
from django.db import models
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string
from pusher.signature import sign

from pusherable.channels import Target, parse
from pusherable.conf import conf
from pusherable.mixins import PusherMixin

logger = logging.getLogger(__name__)

#: Kinds of channel that Pusher asks about.
KINDS: Final = ("private",)

Answer = dict[str, str]


def authorize(user: Any, names: Sequence[str], socket_id: str) -> dict[str, Answer | None]:
    """What to answer Pusher's client for each channel; None is no, for whatever reason, and is logged."""
    known = broadcast_models()
    targets = {name: parse(name, known) for name in names}
    objects = _objects(target for target in targets.values() if target is not None)
    answers: dict[str, Answer | None] = {}
    for name, target in targets.items():
        if target is not None and target.kind in KINDS and _may_subscribe(user, target, objects, name):
            answers[name] = {"auth": f"{conf.PUSHER_KEY}:{sign(conf.PUSHER_SECRET, f'{socket_id}:{name}')}"}
        else:
            answers[name] = None
            logger.warning("The user %r may not subscribe to %r.", str(getattr(user, "pk", None)), name)
    return answers


def can_subscribe(user: Any, obj: models.Model, channel: str) -> bool:  # noqa: ARG001  # as the project's own
    """The default of ``PUSHERABLE_CAN_SUBSCRIBE``: a user who may view the model's objects, or this one."""
    opts = obj._meta.concrete_model._meta if obj._meta.concrete_model else obj._meta
    permission = f"{opts.app_label}.{get_permission_codename('view', opts)}"
    return bool(user.is_authenticated and (user.has_perm(permission) or user.has_perm(permission, obj)))


def broadcast_models() -> list[type[models.Model]]:
    """The models whose events are broadcast: by a view in the URLconf, or as their own attribute has it.

    That is ``pusher_channel_kind``, for models of which no view says by `model`, `queryset` or `form_class`
    that it is about them.
    """
    own = (model for model in apps.get_models() if getattr(model, "pusher_channel_kind", None))
    found = {*own, *_models_of_views(get_resolver())}
    concrete = {model._meta.concrete_model or model for model in found}
    return sorted(concrete, key=lambda model: model._meta.label)


@lru_cache(maxsize=8)
def _models_of_views(resolver: URLResolver) -> frozenset[type[models.Model]]:
    return frozenset(filter(None, map(_model_of, _views(resolver))))


def _views(resolver: URLResolver) -> Iterator[type]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            view = getattr(pattern.callback, "view_class", None)
            if isinstance(view, type) and issubclass(view, PusherMixin):
                yield view
        else:
            yield from _views(pattern)


def _model_of(view: Any) -> type[models.Model] | None:
    options = getattr(getattr(view, "form_class", None), "_meta", None)
    queryset = getattr(view, "queryset", None)
    model: type[models.Model] | None = getattr(view, "model", None)
    return model or (queryset.model if queryset is not None else getattr(options, "model", None))


def _objects(targets: Iterator[Target]) -> dict[tuple[type[models.Model], Any], models.Model]:
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


def _may_subscribe(
    user: Any, target: Target, objects: dict[tuple[type[models.Model], Any], models.Model], name: str
) -> bool:
    function = conf.PUSHERABLE_CAN_SUBSCRIBE
    check = import_string(function) if isinstance(function, str) else function
    obj = objects.get((target.model, target.pk))
    # Asked for an object that does not exist, too: the answer must not come sooner then.
    allowed = check(user, obj or target.model(pk=target.pk), name)
    return obj is not None and bool(allowed)
