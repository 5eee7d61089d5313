import re
import signal
import threading
from contextlib import contextmanager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from pusherable.models import AccessEvent
from pusherable.retention import conversion, partitions
from pusherable.retention.conversion import convert
from pusherable.retention.locks import Busy, exclusive
from tests.retention.tables import (
    ONLY_POSTGRESQL,
    TABLE,
    Running,
    at,
    bounds,
    fill,
    is_as_migrate_made_it,
    make_anew,
    properties,
    query,
    record,
    session,
    sessions,
    soon,
    stopped_at,
    table,
)

__all__ = ["table"]

pytestmark = pytest.mark.django_db(transaction=True)

THOUSAND = [(None, 2000), (2000, 3000), (3000, 4000), (4000, 5000), (5000, 6000)]
STAND = "WHILE NOT pg_try_advisory_xact_lock(77) LOOP PERFORM pg_sleep(0.01); END LOOP"
STANDS = "wait_event = 'PgSleep'"


def run(*arguments, interactive=False):
    out = StringIO()
    given = arguments if interactive else (*arguments, "--no-input")
    call_command("pusherable_partition", *given, stdout=out, no_color=True)
    return out.getvalue()


def is_free():
    try:
        with exclusive("default"):
            return True
    except Busy:
        return False


def refused(*arguments, **options):
    with pytest.raises(CommandError) as caught:
        run(*arguments, **options)
    return caught.value.returncode, str(caught.value)


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--reverse",)])
def test_other_databases_have_no_partitions(monkeypatch, arguments):
    monkeypatch.setattr(connections["default"], "vendor", "sqlite")
    assert refused(*arguments) == (
        1,
        'Only PostgreSQL has partitions, and the database "default" is another.',
    )


@pytest.mark.parametrize("value", ["", "0", "999", "-1000", "1e6", "1 000", "1_000_000", "many", "1000.0"])
def test_a_number_of_ids_that_cannot_be_is_a_usage_error(value):
    _code, text = refused("--rows", value)
    assert text == f"Error: argument --rows: '{value}': write a whole number from 1000 on."


def test_rows_are_for_one_direction():
    assert refused("--reverse", "--rows=1000") == (2, "argument --rows: not with --reverse.")


@ONLY_POSTGRESQL
def test_the_first_run_divides_the_table_and_the_next_ones_create_what_is_missing(table):
    fill(10)
    assert run("--rows=1000") == (
        "Created: 2000 to 2999, 3000 to 3999, 4000 to 4999, 5000 to 5999.\n"
        f"{TABLE} has 5 partitions, 4 of them ahead, and takes 5989 more events.\n"
    )
    assert bounds() == THOUSAND
    assert run().startswith("Created: nothing.\n")
    query(f"SELECT setval('{TABLE}_id_seq', 3500)")
    fill(5)
    assert run() == (
        "Created: 6000 to 6999, 7000 to 7999.\n"
        f"{TABLE} has 7 partitions, 4 of them ahead, and takes 4494 more events.\n"
    )
    known_to_the_planner = f"SELECT reltuples FROM pg_class WHERE oid = '{TABLE}'::regclass"
    assert query(known_to_the_planner) == [(15,)]
    query(f"SELECT setval('{TABLE}_id_seq', 4500)")
    assert run("--rows=5000").startswith("Created: 8000 to 12999.\n")
    assert bounds()[-1] == (8000, 13_000)


@ONLY_POSTGRESQL
def test_a_million_ids_to_a_partition_unless_it_is_said(table):
    run()
    assert bounds()[:2] == [(None, 2_000_000), (2_000_000, 3_000_000)]


@ONLY_POSTGRESQL
def test_the_way_back(table):
    fill(10)
    convert("default", 1000)
    assert run("--reverse") == "The event table is a plain one.\n"
    assert is_as_migrate_made_it()
    assert AccessEvent.objects.count() == 10
    assert run("--reverse") == "The event table is a plain one.\n"


@ONLY_POSTGRESQL
def test_a_quiet_run_says_nothing(table):
    assert run("--rows=1000", "--verbosity=0") == ""
    assert run("--reverse", "--verbosity=0") == ""


