"""Channel kinds and names: which channel an object's events go to."""

import hashlib
import re
from collections.abc import Iterable
from string import Formatter
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from django.db import models

from pusherable.conf import conf

#: Kind of channel -> the prefix by which Pusher tells it (https://pusher.com/docs/channels/using_channels/channels).
PREFIXES: Final = {"public": "", "private": "private-"}

#: Pusher allows 164 characters. The longest prefix it knows, ``private-encrypted-``, is taken off for every
#: kind, so that an object has the same name under each of them.
MAX_NAME: Final = 164 - len("private-encrypted-")

_NAME = re.compile(r"[-A-Za-z0-9_=@,.;]{1,164}")
_UNSAFE = re.compile(r"[^-A-Za-z0-9_@,.]")
_UNSAFE_PART = re.compile(r"[^-A-Za-z0-9_@.]")
_FIELDS: Final = frozenset({"app_label", "model_name", "pk"})


def channel_name(obj: models.Model, kind: str = "public") -> str:
    """The channel of a saved object, for example ``article_17`` or ``private-article_17``.

    A character that Pusher forbids becomes ``=XX`` for each byte of its UTF-8 form (as in quoted-printable,
    RFC 2045, section 6.7), and so does ``=`` itself; the parts of a composite key are joined by ``,``. A name
    of more than 146 characters keeps its beginning and ends in ``;`` and the first 40 hexadecimal digits of
    the whole name's SHA-256; ``;`` occurs in no other name.

    Raises ImproperlyConfigured for an unknown kind or a wrong ``PUSHERABLE_CHANNEL_FORMAT``.
    """
    if kind not in PREFIXES:
        raise ImproperlyConfigured(
            f"{kind!r} is not a kind of channel: write one of {', '.join(map(repr, PREFIXES))}."
        )
    name = format_name(obj._meta.model, escape_pk(obj.pk))
    if len(name) > MAX_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:40]
        name = f"{name[: MAX_NAME - 41]};{digest}"
    return PREFIXES[kind] + name


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
    if template.startswith(("private-", "presence-")):
        return "the prefix of a channel's kind is added by itself; leave it out."
    _VALID.add(template)
    return None


_VALID: set[str] = set()


def _escape(match: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in match.group().encode(errors="replace"))
