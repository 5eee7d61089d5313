"""An object's fields as JSON, as they are now, and the difference between two such states.

What has to be read from a model is worked out once per model and choice of fields (a *plan*); taking a
snapshot then costs one attribute access and one conversion per field, and a query per many-to-many field.
"""

import base64
import datetime as dt
import hashlib
import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache, partial
from operator import methodcaller
from typing import Any, Final, NamedTuple

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.duration import duration_iso_string

from pusherable.conf import conf
from pusherable.redaction import REDACTED, is_secret

Json = Any
Reader = Callable[[Any], Json]


class Column(NamedTuple):
    """One field of a plan: its name, the attribute with its value, how to read it, and what it is."""

    name: str
    attname: str
    read: Reader
    secret: bool
    is_file: bool
    is_default: bool  # whether a snapshot has it unasked

    def differs(self, old: Json, new: Json) -> bool:
        if self.is_file and old and new:  # by name: an address may be signed anew each time it is asked for
            return bool(old["name"] != new["name"])
        return bool(old != new)


def object_type(obj: models.Model | type[models.Model]) -> str:
    """The ``app.model`` label; a proxy has that of its concrete model."""
    return (obj._meta.concrete_model or obj)._meta.label_lower


def object_key(obj: models.Model) -> str:
    """The primary key as text of at most 255 characters; a composite key is a JSON list.

    A longer key keeps its beginning and ends in ``;`` and its SHA-256, so that it still finds its events.
    """
    key = clean(obj._meta.pk.value_to_string(obj)) if obj.pk is not None else ""
    return key if len(key) <= 255 else f"{key[:190]};{hashlib.sha256(key.encode()).hexdigest()}"


