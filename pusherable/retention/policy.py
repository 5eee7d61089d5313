"""Which events have expired."""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final, Self

from django.db.models import Case, DateTimeField, Q, Value, When
from django.utils import timezone

from pusherable.conf import conf
from pusherable.filters import type_of_label
from pusherable.retention.durations import ago, cutoff

#: The key in PUSHERABLE_RETENTION for what no other key is about.
OTHERS: Final = "*"

#: A model; or an action, of characters that every database takes.
_KEY = re.compile(r"\w+\.\w+|[^.\0\ud800-\udfff]+")


@dataclass(frozen=True)
class Policy:
    """Which events have expired: those that `expired` takes, all of them from before `latest`.

    `text` says it to people, after "Deleted 17 events".
    """

    expired: Q
    latest: dt.datetime
    text: str

    @classmethod
    def older_than(cls, text: str, now: dt.datetime) -> Self:
        """Whatever is older than a duration, a date or a time; raises ValueError for any other text."""
        latest = cutoff(text, now)
        return cls(Q(occurred_at__lt=latest), latest, f"from before {_readable(latest)}")

    @classmethod
    def of_setting(cls, now: dt.datetime) -> Self | None:
        """What ``PUSHERABLE_RETENTION`` says, or None if it lets nothing expire.

        Raises ValueError, which names the entry, if it is wrong.
        """
        limits = _limits(now)
        latest = max((limit for limit in limits.values() if limit), default=None)
        if latest is None:
            return None
        others = limits.pop(OTHERS, None)
        # The first that matches counts. (Conditions joined by OR would say the same, but they tempt SQLite to
        # read, by an index for each of them, all events of an action for every batch.)
        limit = Case(
            *(When(object_type=name, then=Value(limits[name])) for name in limits if "." in name),
            *(When(action=name, then=Value(limits[name])) for name in limits if "." not in name),
            default=Value(others),
            output_field=DateTimeField(),
        )
        expired = Q(occurred_at__lt=latest) & Q(occurred_at__lt=limit)
        return cls(expired, latest, "that PUSHERABLE_RETENTION no longer keeps")


def _limits(now: dt.datetime) -> dict[str, dt.datetime | None]:
    """For an object type, an action or ``*``: the moment before which events have expired; None is never."""
    rules = conf.PUSHERABLE_RETENTION
    if not isinstance(rules, dict):
        raise ValueError(f"PUSHERABLE_RETENTION = {rules!r}: Enter a dictionary.")  # noqa: TRY004
    limits: dict[str, dt.datetime | None] = {}
    for key, age in rules.items():
        entry = f"PUSHERABLE_RETENTION[{key!r}]"
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ValueError(f'{entry}: Enter an action ("view"), a model ("blog.post") or "{OTHERS}".')
        name = type_of_label(key) if "." in key else key
        if name in limits:
            raise ValueError(f"{entry}: Another entry is about this model too. Leave one of them out.")
        try:
            limits[name] = None if age is None else ago(str(age), now)
        except ValueError as error:
            raise ValueError(f"{entry}: {error}") from error
    return limits


def _readable(moment: dt.datetime) -> str:
    """In the current time zone; of a midnight the date alone."""
    local = timezone.make_naive(moment) if timezone.is_aware(moment) else moment
    return local.isoformat(" ", "seconds").removesuffix(" 00:00:00")
