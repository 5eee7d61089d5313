import os
import re
import signal
import threading
from collections import Counter
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from pusherable.delivery.transports import RefusedError, TransportError
from pusherable.management.commands import pusherable_relay as module
from pusherable.models import Delivery
from pusherable.recording import record_access

pytestmark = pytest.mark.django_db(transaction=True)

POSTGRES = connection.vendor == "postgresql"
RELAY = {"BACKEND": "pusherable.delivery.dispatchers.RelayDispatcher"}


@pytest.fixture
def gate(server):
    """The server answers no call until it is opened."""
    gate = Gate()
    server.fail_with = gate
    yield gate
    gate.opened.set()


class Gate:
    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, request):
        self.reached.set()
        assert self.opened.wait(60)


class Terminal(StringIO):
    """Output in this process that ends the command, as Ctrl-C does, once it has a certain text."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def write(self, text):
        if self.text in text:
            os.kill(os.getpid(), signal.SIGINT)
        return super().write(text)


def relay(**options):
    """Run the command in this process; returns what it wrote."""
    out = options.pop("stdout", StringIO())
    call_command("pusherable_relay", stdout=out, **options)
    return out.getvalue()


def sent_once(server):
    return set(Counter(event.channels[0] for event in server.messages).values()) == {1}


def test_sends_what_waits_and_what_comes(server, enqueue, start):
    enqueue(25)
    process = start("pusherable_relay", "--idle=0.1")
    line = process.line("Sending")
    assert 'database "default", 100 deliveries to a claim, 8 calls at once. It looks every 0.1 s' in line
    assert ("when PostgreSQL notifies it" in line) is POSTGRES
    server.wait_for_messages(25, timeout=60)
    enqueue(5)
    server.wait_for_messages(30, timeout=60)
    assert process.end(signal.SIGTERM) == (0, "")
    assert re.fullmatch(r"Ended after .* s: 30 sent, 0 to be tried again, 0 failed.\n", process.out[-1])
    assert not Delivery.objects.exists()


def is_asleep():
    """Whether nobody but the listener of a relay is connected: it looks once more before it falls asleep."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT application_name FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return cursor.fetchall() == [("pusherable_relay",)]


def test_is_woken(server, poll, start, settings, eventually):
    """By PostgreSQL at once, however rarely it looks; elsewhere it has to look."""
    settings.PUSHERABLE_DISPATCHER = RELAY
    process = start("pusherable_relay", f"--idle={600 if POSTGRES else 0.1}")
    process.line("Sending")
    for count in range(1, 4):
        record_access(poll, "view")
        server.wait_for_messages(count, timeout=60)
        if POSTGRES:
            eventually(is_asleep)
    assert process.end(signal.SIGTERM) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_calls_in_hand(server, gate, enqueue, start, number):
    enqueue(50)
    process = start("pusherable_relay", "--concurrency=1", PUSHER_TIMEOUT=120)
    assert gate.reached.wait(60)
    process.interrupt(number)
    process.line("Ending, after the calls in hand.")
    gate.opened.set()
    assert process.end() == (0, "")
    assert len(server.messages) == 10
    assert process.out[-1].endswith("10 sent, 0 to be tried again, 0 failed.\n")
    given_back = Delivery.objects.filter(claim=None, attempts=0)
    assert given_back.count() == Delivery.objects.count() == 40
    call_command("pusherable_relay", once=True, verbosity=0)
    assert sent_once(server), "and they are due at once"
    assert len(server.messages) == 50


def test_a_call_that_hangs_is_waited_for_no_longer_than_its_timeout(server, enqueue, start, eventually):
    server.fail_with = "hang"
    enqueue(1)
    process = start("pusherable_relay", PUSHER_TIMEOUT=1)
    eventually(lambda: server.requests)
    code, _ = process.end(signal.SIGTERM)
    assert code == 0
    row = Delivery.objects.get()
    assert row.claim is None
    assert row.last_error


def test_a_second_interrupt_ends_it_at_once(server, gate, enqueue, start):
    enqueue(1)
    process = start("pusherable_relay", PUSHER_TIMEOUT=120)
    assert gate.reached.wait(60)
    process.interrupt(signal.SIGINT)
    process.line("Ending")
    assert process.end(signal.SIGINT) == (-signal.SIGINT, "")


def test_copies_share_the_work(server, enqueue, start):
    copies = [start("pusherable_relay", "--idle=0.1", "--batch-size=10") for _ in range(2)]
    for process in copies:
        process.line("Sending")
    enqueue(300)
    server.wait_for_messages(300, timeout=60)
    assert [process.end(signal.SIGTERM) for process in copies] == [(0, ""), (0, "")]
    assert len(server.messages) == 300
    assert sent_once(server)
    assert not Delivery.objects.exists()


def test_ends_by_itself_after_so_many(server, enqueue, start):
    enqueue(12)
    process = start("pusherable_relay", "--max-events=5")
    assert process.end() == (0, "")
    assert len(server.messages) == 5
    assert Delivery.objects.filter(claim=None, attempts=0).count() == 7