def snapshot(
    obj: models.Model,
    fields: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    *,
    values: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """The object's fields as JSON: the editable ones and the key, or those that `fields` names.

    `fields` and `exclude` are a name or an iterable of names. Secret fields are left out whatever they say,
    and so are deferred ones unless they are named. `values` is a state that has been read already. Raises
    FieldDoesNotExist for a name that the model lacks.
    """
    redact = tuple(conf.PUSHERABLE_REDACT)
    columns = _columns(obj._meta.model, fields, exclude)
    if values is None:
        deferred = obj.get_deferred_fields() if fields is None else ()
        values = {column.name: column.read(obj) for column in columns if column.attname not in deferred}
    return {column.name: _public(values[column.name], redact) for column in columns if column.name in values}


def snapshot_fields(
    model: type[models.Model],
    fields: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
) -> list[str]:
    """The names of the fields that a snapshot of the model's objects holds; raises like `snapshot`."""
    return [column.name for column in _columns(model, fields, exclude)]


def state(obj: models.Model) -> dict[str, Json]:
    """Every field that is loaded, secrets included: for `difference`, never to be stored."""
    deferred = obj.get_deferred_fields()
    columns = full_plan(obj._meta.model, tuple(conf.PUSHERABLE_REDACT))
    return {column.name: column.read(obj) for column in columns if column.attname not in deferred}


def stored_state(obj: models.Model) -> dict[str, Json]:
    """Like `state`, but as the database has the object (one query), whatever the instance says."""
    stored = obj._meta.model._base_manager.using(obj._state.db).filter(pk=obj.pk).first()
    return state(stored) if stored is not None else {}


def saved_state(obj: models.Model) -> dict[str, Json]:
    """Like `state`, just after ``save()``: from the database where only that knows (one query)."""
    return state(obj) if is_settled(obj) else stored_state(obj)


def is_settled(obj: models.Model) -> bool:
    """Whether the instance, just after ``save()``, knows what is stored.

    It does not after an expression (``F("votes") + 1``) and for a generated field: Django 5.2 leaves both out
    of date in the instance, and later versions defer them on MySQL and MariaDB.
    """
    return not obj.get_deferred_fields() and not any(
        field.generated or hasattr(getattr(obj, field.attname), "resolve_expression")
        for field in obj._meta.concrete_fields
    )


def difference(
    model: type[models.Model], before: Mapping[str, Json], after: Mapping[str, Json]
) -> dict[str, list[Json]]:
    """``{field: [old, new]}`` of the fields that differ; of a secret one, only that it does."""
    redact = tuple(conf.PUSHERABLE_REDACT)
    return {
        column.name: _pair(column, before[column.name], after[column.name], redact)
        for column in full_plan(model, redact)
        if column.name in before
        and column.name in after
        and column.differs(before[column.name], after[column.name])
    }


def _columns(
    model: type[models.Model], fields: str | Iterable[str] | None, exclude: str | Iterable[str] | None
) -> tuple[Column, ...]:
    return plan(model, _names(fields), _names(exclude) or (), tuple(conf.PUSHERABLE_REDACT))


@lru_cache(maxsize=1024)
def plan(
    model: type[models.Model],
    fields: tuple[str, ...] | None,
    exclude: tuple[str, ...],
    redact: tuple[str, ...],
) -> tuple[Column, ...]:
    columns = full_plan(model, redact)
    known = [column.name for column in columns]
    for name in (*(fields or ()), *exclude):
        if name not in known:
            raise FieldDoesNotExist(
                f"{model._meta.label} has no field named {name!r} to record; it has {', '.join(known)}."
            )
    return tuple(
        column
        for column in columns
        if not column.secret
        and column.name not in exclude
        and (column.is_default if fields is None else column.name in fields)
    )


@lru_cache(maxsize=1024)
def full_plan(model: type[models.Model], redact: tuple[str, ...]) -> tuple[Column, ...]:
    opts = model._meta
    return tuple(
        Column(
            field.name,
            field.attname,
            _reader(field),
            is_secret(field.name, redact, model),
            isinstance(field, models.FileField),
            field.editable or field.primary_key,
        )
        for field in (*opts.concrete_fields, *opts.many_to_many)
    )


def _public(value: Json, redact: tuple[str, ...]) -> Json:
    """A value of a state without what stands under a secret key."""
    return jsonable(value, redact) if isinstance(value, (dict, list)) else value


def _pair(column: Column, old: Json, new: Json, redact: tuple[str, ...]) -> list[Json]:
    pair = [_public(old, redact), _public(new, redact)]
    # Also where only something under a secret key differs.
    return [REDACTED, REDACTED] if column.secret or pair[0] == pair[1] else pair


def _names(names: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    return (names,) if isinstance(names, str) else tuple(names)


# JSON that every database takes


def clean(text: str) -> str:
    """Text that can be stored anywhere: without NUL, which PostgreSQL refuses, and lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def jsonable(value: Any, redact: Sequence[str] | None = None) -> Json:
    """A copy of a value made of JSON's types only.

    A float that JSON lacks becomes text ("nan"), and so does what DjangoJSONEncoder does not know. With
    `redact` (the value of ``PUSHERABLE_REDACT``) what stands under a secret key is left out.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {
            clean(str(key)): jsonable(item, redact)
            for key, item in value.items()
            if redact is None or not is_secret(str(key), redact)
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item, redact) for item in value]
    try:
        return jsonable(DjangoJSONEncoder().default(value), redact)
    except (TypeError, ValueError):  # the latter for a time with a zone
        return clean(str(value))


# Reading one field


def _reader(field: "models.Field[Any, Any]") -> Reader:
    if isinstance(field, models.ManyToManyField):
        return _read_keys(field)
    attname = field.attname
    target: Any = field
    while isinstance(target, models.ForeignKey):
        target = target.target_field
    if isinstance(target, models.GeneratedField):
        target = target.output_field
    if isinstance(target, models.FileField):
        return lambda obj: _file(getattr(obj, attname))
    if isinstance(target, models.DecimalField):
        return _read_scalar(target, attname, Decimal, partial(_decimal, target.decimal_places))
    for field_class, (native, convert) in _SCALARS.items():
        if isinstance(target, field_class):
            return _read_scalar(target, attname, native, convert)
    return _read_other(field, attname)


def _read_scalar(
    field: "models.Field[Any, Any]", attname: str, native: type, convert: Callable[[Any], Json]
) -> Reader:
    def read(obj: Any) -> Json:
        value = getattr(obj, attname)
        if value is None:
            return None
        if type(value) is not native:
            # Assigned, but never through the database or a form: "2026-01-31" in a DateField.
            try:
                value = field.to_python(value)
            except (ValidationError, TypeError, ValueError):
                return clean(str(value))
            if value is None or not isinstance(value, native):
                return jsonable(value)
        return convert(value)

    return read


def _read_other(field: "models.Field[Any, Any]", attname: str) -> Reader:
    def read(obj: Any) -> Json:
        value = getattr(obj, attname)
        if value is None or isinstance(value, (str, bool, int, float, list, dict)):
            return jsonable(value)
        return clean(field.value_to_string(obj))

    return read


def _read_keys(field: "models.ManyToManyField[Any, Any]") -> Reader:
    name = field.name

    def read(obj: Any) -> Json:
        if obj.pk is None:
            return []
        if name in getattr(obj, "_prefetched_objects_cache", {}):
            return sorted(jsonable(related.pk) for related in getattr(obj, name).all())
        return sorted(jsonable(pk) for pk in getattr(obj, name).order_by().values_list("pk", flat=True))

    return read


def _file(file: Any) -> Json:
    if not file:
        return None
    try:
        url = file.url
    except Exception:  # noqa: BLE001  # a storage that has no address for it, or cannot be asked now
        url = None
    return {"name": clean(str(file.name)), "url": url}


def _decimal(places: int | None, value: Decimal) -> Json:
    # As the column stores it, so that 1.5 and 1.50 are no change.
    return str(value) if places is None or not value.is_finite() else f"{value:z.{places}f}"


def _datetime(value: dt.datetime) -> Json:
    if value.tzinfo is None:
        return value.isoformat()
    try:
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:  # within hours of the first or the last year
        return value.isoformat()


def _text(value: Any) -> Json:
    return clean(str(value))


def _binary(value: bytes | memoryview) -> Json:
    return base64.b64encode(bytes(value)).decode()


# The first class that fits decides, so subclasses stand before their bases.
_SCALARS: Final[Mapping[type["models.Field[Any, Any]"], tuple[type, Callable[[Any], Json]]]] = {
    models.BooleanField: (bool, jsonable),
    models.IntegerField: (int, jsonable),
    models.FloatField: (float, jsonable),
    models.DateTimeField: (dt.datetime, _datetime),
    models.DateField: (dt.date, methodcaller("isoformat")),
    models.TimeField: (dt.time, methodcaller("isoformat")),
    models.DurationField: (dt.timedelta, duration_iso_string),
    models.UUIDField: (uuid.UUID, _text),
    models.BinaryField: (object, _binary),
    models.JSONField: (object, jsonable),
    models.CharField: (str, _text),
    models.TextField: (str, _text),
    models.GenericIPAddressField: (str, _text),
    models.FilePathField: (str, _text),
}
