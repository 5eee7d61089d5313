import json
import threading

import pytest
import websocket

from pusherable.server.testing import LocalServer
from tests.server.clients import APP_ID, KEY, SECRET, RawClient, sign


class TestConnecting:
    def test_a_client_is_told_its_socket_id_and_the_activity_timeout(self, connect):
        first, second = connect(), connect()
        assert first.established["activity_timeout"] == 120
        assert first.socket_id != second.socket_id
        assert all(part.isdigit() for part in first.socket_id.split("."))

    @pytest.mark.parametrize("version", ["5", "6", "7"])
    def test_protocols_that_clients_still_speak(self, connect, version):
        assert connect(f"/app/{KEY}?protocol={version}").receive()["event"] == "pusher:connection_established"

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/app/another-key?protocol=7", 4001),
            ("/", 4005),
            ("/app", 4005),
            (f"/app/{KEY}/more?protocol=7", 4005),
            (f"/app/{KEY}?protocol=seven", 4006),
            (f"/app/{KEY}?protocol=", 4006),
            (f"/app/{KEY}?protocol=-1", 4006),
            (f"/app/{KEY}?protocol=%C2%B2", 4006),
            (f"/app/{KEY}?protocol=4", 4007),
            (f"/app/{KEY}?protocol=8", 4007),
            (f"/app/{KEY}?protocol=07", 4007),
            (f"/app/{KEY}?protocol={'7' * 5000}", 4007),
            (f"/app/{KEY}", 4008),
        ],
    )
    def test_a_refused_connection_says_why_and_closes(self, connect, path, code):
        events, close_code, reason = connect(path).closing()
        assert close_code == code
        assert events == [{"event": "pusher:error", "data": {"code": code, "message": reason}}]


class TestSubscribing:
    def test_a_public_channel_is_open_to_all(self, connect):
        assert connect().subscribe("article_17") == {
            "event": "pusher_internal:subscription_succeeded",
            "channel": "article_17",
            "data": "{}",
        }

    @pytest.mark.parametrize("channel", ["private-article_17", "private-encrypted-article_17"])
    def test_a_private_channel_wants_a_signature(self, connect, channel):
        page = connect()
        answer = page.subscribe(channel, auth=f"{KEY}:{sign('1.1:' + channel)}")
        assert answer["event"] == "pusher:subscription_error"
        assert answer["channel"] == channel
        assert answer["data"]["type"] == "AuthError"
        assert answer["data"]["status"] == 401
        assert page.subscribe(channel)["event"] == "pusher_internal:subscription_succeeded"

    @pytest.mark.parametrize(
        "auth", [None, "", 17, "é", sign("x"), f"{KEY}:", f"other:{sign('x')}", "\ud800"]
    )
    def test_a_spoiled_signature_is_refused(self, connect, auth):
        assert connect().subscribe("private-article_17", auth=auth)["data"]["type"] == "AuthError"

    def test_channel_data_of_a_private_channel_is_signed_too(self, connect):
        answer = connect().subscribe("private-article_17", {"any": "thing"})
        assert answer["event"] == "pusher_internal:subscription_succeeded"

    @pytest.mark.parametrize("channel", ["", "no spaces", "#server-to-user-1", "x" * 165, "line\n"])
    def test_a_bad_channel_name_is_refused(self, connect, channel):
        answer = connect().subscribe(channel)
        assert (answer["event"], answer["channel"]) == ("pusher:subscription_error", channel)
        assert answer["data"]["status"] == 400

    def test_subscribing_twice_is_refused_and_changes_nothing(self, connect, client):
        page = connect()
        page.subscribe("article_17")
        assert page.subscribe("article_17")["event"] == "pusher:subscription_error"
        client.trigger("article_17", "view", {})
        assert page.receive()["event"] == "view"
        page.assert_nothing_else()

    def test_after_unsubscribing_nothing_arrives(self, connect, client):
        page = connect()
        page.subscribe("article_17")
        page.send("pusher:unsubscribe", {"channel": "article_17"})
        page.send("pusher:unsubscribe", {"channel": "never-subscribed"})
        page.assert_nothing_else()
        client.trigger("article_17", "view", {})
        page.assert_nothing_else()


