"""Which names say that a value is secret. Such values never enter the log and never leave the process."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from django.db import models

#: What `changes` holds in place of a secret value.
REDACTED: Final = "[redacted]"

# Where a word is enough by itself it may stand anywhere ("userpassword"); where it begins other words too
# ("secretary", "tokenizer") it must end a word.
_SECRET: Final = re.compile(
    r"passw(or)?d|passphrase|api_?key"
    r"|(token|secret|credential)s?\d*(_|$)"
    r"|(^|_)(private|access|secret|signing|encryption|session)_?key"
    r"|(^|_)(otp|salt|cvv|cvc)(_|$)"
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


def is_secret(name: str, redact: Sequence[str]) -> bool:
    """Whether a name is secret by itself or by ``PUSHERABLE_REDACT`` (words that the name contains)."""
    return _is_secret(name, tuple(redact))


@lru_cache(maxsize=4096)
def _is_secret(name: str, redact: tuple[str, ...]) -> bool:
    words = _words(name)
    return bool(_SECRET.search(words)) or any(f"_{_words(entry)}_" in f"_{words}_" for entry in redact)


def is_secret_field(field: "models.Field[Any, Any]", redact: Sequence[str]) -> bool:
    """Like `is_secret`; an entry of ``PUSHERABLE_REDACT`` may also name one field: ``app.model.field``."""
    label = f"{field.model._meta.label_lower}.{field.name}"
    plain = [entry for entry in redact if "." not in entry]
    return label in [entry.lower() for entry in redact] or is_secret(field.name, plain)


def _words(name: str) -> str:
    return _CAMEL.sub("_", name).lower()
