"""pysher, a client in Python, against the server."""

import json

import pysher
import pytest

from tests.server.clients import DEADLINE, KEY, SECRET, Inbox, until


@pytest.fixture
def page(server):
    page = pysher.Pusher(
        KEY,
        secure=False,
        custom_host=server.host,
        port=server.port,
        secret=SECRET,
        user_data={"user_id": "1", "user_info": {"name": "Anna"}},
    )
    connected = Inbox()
    page.connection.bind("pusher:connection_established", connected.put)
    page.connect()
    connected.get()
    yield page
    page.disconnect(timeout=DEADLINE)


@pytest.mark.parametrize("name", ["article_17", "private-article_17", "presence-article_17"])
def test_receives_what_the_http_client_sends(page, client, name):
    viewed = Inbox()
    page.subscribe(name).bind("view", viewed.put)
    until(lambda: client.channel_info(name)["occupied"])
    client.trigger(name, "view", {"user": "admin"})
    assert json.loads(viewed.get()[0]) == {"user": "admin"}


def test_triggers_client_events(page, connect):
    reader = connect()
    reader.subscribe("private-article_17")
    page.subscribe("private-article_17").trigger("client-typing", {"field": "title"})
    assert reader.receive()["data"] == {"field": "title"}
