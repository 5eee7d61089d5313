"""Channel kinds and names: which channel an object's events go to, and which object a name means."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from string import Formatter
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models

from pusherable.conf import conf

#: Kind of channel -> the prefix by which Pusher tells it (https://pusher.com/docs/channels/using_channels/channels).
PREFIXES: Final = {
    "public": "",
    "private": "private-",
    "private-encrypted": "private-encrypted-",
    "presence": "presence-",
}

#: The kinds that events are sent to. A presence channel only tells who is there.
KINDS: Final = ("public", "private", "private-encrypted")

#: Pusher allows 164 characters. The longest prefix it knows, ``private-encrypted-``, is taken off for every
#: kind, so that an object has the same name under each of them.
MAX_NAME: Final = 164 - len(PREFIXES["private-encrypted"])

#: The channel of all events, which tells of each no more than that it is there. No object can have this name:
#: in that of an object, ";" is followed by 40 hexadecimal digits.
FEED: Final = f"{PREFIXES['private']}pusherable;feed"

_NAME = re.compile(r"[-A-Za-z0-9_=@,.;]{1,164}")
_UNSAFE = re.compile(r"[^-A-Za-z0-9_@,.]")
_UNSAFE_PART = re.compile(r"[^-A-Za-z0-9_@.]")
_FIELDS: Final = frozenset({"app_label", "model_name", "pk"})


def kind_of(model: type[models.Model]) -> str:
    """The kind that events of the model are sent to: its own ``pusher_channel_kind``, or the setting's."""
    kind: str = getattr(model, "pusher_channel_kind", None) or conf.PUSHERABLE_CHANNELS
    return kind


def channel_name(obj: models.Model, kind: str | None = None) -> str:
    """The channel of a saved object, for example ``article_17`` or ``private-article_17``.

    Without a kind it is that of the model (`kind_of`).

    A character that Pusher forbids becomes ``=XX`` for each byte of its UTF-8 form (as in quoted-printable,
    RFC 2045, section 6.7), and so does ``=`` itself; the parts of a composite key are joined by ``,``. A name
    of more than 146 characters keeps its beginning and ends in ``;`` and the first 40 hexadecimal digits of
    the whole name's SHA-256; ``;`` occurs in no other name.

    Raises ImproperlyConfigured for an unknown kind or a wrong ``PUSHERABLE_CHANNEL_FORMAT``.
    """
    kind = kind or kind_of(obj._meta.model)
    if kind not in PREFIXES:
        raise ImproperlyConfigured(
            f"{kind!r} is not a kind of channel: write one of {', '.join(map(repr, PREFIXES))}."
        )
    return PREFIXES[kind] + _shortened(format_name(obj._meta.model, escape_pk(obj.pk)))


@dataclass(frozen=True)
class Target:
    """What the name of a channel means."""

    kind: str
    model: type[models.Model]
    pk: Any


def parse(name: str, models_: Iterable[type[models.Model]]) -> Target | None:
    """The kind of the channel and its object, which need not exist; the inverse of `channel_name`.

    The object is one of the given models. None for what is no name of theirs, for one that would be the name
    of objects of two models, and for one that was shortened, since its key cannot be told from it.
    """
    kind, rest = _split(name)
    found = {Target(kind, model, pk) for model in models_ for pk in _keys(model, rest)}
    return found.pop() if len(found) == 1 else None


def checked_names(names: str | Iterable[str]) -> list[str]:
    """A project's own channel name or names, as a list; raises ValueError for one that Pusher refuses."""
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no name of a channel: use 1 to 164 letters, digits and - _ = @ , . ; only."
            )
    return names


def escape_pk(pk: object) -> str:
    if isinstance(pk, tuple):
        return ",".join(_UNSAFE_PART.sub(_escape, str(part)) for part in pk)
    return _UNSAFE.sub(_escape, str(pk))


def format_name(model: type[models.Model], pk: str) -> str:
    """The name without prefix for an escaped pk. Proxies share the channel of their concrete model."""
    template = conf.PUSHERABLE_CHANNEL_FORMAT
    if error := format_error(template):
        raise ImproperlyConfigured(f"PUSHERABLE_CHANNEL_FORMAT = {template!r}: {error}")
    opts = (model._meta.concrete_model or model)._meta
    return template.format(
        app_label=_UNSAFE.sub(_escape, opts.app_label),
        model_name=_UNSAFE.sub(_escape, str(opts.model_name)),
        pk=pk,
    )


def format_error(template: object) -> str | None:
    """What is wrong with a channel format, as a sentence; None if nothing is."""
    if not isinstance(template, str):
        return "it must be a string."
    if template in _VALID:
        return None
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        return f"{error}."
    fields = [name for _, name, _, _ in parts if name is not None]
    if unknown := set(fields) - _FIELDS:
        return f"unknown placeholder {{{min(unknown)}}}; use {{app_label}}, {{model_name}} and {{pk}}."
    if any(spec or conversion for _, _, spec, conversion in parts):
        return "placeholders take no conversion and no format specification."
    if fields.count("pk") != 1 or "model_name" not in fields:
        return "it must contain {model_name}, and {pk} once."
    if wrong := _UNSAFE.search("".join(literal for literal, _, _, _ in parts)):
        return f"Pusher does not allow {wrong.group()!r} here; use letters, digits and - _ @ , ."
    if template.startswith(("private-", "presence-", "encrypted-")):
        return "the prefix of a channel's kind is added by itself; leave it out."
    _VALID.add(template)
    return None


_VALID: set[str] = set()


def _shortened(name: str) -> str:
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME - 41]};{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def _split(name: str) -> tuple[str, str]:
    for kind in sorted(PREFIXES, key=lambda kind: -len(PREFIXES[kind])):
        if name.startswith(PREFIXES[kind]):
            break
    return kind, name.removeprefix(PREFIXES[kind])


def _keys(model: type[models.Model], name: str) -> list[Any]:
    """The key of the model's object with this name, if there is one: none or one."""
    before, after = format_name(model, "\0").split("\0")
    if not (name.startswith(before) and name.endswith(after) and len(name) >= len(before) + len(after)):
        return []
    text = name[len(before) : len(name) - len(after)]
    field: Any = model._meta.pk
    try:
        if isinstance(field, models.CompositePrimaryKey):
            parts = [_unescape(part) for part in text.split(",")]
            fields: list[Any] = list(field.fields)
            pk = tuple(part.to_python(value) for part, value in zip(fields, parts, strict=True))
        else:
            pk = field.to_python(_unescape(text))
        # Only as `channel_name` writes it: neither "article_017", nor what is escaped without need.
        return [pk] if name == format_name(model, escape_pk(pk)) and len(name) <= MAX_NAME else []
    except (ValueError, ValidationError):
        return []


def _unescape(text: str) -> str:
    """Raises ValueError for what is no escape, or no UTF-8."""
    data = re.sub(rb"=([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), text.encode())
    return data.decode()


def _escape(match: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in match.group().encode(errors="replace"))