@pytest.mark.parametrize("answer", [None, (500, "Try later.")])
def test_once_tells_by_its_exit_code_whether_all_was_sent(server, enqueue, start, answer):
    server.fail_with = answer
    enqueue(3)
    process = start("pusherable_relay", "--once", "--no-color")
    code, err = process.end()
    if answer:
        assert (code, len(server.messages)) == (1, 0)
        assert "Not all could be sent: 0 sent, 3 to be tried again, 0 failed. 3 are still to be sent." in err
    else:
        assert (code, len(server.messages), err) == (0, 3, "")
        assert "3 sent" in process.out[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("left", [0, 40])
def test_once_tells_that_it_was_stopped_before_all_was_sent(server, gate, enqueue, start, number, left):
    enqueue(10 + left)
    process = start("pusherable_relay", "--once", "--concurrency=1", PUSHER_TIMEOUT=120)
    assert gate.reached.wait(60)
    process.interrupt(number)
    process.line("Ending")
    gate.opened.set()
    code, err = process.end()
    assert code == (128 + number if left else 0)
    assert (f"10 sent, 0 to be tried again, 0 failed. {left} are still to be sent." in err) is bool(left)


def test_once_fails_for_what_is_given_up_too(recipient, use_transport, enqueue):
    def refuse(messages):
        if any(message.channel == "poll_1" for message in messages):
            raise RefusedError("413: too large")

    use_transport(refuse)
    enqueue(3)
    with pytest.raises(CommandError, match=r"2 sent, 0 to be tried again, 1 failed\. 0 are still to be sent"):
        relay(once=True)


def test_once_fails_where_most_is_not_even_tried(recipient, enqueue):
    recipient.error = TransportError("Pusher is away.")
    enqueue(100)
    with pytest.raises(CommandError, match=r"0 failed\. 100 are still to be sent") as caught:
        relay(once=True, concurrency=1)
    assert 0 < int(re.search(r"0 sent, (\d+) to be tried again", str(caught.value))[1]) < 100


def test_once_fails_for_wrong_credentials(server, enqueue, settings):
    settings.PUSHER_SECRET = "wrong"
    enqueue(3)
    with pytest.raises(
        CommandError, match=r"0 sent, \d to be tried again, 0 failed\. 3 are still to be sent"
    ):
        relay(once=True)


def test_once_with_nothing_to_do_succeeds(recipient):
    assert "0 sent" in relay(once=True)


def test_once_takes_no_more_than_asked_for(recipient, enqueue):
    enqueue(9)
    relay(once=True, max_events=4)
    assert len(recipient.channels) == 4


def test_reports_what_was_sent_and_how_late(recipient, enqueue, monkeypatch):
    monkeypatch.setattr(module, "REPORT_EVERY", 0)
    enqueue(10)
    out = relay(stdout=Terminal("lag"), idle=600)
    assert re.search(r"^10 sent, \d+\.\d/s, lag \d.* s, 0 to be tried again, 0 failed$", out, re.MULTILINE)
    assert out.count("lag") == 1, "and nothing where nothing was sent"
    assert "Ending, after the calls in hand.\n" in out


class Unread(StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_goes_on_where_nobody_reads_its_lines(recipient, enqueue, monkeypatch, caplog):
    monkeypatch.setattr(module, "REPORT_EVERY", 0)
    enqueue(200)
    relay(stdout=Unread(), max_events=200)
    assert len(recipient.channels) == 200
    assert recipient.most_often == 1
    assert not Delivery.objects.exists()
    assert caplog.records == []


def test_is_silent_at_verbosity_0(recipient, enqueue):
    enqueue(2)
    assert relay(max_events=1, verbosity=0) == ""
    assert relay(once=True, verbosity=0) == ""
    assert len(recipient.channels) == 2


def test_the_process_handles_signals_as_before_when_it_has_ended(recipient):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    relay(stdout=Terminal("Sending"))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_runs_in_a_thread_which_may_handle_no_signals(recipient, enqueue):
    enqueue(2)
    done = []

    def run():
        done.append(relay(once=True))
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert "2 sent" in done[0]


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_sends_from_another_database(recipient, enqueue):
    enqueue(1)
    enqueue(2, using="log")
    assert "2 sent" in relay(once=True, database="log")
    assert Delivery.objects.count() == 1


def test_a_project_that_broadcasts_nothing_is_told_so(settings):
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}
    settings.PUSHER_KEY = None
    with pytest.raises(CommandError, match=r"broadcasts nothing.* Write PUSHER_APP_ID"):
        relay(once=True)


@pytest.mark.parametrize("option", ["--batch-size", "--concurrency", "--max-events", "--idle"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "1e99", "nan", ""])
def test_a_number_that_cannot_be_is_named(option, value):
    with pytest.raises(CommandError) as caught:
        call_command("pusherable_relay", f"{option}={value}")
    assert re.match(rf"Error: argument {option}: '{value}': write a (whole )?number from ", str(caught.value))


def test_a_database_that_is_not_known_is_named_and_the_others_are_listed():
    with pytest.raises(CommandError, match=r"'nowhere'.*default.*log"):
        call_command("pusherable_relay", "--database=nowhere")


def test_a_usage_error_ends_the_process_with_2(start):
    code, err = start("pusherable_relay", "--idle=soon").end()
    assert code == 2
    assert "argument --idle: 'soon': write a number from 0.01 to 86,400." in err


@pytest.mark.django_db(transaction=True, databases=["default", "log"])
def test_once_without_a_database_fails_plainly(recipient, unreachable):
    with pytest.raises(CommandError, match=f'The queue in the database "{unreachable}" cannot be used.'):
        relay(once=True, database=unreachable)


def test_a_database_that_goes_away_after_the_last_call_fails_plainly(use_transport, enqueue, monkeypatch):
    def fail(messages):
        # The moment between this call and the last question cannot be met from outside.
        monkeypatch.setattr(
            module.Status, "of", lambda using: Delivery.objects.using(using).extra(where=["nonsense("]).get()
        )
        raise TransportError("not now")

    enqueue(1)
    use_transport(fail)
    with pytest.raises(CommandError, match='The queue in the database "default" cannot be used'):
        relay(once=True)
