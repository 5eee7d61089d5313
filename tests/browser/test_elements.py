"""The custom element in a page that changes: inserted, moved, swapped, removed."""

import json

import pytest

from tests.browser.live import SCRIPT, subscribe, wait_for_event, wait_until_subscribed
from tests.server.clients import http_client

ELEMENT = "document.querySelector('pusherable-subscribe')"


@pytest.fixture
def sent() -> list[str]:
    """The names of what the page has sent over its WebSocket."""
    return []


@pytest.fixture
def page(open_page, write_page, sent):
    """An open page with one element, for the events `update` and `last` of `poll_1`."""
    page = open_page()
    page.on(
        "websocket",
        lambda socket: socket.on("framesent", lambda text: sent.append(json.loads(text)["event"])),
    )
    page.goto(write_page(SCRIPT + "<body>" + subscribe("poll_1", "update last")))
    wait_until_subscribed(page, "poll_1")
    return page


@pytest.fixture
def publish(server):
    """Sends events to `poll_1` and then the event `last` to the channel named."""

    def publish_then_last(*events: str, last_to: str = "poll_1") -> None:
        for event in events:
            http_client(server.port).trigger("poll_1", event, {})
        http_client(server.port).trigger(last_to, "last", {})

    return publish_then_last


def unsubscribed(page, channel):
    page.wait_for_function("name => !Pusher.instances[0].channel(name)", arg=channel)


def insert(page, html):
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", html)


def names(details):
    return [(detail["channel"], detail["event"]) for detail in details]


def test_inserted_later(page, publish):
    insert(page, subscribe("poll_2", "last"))
    wait_until_subscribed(page, "poll_2")
    publish("update", last_to="poll_2")
    assert names(wait_for_event(page, "last")) == [("poll_1", "update"), ("poll_2", "last")]


def test_inside_a_shadow_tree(page, publish):
    insert(page, "<div id=host></div>")
    page.evaluate(
        "html => { host.attachShadow({mode: 'open'}).innerHTML = html }", subscribe("poll_2", "last")
    )
    wait_until_subscribed(page, "poll_2")
    publish(last_to="poll_2")
    assert names(wait_for_event(page, "last")) == [("poll_2", "last")]


def test_the_channel_is_left_with_its_last_element(page, publish, sent):
    insert(page, subscribe("poll_1", "update last") + subscribe("poll_2", "last"))
    wait_until_subscribed(page, "poll_2")
    page.evaluate(f"{ELEMENT}.remove()")
    publish("update")
    assert names(wait_for_event(page, "last")) == [("poll_1", "update"), ("poll_1", "last")]
    assert "pusher:unsubscribe" not in sent

    page.evaluate(f"received.length = 0; {ELEMENT}.remove()")
    unsubscribed(page, "poll_1")
    publish("update", last_to="poll_2")
    assert names(wait_for_event(page, "last")) == [("poll_2", "last")]
    assert sent == ["pusher:subscribe", "pusher:subscribe", "pusher:unsubscribe"]


def test_moved(page, publish, sent):
    page.evaluate(f"document.body.appendChild(document.createElement('main')).append({ELEMENT})")
    publish("update")
    assert names(wait_for_event(page, "last")) == [("poll_1", "update"), ("poll_1", "last")]
    assert sent == ["pusher:subscribe"]


def test_swapped_while_it_is_notified(page, publish, sent):
    """As a page does that puts a new fragment, with the same tag in it, in the place of the old one."""
    page.evaluate(
        """html => {
            window.calls = [];
            window.pusherable_notify = (event) => {
                calls.push(event);
                document.body.insertAdjacentHTML("beforeend", html);
                document.querySelector("pusherable-subscribe").remove();
            };
        }""",
        subscribe("poll_1", "update last"),
    )
    publish("update", "update")
    page.wait_for_function("() => calls.includes('last')")
    assert page.evaluate("calls") == ["update", "update", "last"]
    assert sent == ["pusher:subscribe"]


def test_removed_while_another_is_notified(page, publish):
    insert(page, subscribe("poll_1", "update") + subscribe("poll_2", "last"))
    wait_until_subscribed(page, "poll_2")
    page.evaluate(
        """() => {
            window.calls = [];
            window.pusherable_notify = (event) => {
                calls.push(event);
                document.querySelectorAll("[data-channel=poll_1]").forEach((element) => element.remove());
            };
        }"""
    )
    publish("update", last_to="poll_2")
    page.wait_for_function("() => calls.includes('last')")
    assert page.evaluate("calls") == ["update", "last"]


def test_attributes_change(page, publish):
    page.evaluate(f"{ELEMENT}.dataset.events = 'delete'")
    insert(page, subscribe("poll_2", "last"))
    wait_until_subscribed(page, "poll_2")
    publish("update", "delete", last_to="poll_2")
    assert names(wait_for_event(page, "last")) == [("poll_1", "delete"), ("poll_2", "last")]

    page.evaluate(f"received.length = 0; {ELEMENT}.dataset.channel = 'poll_3'")
    wait_until_subscribed(page, "poll_3")
    unsubscribed(page, "poll_1")

    page.evaluate(f"{ELEMENT}.removeAttribute('data-channel')")
    unsubscribed(page, "poll_3")
    page.evaluate(f"{ELEMENT}.dataset.channel = 'poll_1'")
    wait_until_subscribed(page, "poll_1")
    publish("delete", last_to="poll_2")
    assert names(wait_for_event(page, "last")) == [("poll_1", "delete"), ("poll_2", "last")]
