"""What the server tells a site: here to a receiver that keeps everything."""

import asyncio
import json
import signal
import threading
import time
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.management import CommandError, call_command
from yarl import URL

from pusherable.server.app import create_app, serving
from pusherable.server.channels import Change
from pusherable.server.protocol import Credentials
from pusherable.server.testing import LocalServer
from pusherable.server.webhooks import Webhooks
from tests.server.clients import APP_ID, DEADLINE, KEY, SECRET, RawClient, post_event, sign
from tests.server.test_command import free_port, run

CREDENTIALS = {"app_id": APP_ID, "key": KEY, "secret": SECRET}
PRESENCE = "presence-article_17"
ADA, EVE = {"user_id": "5"}, {"user_id": "6"}


class Receiver(ThreadingHTTPServer):
    """A site that keeps the webhooks it gets; ``answers`` are the statuses of the next ones, before 200."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/webhook/"
        self.got = []
        self.answers = []
        self.speaks = threading.Event()
        self.speaks.set()
        self.changed = threading.Condition()

    def wait_for(self, name, channel):
        """The names of the events up to this one, with their channel and member."""

        def found():
            return (name, channel) in [event[:2] for event in self.events()]

        with self.changed:
            assert self.changed.wait_for(found, DEADLINE), self.events()
            return self.events()

    def wait_for_calls(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.got) >= count, DEADLINE), self.got
            return list(self.got)

    def events(self):
        return [tuple(event.values()) for body, _ in self.got for event in json.loads(body)["events"]]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.changed:
            self.server.got.append((body, self.headers))
            self.server.changed.notify_all()
        self.server.speaks.wait(DEADLINE)
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "5")
        self.send_header("Location", "/elsewhere/")
        with suppress(ConnectionError):  # the test may be over
            self.end_headers()
            self.wfile.write(b"Hello")

    def do_GET(self):
        """Where a redirect would lead."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield receiver
        receiver.speaks.set()
        receiver.shutdown()
        thread.join()


@pytest.fixture
def delay():
    return 0.1


@pytest.fixture
def server(receiver, delay, monkeypatch):
    monkeypatch.setattr("pusherable.server.webhooks.TIMEOUT", DEADLINE)
    with LocalServer(**CREDENTIALS, webhook=receiver.url, webhook_delay=delay) as server:
        yield server


@pytest.fixture
def visit(server):
    """Opens a page that subscribes; closing it ends the connection."""
    with ExitStack() as stack:

        def visit(channel=PRESENCE, user=None):
            page = stack.enter_context(RawClient.connected(server.port))
            assert page.subscribe(channel, user)["event"] == "pusher_internal:subscription_succeeded"
            return page

        yield visit


def leave(page):
    page.socket.close()


def test_it_is_signed_and_of_the_documented_form(receiver, visit):
    before = time.time()
    visit(user=ADA)
    [(body, headers)] = receiver.wait_for_calls(1)
    assert headers["X-Pusher-Key"] == KEY
    assert headers["X-Pusher-Signature"] == sign(body.decode())
    assert headers["Content-Type"] == "application/json"
    webhook = json.loads(body)
    assert before <= webhook["time_ms"] / 1000 <= time.time()
    assert webhook["events"] == [
        {"name": "channel_occupied", "channel": PRESENCE},
        {"name": "member_added", "channel": PRESENCE, "user_id": "5"},
    ]


def test_who_comes_and_who_goes(receiver, visit):
    first, second = visit(user=ADA), visit(user=EVE)
    leave(first)
    receiver.wait_for("member_removed", PRESENCE)
    leave(second)
    assert receiver.wait_for("channel_vacated", PRESENCE) == [
        ("channel_occupied", PRESENCE),
        ("member_added", PRESENCE, "5"),
        ("member_added", PRESENCE, "6"),
        ("member_removed", PRESENCE, "5"),
        ("member_removed", PRESENCE, "6"),
        ("channel_vacated", PRESENCE),
    ]


def test_a_channel_without_presence_has_no_members(receiver, visit):
    page = visit("private-article_17")
    page.send("pusher:unsubscribe", {"channel": "private-article_17"})
    assert receiver.wait_for("channel_vacated", "private-article_17") == [
        ("channel_occupied", "private-article_17"),
        ("channel_vacated", "private-article_17"),
    ]


@pytest.mark.parametrize("delay", [4])
def test_whoever_comes_back_in_time_has_not_left(receiver, visit, caplog):
    leave(visit(user=ADA))
    again = visit(user=ADA)
    again.pass_by()
    leave(visit(user=EVE))
    events = receiver.wait_for("member_removed", PRESENCE)
    assert events == [
        ("channel_occupied", PRESENCE),
        ("member_added", PRESENCE, "5"),
        ("member_added", PRESENCE, "6"),
        ("member_removed", PRESENCE, "6"),
    ]
    leave(again)
    assert receiver.wait_for("channel_vacated", PRESENCE)[4:] == [
        ("member_removed", PRESENCE, "5"),
        ("channel_vacated", PRESENCE),
    ]
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_a_member_leaves_with_the_last_tab(receiver, visit):
    first, second = visit(user=ADA), visit(user=ADA)
    leave(first)
    second.pass_by()
    leave(visit(user=EVE))
    assert receiver.wait_for("member_removed", PRESENCE) == [
        ("channel_occupied", PRESENCE),
        ("member_added", PRESENCE, "5"),
        ("member_added", PRESENCE, "6"),
        ("member_removed", PRESENCE, "6"),
    ]


