"""The one way in: an access becomes an event and, if it is broadcast, a delivery, in one transaction."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest

from pusherable import origin
from pusherable.channels import channel_name
from pusherable.conf import conf
from pusherable.delivery.dispatchers import wake
from pusherable.models import AccessEvent, Delivery
from pusherable.redaction import REDACTED, is_secret
from pusherable.snapshots import clean, jsonable, object_key, object_type
from pusherable.snapshots import snapshot as take_snapshot

logger = logging.getLogger(__name__)


def record_access(
    obj: models.Model | type[models.Model],
    action: str,
    *,
    request: HttpRequest | None = None,
    user: Any = None,
    fields: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    using: str | None = None,
    snapshot: Mapping[str, Any] | None = None,
    channels: Sequence[str] | None = None,
) -> AccessEvent | None:
    """Record that somebody accessed an object, and broadcast it once the transaction has committed.

    `obj` is an instance, or a model class where no object exists yet (the page of a create form); an event
    of a class is not broadcast. `action` is one of `Action`, or a word of the project's own (up to 50
    characters). `user` defaults to the request's. `fields` and `exclude` choose what the snapshot holds;
    `snapshot` replaces it. `changes` is ``{field: [old, new]}``. `extra` is added to the event's context.
    `channels` replaces the object's public channel; an empty list means no broadcast. `using` is the alias
    of the database to write to; by default the router decides.

    Returns the event. If it cannot be written the error is raised, so that no access goes unlogged; with
    ``PUSHERABLE_ON_ERROR = "log"`` it is logged, the caller's transaction stays usable, and None is returned.
    """
    alias = using or router.db_for_write(AccessEvent)

    def build() -> AccessEvent:
        redact = tuple(conf.PUSHERABLE_REDACT)
        user_pk, username = origin.actor(getattr(request, "user", None) if user is None else user)
        event = AccessEvent(
            action=action,
            object_type=object_type(obj),
            user_pk=user_pk,
            username=username,
            context=jsonable(origin.context(request) | dict(extra or {})),
            changes={
                name: [REDACTED, REDACTED] if is_secret(name, redact) else jsonable(pair, redact)
                for name, pair in (changes or {}).items()
            },
        )
        if request is not None:
            event.remote_addr = origin.remote_addr(request)
            event.request_id = origin.request_id(request)
        if isinstance(obj, models.Model):
            event.object_pk = object_key(obj)
            event.object_repr = _repr(obj)
            event.snapshot = (
                take_snapshot(obj, fields, exclude) if snapshot is None else jsonable(snapshot, redact)
            )
            if conf.broadcasts and obj.pk is not None:
                event.channels = [channel_name(obj)] if channels is None else list(channels)
        return event

    try:
        if conf.PUSHERABLE_ON_ERROR == "log":
            with transaction.atomic(using=alias):
                event = _write(build(), alias)
        else:
            event = _write(build(), alias)
    except Exception:
        if conf.PUSHERABLE_ON_ERROR != "log":
            raise
        logger.exception(
            "The access %r of a %s was served but could not be recorded.", action, object_type(obj)
        )
        return None
    if event.channels:
        transaction.on_commit(partial(wake, alias), using=alias, robust=True)
    return event


arecord_access = sync_to_async(record_access, thread_sensitive=True)


def _write(event: AccessEvent, alias: str) -> AccessEvent:
    connection = connections[alias]
    if connection.vendor == "postgresql" and event.channels:
        return _write_in_one_statement(event, connection)
    if not event.channels:
        event.save(force_insert=True, using=alias)
        return event
    with transaction.atomic(using=alias, savepoint=False):
        event.save(force_insert=True, using=alias)
        Delivery(event_id=event.pk, deliver_after=event.occurred_at).save(force_insert=True, using=alias)
    return event


def _write_in_one_statement(event: AccessEvent, connection: BaseDatabaseWrapper) -> AccessEvent:
    """Both rows in one round trip, and in one transaction also where the view has none of its own."""
    delivery = Delivery(deliver_after=event.occurred_at)
    params = [
        field.get_db_prep_save(getattr(row, field.attname), connection)
        for row in (event, delivery)
        for field in _columns(type(row))
    ]
    with transaction.mark_for_rollback_on_error(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(_insert_sql(connection.alias), params)
        (event.pk,) = cursor.fetchone()
    event._state.adding, event._state.db = False, connection.alias
    return event


@lru_cache(maxsize=32)
def _insert_sql(alias: str) -> str:
    quote = connections[alias].ops.quote_name

    def insert(model: type[models.Model], *first: str) -> str:
        names = [field.column for field in _columns(model)]
        columns = ", ".join(quote(str(name)) for name in (["event_id"] if first else []) + names)
        values = ", ".join([*first, *["%s"] * len(names)])
        return f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES ({values})"  # noqa: S608

    event = insert(AccessEvent)
    delivery = insert(Delivery, "(SELECT id FROM event)")
    return f"WITH event AS ({event} RETURNING id) {delivery} RETURNING event_id"  # names of columns only


@lru_cache(maxsize=2)
def _columns(model: type[models.Model]) -> "tuple[models.Field[Any, Any], ...]":
    return tuple(field for field in model._meta.concrete_fields if not field.primary_key)


def _repr(obj: models.Model) -> str:
    try:
        return clean(str(obj))[:255]
    except Exception:  # noqa: BLE001  # the project's own __str__, and no reason to lose the event
        return f"{obj._meta.model_name} {obj.pk}"
