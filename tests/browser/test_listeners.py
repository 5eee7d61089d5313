"""The whole matrix with the real pusher-js: who was let in hears what is sent, and nobody else does."""

import json

import pytest

from pusherable.channels import PREFIXES, checked_names
from pusherable.delivery.messages import Message
from pusherable.delivery.transports import transport
from tests.browser import urls
from tests.browser.live import SCRIPT, subscribe
from tests.listeners import BACKENDS, MASTER_KEY, ROLES, channel, is_allowed, user_with

TARGETS = ["existing object", "missing object", "other model", "malformed name"]
MATRIX = [(kind, target) for kind in PREFIXES for target in TARGETS]


@pytest.fixture(autouse=True)
def _site(settings, server, monkeypatch):
    settings.AUTHENTICATION_BACKENDS = BACKENDS
    settings.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = MASTER_KEY
    monkeypatch.setattr(urls, "PUSHER_JS", urls.PUSHER_JS.with_name("pusher-with-encryption.min.js"))


def is_valid(name):
    try:
        return bool(checked_names(name))
    except ValueError:
        return False


def send(name):
    transport.get().send([Message(name, "view", json.dumps({"user": "ada", "event_id": name}))])


@pytest.mark.parametrize("role", ROLES)
def test_who_hears_what(role, open_page, write_page, poll):
    names = {channel(kind, target, poll): (kind, target) for kind, target in MATRIX}
    hears = [
        name
        for name, (kind, target) in names.items()
        if is_allowed(role, kind, target) or (kind == "public" and is_valid(name))
    ]
    malformed = channel("public", "malformed name", poll)
    page = open_page(user_with(role, poll))
    page.goto(write_page(SCRIPT + "".join(subscribe(name, "view") for name in [*names, "the-end"])))
    # Each of them has been let in, or told that it is not.
    page.wait_for_function(
        """names => names.every(name => {
            const pusher = window.Pusher?.instances[0]; // nothing is pending before it is connected
            const channel = pusher?.connection.state === "connected" && pusher.channel(name);
            return channel && !channel.subscriptionPending;
        })""",
        arg=[*(name for name in names if name != malformed), "the-end"],  # that one gets no answer at all
    )
    for name in filter(is_valid, names):
        send(name)
    send("the-end")
    page.wait_for_function("() => received.at(-1)?.channel === 'the-end'")
    received = page.evaluate("received.map(({ channel, data }) => [channel, data.user])")
    assert received == [[name, "ada"] for name in [*hears, "the-end"]]
