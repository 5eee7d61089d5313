"""Archive files: events as compressed JSON Lines, under a manifest that says what stands.

A file grows by whole gzip members, one per batch. The manifest is replaced once the batch is on the disk, and
before the caller deletes the events: at every moment each of them is in the table, or in the part of a file
that a manifest vouches for, or in both. What follows that part is a batch that was cut off, and not deleted.
"""

import datetime as dt
import gzip
import hashlib
import io
import json
import os
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module, metadata
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from pusherable.models import AccessEvent
from pusherable.retention.files import Head, create, make_directory, naming, replacing, sync_directory

SCHEMA: Final = 1
_FIELDS: Final = AccessEvent._meta.concrete_fields
COLUMNS: Final[tuple[str, ...]] = tuple(str(field.column) for field in _FIELDS)
JSON_COLUMNS: Final = tuple(str(field.column) for field in _FIELDS if isinstance(field, models.JSONField))
LINES, PARQUET, MANIFEST = "jsonl.gz", "parquet", "manifest.json"
#: So many events are in memory at once: when they are read, and when they become a row group of Parquet.
CHUNK, ROW_GROUP = 1000, 20_000

Record = dict[str, Any]


class ArchiveError(Exception):
    """An archive cannot be made, or is not what it has to be; the message names the file."""


@dataclass(frozen=True)
class Manifest:
    """What stands in a data file: its first `bytes` bytes, and in them these events."""

    path: Path
    schema: int
    file: str
    format: str
    bytes: int
    sha256: str
    events: int
    first_id: int
    last_id: int
    since: str
    until: str
    columns: list[str]
    database: str
    pusherable: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """The manifest of an archive, which is named by its data file or by the manifest itself."""
        stem, _dot, suffix = path.name.partition(".")
        if suffix not in {LINES, PARQUET, MANIFEST}:
            raise ArchiveError(f"{path} is no archive: its name does not end in .{LINES} or .{PARQUET}.")
        path = path.with_name(f"{stem}.{MANIFEST}")
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise ArchiveError(
                f"{path} is missing, so that nobody can tell what the file should hold. (There is none if a "
                "prune was killed in its first batch; then the events are still in the table.)"
            ) from error
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{path} cannot be read: {error}") from error
        if not isinstance(found, dict) or not isinstance(found.get("schema"), int):
            raise ArchiveError(f"{path} is not the manifest of an archive.")
        if found["schema"] != SCHEMA:
            raise ArchiveError(f"{path} has schema {found['schema']}; this version reads schema {SCHEMA}.")
        values: dict[str, Any] = {
            field.name: found.get(field.name) for field in fields(cls) if field.name != "path"
        }
        for name, value in values.items():
            if not isinstance(value, _KINDS.get(name, str)):
                raise ArchiveError(f"{path}: {name} cannot be {value!r}.")
        manifest = cls(path, **values)
        if manifest.format not in {LINES, PARQUET} or manifest.file != f"{stem}.{manifest.format}":
            raise ArchiveError(f"{path} is the manifest of another file, {manifest.file}.")
        if tuple(manifest.columns) != COLUMNS:
            raise ArchiveError(f"{path} has other columns than this version: {', '.join(manifest.columns)}.")
        return manifest

    @property
    def data(self) -> Path:
        return self.path.with_name(self.file)

    @property
    def rest(self) -> int:
        """So many bytes follow what stands; they are of a batch that was cut off."""
        return self.data.stat().st_size - self.bytes

    def save(self) -> None:
        """Replace the file all at once. It lasts when its directory has been synced, too."""
        values = asdict(self)
        del values["path"]
        with replacing(self.path) as file:
            file.write(json.dumps(values, indent=2).encode() + b"\n")

    def verify(self) -> None:
        """Raise ArchiveError unless the file holds what it has to."""
        with self._reading():
            if self.rest < 0:
                raise ArchiveError(f"{self.data} is cut off: {-self.rest} of {self.bytes} bytes are missing.")
            if self.rest and self.format == PARQUET:  # which is read from its end
                raise ArchiveError(f"{self.data} has {self.rest} bytes more than were written.")
            with Head(self.data, self.bytes) as head:
                sha256 = hashlib.file_digest(head, "sha256").hexdigest()
            if sha256 != self.sha256:
                raise ArchiveError(f"{self.data} is damaged: its SHA-256 is not that of {self.path.name}.")
            count = self._count()
        if count != self.events:
            raise ArchiveError(f"{self.data} holds {count} events, and its manifest says {self.events}.")

    def chunks(self) -> Iterator[list[AccessEvent]]:
        """The events, as instances that are not saved. Verify the file before."""
        with self._reading():
            for records in self.records(CHUNK):
                events = [_event(record) for record in records]
                if not all(self.first_id <= event.pk <= self.last_id for event in events):
                    raise ArchiveError(f"{self.data} holds ids that its manifest does not know.")
                yield events

    def records(self, size: int) -> Iterator[list[Record]]:
        """The events as a JSON Lines file has them, so many at a time."""
        if self.format == PARQUET:
            yield from _parquet().records(self.data, size)
        else:
            with self._lines() as lines:
                while records := [json.loads(line) for line in islice(lines, size)]:
                    yield records

    def _count(self) -> int:
        if self.format == PARQUET:
            return int(_parquet().count(self.data))
        with self._lines() as lines:
            return sum(block.count(b"\n") for block in iter(lambda: lines.read(1 << 20), b""))

    @contextmanager
    def _lines(self) -> Iterator[gzip.GzipFile]:
        with Head(self.data, self.bytes) as head, gzip.GzipFile(fileobj=head) as lines:
            yield lines

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArchiveError(f"{self.data} cannot be read: {error.strerror or error}.") from error
        except (EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ArchiveError(f"{self.data} does not hold events: {error!r}.") from error


#: What is not text in a manifest.
_KINDS: Final = {"columns": list} | dict.fromkeys(("bytes", "events", "first_id", "last_id", "schema"), int)


class Archive:
    """The archive of one run: a new file in the directory; both are made when there is something to write.

    With `parquet` the file is turned into one of Parquet in the end; without pyarrow that is an ArchiveError.
    """

    def __init__(self, directory: Path, *, using: str, parquet: bool = False) -> None:
        stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        self.path = directory / f"accessevents-{stamp}-{secrets.token_hex(4)}.{LINES}"
        self._using = using
        self._parquet = _parquet() if parquet else None
        self._file: io.FileIO | None = None
        self._sha256 = hashlib.sha256()
        self._manifest: Manifest | None = None

    @property
    def events(self) -> int:
        """How many it holds."""
        return self._manifest.events if self._manifest else 0

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add events, each the values of `COLUMNS`. When this returns they stand, whatever happens then.

        Where it raises an error, such as OSError for a full disk, the archive is what it was before.
        """
        if not rows:
            return
        records = [record(row) for row in rows]
        data = gzip.compress("".join(f"{encode(record)}\n" for record in records).encode(), 6, mtime=0)
        if self._file is None:
            make_directory(self.path.parent)
            self._file = create(self.path)
        stands = self._manifest.bytes if self._manifest else 0
        sha256 = self._sha256.copy()
        sha256.update(data)
        manifest = self._extended(records, stands + len(data), sha256.hexdigest())
        try:
            with naming(self.path):
                self._file.seek(stands)
                left = memoryview(data)
                while left:
                    left = left[self._file.write(left) :]
                os.fsync(self._file.fileno())
                manifest.save()
        except OSError:
            with suppress(OSError):  # what cannot be cut off is passed over by who reads, and overwritten
                self._file.truncate(stands)
            raise
        self._manifest, self._sha256 = manifest, sha256
        sync_directory(self.path.parent)

    def close(self) -> None:
        """End the file; with `parquet`, convert it. The JSON Lines go when the other file stands."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        if self._manifest is None:
            self.path.unlink()
        elif self._parquet is not None:
            try:
                self._convert(self._manifest)
            except OSError as error:
                message = f"{self.path} stays as it is, since it cannot be turned into Parquet: {error}"
                raise ArchiveError(message) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_others: object) -> None:
        if error is not None:  # what ended the run, such as a full disk, may well hinder this too
            self._parquet = None
        self.close()

    def _extended(self, records: Sequence[Record], size: int, sha256: str) -> Manifest:
        """The manifest once these events stand, too."""
        before = [self._manifest] if self._manifest else []
        ids, times = [record["id"] for record in records], [record["occurred_at"] for record in records]
        return Manifest(
            path=self.path.with_name(self.path.name.replace(LINES, MANIFEST)),
            schema=SCHEMA,
            file=self.path.name,
            format=LINES,
            bytes=size,
            sha256=sha256,
            events=self.events + len(records),
            first_id=min(ids + [manifest.first_id for manifest in before]),
            last_id=max(ids + [manifest.last_id for manifest in before]),
            since=min(times + [manifest.since for manifest in before]),
            until=max(times + [manifest.until for manifest in before]),
            columns=list(COLUMNS),
            database=self._using,
            pusherable=_version(),
        )

    def _convert(self, manifest: Manifest) -> None:
        lines, path = self.path, self.path.with_name(self.path.name.replace(LINES, PARQUET))
        manifest.verify()
        with replacing(path) as file:
            _parquet().write(manifest.records(ROW_GROUP), file)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        converted = replace(
            manifest, file=path.name, format=PARQUET, bytes=path.stat().st_size, sha256=sha256
        )
        converted.verify()
        sync_directory(path.parent)
        converted.save()
        sync_directory(path.parent)
        self.path, self._manifest = path, converted
        lines.unlink()


