"""The one way in: an access becomes an event and, if it is broadcast, a delivery, in one transaction."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest

from pusherable import origin
from pusherable.channels import FEED, channel_name, checked_names
from pusherable.conf import conf
from pusherable.delivery import clock
from pusherable.delivery.dispatchers import wake
from pusherable.models import AccessEvent, Delivery
from pusherable.redaction import REDACTED, is_secret
from pusherable.signals import event_recorded
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
    channels: str | Sequence[str] | None = None,
) -> AccessEvent | None:
    """Record that somebody accessed an object, and broadcast it once the transaction has committed.

    `obj` is an instance, or a model class where no object exists yet (the page of a create form); an event
    of a class is not broadcast. `action` is one of `Action`, or a word of the project's own (up to 50
    characters). `user` defaults to the request's. `fields` and `exclude` choose what the snapshot holds;
    `snapshot` replaces it. `changes` is ``{field: [old, new]}``. `extra` is added to the event's context.
    `channels` replaces the object's channel; an empty list means no broadcast. Neither concerns the feed
    (``PUSHERABLE_FEED``), which hears of every event. `using` is the alias of the database to write to; by
    default the router decides.

    Returns the event. If it cannot be written the error is raised, so that no access goes unlogged; with
    ``PUSHERABLE_ON_ERROR = "log"`` it is logged, the caller's transaction stays usable, and None is returned.
    Raises FieldDoesNotExist for an unknown field, and ValueError for an action or a channel that cannot be.
    """
    alias = using or router.db_for_write(AccessEvent)

    def build() -> AccessEvent:
        if not 0 < len(action) <= 50:
            raise ValueError(f"{action!r} is no action: write a word of 1 to 50 characters.")
        model, redact = obj._meta.model, tuple(conf.PUSHERABLE_REDACT)
        user_pk, username = origin.actor(getattr(request, "user", None) if user is None else user)
        event = AccessEvent(
            action=action,
            object_type=object_type(obj),
            user_pk=user_pk,
            username=username,
            context=jsonable(origin.context(request)) | jsonable(extra or {}, redact),
            changes={
                name: [REDACTED, REDACTED] if is_secret(name, redact, model) else jsonable(pair, redact)
                for name, pair in (changes or {}).items()
            },
        )
        if request is not None:
            event.remote_addr = origin.remote_addr(request)
            event.request_id = origin.request_id(request)
        if isinstance(obj, models.Model):
            event.object_pk = object_key(obj)
            event.object_repr = object_repr(obj)
            if snapshot is None:
                event.snapshot = take_snapshot(obj, fields, exclude)
            else:
                shown = {name: snapshot[name] for name in snapshot if not is_secret(name, redact, model)}
                event.snapshot = jsonable(shown, redact)
            if conf.broadcasts and obj.pk is not None:
                event.channels = [channel_name(obj)] if channels is None else checked_names(channels)
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
    return _announce(event, alias)


arecord_access = sync_to_async(record_access, thread_sensitive=True)


def record_event(event: AccessEvent, using: str) -> AccessEvent:
    """Record what is described already, because it was not a request of this site that told of it.

    If it cannot be written the error is raised, whatever ``PUSHERABLE_ON_ERROR`` says: no page depends on it,
    and whoever told of it has to know.
    """
    return _announce(_write(event, using), using)


def _announce(event: AccessEvent, alias: str) -> AccessEvent:
    event_recorded.send_robust(sender=AccessEvent, event=event, using=alias)
    if event.channels:
        # No `partial`: where the hook fails, Django 5.2 asks it for its name.
        transaction.on_commit(lambda: wake(alias), using=alias, robust=True)
    return event


def _write(event: AccessEvent, alias: str) -> AccessEvent:
    """Insert the event and, if it is broadcast, its delivery: both or none.

    By statements of our own, because this is what every request pays: PostgreSQL takes both rows in one
    round trip, which is also one transaction where the view has none.
    """
    if conf.PUSHERABLE_FEED and conf.broadcasts and event.object_type != object_type(AccessEvent):
        event.channels = [*event.channels, FEED]  # but who reads the log does not make it move
    connection = connections[alias]
    insert_event, insert_delivery, insert_both = _statements(alias)
    event_values = _values(event, connection)
    delivery_values = []
    if event.channels:
        delivery_values = clock.params(connection) + _values(Delivery.of(event), connection)
    if connection.vendor == "postgresql":
        with transaction.mark_for_rollback_on_error(using=alias), connection.cursor() as cursor:
            cursor.execute(insert_both if event.channels else insert_event, event_values + delivery_values)
            (event.pk,) = cursor.fetchone()
    else:
        with transaction.atomic(using=alias, savepoint=False), connection.cursor() as cursor:
            cursor.execute(insert_event, event_values)
            event.pk = connection.ops.last_insert_id(cursor, AccessEvent._meta.db_table, "id")
            if event.channels:
                cursor.execute(insert_delivery, [event.pk, *delivery_values])
    event._state.adding, event._state.db = False, alias
    return event


@lru_cache(maxsize=32)
def _statements(alias: str) -> tuple[str, str, str]:
    connection = connections[alias]
    quote = connection.ops.quote_name

    def insert(model: type[models.Model], **first: str) -> str:
        names = [*first, *(str(field.column) for field in _columns(model))]
        values = [*first.values(), *["%s"] * len(_columns(model))]
        table, columns = quote(model._meta.db_table), ", ".join(map(quote, names))
        return f"INSERT INTO {table} ({columns}) VALUES ({', '.join(values)})"  # noqa: S608

    event = insert(AccessEvent)
    if connection.vendor == "postgresql":
        event += " RETURNING id"
    due = clock.SQL.get(connection.vendor, "%s")
    delivery = insert(Delivery, event_id="(SELECT id FROM event)", deliver_after=due)
    both = f"WITH event AS ({event}) {delivery} RETURNING event_id"
    return event, insert(Delivery, event_id="%s", deliver_after=due), both


def _values(row: models.Model, connection: BaseDatabaseWrapper) -> list[Any]:
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in _columns(type(row))]


@lru_cache(maxsize=2)
def _columns(model: type[models.Model]) -> "tuple[models.Field[Any, Any], ...]":
    given = "id", "event_id", "deliver_after"  # by the database
    return tuple(field for field in model._meta.concrete_fields if field.column not in given)


def object_repr(obj: models.Model) -> str:
    """``str(obj)`` as the log has it."""
    try:
        text = str(obj)
    except Exception:  # noqa: BLE001  # the project's own __str__, and no reason to lose the event
        text = f"{obj._meta.model_name} {obj.pk}"
    return clean(text)[:255]
