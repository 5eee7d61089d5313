"""Pusher's script or Pusher itself is away: the pages work, and nothing is lost."""

import datetime as dt

import pytest

from pusherable.delivery import relay
from tests.browser.live import SCRIPT, subscribe, wait_for_event, wait_until_subscribed


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
def quick_retries(monkeypatch) -> None:
    monkeypatch.setattr(relay, "RETRY_AT_MOST", dt.timedelta(seconds=0.2))


@pytest.mark.usefixtures("quick_retries")
def test_missed_message_arrives_later(open_page, write_page, server, settings, poll):
    reader, writer = open_page(), open_page()
    reader.clock.install()
    reader.goto(write_page(SCRIPT + "{% pusherable_subscribe 'update' object %}", object=poll))
    wait_until_subscribed(reader, f"poll_{poll.pk}")

    server.stop()
    reader.wait_for_function("Pusher.instances[0].connection.state !== 'connected'")
    assert writer.goto(f"/polls/{poll.pk}/update/").status == 200

    # Pusher keeps nothing for a page that is away: this message is sent once the page is back. pusher-js
    # tries every 15 seconds to connect, by the page's clock.
    settings.PUSHER_PORT = 9
    server.start()
    reader.clock.fast_forward(20_000)
    wait_until_subscribed(reader, f"poll_{poll.pk}")
    settings.PUSHER_PORT = server.port
    [detail] = wait_for_event(reader, "update")
    assert detail["data"]["object"]["question"] == "What's up?"
