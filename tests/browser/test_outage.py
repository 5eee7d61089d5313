"""Pusher's script or Pusher itself is away: the pages work, and nothing is lost."""

from collections.abc import Iterator
from threading import Event

import pytest

from pusherable.delivery import breaker
from pusherable.delivery.transports import UnreachableError, probe
from tests.browser.live import SCRIPT, subscribe, wait_for_event, wait_until_subscribed

AUTH = "**/pusherable/auth/"


def test_blocked_script(open_page, write_page):
    page = open_page()
    page.route("**/pusher.js", lambda route: route.abort())
    form = "<form><button>Save</button></form>"
    with page.expect_console_message(lambda message: message.type == "warning") as warning:
        page.goto(write_page(SCRIPT + subscribe("poll_1", "update") * 2 + form))
    assert "pusher-js is not loaded" in warning.value.text
    insert = "html => document.body.insertAdjacentHTML('beforeend', html)"
    page.evaluate(insert, subscribe("poll_2", "update"))
    assert [message.type for message in page.console_messages()].count("warning") == 1
    assert page.page_errors() == []
    with page.expect_navigation():
        page.get_by_role("button").click()


@pytest.fixture
def short_pauses(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(breaker, "PAUSE_AT_MOST", 0.2)
    monkeypatch.setattr(breaker, "RECONNECT", 15)
    yield
    breaker.breaker.reset()


@pytest.fixture
def found_gone(monkeypatch) -> Event:
    """Set when the sender has asked whether the server is back, and it was not."""
    found = Event()

    def observed() -> None:
        try:
            probe()
        except UnreachableError:
            found.set()
            raise

    monkeypatch.setattr(breaker, "probe", observed)
    return found


@pytest.mark.usefixtures("short_pauses")
def test_missed_message_arrives_later(open_page, write_page, server, poll, found_gone):
    reader, writer = open_page(), open_page()
    reader.clock.install()
    reader.goto(write_page(SCRIPT + "{% pusherable_subscribe 'update' object %}", object=poll))
    wait_until_subscribed(reader, f"poll_{poll.pk}")

    server.stop()
    reader.wait_for_function("() => Pusher.instances[0].connection.state !== 'connected'")
    assert writer.goto(f"/polls/{poll.pk}/update/").status == 200
    assert server.messages == []
    # A server that is back before anybody has asked was not gone, and then nobody waits for the pages.
    assert found_gone.wait(60)

    # However long it took: by its own clock, the page tries again within 15 seconds, and before what it
    # missed is sent. pusher-js by itself would now be waiting for longer.
    reader.clock.fast_forward(16_000)
    reader.clock.fast_forward(31_000)
    server.start()
    reader.clock.fast_forward(15_000)
    wait_until_subscribed(reader, f"poll_{poll.pk}")
    [detail] = wait_for_event(reader, "update")
    assert detail["data"]["object"]["question"] == "What's up?"


def test_site_that_is_away_is_asked_again(settings, open_page, write_page, poll, admin_user):
    """Who could not be let in, because the site was restarted, say, is let in later."""
    settings.PUSHERABLE_CHANNELS = "private"
    page, channel = open_page(admin_user), f"private-poll_{poll.pk}"
    page.clock.install()
    page.route(AUTH, lambda route: route.fulfill(status=503))
    with page.expect_response(AUTH):
        page.goto(write_page(SCRIPT + "{% pusherable_subscribe 'update' object %}", object=poll))
    page.wait_for_function("name => !Pusher.instances[0].channel(name).subscriptionPending", arg=channel)
    page.unroute(AUTH)
    page.clock.fast_forward(15_000)
    wait_until_subscribed(page, channel)
