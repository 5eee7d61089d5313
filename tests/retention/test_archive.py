"""What an archive holds, at every moment and after every mishap."""

import datetime as dt
import gzip
import hashlib
import json
import stat
from unittest.mock import ANY

import pytest
from django.utils import timezone

from pusherable.models import AccessEvent
from pusherable.retention.archive import COLUMNS, Archive, ArchiveError, Manifest
from tests.retention.archives import (
    AWKWARD,
    change,
    contents,
    files_up_to,
    manifest_of,
    names,
    noise,
    read,
    refused,
    row,
    rows_of,
    synced,
)

__all__ = ["synced"]


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
def archive(directory):
    with Archive(directory, using="default") as archive:
        yield archive


@pytest.fixture
def written(archive):
    """The path of an archive with the events 1 to 5."""
    archive.write([row(1), row(2)])
    archive.write([row(3), row(4), row(5)])
    archive.close()
    return archive.path


# Writing


def test_events_come_back_as_they_were(archive):
    rows = [row(1), row(2, snapshot=AWKWARD, object_repr=AWKWARD["lines"], username="Zoë\0"), row(2**63 - 1)]
    archive.write(rows[:1])
    archive.write(rows[1:])
    assert rows_of(archive.path) == rows
    (event, *_others) = next(read(archive.path))
    assert isinstance(event, AccessEvent)
    assert event._state.adding


def test_the_file_is_json_lines_for_everybody(archive):
    archive.write([row(7, snapshot=AWKWARD, context={"path": "/"})])
    archive.write([row(8)])
    with gzip.open(archive.path) as file:
        first, second = file.read().decode().rstrip("\n").split("\n")
    first = json.loads(first)
    assert tuple(first) == COLUMNS
    assert first["occurred_at"] == "2026-08-14T12:00:07.000000Z"
    assert first["context"] == {"path": "/"}
    assert first["snapshot"] == AWKWARD
    assert json.loads(second)["id"] == 8


def test_numbers_stay_what_they_are(archive):
    archive.write([row(1, snapshot=AWKWARD)])
    ((event,),) = read(archive.path)
    assert repr(event.snapshot["numbers"]) == repr(AWKWARD["numbers"])


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-01-31T12:00:00.000001", "2026-01-31T11:00:00.000001Z"),
        ("2026-07-31T12:00:00", "2026-07-31T10:00:00.000000Z"),
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00.000000Z"),  # the clock shows it twice
    ],
)
def test_a_project_without_time_zones(archive, settings, local, utc):
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    moment = dt.datetime.fromisoformat(local)
    with timezone.override("Asia/Tokyo"):  # that of a user
        archive.write([row(1, occurred_at=moment)])
        assert rows_of(archive.path) == [row(1, occurred_at=moment)]
    settings.USE_TZ = True
    ((event,),) = read(archive.path)
    assert event.occurred_at == dt.datetime.fromisoformat(utc)
    assert Manifest.of(archive.path).since == utc


