"""Prunes whose archive finds no more room lose nothing, and go on when there is some.

Files may not become larger than the system allows (``RLIMIT_FSIZE``). That takes no privileges, and a program
sees what a full disk would show it: a write that fails half-way.
"""

import resource
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from pusherable.retention.archive import Archive, Manifest
from tests.retention.archives import archived, contents, files_up_to, names, noise, table
from tests.retention.conftest import log

__all__ = ["log"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def room(monkeypatch):
    """How large a file may become while a batch is written, and when the archive is closed."""
    room = {"write": resource.RLIM_INFINITY, "close": resource.RLIM_INFINITY}

    def limit(name):
        method = getattr(Archive, name)

        def limited(*arguments):  # and not the whole run: SQLite's file is larger than any archive here
            with files_up_to(room[name]):
                return method(*arguments)

        monkeypatch.setattr(Archive, name, limited)

    for name in room:
        limit(name)
    return room


@pytest.fixture
def everything(log):
    for number in range(20):
        log(20, snapshot={"noise": noise(100), "number": number}, age=100 - number)
    return table()


@pytest.fixture
def prune(tmp_path):
    def prune(form="jsonl"):
        out = StringIO()
        call_command(
            "pusherable_prune",
            "--no-input",
            "--older-than=30d",
            "--batch-size=40",
            f"--archive={tmp_path}",
            f"--archive-format={form}",
            stdout=out,
        )
        return out.getvalue()

    return prune


def fails(prune, form="jsonl"):
    with pytest.raises(CommandError) as info:
        prune(form)
    assert info.value.returncode == 1
    return str(info.value)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_disk_that_is_full_loses_nothing(room, everything, prune, tmp_path, form):
    room["write"] = 5000
    text = fails(prune, form)
    (path,) = tmp_path.glob("*.jsonl.gz")
    assert f"File too large: '{path}'" in text
    there, elsewhere = table(), archived(tmp_path)
    assert there
    assert elsewhere
    assert there | elsewhere == everything
    assert not there.keys() & elsewhere.keys()
    assert names(tmp_path) == ["jsonl.gz", "manifest.json"]
    assert Manifest.of(path).rest == 0

    room["write"] = resource.RLIM_INFINITY
    assert f"Deleted {len(there)} events" in prune(form)
    assert table() == {}
    assert archived(tmp_path) == everything
    for path in tmp_path.glob("*.manifest.json"):
        call_command("pusherable_restore", path, verbosity=0)
    assert table() == everything


def test_a_disk_that_was_full_before(room, everything, prune, tmp_path):
    room["write"] = 200
    assert "File too large" in fails(prune)
    assert table() == everything
    assert contents(tmp_path) == {}


def test_no_room_for_parquet(room, everything, prune, tmp_path):
    room["close"] = 5000
    text = fails(prune, "parquet")
    assert ".parquet'" in text
    assert names(tmp_path) == ["jsonl.gz", "manifest.json"]
    assert table() == {}
    assert archived(tmp_path) == everything
