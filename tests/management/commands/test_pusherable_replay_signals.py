"""The command as a process: signals, and going on after them."""

import json
import re
import signal
from pathlib import Path

import pytest

from pusherable.models import AccessEvent, Delivery
from tests.delivery.events import log

pytestmark = pytest.mark.django_db(transaction=True)

PUSHER = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}


@pytest.fixture
def replay(start, server):
    """Start the command, on its way to the local server."""

    def replay(*arguments, **settings):
        address = {"PUSHER_HOST": server.host, "PUSHER_PORT": server.port, "PUSHER_SSL": False}
        settings = address | {"PUSHERABLE_TRANSPORT": PUSHER} | settings
        return start("pusherable_replay", "--no-input", *arguments, **settings)

    return replay


def received(server):
    return [json.loads(event.data)["event_id"] for event in server.messages]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_good_order_and_goes_on_where_it_was(replay, server, number):
    keys = log(60)
    first = replay("--after-id", "0", "--rate", "1/s")
    server.wait_for_messages(1, timeout=60)
    code, error = first.end(number)
    assert code == 128 + number
    assert not Delivery.objects.exists()
    hint = r"To go on, repeat the command with --after-id (\d+) --limit (\d+)\."
    last, rest = re.search(hint, error).groups()
    assert f"Last id: {last}." in first.out[-1]
    log(5)  # which the command did not mean
    sent = received(server)
    assert sorted(sent) == keys[: keys.index(int(last)) + 1]
    second = replay("--after-id", last, "--limit", rest)
    assert second.end() == (0, "")
    assert sorted(received(server)) == keys  # each of them, and none twice
    assert sorted(received(server)[len(sent) :]) == keys[len(sent) :]


def test_the_chunk_in_hand_is_finished(replay, server):
    """Even if that takes a while; all of it has been sent then."""
    server.delay = 0.3
    keys = log(25, object_pk="1")  # of one object: one call after another
    process = replay("--after-id", "0")
    server.wait_for_messages(1, timeout=60)
    assert process.end(signal.SIGINT) == (0, "")
    assert received(server) == keys


def test_a_second_signal_ends_it_at_once(replay, server, eventually):
    server.fail_with = "hang"
    [key] = log()
    process = replay("--after-id", "0", PUSHER_TIMEOUT=60)
    eventually(lambda: server.requests)
    process.popen.send_signal(signal.SIGINT)
    eventually(lambda: not catches(process.popen.pid, signal.SIGTERM))
    code, error = process.end(signal.SIGINT)
    assert code == 130
    assert "Stopped at once. What is in the queue is sent by whoever relays next." in error
    assert "Traceback" not in error
    assert "still in the queue: 1" in process.out[-1]
    assert AccessEvent.objects.get(pk=key).status == "pending"


def catches(pid, number):
    """Whether a process has a handler for the signal of its own."""
    mask = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[1]
    return bool(int(mask, 16) >> number - 1 & 1)


def test_exit_codes(replay, server):
    keys = log(status="failed")
    assert replay().end()[0] == 2
    assert replay("--status", "sent").end()[0] == 2
    assert replay("--since", "never").end()[0] == 2
    assert replay("--action", "printed").end()[0] == 0
    server.fail_with = (413, "Too large.")
    assert replay("--status", "failed", "--action", "view").end()[0] == 1
    server.fail_with = None
    assert replay("--after-id", "0").end()[0] == 0
    assert received(server) == keys