@ONLY_POSTGRESQL
def test_a_dry_run_says_what_would_be_done_and_changes_nothing(table):
    fill(10)
    before = properties()
    text = run("--dry-run", "--rows=1000")
    size = r"\(\d+ kB, read once\)"
    assert re.match(
        rf"The event table {size} would become the partition of all ids below 2000, and 4 new ones of "
        r"1000 ids each follow\. Reading and writing go on, but for two moments .* the command gives up\.\n"
        r"Nothing was changed\.\n$",
        text,
    )
    assert run("--dry-run", "--reverse") == "The event table is a plain one.\nNothing was changed.\n"
    assert properties() == before
    convert("default", 1000)
    fill(2500)
    before = properties(), bounds()
    assert run("--dry-run") == (
        f"{TABLE} has 5 partitions, 3 of them ahead, and takes 3489 more events.\n"
        "Would create: 6000 to 6999.\nNothing was changed.\n"
    )
    assert re.match(r"\d+ kB would be copied into a plain table, and ", run("--dry-run", "--reverse"))
    assert (properties(), bounds()) == before


@ONLY_POSTGRESQL
@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_what_is_in_the_way_is_named(table, arguments):
    query(f"CREATE VIEW note AS SELECT id FROM {TABLE}")
    code, text = refused(*arguments)
    assert (code, text) == (
        1,
        "The event table has to stay as it is, because of: rule _RETURN on view note.",
    )
    assert is_as_migrate_made_it()


@ONLY_POSTGRESQL
def test_without_a_table_it_says_so(table):
    query(f"DROP TABLE {TABLE}")
    assert refused() == (1, f'There is no table "{TABLE}"; run migrate first.')
    assert refused("--dry-run")[0] == 1


@ONLY_POSTGRESQL
def test_who_holds_the_table_is_named_and_events_are_recorded_meanwhile(table, monkeypatch):
    monkeypatch.setattr(partitions, "PATIENCE", 0.3)
    with session() as other:
        query(f"SELECT id FROM {TABLE}", on=other)
        ((pid,),) = query("SELECT pg_backend_pid()", on=other)
        code, text = refused("--rows=1000")
    assert code == 1
    assert f"The event table is in use. At work on it: process {pid} (" in text


@ONLY_POSTGRESQL
def test_one_at_a_time(table):
    held, free = threading.Event(), threading.Event()

    def hold():
        with exclusive("default"):
            held.set()
            assert free.wait(60)

    holder = Running(hold)
    assert held.wait(60)
    try:
        code, text = refused("--rows=1000")
    finally:
        free.set()
        holder.end()
    assert (code, text) == (
        1,
        'Another prune, restore or partition command works on the database "default".',
    )
    assert is_as_migrate_made_it()


@ONLY_POSTGRESQL
@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_of_another_database(table):
    make_anew("log")
    try:
        run("--database=log", "--rows=1000")
        assert partitions.is_partitioned("log")
        assert is_as_migrate_made_it()
        assert partitions.room("log") == 1999 + 4000
        run("--database=log", "--reverse")
        assert not partitions.is_partitioned("log")
    finally:
        make_anew("log")


@ONLY_POSTGRESQL
def test_asks_before_a_change_and_not_for_what_cron_does(table, keyboard, capsys):
    for answer in (b"no\n", b"\x04"):
        keyboard(answer)
        assert refused("--rows=1000", interactive=True) == (1, "Cancelled; nothing was done.")
    assert is_as_migrate_made_it()
    assert "The event table becomes the first partition of a new one. Type 'yes'" in capsys.readouterr().out
    keyboard(b"yes\n")
    run("--rows=1000", interactive=True)
    run(interactive=True)
    keyboard(b"no\n")
    assert refused("--reverse", interactive=True) == (1, "Cancelled; nothing was done.")
    assert bounds() == THOUSAND
    keyboard(b"yes\n")
    run("--reverse", interactive=True)
    run("--reverse", interactive=True)
    assert is_as_migrate_made_it()


