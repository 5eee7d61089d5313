import hashlib
import json
import time

import pytest
import requests

from tests.server.clients import APP_ID, DEADLINE, KEY, call, post_event

EVENTS = f"/apps/{APP_ID}/events"
BATCH = f"/apps/{APP_ID}/batch_events"
EVENT = {"name": "view", "channel": "article_17", "data": "{}"}


class TestEvents:
    def test_an_event_reaches_the_subscribers_of_its_channels(self, client, connect):
        page, other = connect(), connect()
        page.subscribe("article_17")
        other.subscribe("article_18")
        assert client.trigger(["article_17", "article_19"], "view", {"user": "Zoë"}) == {}
        received = page.receive()
        assert received == {"event": "view", "channel": "article_17", "data": '{"user": "Zoë"}'}
        other.assert_nothing_else()

    def test_socket_id_excludes_the_page_that_caused_it(self, client, connect):
        author, reader = connect(), connect()
        author.subscribe("article_17")
        reader.subscribe("article_17")
        client.trigger("article_17", "update", {}, socket_id=author.socket_id)
        assert reader.receive()["event"] == "update"
        author.assert_nothing_else()

    def test_info_counts_each_channel(self, server, connect):
        page = connect()
        page.subscribe("article_17")
        page.subscribe("presence-article_17", {"user_id": "1"})
        channels = ["article_17", "presence-article_17", "nobody"]
        answer = post_event(server.port, channels=channels, info="subscription_count,user_count").json()
        assert answer["channels"] == {
            "article_17": {"subscription_count": 1},
            "presence-article_17": {"subscription_count": 1, "user_count": 1},
            "nobody": {"subscription_count": 0},
        }

    @pytest.mark.parametrize(
        "change",
        [
            {"name": ""},
            {"name": "x" * 201},
            {"name": None},
            {"data": {}},
            {"channel": "no spaces"},
            {"channel": "x" * 165},
            {"channel": "line\n"},
            {"channel": None},
            {"channels": []},
            {"channels": "article_17"},
            {"channels": [f"article_{number}" for number in range(101)]},
            {"socket_id": "1"},
            {"socket_id": 1.5},
            {"info": "name"},
            {"info": ["user_count"]},
        ],
    )
    def test_a_bad_request_is_400_and_sends_nothing(self, server, change):
        answer = call(server.port, "POST", EVENTS, EVENT | change)
        assert answer.status_code == 400
        assert answer.text
        assert server.messages == []

    @pytest.mark.parametrize("change", [{"name": "x" * 200}, {"channel": "x" * 164}, {"data": "é" * 5120}])
    def test_the_limits_themselves_are_allowed(self, server, change):
        assert call(server.port, "POST", EVENTS, EVENT | change).status_code == 200

    def test_a_hundred_channels_are_allowed(self, client, server):
        client.trigger([f"article_{number}" for number in range(100)], "view", {})
        assert len(server.messages[0].channels) == 100

    def test_too_much_data_is_413(self, server):
        answer = post_event(server.port, channel="article_17", data="é" * 5120 + "x")
        assert answer.status_code == 413
        assert "10240" in answer.text

    def test_a_body_beyond_all_limits_is_413(self, server):
        assert call(server.port, "POST", EVENTS, b" " * 2**21).status_code == 413

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"NaN", b'"' + b"\xff" * 9 + b'"', b"[" * 100_000])
    def test_a_body_that_is_no_event_is_400(self, server, body):
        assert call(server.port, "POST", EVENTS, body).status_code == 400


class TestBatchEvents:
    def test_events_of_a_batch_arrive_in_order(self, client, connect):
        page = connect()
        page.subscribe("article_17")
        batch = [{"name": f"event-{n}", "channel": "article_17", "data": {"n": n}} for n in range(10)]
        assert client.trigger_batch(batch) == {}
        assert [page.receive()["event"] for _ in range(10)] == [f"event-{n}" for n in range(10)]

    def test_info_answers_by_position(self, client, connect):
        connect().subscribe("article_17")
        batch = [
            EVENT | {"info": "subscription_count"},
            EVENT,
            EVENT | {"channel": "b", "info": "user_count"},
        ]
        assert client.trigger_batch(batch) == {"batch": [{"subscription_count": 1}, {}, {}]}

    @pytest.mark.parametrize(
        "body",
        [
            {"batch": [EVENT] * 11},
            {"batch": [EVENT, {}]},
            {"batch": [EVENT, None]},
            {"batch": [{"name": "view", "data": "", "channels": ["a", "b"]}]},
            {"batch": {}},
            {},
        ],
    )
    def test_a_bad_batch_is_400_and_sends_nothing_of_it(self, server, body):
        assert call(server.port, "POST", BATCH, body).status_code == 400
        assert server.messages == []

    def test_too_much_data_is_413(self, server):
        body = {"batch": [EVENT, EVENT | {"data": "x" * 10_241}]}
        assert call(server.port, "POST", BATCH, body).status_code == 413