class TestMessages:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "null",
            "NaN",
            "{}",
            '{"event": 17}',
            '{"event": "unknown"}',
            '{"event": "view", "channel": "article_17", "data": {}}',
            '{"event": "pusher:subscribe"}',
            '{"event": "pusher:subscribe", "data": {"channel": 17}}',
            '{"event": "client-x", "channel": []}',
            "[" * 50_000,
        ],
    )
    def test_what_is_not_understood_is_answered_with_an_error(self, connect, text):
        page = connect()
        page.socket.send(text)
        answer = page.receive()
        assert answer["event"] == "pusher:error"
        assert answer["data"]["code"] is None
        page.assert_nothing_else()

    def test_binary_frames_are_answered_with_an_error(self, connect):
        page = connect()
        page.socket.send_binary(b'{"event": "pusher:ping"}')
        assert page.receive()["event"] == "pusher:error"
        page.assert_nothing_else()

    def test_sign_in_is_refused_but_the_connection_stays(self, connect):
        page = connect()
        page.send("pusher:signin", {"auth": "", "user_data": "{}"})
        assert page.receive()["data"]["code"] == 4009
        page.assert_nothing_else()

    def test_a_frame_beyond_all_limits_ends_the_connection(self, connect):
        page = connect()
        page.socket.sock.sendall(b"\x81\xff" + (200_000).to_bytes(8) + b"mask")  # the head of a long frame
        assert page.closing()[1] == 1009

    def test_text_that_is_not_utf8_ends_the_connection(self, connect):
        page = connect()
        page.socket.send(b"\xff", websocket.ABNF.OPCODE_TEXT)
        assert page.closing()[1] == 1007

    def test_websocket_pings_are_answered(self, connect):
        page = connect()
        page.socket.ping("hello")
        opcode, data = page.socket.recv_data(control_frame=True)
        assert (opcode, data) == (websocket.ABNF.OPCODE_PONG, b"hello")


class TestActivity:
    @pytest.fixture
    def patience(self):
        return 1

    @pytest.fixture
    def server(self, patience):
        with LocalServer(
            app_id=APP_ID, key=KEY, secret=SECRET, activity_timeout=0.1, pong_timeout=patience
        ) as server:
            yield server

    def test_a_silent_client_is_pinged_and_then_closed(self, connect):
        events, code, reason = connect().closing()
        assert [event["event"] for event in events] == ["pusher:ping"]
        assert code == 4201
        assert "Pong" in reason

    @pytest.mark.parametrize("patience", [60])
    def test_a_client_that_answers_stays(self, connect):
        page = connect()
        for _ in range(3):
            assert page.receive()["event"] == "pusher:ping"
            page.send("pusher:pong")

    def test_a_closed_client_has_left_its_channels(self, connect, client):
        page = connect()
        page.subscribe("article_17")
        page.closing()
        page.close()
        assert client.channels_info() == {"channels": {}}


class TestClientEvents:
    @pytest.fixture
    def members(self, connect):
        pages = connect(), connect()
        for page in pages:
            page.subscribe("private-article_17")
        return pages

    def test_go_to_the_others_but_not_back(self, members):
        author, reader = members
        author.send("client-typing", {"field": "title"}, channel="private-article_17")
        assert reader.receive() == {
            "event": "client-typing",
            "channel": "private-article_17",
            "data": {"field": "title"},
        }
        author.assert_nothing_else()

    def test_carry_the_user_on_presence_channels(self, connect):
        author, reader = connect(), connect()
        reader.subscribe("presence-article_17", {"user_id": "2"})
        author.subscribe("presence-article_17", {"user_id": 1})
        assert reader.receive()["event"] == "pusher_internal:member_added"
        author.send("client-typing", "{}", channel="presence-article_17")
        assert reader.receive()["user_id"] == "1"

    @pytest.mark.parametrize("channel", ["article_17", "private-encrypted-article_17"])
    def test_are_refused_on_other_channels(self, connect, channel):
        page = connect()
        page.subscribe(channel)
        page.send("client-typing", {}, channel=channel)
        assert page.receive()["data"]["code"] == 4301

    def test_are_refused_from_outside_the_channel(self, connect, members):
        page = connect()
        page.send("client-typing", {}, channel="private-article_17")
        assert page.receive()["data"]["code"] == 4301
        members[0].assert_nothing_else()

    @pytest.mark.parametrize(
        ("event", "data"),
        [("client-" + "x" * 194, {}), ("client-typing", "é" * 5121), ("client-typing", {"a": "x" * 10_240})],
    )
    def test_are_refused_beyond_the_limits(self, members, event, data):
        author, reader = members
        author.send(event, data, channel="private-article_17")
        assert author.receive()["data"]["code"] == 4301
        reader.assert_nothing_else()

    def test_have_the_size_limit_of_other_events(self, members):
        author, reader = members
        author.send("client-" + "x" * 193, "é" * 5120, channel="private-article_17")
        assert len(reader.receive()["data"]) == 5120

    def test_are_limited_to_ten_in_a_second(self, members):
        author, reader = members
        for number in range(12):
            author.send("client-typing", number, channel="private-article_17")
        assert [reader.receive()["data"] for _ in range(10)] == list(range(10))
        assert [author.receive()["data"]["code"] for _ in range(2)] == [4301, 4301]
        reader.assert_nothing_else()