def test_times_are_in_utc(archive):
    moment = dt.datetime(2026, 8, 14, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
    archive.write([row(1, occurred_at=moment)])
    assert json.loads(gzip.decompress(archive.path.read_bytes()))["occurred_at"] == (
        "2026-08-13T19:30:00.000000Z"
    )


def test_the_manifest_says_what_the_file_holds(directory):
    archive = Archive(directory, using="log")
    archive.write([row(30), row(10)])
    archive.write([row(20)])
    data = archive.path.read_bytes()
    assert json.loads(manifest_of(archive.path).read_bytes()) == {
        "schema": 1,
        "file": archive.path.name,
        "format": "jsonl.gz",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "events": 3,
        "first_id": 10,
        "last_id": 30,
        "since": "2026-08-14T12:00:10.000000Z",
        "until": "2026-08-14T12:00:30.000000Z",
        "columns": list(COLUMNS),
        "database": "log",
        "pusherable": ANY,  # the version, if it was installed
    }
    assert archive.events == 3
    archive.close()
    assert archive.path.read_bytes() == data


def test_every_batch_stands_when_it_was_written(archive):
    for number in range(1, 4):
        archive.write([row(number)])
        assert rows_of(archive.path) == [row(pk) for pk in range(1, number + 1)]


def test_nothing_is_made_for_nothing(directory):
    with Archive(directory, using="default") as archive:
        archive.write([])
    assert not directory.exists()
    assert archive.events == 0


def test_an_empty_batch_changes_nothing(archive, directory):
    archive.write([row(1)])
    before = contents(directory)
    archive.write([])
    assert contents(directory) == before


def test_each_run_has_a_file_of_its_own(directory):
    for number in (1, 2):
        with Archive(directory, using="default") as archive:
            archive.write([row(number)])
    assert names(directory) == ["jsonl.gz", "jsonl.gz", "manifest.json", "manifest.json"]


def test_nobody_else_may_read_it(tmp_path):
    with Archive(tmp_path / "new" / "archive", using="default") as archive:
        archive.write([row(1)])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes.pop("new") == modes.pop("archive") == 0o700
    assert set(modes.values()) == {0o600}


def test_a_directory_that_was_there_stays_as_it_is(directory):
    directory.mkdir(0o750)
    with Archive(directory, using="default") as archive:
        archive.write([row(1)])
    assert stat.S_IMODE(directory.stat().st_mode) == 0o750


def test_it_is_on_the_disk_before_anything_is_deleted(archive, directory, synced):
    directory.mkdir()
    archive.write([row(1)])
    assert synced == ["jsonl.gz", "manifest.json.part", "archive"]
    archive.write([row(2)])
    assert synced[3:] == synced[:3]


def test_a_new_directory_is_on_the_disk_too(tmp_path, synced):
    with Archive(tmp_path / "old" / "new", using="default") as archive:
        archive.write([row(1)])
    assert synced == [tmp_path.name, "old", "jsonl.gz", "manifest.json.part", "new"]


# When writing fails


def test_a_full_disk_leaves_what_was_there(archive, directory):
    archive.write([row(1)])
    before = contents(directory)
    with files_up_to(len(before[archive.path.name]) + 1000), pytest.raises(OSError, match="File too large"):
        archive.write([row(2, snapshot={"noise": noise()})])
    assert contents(directory) == before
    assert archive.events == 1
    archive.write([row(3)])
    assert rows_of(archive.path) == [row(1), row(3)]
    assert Manifest.of(archive.path).rest == 0


def test_a_disk_that_was_full_from_the_start(archive, directory):
    with files_up_to(100), pytest.raises(OSError, match="File too large"):
        archive.write([row(1)])
    archive.close()
    assert contents(directory) == {}


def test_a_manifest_that_cannot_be_written_takes_the_batch_with_it(archive, directory):
    archive.write([row(1)])
    before = contents(directory)
    manifest = manifest_of(archive.path)
    obstacle = manifest.with_name(f"{manifest.name}.part")
    obstacle.mkdir()
    with pytest.raises(IsADirectoryError):
        archive.write([row(2)])
    obstacle.rmdir()
    assert contents(directory) == before
    archive.write([row(3)])
    assert rows_of(archive.path) == [row(1), row(3)]


def test_no_half_of_a_manifest_stays(archive, directory):
    archive.write([row(1)])
    before = contents(directory)
    with files_up_to(len(before[archive.path.name]) + 300), pytest.raises(OSError, match="File too large"):
        archive.write([row(2)])
    assert contents(directory) == before


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with (
        Archive(tmp_path / "file" / "archive", using="default") as archive,
        pytest.raises(NotADirectoryError),
    ):
        archive.write([row(1)])


# Reading what a kill has left


@pytest.mark.parametrize("tail", [b"garbage", gzip.compress(b'{"id": 6}\n'), gzip.compress(b"x" * 99)[:20]])
def test_what_was_cut_off_is_not_read(written, tail):
    with written.open("ab") as file:
        file.write(tail)
    assert rows_of(written) == [row(pk) for pk in range(1, 6)]
    assert Manifest.of(written).rest == len(tail)


def test_a_file_may_be_named_by_its_manifest(written):
    assert rows_of(manifest_of(written)) == rows_of(written)


# Refusing what is not what it has to be


def test_every_flipped_byte_is_found(written):
    data = written.read_bytes()
    for place in range(len(data)):
        written.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert "is damaged: its SHA-256 is not" in refused(written)


def test_a_file_that_is_too_short(written):
    data = written.read_bytes()
    written.write_bytes(data[:-7])
    assert f"is cut off: 7 of {len(data)} bytes are missing" in refused(written)


def test_a_file_that_is_gone(written):
    written.unlink()
    assert "cannot be read: No such file or directory." in refused(written)


def test_a_manifest_that_is_gone(written):
    manifest_of(written).unlink()
    assert ".manifest.json is missing" in refused(written)


@pytest.mark.parametrize("events", [4, 6])
def test_a_manifest_that_miscounts(written, events):
    change(written, events=events)
    assert f"holds 5 events, and its manifest says {events}" in refused(written)


@pytest.mark.parametrize(("first", "last"), [(2, 5), (1, 4), (8, 9)])
def test_a_manifest_with_other_ids(written, first, last):
    change(written, first_id=first, last_id=last)
    assert "holds ids that its manifest does not know" in refused(written)


def test_a_schema_of_another_version(written):
    change(written, schema=2)
    assert "has schema 2; this version reads schema 1" in refused(written)


def test_columns_of_another_version(written):
    change(written, columns=["id", "colour"])
    assert "has other columns than this version: id, colour" in refused(written)


def test_the_manifest_of_another_file(written):
    change(written, file="/etc/passwd")
    assert "is the manifest of another file, /etc/passwd" in refused(written)


@pytest.mark.parametrize(
    ("name", "value"),
    [("bytes", "many"), ("sha256", None), ("events", 1.5), ("columns", "id"), ("file", 1), ("last_id", [])],
)
def test_a_manifest_of_the_wrong_shape(written, name, value):
    change(written, **{name: value})
    assert f"{name} cannot be {value!r}" in refused(written)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"schema": "1"}', "\ufeff{}"])
def test_a_manifest_that_is_none(written, text):
    manifest_of(written).write_text(text)
    assert "manifest" in refused(written)


@pytest.mark.parametrize("name", ["events.csv", "events", "events.jsonl", ".gz"])
def test_a_file_that_is_no_archive(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ArchiveError, match=r"is no archive: its name does not end in \.jsonl\.gz"):
        Manifest.of(tmp_path / name)


def lines(*records):
    return gzip.compress("".join(f"{record}\n" for record in records).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"five\nlines\nbut\nno\ngzip\n",
        lines(*"12345")[:-9],
        lines(*"12345"),
        lines(*["{}"] * 5),
        lines(*["{"] * 5),
        lines(*["[]"] * 5),
        lines(*[json.dumps(dict.fromkeys(COLUMNS))] * 5),
        lines(*[json.dumps(dict.fromkeys(COLUMNS, "x"))] * 5),
    ],
)
def test_a_file_that_holds_something_else(written, data):
    written.write_bytes(data)
    change(written, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    refused(written)