def test_at_most_twenty_at_once(receiver, visit):
    receiver.speaks.clear()
    page = visit("article_0")
    for number in range(1, 45):
        page.subscribe(f"article_{number}")
    receiver.speaks.set()
    receiver.wait_for("channel_occupied", "article_44")
    sizes = [len(json.loads(body)["events"]) for body, _ in receiver.got]
    assert sum(sizes) == 45
    assert max(sizes) <= 20
    assert len(sizes) <= 4


@pytest.mark.parametrize("status", [500, 401, 302, 304])
def test_what_is_not_accepted_is_sent_again(receiver, visit, status):
    receiver.answers = [status]
    visit(user=ADA)
    (first, headers), (second, again) = receiver.wait_for_calls(2)
    assert first == second
    assert headers["X-Pusher-Signature"] == again["X-Pusher-Signature"]
    visit("article_18")
    assert len(receiver.wait_for("channel_occupied", "article_18")) == 5


def test_what_is_never_accepted_is_given_up(receiver, visit, monkeypatch):
    monkeypatch.setattr("pusherable.server.webhooks.PAUSES", (0.01, 0.01))
    receiver.answers = [500] * 3
    visit("article_17")
    receiver.wait_for_calls(3)
    visit("article_18")
    bodies = [body for body, _ in receiver.wait_for_calls(4)]
    assert bodies[0] == bodies[1] == bodies[2] != bodies[3]
    assert b"article_18" in bodies[3]


def test_a_silent_site_disturbs_nobody(receiver, server, visit):
    receiver.speaks.clear()
    page = visit(user=ADA)
    receiver.wait_for_calls(1)
    assert post_event(server.port, channel=PRESENCE).status_code == 200
    assert page.receive()["event"] == "view"
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < DEADLINE / 2


def test_it_stops_while_departures_wait(receiver):
    with LocalServer(**CREDENTIALS, webhook=receiver.url, webhook_delay=DEADLINE) as server:
        page = RawClient.connected(server.port)
        page.subscribe(PRESENCE, ADA)
        receiver.wait_for("member_added", PRESENCE)
        leave(page)
        started = time.monotonic()
    assert time.monotonic() - started < DEADLINE / 2
    assert len(receiver.got) == 1


# The command


def test_the_command_shows_what_it_sends(server, receiver):
    port = free_port(server)

    def visit():
        with RawClient.connected(port) as page:
            page.subscribe(PRESENCE, ADA)
            receiver.wait_for("member_added", PRESENCE)
            page.subscribe("article_18")  # is told when the one before it has been shown
            receiver.wait_for("channel_occupied", "article_18")

    out, err = run(signal.SIGTERM, visit, port=port, webhook=receiver.url)
    assert f"channel_occupied {PRESENCE}, member_added {PRESENCE} 5 -> {receiver.url}\n" in out
    assert err == ""


def test_the_command_says_once_for_each_outage_that_the_url_fails(server, receiver, monkeypatch):
    monkeypatch.setattr("pusherable.server.webhooks.PAUSES", (0.01, 0.01))
    port = free_port(server)
    receiver.answers = [500, 500, 500, 500, 500, 500, 200, 500, 200]

    def visit():
        with RawClient.connected(port) as page:
            for number, calls in enumerate([3, 6, 7, 9]):
                page.subscribe(f"article_{number}")
                receiver.wait_for_calls(calls)

    out, err = run(signal.SIGTERM, visit, port=port, webhook=receiver.url)
    assert err == f"The webhook's URL {receiver.url} answers 500: Hello\n" * 2
    assert [f"channel_occupied article_{number} -> " in out for number in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    "url", ["", "example.com/webhook/", "ftp://example.com/", "http://", "http://[", "/webhook/"]
)
def test_what_is_no_url_is_an_error(url):
    with pytest.raises(CommandError, match=r"--webhook: .* is not a URL: "):
        call_command("pusherable_server", webhook=url)


@pytest.fixture
def somewhere_else(receiver):
    """Addresses that do not answer."""
    with LocalServer(**CREDENTIALS) as gone:
        pass
    with Receiver() as silent:  # takes the connection, which nobody serves
        yield {
            "nobody there": f"http://127.0.0.1:{gone.port}/",
            "too long": f"http://{'a' * 70}.example/",
            "an empty part": "http://a..example/",
            "silence": silent.url,
        }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("nobody there", "cannot be reached"),
        ("too long", "cannot be reached"),
        ("an empty part", "cannot be reached"),
        ("silence", "does not answer within 0.1 seconds"),
    ],
)
def test_a_url_that_does_not_answer_ends_nothing(receiver, somewhere_else, monkeypatch, kind, expected):
    monkeypatch.setattr("pusherable.server.webhooks.PAUSES", (0.01,) * 100)
    monkeypatch.setattr("pusherable.server.webhooks.TIMEOUT", 0.1 if kind == "silence" else DEADLINE)
    problems = []

    async def tell():
        failed = asyncio.Event()

        def note(problem):
            problems.append(problem)
            failed.set()

        credentials = Credentials(APP_ID, KEY, SECRET)
        webhooks = Webhooks(credentials, somewhere_else[kind], on_failure=note)
        async with (
            asyncio.timeout(DEADLINE),
            serving(create_app(credentials, webhooks=webhooks), "127.0.0.1", 0),
        ):
            webhooks.notify(Change("channel_occupied", "article_17"))
            await failed.wait()
            webhooks.url = URL(receiver.url)
            await asyncio.to_thread(receiver.wait_for, "channel_occupied", "article_17")

    asyncio.run(tell())
    [problem] = problems
    assert expected in problem
