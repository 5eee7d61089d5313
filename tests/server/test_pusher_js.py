"""pusher-js, the client of the pages, against the server."""

import pytest


@pytest.fixture
def page(pusher_js):
    page = pusher_js(user={"user_id": "1", "user_info": {"name": "Anna"}})
    page.wait_for(state="connected")
    return page


def subscribe(page, channel):
    page.do("subscribe", channel)
    return page.wait_for(channel=channel, event="pusher:subscription_succeeded")


@pytest.mark.parametrize("channel", ["article_17", "private-article_17", "private-encrypted-article_17"])
def test_receives_what_the_http_client_sends(page, client, channel):
    subscribe(page, channel)
    client.trigger(channel, "view", {"user": "Zoë 👋"})
    assert page.wait_for(channel=channel, event="view")["data"] == {"user": "Zoë 👋"}


def test_is_left_out_of_its_own_events(page, pusher_js, client):
    reader = pusher_js()
    socket_id = page.wait_for(state="connected")["socket_id"]
    for each in (page, reader):
        subscribe(each, "article_17")
    client.trigger("article_17", "update", {}, socket_id=socket_id)
    client.trigger("article_17", "view", {})
    reader.wait_for(channel="article_17", event="update")
    page.wait_for(channel="article_17", event="view")
    assert not [seen for seen in page.seen if seen.get("event") == "update"]


def test_unsubscribes(page, client):
    subscribe(page, "article_17")
    subscribe(page, "article_18")
    page.do("unsubscribe", "article_17")
    page.do("subscribe", "article_19")  # answered after the one before
    page.wait_for(channel="article_19", event="pusher:subscription_succeeded")
    assert set(client.channels_info()["channels"]) == {"article_18", "article_19"}


def test_sees_members_come_and_go(page, pusher_js):
    assert subscribe(page, "presence-article_17")["members"] == 1
    boris = pusher_js(user={"user_id": "2", "user_info": {"name": "Boris"}})
    assert subscribe(boris, "presence-article_17")["members"] == 2
    added = page.wait_for(channel="presence-article_17", event="pusher:member_added")
    assert added["data"] == {"id": "2", "info": {"name": "Boris"}}
    boris.do("trigger", "presence-article_17", "client-typing", {"field": "title"})
    page.wait_for(typing={"field": "title"}, user_id="2")
    boris.do("unsubscribe", "presence-article_17")
    removed = page.wait_for(channel="presence-article_17", event="pusher:member_removed")
    assert removed["members"] == 1


def test_is_told_of_a_refused_subscription(page, client):
    page.client = type(client)("4242", "test-key", "wrong-secret")
    page.do("subscribe", "private-article_17")
    refused = page.wait_for(channel="private-article_17", event="pusher:subscription_error")
    assert refused["data"]["type"] == "AuthError"
    page.client._pusher_client.http.session.close()


def test_gives_up_with_a_key_that_does_not_exist(pusher_js):
    page = pusher_js(key="another-key")
    page.wait_for(error=4001)
    page.wait_for(state="disconnected")


def test_reconnects_after_a_restart_and_subscribes_again(page, server, client):
    subscribe(page, "article_17")
    page.seen.clear()
    server.stop()
    server.start()
    page.wait_for(error=4200)
    # At once, if the server is back before pusher-js tries; its next attempt comes after 15 seconds.
    page.wait_for(channel="article_17", event="pusher:subscription_succeeded")
    client.trigger("article_17", "view", {})
    page.wait_for(channel="article_17", event="view")


def test_answers_pings_of_the_server(pusher_js, server):
    server.stop()
    server.timeouts = {"activity_timeout": 0.2, "pong_timeout": 60}
    server.start()
    page = pusher_js(options={"activityTimeout": 60_000})
    page.wait_for(state="connected")
    page.wait_for(event="pusher:ping")
    subscribe(page, "article_17")
