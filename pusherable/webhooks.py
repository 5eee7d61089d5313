"""Pusher's webhooks: that somebody has closed the last page of an object becomes an event, `left`.

Source: https://pusher.com/docs/channels/server_api/webhooks/
"""

import datetime as dt
import hashlib
import hmac
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, router, transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from pusherable import origin
from pusherable.authorization import broadcast_models, existing_objects
from pusherable.channels import Target, parse
from pusherable.conf import conf
from pusherable.models import AccessEvent, Action, Webhook
from pusherable.presence import parse_member
from pusherable.recording import object_repr, record_event
from pusherable.snapshots import clean, jsonable, object_key, object_type

#: How far the time that a webhook tells may be from ours: for as long Pusher tries again.
WINDOW: Final = dt.timedelta(minutes=5)

#: How long it is known which webhooks are in the log. One from a clock that is ahead is accepted for twice
#: the window; the rest is for the clocks of our own servers.
MEMORY: Final = dt.timedelta(hours=1)

#: A browser asks for the next page before it leaves the one it shows: a page of the last moment before the
#: end of a visit is the first one of the next.
OVERLAP: Final = dt.timedelta(seconds=1)

#: Of a user so many events are read, in search of the one that began the visit.
LOOK_BACK: Final = 1000


class WebhookError(Exception):
    """Why a webhook is refused: a status, and the text of the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Departure(NamedTuple):
    """A user has left an object: its page, or its page for editing."""

    target: Target
    user_pk: str
    editing: bool


def receive(body: bytes, *, key: str, signature: str) -> None:
    """Record who has left, according to a webhook; key and signature are those of its headers.

    The same webhook a second time changes nothing, even at the same moment in another process. Raises
    WebhookError for one that is not Pusher's, and for one that cannot be.
    """
    if not _is_ours(body, key, signature):
        raise WebhookError("Key and signature are not those of this site's app.", 401)
    moment, events = _parse(body)
    if departures := _departures(events):
        _record(departures, moment, hashlib.sha256(body).hexdigest())


def _is_ours(body: bytes, key: str, signature: str) -> bool:
    if not (conf.has_credentials and constant_time_compare(key, str(conf.PUSHER_KEY))):
        return False
    expected = hmac.new(str(conf.PUSHER_SECRET).encode(), body, hashlib.sha256).hexdigest()
    return constant_time_compare(signature, expected)


def _parse(body: bytes) -> tuple[dt.datetime, list[Any]]:
    """When it happened, and the events."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WebhookError(f"The body is not JSON: {error}") from error
    match data:
        case {"time_ms": int(time_ms), "events": list(events)}:
            return _moment(time_ms), events
    raise WebhookError("A webhook has time_ms, a whole number, and events, a list.")


def _moment(time_ms: int) -> dt.datetime:
    now = timezone.now()
    if abs(int(now.timestamp() * 1000) - time_ms) > WINDOW / dt.timedelta(milliseconds=1):
        raise WebhookError(f"time_ms is more than {WINDOW.seconds} seconds from the time of this server.")
    # What we have been told has happened, even if Pusher's clock is ahead of ours.
    return min(dt.datetime.fromtimestamp(time_ms / 1000, tz=now.tzinfo), now)


def _departures(events: Iterable[Any]) -> list[Departure]:
    """Those from objects that this site broadcasts; whatever else Pusher tells is none of our business."""
    models_ = broadcast_models()
    found = []
    for channel, member in _removed_members(events):
        target, (user_pk, editing) = parse(channel, models_), parse_member(member)
        if target is not None and target.kind == "presence" and user_pk:
            found.append(Departure(target, clean(user_pk)[:255], editing))
    return list(dict.fromkeys(found))


