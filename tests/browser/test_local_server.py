"""The local server as pusher-js in Chromium sees it, without our own script."""

import pytest
from playwright.sync_api import Page

from tests.server.clients import KEY, http_client

CONNECT = """
    ([key, options]) => {
        window.log = [];
        window.pusher = new Pusher(key, {
            ...options,
            channelAuthorization: {
                customHandler: async ({ socketId, channelName }, done) =>
                    done(null, await sign(socketId, channelName)),
            },
        });
        window.join = (name) => {
            pusher.subscribe(name).bind_global((event, data) => log.push({ channel: name, event, data }));
        };
    }
"""


@pytest.fixture
def connect(open_page, write_page, server):
    """A page that has connected as this user id; `sign` in it is the Python client's authorization."""

    def connect_as(user_id: str) -> Page:
        def sign(socket_id: str, channel: str) -> dict[str, str]:
            member = {"user_id": user_id, "user_info": {"name": user_id.title()}}
            return http_client(server.port).authenticate(
                channel, socket_id, member if channel.startswith("presence-") else None
            )

        page = open_page()
        page.expose_function("sign", sign)
        page.goto(write_page("<!doctype html><script src='/pusher.js'></script>"))
        options = {
            "cluster": "",
            "wsHost": server.host,
            "wsPort": server.port,
            "forceTLS": False,
            "enabledTransports": ["ws", "wss"],
        }
        page.evaluate(CONNECT, [KEY, options])
        return page

    return connect_as


def wait_for(page: Page, event: str) -> dict[str, object]:
    """The first event of this name in the page's log."""
    found = page.wait_for_function("name => log.find(({ event }) => event === name)", arg=event)
    return found.json_value()


def test_public_channel(connect, server):
    page = connect("ada")
    page.evaluate("join('poll_1')")
    wait_for(page, "pusher:subscription_succeeded")
    http_client(server.port).trigger("poll_1", "update", {"user": "Grüße 🎉"})
    assert wait_for(page, "update") == {"channel": "poll_1", "event": "update", "data": {"user": "Grüße 🎉"}}


def test_presence_channel_knows_who_comes_and_goes(connect, server):
    ada, bob = connect("ada"), connect("bob")
    ada.evaluate("join('presence-poll_1')")
    wait_for(ada, "pusher:subscription_succeeded")
    bob.evaluate("join('presence-poll_1')")
    wait_for(bob, "pusher:subscription_succeeded")
    assert wait_for(ada, "pusher:member_added")["data"] == {"id": "bob", "info": {"name": "Bob"}}
    assert bob.evaluate("pusher.channel('presence-poll_1').members.count") == 2
    assert bob.evaluate("pusher.channel('presence-poll_1').members.me.id") == "bob"
    bob.close()
    assert wait_for(ada, "pusher:member_removed")["data"] == {"id": "bob", "info": {"name": "Bob"}}
    assert list(http_client(server.port).users_info("presence-poll_1")["users"]) == [{"id": "ada"}]


def test_private_channel_and_client_events(connect, server):
    ada, bob = connect("ada"), connect("bob")
    for page in (ada, bob):
        page.evaluate("join('private-poll_1')")
        wait_for(page, "pusher:subscription_succeeded")
    bob.evaluate("pusher.channel('private-poll_1').trigger('client-typing', {field: 'question'})")
    assert wait_for(ada, "client-typing")["data"] == {"field": "question"}
    http_client(server.port).trigger("private-poll_1", "update", {"user": "ada"})
    wait_for(bob, "update")
    assert "client-typing" not in bob.evaluate("log.map(({ event }) => event)")


def test_a_wrong_signature_is_refused(connect, server):
    page = connect("ada")
    page.evaluate("window.sign = async () => { return {auth: 'test-key:' + '0'.repeat(64)} }; null")
    page.evaluate("join('private-poll_1')")
    assert wait_for(page, "pusher:subscription_error")["channel"] == "private-poll_1"
    assert http_client(server.port).channels_info()["channels"] == {}
