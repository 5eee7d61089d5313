"""Where in an admin site the objects of some events are, as far as they still exist."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db import models, router
from django.db.models import Case, Value, When
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from pusherable.models import AccessEvent, model_of

#: An object: its type and its key, as events have them.
Object = tuple[str, str]


def add_links(events: Iterable[AccessEvent], site: AdminSite, request: HttpRequest) -> None:
    """Give each of the events its `object_url`: the address, or None."""
    links = object_links(events, site, request)
    for event in events:
        event.object_url = links.get((event.object_type, event.object_pk))  # type: ignore[attr-defined]


def object_links(events: Iterable[AccessEvent], site: AdminSite, request: HttpRequest) -> dict[Object, str]:
    """The addresses of the objects' pages in the admin, for those that exist and whom the user may see there.

    It is one query for each database that they are in, however many models they are of.
    """
    links: list[tuple[Object, str]] = []
    existing: dict[str, list[models.QuerySet[Any, Any]]] = defaultdict(list)
    for label, keys in _keys(events).items():
        model = _shown(label, site, request)
        if model is None:
            continue
        places = {}
        for key in keys:
            value = _value(model, key)
            url = value is not None and _url(model, value, site)
            if url:
                places[value] = len(links)
                links.append(((label, key), url))
        if places:
            # The keys of models are of different types; numbers for them are of one, as a UNION wants.
            number = Case(*(When(pk=value, then=Value(place)) for value, place in places.items()))
            alias = router.db_for_read(model)
            rows = model._base_manager.using(alias).filter(pk__in=places)
            existing[alias].append(rows.order_by().annotate(place=number).values_list("place", flat=True))
    found: dict[Object, str] = {}
    for first, *others in existing.values():
        found |= dict(links[place] for place in (first.union(*others, all=True) if others else first))
    return found


def _keys(events: Iterable[AccessEvent]) -> dict[str, set[str]]:
    keys = defaultdict(set)
    for event in events:
        if event.object_pk:
            keys[event.object_type].add(event.object_pk)
    return keys


def _shown(label: str, site: AdminSite, request: HttpRequest) -> type[models.Model] | None:
    """The model, if the site has it and the user may see it."""
    model = model_of(label)
    is_seen = model and site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)
    return model if is_seen else None


def _value(model: type[models.Model], key: str) -> Any:
    """The key as the model has it, or None if it cannot be one of its keys."""
    field: Any = model._meta.pk
    while field.remote_field:  # a model that inherits from another one
        field = field.target_field
    try:
        value = field.to_python(key)
        field.run_validators(value)
    except (ValidationError, ValueError, TypeError, OverflowError):
        return None
    return value


def _url(model: type[models.Model], value: Any, site: AdminSite) -> str:
    name = f"{site.name}:{model._meta.app_label}_{model._meta.model_name}_change"
    try:
        return reverse(name, args=[quote(value)])
    except NoReverseMatch:
        return ""
