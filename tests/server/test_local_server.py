import threading
import time

import pytest
import requests

from pusherable.server.testing import LocalServer
from tests.server.clients import APP_ID, KEY, SECRET, call, http_client, post_event

CREDENTIALS = {"app_id": APP_ID, "key": KEY, "secret": SECRET}


def test_logs_calls_and_messages(server, client):
    client.trigger("article_17", "view", {"user": "admin"}, socket_id="1.2")
    client.channels_info()
    [event] = server.wait_for_messages(1)
    assert (event.name, event.channels, event.data) == ("view", ("article_17",), '{"user": "admin"}')
    assert event.socket_id == "1.2"
    posted, asked = server.requests
    assert (posted.method, posted.path) == ("POST", f"/apps/{APP_ID}/events")
    assert posted.json["name"] == "view"
    assert (asked.method, asked.query["auth_key"]) == ("GET", KEY)


def test_waiting_in_vain_ends(server):
    with pytest.raises(TimeoutError, match="0 of 1"):
        server.wait_for_messages(1, timeout=0.01)


def test_waits_for_messages_of_other_threads(server, client):
    sender = threading.Thread(target=client.trigger, args=("article_17", "view", {}))
    sender.start()
    assert len(server.wait_for_messages(1, timeout=60)) == 1
    sender.join()


def test_stops_and_comes_back_on_the_same_port(server, client):
    port = server.port
    client.trigger("article_17", "view", {})
    server.stop()
    server.stop()
    with pytest.raises(requests.ConnectionError):
        client.trigger("article_17", "view", {})
    server.start()
    assert server.port == port
    client.trigger("article_17", "view", {})
    assert len(server.messages) == 2


def test_a_port_in_use_is_an_os_error(server):
    second = LocalServer(**CREDENTIALS, port=server.port)
    with pytest.raises(OSError, match="in use"):
        second.start()
    second.stop()
    server.stop()
    with second:
        assert second.port == server.port


def test_fails_as_told(server, client):
    server.fail_with = (503, "Try later.")
    answer = post_event(server.port, channel="article_17")
    assert (answer.status_code, answer.text) == (503, "Try later.")
    assert client.channels_info() == {"channels": {}}
    assert server.messages == []
    assert len(server.requests) == 2
    server.fail_with = None
    assert post_event(server.port, channel="article_17").status_code == 200


def test_hangs_as_told_and_stops_all_the_same(server):
    server.fail_with = "hang"
    impatient = http_client(server.port)
    impatient._pusher_client._timeout = 0.1
    with pytest.raises(requests.Timeout):
        impatient.trigger("article_17", "view", {})
    impatient._pusher_client.http.session.close()
    assert server.messages == []
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 20


def test_takes_what_it_does_not_answer(server):
    server.fail_with = "mute"
    impatient = http_client(server.port)
    impatient._pusher_client._timeout = 1
    for _ in range(2):
        with pytest.raises(requests.Timeout):
            impatient.trigger("article_17", "view", {})
    impatient._pusher_client.http.session.close()
    first, second = server.wait_for_messages(2, timeout=60)
    assert first == second


def test_a_function_decides_call_by_call(server, client):
    def fail_every_other(request):
        names.append(request.json["name"])
        return (500, "Odd.") if len(names) % 2 else None

    names = []
    server.fail_with = fail_every_other
    statuses = [post_event(server.port, channel="article_17").status_code for _ in range(4)]
    assert statuses == [500, 200, 500, 200]
    assert client.channels_info() == {"channels": {}}  # reading does not fail, and is not asked about
    assert names == ["view"] * 4
    assert len(server.messages) == 2


def test_delays_answers_as_told(server):
    server.delay = 0.2
    started = time.monotonic()
    assert call(server.port, "GET", f"/apps/{APP_ID}/channels").status_code == 200
    assert time.monotonic() - started >= 0.2


def test_starts_and_stops_quickly():
    started = time.monotonic()
    for _ in range(10):
        with LocalServer(**CREDENTIALS):
            pass
    assert time.monotonic() - started < 20
