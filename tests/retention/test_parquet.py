"""Archives as Parquet, read with DuckDB, which shares no code with what writes them."""

import datetime as dt
import hashlib
import json
import sys

import duckdb
import pytest

from pusherable.retention import archive as archives
from pusherable.retention.archive import COLUMNS, JSON_COLUMNS, Archive, ArchiveError, Manifest
from tests.retention.archives import (
    AWKWARD,
    change,
    contents,
    files_up_to,
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
def archive(tmp_path):
    with Archive(tmp_path, using="default", parquet=True) as archive:
        yield archive


@pytest.fixture
def written(archive):
    """The path of an archive with the events 1 to 5."""
    archive.write([row(1), row(2)])
    archive.write([row(3), row(4), row(5)])
    archive.close()
    return archive.path


#: Without it, DuckDB needs pytz.
TIME = "occurred_at AT TIME ZONE 'UTC' AS occurred_at"


def naive(value):
    return value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value


def query(path, sql, function="read_parquet"):
    with duckdb.connect() as connection:
        return connection.execute(sql.format(f"{function}('{path}')")).fetchall()


def test_others_can_read_it(archive):
    rows = [row(1), row(2, snapshot=AWKWARD, username="Grüße\n🧵", channels=["poll_17"])]
    archive.write(rows)
    archive.close()
    found = query(archive.path, f"SELECT * REPLACE ({TIME}) FROM {{}} ORDER BY id")
    assert [
        [
            json.loads(value) if name in JSON_COLUMNS else value
            for name, value in zip(COLUMNS, one, strict=True)
        ]
        for one in found
    ] == [[naive(value) for value in one] for one in rows]
    assert query(archive.path, "SELECT object_pk FROM {} WHERE channels::JSON->>0 = 'poll_17'") == [("17",)]


def test_the_columns_have_types(written):
    types = {name: kind for name, kind, *_others in query(written, "DESCRIBE SELECT * FROM {}")}
    assert types.pop("id") == "BIGINT"
    assert types.pop("occurred_at") == "TIMESTAMP WITH TIME ZONE"
    assert set(types.values()) == {"VARCHAR"}
    assert tuple(types) == COLUMNS[2:]


def test_the_file_takes_the_place_of_the_json_lines(written):
    assert names(written.parent) == ["manifest.json", "parquet"]
    assert written.suffix == ".parquet"
    assert written.stat().st_mode & 0o777 == 0o600
    manifest = Manifest.of(written)
    assert (manifest.format, manifest.events, manifest.first_id, manifest.last_id) == ("parquet", 5, 1, 5)


def test_it_is_on_the_disk_before_the_json_lines_go(archive, synced, tmp_path):
    archive.write([row(1)])
    synced.clear()
    archive.close()
    assert synced == ["parquet.part", tmp_path.name, "manifest.json.part", tmp_path.name]


def test_it_can_be_read_again(archive):
    rows = [row(1), row(2, snapshot=AWKWARD, object_repr=AWKWARD["lines"])]
    archive.write(rows)
    archive.close()
    assert rows_of(archive.path) == rows


def test_a_project_without_time_zones(archive, settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    rows = [row(1, occurred_at=dt.datetime.fromisoformat("2026-07-31T12:00"))]
    archive.write(rows)
    archive.close()
    assert rows_of(archive.path) == rows
    assert query(archive.path, f"SELECT {TIME} FROM {{}}") == [
        (dt.datetime.fromisoformat("2026-07-31T10:00"),)
    ]


def test_large_files_come_in_groups_and_chunks(archive, monkeypatch):
    monkeypatch.setattr(archives, "ROW_GROUP", 40)
    monkeypatch.setattr(archives, "CHUNK", 30)
    for number in range(10):
        archive.write([row(10 * number + offset) for offset in range(10)])
    archive.close()
    assert [len(chunk) for chunk in read(archive.path)] == [30, 30, 30, 10]
    groups = query(archive.path, "SELECT DISTINCT row_group_num_rows FROM {}", "parquet_metadata")
    assert sorted(groups) == [(20,), (40,)]


def test_nothing_is_made_for_nothing(tmp_path):
    with Archive(tmp_path / "archive", using="default", parquet=True):
        pass
    assert not (tmp_path / "archive").exists()


def test_without_pyarrow_it_says_so_before_anything_is_deleted(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "pusherable.retention.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ArchiveError, match=r'pip install "django-pusherable\[parquet\]"'):
        Archive(tmp_path, using="default", parquet=True)


def test_without_pyarrow_it_cannot_be_restored(written, monkeypatch):
    monkeypatch.delitem(sys.modules, "pusherable.retention.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ArchiveError, match="Parquet needs pyarrow"):
        list(read(written))


# When it cannot be converted


def test_a_full_disk_leaves_the_json_lines(archive, tmp_path):
    archive.write([row(1, snapshot={"noise": noise(2000)})])
    before = contents(tmp_path)
    with files_up_to(5000), pytest.raises(ArchiveError) as info:
        archive.close()
    assert f"{archive.path} stays as it is, since it cannot be turned into Parquet: " in str(info.value)
    assert "File too large" in str(info.value)
    assert contents(tmp_path) == before
    assert [event.pk for chunk in read(archive.path) for event in chunk] == [1]


def test_damaged_json_lines_are_not_removed(archive, tmp_path):
    archive.write([row(1), row(2)])
    data = archive.path.read_bytes()
    archive.path.write_bytes(data[:-9] + b"?" + data[-8:])
    before = contents(tmp_path)
    with pytest.raises(ArchiveError, match="is damaged"):
        archive.close()
    assert contents(tmp_path) == before


def test_a_run_that_failed_leaves_the_json_lines(tmp_path):
    archive = Archive(tmp_path, using="default", parquet=True)
    archive.write([row(1)])
    with pytest.raises(ZeroDivisionError), archive:
        raise ZeroDivisionError
    assert names(tmp_path) == ["jsonl.gz", "manifest.json"]
    assert rows_of(archive.path) == [row(1)]


def test_json_lines_that_a_kill_has_left_beside_it_are_no_second_archive(written):
    lines = written.with_suffix(".jsonl.gz")
    lines.touch()
    assert Manifest.of(lines) == Manifest.of(written)


# Refusing what is not what it has to be


@pytest.mark.parametrize("place", [0, 4, 100, -50, -5, -1])
def test_a_flipped_byte(written, place):
    data = bytearray(written.read_bytes())
    data[place] ^= 1
    written.write_bytes(data)
    assert "is damaged" in refused(written)


@pytest.mark.parametrize(("change", "message"), [(b"x", "has 1 bytes more"), (None, "is cut off: 1 of")])
def test_another_length(written, change, message):
    data = written.read_bytes()
    written.write_bytes(data + change if change else data[:-1])
    assert message in refused(written)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1 and not much more PAR1"])
def test_a_file_that_is_not_parquet(written, data):
    written.write_bytes(data)
    change(written, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    assert "does not hold events" in refused(written)
