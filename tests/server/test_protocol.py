import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pusherable.server import protocol
from pusherable.server.protocol import Code, Credentials, Event, InvalidRequestError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
DOCUMENTED = Credentials("3", "278d425bdf160c739803", "7ad3773142a6692b25b8")


def test_the_documented_example_of_a_request_signature():
    query = {
        "auth_key": "278d425bdf160c739803",
        "auth_timestamp": "1353088179",
        "auth_version": "1.0",
        "body_md5": "ec365a775a4cd0599faeb73354201b6f",
    }
    signature = DOCUMENTED.request_signature("POST", "/apps/3/events", query.items())
    assert signature == "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
    body = b'{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}'
    query["auth_signature"] = signature
    assert DOCUMENTED.check_request("POST", "/apps/3/events", query, body, 1353088179 + 600) is None
    assert "auth_timestamp" in DOCUMENTED.check_request(
        "POST", "/apps/3/events", query, body, 1353088179 + 601
    )


def test_the_documented_example_of_a_channel_signature():
    auth = DOCUMENTED.channel_auth("1234.1234", "private-foobar")
    assert auth == ("278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4")


def test_parameter_names_are_signed_in_lower_case_and_sorted():
    assert DOCUMENTED.request_signature("GET", "/", [("b", "2"), ("A", "1")]) == DOCUMENTED.sign(
        "GET\n/\na=1&b=2"
    )


@given(JSON)
def test_whatever_is_posted_is_an_event_or_is_refused(body):
    with suppress(InvalidRequestError):
        Event.parse(body)


@given(
    st.fixed_dictionaries(
        {"name": JSON | st.just("view"), "data": JSON | st.just("{}")},
        optional={
            "channel": JSON,
            "channels": JSON | st.lists(st.just("a")),
            "socket_id": JSON,
            "info": JSON,
        },
    )
)
def test_an_accepted_event_is_within_the_limits(body):
    try:
        event = Event.parse(body)
    except InvalidRequestError:
        return
    assert 1 <= len(event.channels) <= 100
    assert all(protocol.valid_channel(channel) for channel in event.channels)
    assert 1 <= len(event.name) <= 200


@given(st.text() | st.binary())
def test_decoding_gives_json_or_a_value_error(text):
    try:
        value = protocol.decode(text)
    except ValueError:
        return
    json.dumps(value, allow_nan=False)


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", "[" * 100_000, b"\xff", "9" * 5000])
def test_json_that_only_python_reads_is_refused(text):
    with pytest.raises(ValueError):
        protocol.decode(text)


@given(st.text(), JSON)
def test_a_frame_is_one_ascii_line(event, data):
    frame = protocol.frame(event, data, channel="a")
    assert frame.isascii()
    assert "\n" not in frame
    assert json.loads(frame)["event"] == event


def test_each_channel_of_an_event_counts_once():
    assert Event.parse({"name": "view", "data": "", "channels": ["b", "a", "b"]}).channels == ("b", "a")


def test_an_error_carries_a_number():
    assert json.loads(protocol.error(Code.RECONNECT, "Later."))["data"] == {"code": 4200, "message": "Later."}
