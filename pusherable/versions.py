"""Which version of an object a page shows, so that it can ask later whether there is a newer one."""

import json
from typing import Final

from django.db import models
from django.utils.crypto import salted_hmac

from pusherable.conf import conf
from pusherable.snapshots import full_plan, object_type, stored_state

#: The characters of a version.
LENGTH: Final = 64


def version(obj: models.Model) -> str:
    """A digest of all that is stored of the object now: one query, and one for each many-to-many field.

    It has a key, so that nobody can find out the value of a field by trying. A file counts by its name; its
    address may be signed anew each time.
    """
    stored = stored_state(obj)
    files = {
        column.name for column in full_plan(obj._meta.model, tuple(conf.PUSHERABLE_REDACT)) if column.is_file
    }
    state = {
        name: value["name"] if name in files and value is not None else value
        for name, value in stored.items()
    }
    text = json.dumps([object_type(obj), state], sort_keys=True)
    return salted_hmac("pusherable.versions", text, algorithm="sha256").hexdigest()
