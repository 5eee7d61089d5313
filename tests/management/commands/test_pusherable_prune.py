"""The command: how it is called, what it says, and how it ends."""

import signal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from freezegun import freeze_time

from pusherable.retention.prune import Prune
from tests.management.commands.conftest import Terminal
from tests.retention.conftest import NOW, holder, keys, log

__all__ = ["holder", "keys", "log"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _now(request):
    if "start" in request.fixturenames:
        yield
    else:
        with freeze_time(NOW):
            yield


def prune(*arguments, **options):
    out = StringIO()
    call_command("pusherable_prune", "--no-input", *arguments, stdout=out, **options)
    return out.getvalue()


def fails(*arguments, **options):
    with pytest.raises(CommandError) as info:
        prune(*arguments, **options)
    return info.value.returncode, str(info.value)


# What goes


def test_it_says_what_it_did(log, keys):
    log(1200)
    kept = log(2, age=1)
    text = prune("--older-than", "90d", "--batch-size", "500")
    assert text == "Deleted 1,200 events from before 2026-08-24 12:00:00 in 3 batches.\n"
    assert keys() == kept


def test_one_is_not_some(log):
    log(1)
    text = prune("--older-than", "2026-11-01")
    assert text == "Deleted 1 event from before 2026-11-01 in 1 batch.\n"


def test_nothing_to_do_is_no_failure(log):
    log(2, age=1)
    assert prune("--older-than", "P90D") == "Deleted 0 events from before 2026-08-24 12:00:00.\n"


def test_filters(log, keys):
    kept = log(username="ada") + log(action="updated") + log(object_pk="17") + log(age=1)
    log(2, object_pk="18", username="eve")
    prune("--older-than", "1w", "--action", "view", "--object", "testapp.Poll:18", "--user", "eve")
    assert keys() == kept


def test_the_last_ones_stay(log, keys):
    there = log(5)
    prune("--older-than", "1w", "--keep-last", "2")
    assert keys() == there[3:]


def test_the_setting(log, keys, settings):
    settings.PUSHERABLE_RETENTION = {"view": "90d", "*": "1y"}
    kept = log(2, action="updated")
    log(2)
    assert prune() == "Deleted 2 events that PUSHERABLE_RETENTION no longer keeps in 1 batch.\n"
    assert keys() == kept


def test_the_option_comes_before_the_setting(log, keys, settings):
    settings.PUSHERABLE_RETENTION = {"*": "1y"}
    log(2)
    prune("--older-than", "90d")
    assert keys() == []


def test_undelivered_events_stay_and_are_mentioned(log, keys):
    kept = log(1, status="pending") + log(1, status="failed")
    log(2, status="delivered")
    text = prune("--older-than", "90d")
    assert text.splitlines()[1:] == [
        "Kept 2 that are still in the delivery queue; see --include-undelivered."
    ]
    assert keys() == kept
    assert "Deleted 2 events" in prune("--older-than", "90d", "--include-undelivered")
    assert keys() == []


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_another_database(log, keys):
    here = log(2)
    log(2, using="log")
    prune("--older-than", "90d", "--database", "log")
    assert (keys(), keys("log")) == (here, [])


def test_archive(log, tmp_path):
    log(7)
    text = prune("--older-than", "90d", "--archive", str(tmp_path / "archive"), "--batch-size", "5")
    [file] = (tmp_path / "archive").glob("*.jsonl.gz")
    assert text.splitlines()[1] == f"Archived 7 events in {file}."


def test_no_archive_where_there_is_nothing_to_do(log, tmp_path):
    log(2, age=1)
    assert "Archived" not in prune("--older-than", "90d", "--archive", str(tmp_path / "archive"))
    assert not (tmp_path / "archive").exists()


def test_parquet(log, tmp_path):
    log(7)
    text = prune("--older-than", "90d", "--archive", str(tmp_path), "--archive-format", "parquet")
    [file] = tmp_path.glob("*.parquet")
    assert f"Archived 7 events in {file}." in text


# Asking


def test_dry_run_changes_nothing(log, keys, tmp_path):
    there = log(1200) + log(1, status="failed") + log(age=1)
    options = "--batch-size", "500", "--archive", str(tmp_path / "archive")
    assert prune("--older-than", "90d", "--dry-run", *options) == (
        "Would delete 1,200 events from before 2026-08-24 12:00:00.\n"
        "Kept 1 that are still in the delivery queue; see --include-undelivered.\n"
    )
    assert keys() == there
    assert not (tmp_path / "archive").exists()


def test_without_a_terminal_it_has_to_be_told(log, keys):
    there = log(2)
    with pytest.raises(CommandError, match="add --no-input") as info:
        call_command("pusherable_prune", "--older-than", "90d")
    assert info.value.returncode == 1
    assert "Events from before 2026-08-24 12:00:00 will be deleted for good." in str(info.value)
    assert keys() == there


def test_it_goes_on_after_a_yes(log, keys, keyboard, capsys, tmp_path):
    log(2)
    keyboard(b"yes\n")
    call_command("pusherable_prune", "--older-than", "90d", "--action", "view", "--archive", str(tmp_path))
    question = f"Matching events from before 2026-08-24 12:00:00 will be deleted and kept in {tmp_path}."
    assert question in capsys.readouterr().out
    assert keys() == []


@pytest.mark.parametrize("answer", [b"no\n", b"\n", b"y\n", b"\x04"])
def test_and_after_nothing_else(log, keys, keyboard, answer):
    there = log(2)
    keyboard(answer)
    with pytest.raises(CommandError, match="Cancelled; nothing was done"):
        call_command("pusherable_prune", "--older-than", "90d")
    assert keys() == there


def test_progress_on_a_terminal_only(log):
    log(4)
    out = Terminal()
    call_command("pusherable_prune", "--no-input", "--older-than", "90d", "--batch-size", "2", stdout=out)
    assert "\r2 deleted, up to 2026-08-14 12:00:01" in out.getvalue()
    log(4)
    assert "\r" not in prune("--older-than", "90d", "--batch-size", "2")


def test_quiet(log):
    log(1)
    assert prune("--older-than", "90d", verbosity=0) == ""


# Bad input


@pytest.mark.parametrize(
    "arguments",
    [
        ["--older-than", "90"],
        ["--older-than", "0d"],
        ["--older-than=-1d"],
        ["--older-than", "2027-01-01"],
        ["--older-than", "old"],
        ["--keep-last", "0"],
        ["--batch-size", "0"],
        ["--batch-size", "many"],
        ["--max-batches", "-1"],
        ["--sleep", "-1"],
        ["--sleep", "nan"],
        ["--sleep", "long"],
        ["--action", ""],
        ["--object", "poll"],
        ["--user", "pk:"],
        ["--archive-format", "csv"],
    ],
    ids="".join,
)
def test_usage_errors_name_the_value_and_delete_nothing(log, keys, arguments):
    there = log(2)
    older = [] if arguments[0].startswith("--older-than") else ["--older-than", "1d"]
    code, text = fails(*older, *arguments)
    option, _equals, value = arguments[0].partition("=")
    assert option in text
    assert (value or arguments[1]) in text
    assert keys() == there
    assert code == 2 or "Error: argument" in text


def test_a_cutoff_is_required(log):
    code, text = fails()
    assert code == 2
    assert "--older-than 90d" in text
    assert "PUSHERABLE_RETENTION" in text


def test_a_wrong_setting_deletes_nothing(log, keys, settings):
    there = log(2)
    settings.PUSHERABLE_RETENTION = {"view": "90"}
    code, text = fails(skip_checks=True)
    assert code == 2
    assert "PUSHERABLE_RETENTION['view']" in text
    assert keys() == there


# How it ends


def test_after_so_many_batches(log, keys):
    there = log(5)
    code, text = fails("--older-than", "90d", "--batch-size", "2", "--max-batches", "1")
    assert (code, text) == (1, "Ended after 1 batch; there is more.")
    assert keys() == there[2:]
    prune("--older-than", "90d", "--batch-size", "5", "--max-batches", "2")
    assert keys() == []


def test_two_at_once(log, keys, holder):
    there = log(2)
    code, text = fails("--older-than", "90d")
    assert code == 1
    assert "Another prune" in text
    assert keys() == there


def test_the_database_fails_on_the_way(log, keys, monkeypatch):
    there = log(4)
    delete = Prune._delete

    def break_down(self, *window):
        if self.batches:
            raise OperationalError("gone away")
        return delete(self, *window)

    monkeypatch.setattr(Prune, "_delete", break_down)
    code, text = fails("--older-than", "90d", "--batch-size", "2")
    assert (code, text) == (1, "It ended before everything was deleted. gone away")
    assert keys() == there[2:]


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_the_database_is_not_there(unreachable):
    code, text = fails("--older-than", "90d", "--database", unreachable)
    assert code == 1
    assert "Nothing was deleted." in text


def test_the_archive_cannot_be_written(log, keys, tmp_path):
    there = log(2)
    (tmp_path / "file").touch()
    code, text = fails("--older-than", "90d", "--archive", str(tmp_path / "file"))
    assert code == 1
    assert str(tmp_path / "file") in text
    assert keys() == there


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_whole_batches(start, log, keys, eventually, number):
    there = log(1000)
    process = start(
        "pusherable_prune", "--no-input", "--older-than", "90d", "--batch-size", "100", "--sleep", "3000"
    )
    eventually(lambda: keys() == there[100:])
    process.interrupt(number)
    code, error = process.end()
    assert code == 1
    assert "Stopped before everything was deleted." in error
    assert process.out[-1].startswith("Deleted 100 events"), process.out
    assert keys() == there[100:]
    assert start("pusherable_prune", "--no-input", "--older-than", "90d").end()[0] == 0
    assert keys() == []
