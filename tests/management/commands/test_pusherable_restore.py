"""The command: how it is called, what it says, and how it ends."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from pusherable.models import AccessEvent
from pusherable.retention.archive import Archive
from pusherable.retention.locks import exclusive
from tests.retention.archives import manifest_of, row
from tests.retention.conftest import keys, log

__all__ = ["keys", "log"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def archived(tmp_path):
    """The path of an archive with the events of these ids."""

    def archived(*pks, **fields):
        with Archive(tmp_path, using="default") as archive:
            archive.write([row(pk, **fields) for pk in pks])
        return archive.path

    return archived


def restore(*arguments, **options):
    out = StringIO()
    call_command("pusherable_restore", *arguments, stdout=out, **options)
    return out.getvalue()


def fails(*arguments, **options):
    with pytest.raises(CommandError) as info:
        restore(*arguments, **options)
    return info.value.returncode, str(info.value)


def test_it_says_what_it_did(archived, keys):
    path = archived(*range(1, 2001))
    assert restore(path) == f"{path}: Restored 2,000 of 2,000 events; 0 were there already.\n"
    AccessEvent.objects.filter(pk__lte=500).delete()
    assert restore(path) == f"{path}: Restored 500 of 2,000 events; 1,500 were there already.\n"
    assert keys() == list(range(1, 2001))


def test_what_was_pruned_comes_back(log, keys, tmp_path):
    there = log(7)
    call_command("pusherable_prune", "--no-input", "--older-than=1d", f"--archive={tmp_path}", verbosity=0)
    assert keys() == []
    (path,) = tmp_path.glob("*.jsonl.gz")
    restore(path)
    assert keys() == there


def test_several_files(archived, keys):
    paths = [archived(1, 2), archived(3)]
    assert len(restore(*paths).splitlines()) == 2
    assert keys() == [1, 2, 3]


def test_a_file_may_be_named_by_its_manifest(archived, keys):
    restore(manifest_of(archived(1, 2)))
    assert keys() == [1, 2]


def test_a_dry_run_changes_nothing(archived, log, keys):
    there = log(1)
    path = archived(there[0] + 1)
    text = restore(path, "--dry-run")
    assert text == f"{path}: Would restore 1 of 1 events; 0 were there already.\n"
    assert keys() == there


def test_a_batch_that_was_cut_off_is_mentioned(archived, keys):
    path = archived(1)
    with path.open("ab") as file:
        file.write(b"x" * 1234)
    assert f"{path}: Passed over the last 1,234 bytes, a batch that was cut off." in restore(path)
    assert keys() == [1]


def test_quiet(archived, keys):
    assert restore(archived(1), verbosity=0) == ""
    assert keys() == [1]


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_another_database(archived, keys):
    restore(archived(1), database="log")
    assert (keys(), keys("log")) == ([], [1])


# How it fails


def test_a_file_that_is_not_there(archived, keys, tmp_path):
    missing = tmp_path / "missing.jsonl.gz"
    assert fails(archived(1), missing) == (2, f"{missing}: there is no such file.")
    assert keys() == []


def test_no_file():
    assert fails()[1].endswith("the following arguments are required: FILE")


def test_a_damaged_file_does_not_keep_others_from_being_restored(archived, keys, tmp_path):
    paths = [archived(1), archived(2), archived(3)]
    paths[0].write_bytes(b"")
    manifest_of(paths[1]).unlink()
    code, text = fails(*paths, tmp_path)
    assert code == 2  # a directory is no file
    code, text = fails(*paths)
    assert code == 1
    assert f"{paths[0]} is cut off" in text
    assert f"{manifest_of(paths[1])} is missing" in text
    assert keys() == [3]


def test_an_event_that_is_there_and_differs(archived, keys):
    restore(archived(2, username="eve"))
    path = archived(1, 2)
    code, text = fails(path)
    assert code == 1
    assert text.startswith(f"{path}: event 2 is in the table already, with another username.")
    assert keys() == [2]
    assert AccessEvent.objects.get().username == "eve"


def test_ctrl_c(archived, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(AccessEvent.objects._queryset_class, "bulk_create", interrupted)
    assert fails(archived(1)) == (1, "Stopped. To go on, repeat the command.")


def test_not_while_somebody_prunes(archived, keys, start):
    with exclusive("default"):
        process = start("pusherable_restore", str(archived(1)))
        code, text = process.end()
    assert code == 1
    assert "Another prune, restore or partition command works on the database" in text
    assert keys() == []


def test_a_table_that_is_missing(archived, without_table):
    without_table("pusherable_accessevent")
    code, text = fails(archived(1))
    assert code == 1
    assert "pusherable_accessevent" in text


def test_the_exit_code_of_a_process(archived, start, keys):
    process = start("pusherable_restore", str(archived(1, 2)))
    assert process.end() == (0, "")
    assert keys() == [1, 2]
