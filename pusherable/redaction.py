"""Which names say that a value is secret. Such values never enter the log and never leave the process."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from django.db import models

#: What `changes` holds in place of a secret value.
REDACTED: Final = "[redacted]"

# Where a word is enough by itself it may stand anywhere ("userpassword"); where it begins other words too
# ("secretary", "tokenizer") it must end a word.
_SECRET: Final = re.compile(
    r"pass_?(w(or)?d|phrase|code)|pwd|api_?key"
    r"|(token|secret|credential)s?\d*(_|$)"
    r"|(^|_)(private|access|secret|signing|encryption|session)_?key"
    r"|(^|_)(jwt|otp|salt|cvv|cvc)(_|$)"
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\W_]+")


def is_secret(name: str, redact: Sequence[str], model: type[models.Model] | None = None) -> bool:
    """Whether a name is secret by itself or by an entry of ``PUSHERABLE_REDACT``.

    An entry is words that the name contains, or one field of a model: ``app.model.field``, where the model
    may be the field's own or one that inherits it.
    """
    return _is_secret(name, tuple(redact), model)


@lru_cache(maxsize=4096)
def _is_secret(name: str, redact: tuple[str, ...], model: type[models.Model] | None) -> bool:
    bases = [base._meta.label for base in model.__mro__ if hasattr(base, "_meta")] if model else []
    labels = {f"{label}.{name}".lower() for label in bases}
    words = _words(name)
    return bool(_SECRET.search(words)) or any(
        entry.lower() in labels if "." in entry else f"_{_words(entry)}_" in f"_{words}_" for entry in redact
    )


def _words(name: str) -> str:
    return _CAMEL.sub("_", name).lower()