def _removed_members(events: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for event in events:
        match event:
            case {"name": "member_removed", "channel": str(channel), "user_id": str() | int() as member}:
                yield channel, str(member)
            case {"name": "member_removed"}:
                raise WebhookError("A member_removed has a channel and a user_id.")
            case {"name": str()}:
                pass
            case _:
                raise WebhookError("Each of the events has a name.")


def _record(departures: Sequence[Departure], moment: dt.datetime, digest: str) -> None:
    using = router.db_for_write(AccessEvent)
    # Before the transaction: it is the project's own code that describes an object.
    objects = existing_objects(departure.target for departure in departures)
    reprs = {key: object_repr(obj) for key, obj in objects.items()}
    with transaction.atomic(using=using):
        try:
            # First of all: whoever brings the same webhook now waits here until this transaction has ended.
            with transaction.atomic(using=using):
                Webhook.objects.using(using).create(digest=digest)
        except IntegrityError:
            return
        users = dict.fromkeys(departure.user_pk for departure in departures)
        histories = {user_pk: _history(user_pk, using) for user_pk in users}
        for departure in departures:
            target = departure.target
            name = reprs.get((target.model, target.pk), "")
            record_event(_event(departure, moment, histories[departure.user_pk], name), using)
    # In a transaction of its own, which has no lock that anybody else waits for.
    transaction.on_commit(lambda: _forget(using), using=using, robust=True)


def _forget(using: str) -> None:
    Webhook.objects.using(using).filter(received_at__lt=timezone.now() - MEMORY)._raw_delete(using)


def _history(user_pk: str, using: str) -> list[AccessEvent]:
    events = AccessEvent.objects.using(using).filter(user_pk=user_pk)
    return list(events.newest().defer("snapshot", "changes")[:LOOK_BACK])


def _event(
    departure: Departure, moment: dt.datetime, history: Sequence[AccessEvent], name: str
) -> AccessEvent:
    """The event of a departure, at the time when it happened: we may have been told minutes later."""
    target, user_pk, editing = departure
    stub = target.model(pk=target.pk)
    label, key = object_type(stub), object_key(stub)
    of_object = [event for event in history if (event.object_type, event.object_pk) == (label, key)]
    opening = _opening(of_object, moment, editing=editing)
    context = origin.context(None) | {"editing": editing}
    if opening is not None:
        context["duration"] = round((moment - opening.occurred_at).total_seconds(), 1)
    return AccessEvent(
        occurred_at=moment,
        action=Action.LEFT,
        object_type=label,
        object_pk=key,
        object_repr=name or (opening.object_repr if opening is not None else key),
        user_pk=user_pk,
        username=history[0].username if history else _username(user_pk),
        context=jsonable(context),
    )


def _opening(events: Iterable[AccessEvent], moment: dt.datetime, *, editing: bool) -> AccessEvent | None:
    """What began the visit: the first page since the user last left. Later pages are reloads and other tabs.

    By their time, not by their order in the log, since webhooks may arrive late and one after the other.
    """
    page = Action.UPDATE if editing else Action.VIEW
    before = [event for event in events if event.occurred_at <= moment]
    pages = sorted((event for event in before if event.action == page), key=attrgetter("occurred_at"))
    ends = [
        event.occurred_at
        for event in before
        if event.action == Action.LEFT and event.context.get("editing", False) is editing
    ]
    opening = None
    waiting: list[AccessEvent] = []
    for end in [*sorted(ends), moment]:
        visit, pages = _cut(pages, end)
        own, late = _cut(visit, end - OVERLAP)
        opening = next(chain(own, waiting, visit), None)
        waiting = [event for event in late if event is not opening]
    return opening


def _cut(events: list[AccessEvent], moment: dt.datetime) -> tuple[list[AccessEvent], list[AccessEvent]]:
    """Those up to the moment, and those after it; `events` are in the order of their time."""
    place = bisect_right(events, moment, key=attrgetter("occurred_at"))
    return events[:place], events[place:]


def _username(user_pk: str) -> str:
    """The name of a user who is not in the log yet; empty for one who does not exist."""
    users: models.Manager[Any] = get_user_model()._default_manager  # noqa: SLF001  # documented by Django
    try:
        return origin.actor(users.filter(pk=user_pk).first())[1]
    except (ValueError, ValidationError):  # no user can have this key
        return ""
