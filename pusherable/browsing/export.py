"""Taking events away as a file: it begins at once, and a million of them take no more memory than a page.

They are read a chunk at a time, each found like a page of the list, and nothing is held open in between. What
goes wrong on the way is raised, so that the connection breaks: a file that ends early must not look whole.
"""

import csv
import datetime as dt
import io
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from pusherable.browsing.paging import CURSORS, Way, last_of_window
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent
from pusherable.retention.archive import COLUMNS, JSON_COLUMNS, Record, encode
from pusherable.retention.archive import record as archived

Chunks = Iterator[list[AccessEvent]]

#: Events that are in memory at once.
CHUNK: Final = 500
#: The columns of an archive, and what has become of the delivery.
NAMES: Final = (*COLUMNS, "status")
#: What makes a cell a formula, with the full-width forms that a spreadsheet may take for the same.
_FORMULA: Final = re.compile(r"[\0\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")

_readable: Final = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True)
class Format:
    """A kind of file. `head` is its beginning, whatever is in it."""

    content_type: str
    head: bytes
    lines: Callable[[Iterable[Record]], bytes]


def json_lines(records: Iterable[Record]) -> bytes:
    """One event a line, as archives have it."""
    return "".join(f"{encode(record)}\n" for record in records).encode()


def csv_lines(records: Iterable[Record]) -> bytes:
    return _csv([_cell(name, record[name]) for name in NAMES] for record in records)


def safe(text: str) -> str:
    """The text with an apostrophe before it, if a spreadsheet might take it for a formula.

    By https://owasp.org/www-community/attacks/CSV_Injection, and behind white space too, which some programs
    drop. That page also warns of separators in a text: every cell is quoted, so that none ends a cell.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def _cell(name: str, value: object) -> str:
    return safe(_readable.encode(value) if name in JSON_COLUMNS else str(value))


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    # Half a surrogate pair, which a database may hold in JSON, is written as JSON itself would escape it.
    return file.getvalue().encode(errors="backslashreplace")


FORMATS: Final = {
    # The byte order mark tells spreadsheets that it is UTF-8.
    "csv": Format("text/csv; charset=utf-8", b"\xef\xbb\xbf" + _csv([NAMES]), csv_lines),
    "jsonl": Format("application/jsonl", b"", json_lines),
}


def recorded_so_far(events: QuerySet[AccessEvent]) -> QuerySet[AccessEvent]:
    """Without those of later, the export's own among them."""
    last = AccessEvent.objects.using(events.db).order_by("-pk").values_list("pk", flat=True).first()
    return events.filter(pk__lte=last or 0)


def chunks_of(filterset: AccessEventFilter) -> Chunks:
    """All events that the filter selects, newest first, with all their columns. It has to be valid."""
    way = Way.of(filterset)
    after, before = (filterset.form.cleaned_data[name] for name in CURSORS)
    events = filterset.queryset.select_related("delivery")
    while True:
        rows = way.rows(after, before)
        # Their keys first: what is only looked through need not be read whole.
        keys: list[int] = list(way.found(rows).values_list("pk", flat=True)[:CHUNK])
        found = events.in_bulk(keys)
        yield [found[key] for key in keys if key in found]
        if len(keys) == CHUNK:
            before = keys[-1]
        elif way.rest and (end := last_of_window(rows)) is not None:
            before = end
        else:
            return


def respond(request: HttpRequest, format_: str, chunks: Chunks) -> StreamingHttpResponse:
    """A download of these events; nothing is read before it has begun."""
    parts = _parts(FORMATS[format_], chunks)
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    return StreamingHttpResponse(
        # Django would gather the whole of what is not asynchronous, to send it then.
        _unblocking(parts) if isinstance(request, ASGIRequest) else parts,
        content_type=FORMATS[format_].content_type,
        headers={"Content-Disposition": f'attachment; filename="accessevents-{stamp}.{format_}"'},
    )


def _parts(format_: Format, chunks: Chunks) -> Iterator[bytes]:
    yield format_.head
    for events in chunks:
        yield format_.lines(_record(event) for event in events)


def _record(event: AccessEvent) -> Record:
    return archived([getattr(event, name) for name in COLUMNS]) | {"status": event.status}


async def _unblocking(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    following = sync_to_async(lambda: next(parts, None), thread_sensitive=True)
    while (part := await following()) is not None:
        yield part
