"""What tests of archives share: rows to archive, what a directory holds, a disk that is full."""

import datetime as dt
import hashlib
import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest

from pusherable.models import AccessEvent
from pusherable.retention.archive import COLUMNS, ArchiveError, Manifest
from tests.retention.conftest import LONG_AGO

#: What is hard to write down, or to read again.
AWKWARD = {
    "lines": 'one\ntwo\r\nthree\u2028four\x85five "six" \\n',
    "nul": "a\0b",
    "words": "Grüße, 世界, 🧵",
    "half of a pair": "\ud83e",
    "numbers": [0, -1, 2**63, 10**40, 0.1, 1e300, -0.0, 1.0],
    "nothing": [None, True, False, "", {}, []],
    "nested": {"a": [{"b": [[{"c": "d"}]]}]},
}


def row(pk=1, **fields):
    values = {
        "id": pk,
        "occurred_at": LONG_AGO + dt.timedelta(seconds=pk % 3600),
        "action": "view",
        "object_type": "testapp.poll",
        "object_pk": "17",
        "object_repr": "Poll",
        "user_pk": "1",
        "username": "ada",
        "remote_addr": "192.0.2.1",
        "request_id": "",
        "context": {},
        "snapshot": {},
        "changes": {},
        "channels": [],
    } | fields
    return [values[name] for name in COLUMNS]


def read(path):
    """The events of an archive in chunks; the file is verified first."""
    manifest = Manifest.of(path)
    manifest.verify()
    yield from manifest.chunks()


def rows_of(path):
    return [[getattr(event, name) for name in COLUMNS] for chunk in read(path) for event in chunk]


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def names(directory):
    return sorted(path.name.partition(".")[2] for path in directory.iterdir())


@contextmanager
def files_up_to(size):
    """No file may become larger, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def synced(monkeypatch):
    """What has been brought to the disk so far: directories by name, files by what follows the dot."""
    synced, fsync = [], os.fsync

    def record(descriptor):
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        synced.append(name.partition(".")[2] or name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return synced


def manifest_of(path):
    return path.with_name(path.name.partition(".")[0] + ".manifest.json")


def noise(count=200):
    """What cannot be compressed much."""
    return hashlib.shake_256(b"noise").hexdigest(count * 10)


def change(path, **values):
    manifest = json.loads(manifest_of(path).read_bytes())
    manifest_of(path).write_text(json.dumps(manifest | values))


def refused(path):
    """Why a file cannot be read."""
    with pytest.raises(ArchiveError) as info:
        list(read(path))
    assert path.name.partition(".")[0] in str(info.value)
    return str(info.value)


def table():
    return {values[0]: values for values in AccessEvent.objects.values_list(*COLUMNS)}


def archived(directory):
    """What all archives hold, each of which is as it has to be."""
    events = {}
    for path in directory.glob("*.manifest.json"):
        manifest = Manifest.of(path)
        manifest.verify()
        for chunk in manifest.chunks():
            for event in chunk:
                values = tuple(getattr(event, name) for name in COLUMNS)
                assert events.setdefault(event.pk, values) == values
    return events
