import datetime as dt
import json
import re
import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pusherable.delivery import clock
from pusherable.delivery.relay import Relay
from pusherable.delivery.transports import TransportError
from pusherable.models import Delivery
from pusherable.retention import partitions
from pusherable.retention.conversion import convert
from tests.retention.tables import ONLY_POSTGRESQL, TABLE, query, table

__all__ = ["table"]

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def now():
    return clock.now("default")


def claim_of(relay, number=0):
    return uuid.UUID(int=relay << 64 | number)


def text(*arguments):
    out = StringIO()
    call_command("pusherable_status", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def status(*arguments):
    return json.loads(text("--json", *arguments))


def test_a_queue_in_which_nothing_waits():
    assert status("--max-lag=0") == {
        "database": "default",
        "lag": 0,
        "due": 0,
        "oldest_due": 0,
        "sending": 0,
        "relays": 0,
        "scheduled": 0,
        "failed": 0,
        "room": None,
        "partitions_ahead": None,
    }


def test_counts_what_waits_by_what_becomes_of_it(enqueue, now):
    enqueue(3)
    enqueue(2, deliver_after=now + HOUR, attempts=4)
    enqueue(1, failed_at=now, attempts=1)
    for relay, number in ((1, 0), (1, 1), (2, 0)):
        enqueue(5, claim=claim_of(relay, number), deliver_after=now + HOUR)
    enqueue(1, claim=claim_of(3), deliver_after=now - HOUR, attempts=1)  # its relay has died
    shown = status()
    names = "due", "sending", "relays", "scheduled", "failed"
    assert {name: shown[name] for name in names} == dict(zip(names, (4, 15, 2, 2, 1), strict=True))
    assert 3600 <= shown["oldest_due"] < 3700


def test_a_relay_at_work_is_seen_and_leaves_no_trace(use_transport, enqueue):
    seen = []

    def look(_messages):
        seen.append(status())
        connection.close()  # that of the thread which makes the call

    use_transport(look)
    enqueue(4)
    Relay("default", batch_size=2).drain()
    assert {(shown["relays"], shown["sending"]) for shown in seen} <= {(1, 2), (1, 4)}
    assert (status()["relays"], status()["sending"]) == (0, 0)


def test_the_lag_counts_from_the_event(enqueue, now):
    enqueue(1, occurred_at=now - HOUR)
    enqueue(2)
    assert 3600 <= status()["lag"] < 3700
    Delivery.objects.earliest("event_id").delete()
    assert status("--max-lag=1m")["lag"] < 60


def test_an_outage_is_no_less_seen_because_everything_is_to_be_tried_later(recipient, enqueue, now):
    enqueue(3, occurred_at=now - HOUR, attempts=9)
    recipient.error = TransportError("Pusher is away.")
    Relay("default").drain()
    Delivery.objects.update(deliver_after=now + HOUR)
    shown = status()
    assert (shown["due"], shown["oldest_due"], shown["scheduled"]) == (0, 0, 3)
    assert 3600 <= shown["lag"] < 3700
    with pytest.raises(CommandError):
        status("--max-lag=5m")


def test_what_was_given_up_does_not_lag(enqueue, now):
    enqueue(1, occurred_at=now - HOUR, failed_at=now)
    assert status("--max-lag=5m")["lag"] == 0


def test_a_replay_of_an_old_event_counts_from_when_it_was_due(enqueue, now):
    year = 8766 * HOUR
    enqueue(1, occurred_at=now - year, replayed=True)
    assert status("--max-lag=5m")["lag"] < 60
    enqueue(1, occurred_at=now - year, replayed=True, deliver_after=now - HOUR)
    assert 3600 <= status()["lag"] < 3700


def test_an_event_that_has_been_deleted_hides_no_other(enqueue, now):
    (deleted,) = enqueue(1, occurred_at=now - 2 * HOUR)
    type(deleted).objects.filter(pk=deleted.pk)._raw_delete("default")
    enqueue(1, occurred_at=now - HOUR)
    assert 3600 <= status()["lag"] < 3700


@pytest.mark.parametrize(
    ("limit", "passes"),
    [
        *[("7000", False), ("7000s", False), ("119m", False), ("1.9h", False), ("0", False)],
        *[("7300", True), ("7300s", True), ("121m", True), ("3h", True), ("1d", True)],
    ],
)
def test_the_exit_code_tells_whether_the_limit_is_passed(enqueue, now, limit, passes):
    enqueue(1, occurred_at=now - 2 * HOUR)
    if passes:
        status(f"--max-lag={limit}")
    else:
        with pytest.raises(CommandError, match=r"^The lag is 2 h, and .* is the limit.$"):
            status(f"--max-lag={limit}")


def test_passing_the_limit_is_exit_code_1_and_leaves_the_output_as_it_is(enqueue, now, start):
    enqueue(1, occurred_at=now - HOUR * 1.5)
    process = start("pusherable_status", "--json", "--max-lag=5m", "--no-color")
    code, err = process.end()
    assert (code, err) == (1, "CommandError: The lag is 1 h 30 m, and 5 m is the limit.\n")
    assert json.loads("".join(process.out))["due"] == 1
    process = start("pusherable_status", "--max-lag=1d")
    assert process.end() == (0, "")


@pytest.mark.parametrize("value", ["", "soon", "5 minutes", "-5m", "5w", "1h30m", "nan"])
def test_a_limit_that_cannot_be_is_named(value):
    with pytest.raises(
        CommandError, match=re.escape(f"argument --max-lag: '{value}': write a number and a unit")
    ):
        status(f"--max-lag={value}")


def test_a_person_reads_it_in_columns(enqueue, now):
    enqueue(412, deliver_after=now - HOUR * 25)
    enqueue(1, failed_at=now)
    rows = [re.fullmatch(r"(\w+) +(.+?)   (.+)", line) for line in text().splitlines()]
    assert {row[1]: row[2] for row in rows} == {
        "lag": "1 d 1 h",
        "due": "412",
        "sending": "0",
        "relays": "0",
        "scheduled": "0",
        "failed": "1",
    }
    assert len({row.end(2) for row in rows}) == len({row.start(3) for row in rows}) == 1


def test_reads_only_and_little(enqueue, now):
    enqueue(30)
    enqueue(30, claim=claim_of(1), deliver_after=now + HOUR)
    with CaptureQueriesContext(connection) as queries:
        status()
    assert len(queries) <= (4 if connection.vendor == "postgresql" else 3)  # it might be partitioned
    assert all(query["sql"].startswith("SELECT") for query in queries)


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_of_another_database(enqueue):
    enqueue(2, using="log")
    shown = status("--database=log")
    assert (shown["database"], shown["due"], status()["due"]) == ("log", 2, 0)
    with pytest.raises(CommandError, match=r"'nowhere'.*default.*log"):
        status("--database=nowhere")


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_a_database_that_cannot_be_reached_is_said_plainly(unreachable):
    with pytest.raises(CommandError, match=f'The queue in the database "{unreachable}" cannot be read. .'):
        status(f"--database={unreachable}")


@ONLY_POSTGRESQL
def test_partitions_that_run_out_are_an_alarm_long_before(table):
    convert("default", 1000)
    room = {1: 5998, 2999: 3000, 3999: 2000}
    for last, left in room.items():
        query(f"SELECT setval('{TABLE}_id_seq', {last})")
        assert status()["room"] == left
    assert status()["partitions_ahead"] == 2
    assert text().endswith("room            2000   more events can be recorded; partitions ahead: 2\n")
    query(f"SELECT setval('{TABLE}_id_seq', 4000)")
    for arguments in ((), ("--json",), ("--max-lag=1h",)):
        with pytest.raises(
            CommandError, match=r"^After 1999 more events, recording fails\. Run pusherable_partition\.$"
        ) as caught:
            text(*arguments)
        assert caught.value.returncode == 1
    call_command("pusherable_partition", verbosity=0)
    assert status()["partitions_ahead"] == 4


@ONLY_POSTGRESQL
def test_a_conversion_that_was_broken_off_is_an_alarm(table):
    query(f"ALTER TABLE {TABLE} ADD CONSTRAINT {partitions.BOUND} CHECK (id < 2000) NOT VALID")
    with pytest.raises(CommandError, match="After 1999 more events, recording fails"):
        status()


@ONLY_POSTGRESQL
def test_everything_that_is_wrong_is_said(table, enqueue, now):
    convert("default", 1000)
    enqueue(1, occurred_at=now - HOUR)
    query(f"SELECT setval('{TABLE}_id_seq', 4500)")
    with pytest.raises(CommandError, match=r"^The lag is .* limit\.\nAfter 1499 more events"):
        status("--max-lag=5m")