def encode(record: Record) -> str:
    """A line of an archive."""
    return _encoder.encode(record)


# Only ASCII: half a surrogate pair, which a database may hold in JSON, could not be written otherwise.
_encoder = json.JSONEncoder(separators=(",", ":"))


def record(row: Sequence[Any]) -> Record:
    """The values of `COLUMNS` as they are archived."""
    values = dict(zip(COLUMNS, row, strict=True))
    moment: dt.datetime = values["occurred_at"]
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    text = moment.astimezone(dt.UTC).isoformat(timespec="microseconds")
    values["occurred_at"] = text.replace("+00:00", "Z")
    return values


def _event(record: Record) -> AccessEvent:
    moment = dt.datetime.fromisoformat(record["occurred_at"])
    if not settings.USE_TZ:
        moment = timezone.make_naive(moment, timezone.get_default_timezone())
    values = {name: record[name] for name in COLUMNS}
    return AccessEvent(**(values | {"occurred_at": moment}))


def _version() -> str:
    try:
        return metadata.version("django-pusherable")
    except metadata.PackageNotFoundError:  # a copy that was not installed
        return ""


def _parquet() -> Any:
    """The module that needs pyarrow."""
    try:
        return import_module("pusherable.retention.parquet")
    except ImportError as error:
        raise ArchiveError('Parquet needs pyarrow: pip install "django-pusherable[parquet]".') from error