@ONLY_POSTGRESQL
def test_exit_codes(table, start):
    convert("default", 1000)
    assert start("pusherable_partition").end() == (0, "")
    code, err = start("pusherable_partition", "--rows=many").end()
    assert (code, "argument --rows: 'many'" in err) == (2, True)
    code, err = start("pusherable_partition", "--reverse", "--rows=1000").end()
    assert (code, "argument --rows: not with --reverse" in err) == (2, True)
    code, err = start("pusherable_partition", "--reverse", "--no-color").end()
    assert (code, err) == (
        1,
        "CommandError: Try it with --dry-run first; then add --no-input to go on without being asked.\n",
    )
    assert start("pusherable_partition", "--reverse", "--no-input").end() == (0, "")
    assert is_as_migrate_made_it()


@pytest.fixture
def standing_at(start):
    """Start the command, and let it stand before a statement."""

    @contextmanager
    def standing_at(pattern, *arguments):
        with at(pattern, STAND):
            query("SELECT pg_advisory_lock(77)")
            process = start("pusherable_partition", "--no-input", "--no-color", *arguments)
            soon(lambda: process.popen.poll() is not None or sessions(STANDS))
            try:
                yield process
            finally:
                query("SELECT pg_advisory_unlock(77)")
                soon(lambda: not sessions(STANDS))

    return standing_at


@ONLY_POSTGRESQL
@pytest.mark.parametrize("pattern", ["ADD CONSTRAINT", "VALIDATE", "SEQUENCE", "ATTACH"])
def test_a_conversion_that_was_killed_is_done_by_the_next_one(table, standing_at, pattern):
    fill(10)
    with standing_at(pattern, "--rows=1000") as process:
        assert process.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert record() == 11
    assert not partitions.is_partitioned("default")
    soon(is_free)
    run("--rows=1000")
    assert bounds() == THOUSAND
    assert AccessEvent.objects.count() == 11


@ONLY_POSTGRESQL
@pytest.mark.parametrize("pattern", ["CREATE TABLE", "CREATE INDEX", "DROP TABLE"])
@pytest.mark.parametrize("arguments", [("--reverse",), ()])
def test_a_way_back_that_was_killed_is_done_or_forgotten_by_the_next_one(
    table, standing_at, pattern, arguments
):
    fill(10)
    convert("default", 1000)
    with standing_at(pattern, "--reverse") as process:
        assert process.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert record() == 11
    assert bounds() == THOUSAND
    soon(is_free)
    run(*arguments)
    assert is_as_migrate_made_it() is bool(arguments)
    AccessEvent.objects.filter(pk=1)._raw_delete("default")
    assert record() == 12
    assert AccessEvent.objects.count() == 11


@pytest.fixture
def _interruptible():
    """Processes heed SIGINT, though these tests may have been started in the background, where none does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@ONLY_POSTGRESQL
@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_leaves_nothing_behind(table, standing_at):
    fill(10)
    with standing_at("VALIDATE", "--rows=1000") as process:
        assert process.end(signal.SIGINT) == (130, "CommandError: Stopped.\n")
    assert is_as_migrate_made_it()
    convert("default", 1000)
    with standing_at("CREATE INDEX", "--reverse") as process:
        assert process.end(signal.SIGINT) == (130, "CommandError: Stopped.\n")
    assert bounds() == THOUSAND
    AccessEvent.objects.all()._raw_delete("default")


@ONLY_POSTGRESQL
def test_what_cannot_be_tidied_up_is_said(table, monkeypatch):
    monkeypatch.setattr(partitions, "PATIENCE", 0.3)
    monkeypatch.setattr(conversion, "PATIENCE", 0.3)
    fill(10)
    with (
        session() as other,
        pytest.raises(
            CommandError, match="No id can pass 1999 until pusherable_partition has succeeded: run"
        ),
        stopped_at("VALIDATE", run, "--rows=1000"),
    ):
        query(f"SELECT id FROM {TABLE}", on=other)
    run("--rows=1000")
    with (
        session() as other,
        pytest.raises(
            CommandError, match="No event can be changed or deleted until pusherable_partition has"
        ),
        stopped_at("CREATE INDEX", run, "--reverse"),
    ):
        query(f"SELECT id FROM {TABLE}", on=other)
    run("--reverse")
    assert is_as_migrate_made_it()
