"""Whatever comes in, the server answers below 500 and goes on."""

import http.client
import json

import pytest
import websocket
from hypothesis import given, settings
from hypothesis import strategies as st

from pusherable.server.testing import LocalServer
from tests.server.clients import APP_ID, DEADLINE, KEY, SECRET, RawClient, call
from tests.server.test_protocol import JSON

quickly = settings(max_examples=60)

EVENT_NAMES = st.sampled_from(
    ["pusher:subscribe", "pusher:unsubscribe", "pusher:ping", "pusher:signin", "client-x", "view"]
)
CHANNELS = st.sampled_from(["article_17", "private-article_17", "presence-article_17", ""])
#: Messages that look right and go wrong somewhere inside.
MESSAGES = st.fixed_dictionaries(
    {"event": EVENT_NAMES | JSON},
    optional={
        "channel": CHANNELS | JSON,
        "data": JSON
        | st.fixed_dictionaries({"channel": CHANNELS | JSON}, optional={"auth": JSON, "channel_data": JSON}),
    },
)


@pytest.fixture(scope="module")
def server():
    with LocalServer(app_id=APP_ID, key=KEY, secret=SECRET) as server:
        yield server


@quickly
@given(st.lists((MESSAGES | JSON).map(json.dumps) | st.text() | st.binary(), max_size=5))
def test_any_frames(server, frames):
    with RawClient.connected(server.port) as page:
        for content in frames:
            is_text = isinstance(content, str)
            page.socket.send(
                content.encode("utf-8", "replace") if is_text else content,
                websocket.ABNF.OPCODE_TEXT if is_text else websocket.ABNF.OPCODE_BINARY,
            )
        page.pass_by()


@quickly
@given(st.data())
def test_any_signed_channel_data(server, data):
    with RawClient.connected(server.port) as page:
        answer = page.subscribe("presence-article_17", data.draw(JSON))
        assert answer["event"] in {"pusher_internal:subscription_succeeded", "pusher:subscription_error"}
        page.pass_by()


@quickly
@given(
    st.sampled_from(["events", "batch_events"]),
    st.binary() | JSON | st.lists(JSON).map(lambda b: {"batch": b}),
)
def test_any_signed_body(server, endpoint, body):
    assert call(server.port, "POST", f"/apps/{APP_ID}/{endpoint}", body).status_code < 500


@quickly
@given(st.dictionaries(st.sampled_from(["auth_key", "auth_timestamp", "auth_signature", "info"]), st.text()))
def test_any_parameters(server, params):
    answer = call(server.port, "GET", f"/apps/{APP_ID}/channels", **params)
    assert answer.status_code in {200, 400, 401}


@quickly
@given(
    st.sampled_from(["GET", "POST", "PUT", "OPTIONS"]),
    st.text("/app?%=&aFf0é\ud7ff", max_size=20),
    st.binary(),
)
def test_any_path_and_headers(server, method, path, junk):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE)
    connection.putrequest(method, "/" + path.encode("ascii", "backslashreplace").decode())
    connection.putheader("Content-Encoding", "deflate")
    connection.putheader("Content-Length", str(len(junk)))
    connection.putheader("X-Junk", junk.translate(None, b"\r\n\0"))
    connection.endheaders(junk)
    assert connection.getresponse().status < 500
    connection.close()
