"""Archived events go back into the table, with the ids that they had."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from django.db import connections

from pusherable.models import AccessEvent
from pusherable.retention import partitions
from pusherable.retention.archive import COLUMNS, ArchiveError, Manifest, encode, record

#: Rows to an INSERT: with large snapshots, more of them would be more than MySQL takes at once.
ROWS: Final = 100
#: So many ids are skipped at most, where PostgreSQL's sequence has to go on behind those that come back.
MARGIN: Final = 1000


def restore(manifest: Manifest, using: str, *, dry_run: bool = False) -> int:
    """Load the events that are missing; returns how many these are. It sends no signals and queues nothing.

    An event that is there already is passed over. If one is there and differs, or the file is damaged,
    ArchiveError says so, and nothing of the file is loaded. To be called under `locks.exclusive`.
    """
    manifest.verify()
    missing = sum(len(_missing(events, manifest, using)) for events in manifest.chunks())
    if dry_run or not missing:
        return missing
    _make_room(manifest, using)
    restored = 0
    for events in manifest.chunks():
        chunk = _missing(events, manifest, using)
        AccessEvent.objects.using(using).bulk_create(chunk, batch_size=ROWS)
        restored += len(chunk)
    return restored


def _missing(events: Sequence[AccessEvent], manifest: Manifest, using: str) -> list[AccessEvent]:
    there = AccessEvent.objects.using(using).in_bulk([event.pk for event in events])
    missing: dict[int, AccessEvent] = {}
    for event in events:
        # A batch that was archived but then could not be deleted is in the file once more.
        other = there.get(event.pk) or missing.setdefault(event.pk, event)
        if other is not event and (names := _differences(event, other)):
            raise ArchiveError(
                f"{manifest.data}: event {event.pk} is in the table already, with another "
                f"{', '.join(names)}. Nothing of this file was restored."
            )
    return list(missing.values())


def _differences(event: AccessEvent, other: AccessEvent) -> list[str]:
    lines = [encode(record([getattr(one, name) for name in COLUMNS])) for one in (event, other)]
    if lines[0] == lines[1]:
        return []
    # Databases write JSON in their own way: keys in another order, and 1000 for 1e3.
    one, two = (json.loads(line, parse_int=_number, parse_float=_number) for line in lines)
    return [name for name in COLUMNS if one[name] != two[name]]


def _number(text: str) -> tuple[Decimal]:
    return (Decimal(text),)  # as a tuple, or 1 were equal to true


def _make_room(manifest: Manifest, using: str) -> None:
    """Move PostgreSQL's sequence behind the ids that come back, which it does not by itself; never back."""
    if connections[using].vendor != "postgresql":
        return
    ((sequence,),) = partitions.rows(
        using, "SELECT pg_get_serial_sequence(%s, 'id')", [partitions.table_name(using)]
    )
    ((last,),) = partitions.rows(using, f"SELECT last_value - (NOT is_called)::int FROM {sequence}")  # noqa: S608
    is_behind = last < manifest.last_id
    partitions.cover(using, manifest.first_id, manifest.last_id + 2 * MARGIN * is_behind)
    if is_behind:
        # Should others draw ids in this very moment, the margin keeps these from being given out again.
        move = f"SELECT setval(%s, %s) FROM {sequence} WHERE last_value <= %s"  # noqa: S608
        partitions.rows(using, move, [sequence, manifest.last_id + MARGIN, manifest.last_id])
    partitions.extend(using)
