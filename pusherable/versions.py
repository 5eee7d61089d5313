"""Which version of an object a page shows, so that it can ask later whether there is a newer one."""

import json
from collections.abc import Container, Mapping
from typing import Any, Final

from django.db import models
from django.utils.crypto import salted_hmac

from pusherable.conf import conf
from pusherable.snapshots import full_plan, object_type, stored_state

#: The characters of a version.
LENGTH: Final = 64


def version(obj: models.Model) -> str:
    """A digest of all that is stored of the object now: one query, and one for each many-to-many field."""
    return digest(obj, stored_state(obj))


def digest(obj: models.Model, state: Mapping[str, Any], fields: Container[str] | None = None) -> str:
    """The version of an object in this state; with `fields` another one only where one of these differs.

    It has a key, so that nobody can find out the value of a field by trying. A file counts by its name; its
    address may be signed anew each time.
    """
    files = {
        column.name for column in full_plan(obj._meta.model, tuple(conf.PUSHERABLE_REDACT)) if column.is_file
    }
    counted = {
        name: value["name"] if name in files and value is not None else value
        for name, value in state.items()
        if fields is None or name in fields
    }
    text = json.dumps([object_type(obj), counted], sort_keys=True)
    return salted_hmac("pusherable.versions", text, algorithm="sha256").hexdigest()