class TestChannels:
    def test_lists_the_occupied_channels(self, client, connect):
        page = connect()
        assert client.channels_info() == {"channels": {}}
        page.subscribe("article_17")
        page.subscribe("private-article_17")
        assert client.channels_info() == {"channels": {"article_17": {}, "private-article_17": {}}}
        assert client.channels_info("private-") == {"channels": {"private-article_17": {}}}
        assert client.channels_info("private-", ["subscription_count"]) == {
            "channels": {"private-article_17": {"subscription_count": 1}}
        }

    def test_a_channel_vanishes_with_its_last_subscriber(self, client, connect):
        page, other = connect(), connect()
        for subscriber in (page, other):
            subscriber.subscribe("article_17")
        page.send("pusher:unsubscribe", {"channel": "article_17"})
        page.assert_nothing_else()
        assert client.channel_info("article_17", ["subscription_count"])["subscription_count"] == 1
        other.send("pusher:unsubscribe", {"channel": "article_17"})
        other.assert_nothing_else()
        assert client.channel_info("article_17") == {"occupied": False}
        assert client.channels_info() == {"channels": {}}

    def test_counts_users_of_presence_channels(self, client, connect):
        for user_id in ("1", "1", "2"):
            connect().subscribe("presence-article_17", {"user_id": user_id})
        attributes = ["user_count", "subscription_count"]
        counts = {"user_count": 2, "subscription_count": 3}
        assert client.channels_info("presence-", attributes) == {"channels": {"presence-article_17": counts}}
        assert client.channel_info("presence-article_17", attributes) == {"occupied": True, **counts}
        assert client.users_info("presence-article_17") == {"users": [{"id": "1"}, {"id": "2"}]}

    @pytest.mark.parametrize(
        ("path", "params"),
        [
            ("channels", {"info": "user_count"}),
            ("channels", {"info": "user_count", "filter_by_prefix": "private-"}),
            ("channels", {"info": "nonsense"}),
            ("channels/article_17", {"info": "user_count"}),
            ("channels/no spaces", {}),
            ("channels/article_17/users", {}),
        ],
    )
    def test_what_does_not_apply_is_400(self, server, path, params):
        assert call(server.port, "GET", f"/apps/{APP_ID}/{path}", params=params).status_code == 400


class TestAuthentication:
    @pytest.mark.parametrize(
        "spoiled",
        [
            {"auth_key": "another"},
            {"auth_key": None},
            {"auth_version": "2.0"},
            {"auth_version": None},
            {"auth_timestamp": None},
            {"auth_timestamp": "soon"},
            {"auth_timestamp": "9" * 5000},
            {"body_md5": hashlib.md5(b"another body").hexdigest()},
            {"body_md5": None},
            {"auth_signature": "0" * 64},
            {"auth_signature": "é"},
            {"auth_signature": ""},
        ],
    )
    def test_anything_wrong_is_401_with_an_explanation(self, server, spoiled):
        answer = call(server.port, "POST", EVENTS, EVENT, **spoiled)
        assert answer.status_code == 401
        assert answer.text
        assert server.messages == []

    @pytest.mark.parametrize(("seconds", "status"), [(-700, 401), (-500, 200), (500, 200), (700, 401)])
    def test_a_signature_is_good_for_ten_minutes(self, server, seconds, status):
        stamp = str(int(time.time()) + seconds)
        assert call(server.port, "POST", EVENTS, EVENT, auth_timestamp=stamp).status_code == status

    def test_a_signature_covers_every_parameter(self, server):
        answer = call(server.port, "GET", f"/apps/{APP_ID}/channels")
        assert answer.status_code == 200
        assert requests.get(answer.url + "&info=subscription_count", timeout=DEADLINE).status_code == 401

    def test_body_md5_may_be_left_out_without_a_body(self, server):
        assert call(server.port, "GET", f"/apps/{APP_ID}/channels", body_md5=None).status_code == 200

    def test_nothing_is_answered_without_a_signature(self, server):
        assert (
            requests.get(
                f"http://127.0.0.1:{server.port}/apps/{APP_ID}/channels", timeout=DEADLINE
            ).status_code
            == 401
        )


@pytest.mark.parametrize(
    "path", ["/", "/apps", "/apps/1/events", f"/apps/{APP_ID}", f"/apps/{APP_ID}/nothing"]
)
def test_an_unknown_path_or_app_is_404(server, path):
    assert call(server.port, "POST", path, json.dumps(EVENT).encode()).status_code == 404


def test_the_websocket_path_wants_a_websocket(server):
    assert requests.get(f"http://127.0.0.1:{server.port}/app/{KEY}", timeout=DEADLINE).status_code == 400