class TestPresence:
    CHANNEL = "presence-article_17"

    def test_members_are_listed_to_the_newcomer_and_told_of_each_other(self, connect):
        anna, boris = connect(), connect()
        anna.subscribe(self.CHANNEL, {"user_id": "1", "user_info": {"name": "Anna"}})
        listed = json.loads(boris.subscribe(self.CHANNEL, {"user_id": "2"})["data"])["presence"]
        assert listed == {"count": 2, "ids": ["1", "2"], "hash": {"1": {"name": "Anna"}, "2": None}}
        added = anna.receive()
        assert (added["event"], added["channel"]) == ("pusher_internal:member_added", self.CHANNEL)
        assert json.loads(added["data"]) == {"user_id": "2", "user_info": None}
        boris.close()
        removed = anna.receive()
        assert removed["event"] == "pusher_internal:member_removed"
        assert json.loads(removed["data"]) == {"user_id": "2"}

    def test_tabs_of_one_user_are_one_member(self, connect):
        anna, tab, another_tab = connect(), connect(), connect()
        anna.subscribe(self.CHANNEL, {"user_id": "1"})
        tab.subscribe(self.CHANNEL, {"user_id": "2", "user_info": {"name": "Boris"}})
        assert anna.receive()["event"] == "pusher_internal:member_added"
        renamed = {"user_id": 2, "user_info": {"name": "Bob"}}
        listed = json.loads(another_tab.subscribe(self.CHANNEL, renamed)["data"])["presence"]
        assert listed["ids"] == ["1", "2"]
        assert listed["hash"]["2"] == {"name": "Boris"}
        tab.send("pusher:unsubscribe", {"channel": self.CHANNEL})
        tab.assert_nothing_else()
        anna.assert_nothing_else()
        another_tab.send("pusher:unsubscribe", {"channel": self.CHANNEL})
        assert anna.receive()["event"] == "pusher_internal:member_removed"

    def test_the_hundred_and_first_member_is_refused(self, connect, client):
        for number in range(100):
            connect().subscribe(self.CHANNEL, {"user_id": str(number)})
        refused = connect().subscribe(self.CHANNEL, {"user_id": "100"})
        assert refused["data"]["type"] == "LimitReached"
        # A second tab of a member is not one more member.
        tab = connect().subscribe(self.CHANNEL, {"user_id": "99"})
        assert json.loads(tab["data"])["presence"]["count"] == 100
        assert len(client.users_info(self.CHANNEL)["users"]) == 100

    @pytest.mark.parametrize(
        "user",
        [
            {"user_id": ""},
            {"user_id": "x" * 129},
            {"user_id": None},
            {"user_id": ["1"]},
            {"user_info": {}},
            [],
            {"user_id": "1", "user_info": "é" * 512},
        ],
    )
    def test_a_bad_user_is_refused(self, connect, client, user):
        assert connect().subscribe(self.CHANNEL, user)["event"] == "pusher:subscription_error"
        assert client.channels_info() == {"channels": {}}

    @pytest.mark.parametrize("user", [{"user_id": "x" * 128}, {"user_id": "1", "user_info": "é" * 511}])
    def test_the_limits_themselves_are_allowed(self, connect, user):
        answer = connect().subscribe(self.CHANNEL, user)
        assert answer["event"] == "pusher_internal:subscription_succeeded"

    @pytest.mark.parametrize("data", [{}, {"channel_data": "{"}])
    def test_a_presence_channel_needs_channel_data(self, connect, data):
        answer = connect().subscribe(self.CHANNEL, **data)
        assert answer["data"]["type"] == "InvalidData"


class TestShuttingDown:
    def test_clients_are_asked_to_reconnect(self, server, connect):
        page = connect()
        server.stop()
        assert page.closing()[1] == 4200

    def test_a_client_that_does_not_read_holds_nobody_up(self, server, connect, client):
        deaf, page = connect(), connect()
        deaf.subscribe("article_17")
        page.subscribe("article_17")
        for _ in range(100):  # 10 MB, more than the buffers of a socket take
            client.trigger_batch([{"name": "view", "channel": "article_17", "data": "x" * 10_000}] * 10)
            for _ in range(10):
                assert page.receive()["event"] == "view"
        server.stop()
        assert page.closing()[1] == 4200

    def test_a_client_that_vanishes_leaves_its_channels(self, server, connect):
        anna, boris = connect(), connect()
        anna.subscribe("presence-article_17", {"user_id": "1"})
        boris.subscribe("presence-article_17", {"user_id": "2"})
        assert anna.receive()["event"] == "pusher_internal:member_added"
        boris.socket.sock.close()
        assert anna.receive()["event"] == "pusher_internal:member_removed"

    def test_many_clients_come_and_go_at_once(self, server):
        def visit():
            for _ in range(10):
                with RawClient.connected(server.port) as page:
                    page.subscribe("presence-article_17", {"user_id": str(threading.get_ident())})

        threads = [threading.Thread(target=visit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        with RawClient.connected(server.port) as page:
            answer = page.subscribe("presence-article_17", {"user_id": "last"})
            assert "last" in json.loads(answer["data"])["presence"]["ids"]
