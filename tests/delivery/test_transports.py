"""The real client against the real local server, and the two transports that need none."""

import sys
import time

import pytest

from pusherable.delivery.transports import (
    ConfigurationError,
    ConsoleTransport,
    LocmemTransport,
    PusherTransport,
    RefusedError,
    TransportError,
    UnreachableError,
    probe,
    transport,
)
from pusherable.encryption import shared_secret
from pusherable.server.testing import LocalServer
from tests.listeners import MASTER_KEY
from tests.test_encryption import opened


@pytest.fixture
def failure(message):
    """Sends one message in vain; returns what the error says, which has to be of such a kind exactly."""

    def failure(*kinds):
        with pytest.raises(TransportError) as caught:
            transport.get().send([message()])
        assert caught.type in (kinds or [TransportError])
        return str(caught.value)

    return failure


# What arrives


def test_a_batch_arrives_in_one_call(server, message):
    transport.get().send([message(f"poll_{number}", data=f"[{number}]") for number in range(10)])
    [call] = server.requests
    assert (call.method, call.path) == ("POST", "/apps/4242/batch_events")
    assert [(event.channels, event.name, event.data) for event in server.messages] == [
        ((f"poll_{number}",), "view", f"[{number}]") for number in range(10)
    ]


@pytest.mark.parametrize("text", ["x" * 5_000 + "😀", "😀" * 2_500, "é" * 5_120, '\u2028</script>\\"'])
def test_any_text_of_at_most_10240_bytes_arrives_unchanged(server, message, text):
    """The client by itself would refuse the first, which takes Python 20 kB of memory."""
    assert sys.getsizeof("x" * 5_000 + "😀") > 10_240
    transport.get().send([message(data=text)])
    assert [event.data for event in server.messages] == [text]


def test_a_message_on_an_encrypted_channel_is_not_readable_at_the_server(server, settings, message):
    settings.PUSHER_ENCRYPTION_MASTER_KEY_BASE64 = MASTER_KEY
    name = "private-encrypted-poll_1"
    transport.get().send([message(name, data='{"user": "ada"}'), message("private-poll_1", data="{}")])
    [sealed, plain] = [event.data for event in server.messages]
    assert "ada" not in server.requests[0].body.decode()
    assert opened(sealed, shared_secret(name)) == '{"user": "ada"}'
    assert plain == "{}"


def test_without_a_key_nothing_is_sent_in_clear(server, message):
    with pytest.raises(ConfigurationError, match="PUSHER_ENCRYPTION_MASTER_KEY_BASE64 is not set"):
        transport.get().send([message("private-encrypted-poll_1")])
    assert server.requests == []


def test_an_app_id_that_is_not_a_number_for_a_self_hosted_server(settings, message):
    settings.PUSHER_APP_ID = "news-room"
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}
    with LocalServer(app_id="news-room", key="test-key", secret="test-secret") as server:
        settings.PUSHER_HOST, settings.PUSHER_PORT, settings.PUSHER_SSL = server.host, server.port, False
        transport.get().send([message()])
        assert server.requests[0].path == "/apps/news-room/batch_events"
        assert len(server.messages) == 1


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({}, "https://api-eu.pusher.com:443"),
        ({"PUSHER_CLUSTER": "mt1"}, "https://api-mt1.pusher.com:443"),
        ({"PUSHER_SSL": False}, "http://api-eu.pusher.com:80"),
        ({"PUSHER_HOST": "ws.example.com"}, "https://ws.example.com:443"),
        (
            {"PUSHER_HOST": "ws.example.com", "PUSHER_PORT": 6001, "PUSHER_SSL": False},
            "http://ws.example.com:6001",
        ),
        ({"PUSHER_HOST": ""}, "https://api-eu.pusher.com:443"),
    ],
)
def test_where_it_sends(settings, changes, url):
    for name, value in changes.items():
        setattr(settings, name, value)
    client = PusherTransport().client
    assert f"{client.scheme}://{client.host}:{client.port}" == url


# What fails


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        ((400, "Invalid channel name"), RefusedError, "PusherBadRequest: Invalid channel name"),
        ((400, "404: no"), RefusedError, "PusherBadRequest: 404: no"),
        ((413, "Too large"), RefusedError, "PusherBadStatus: 413: Too large"),
        ((401, "Unknown auth_key"), ConfigurationError, "PusherBadAuth: Unknown auth_key"),
        ((403, "App disabled"), ConfigurationError, "PusherForbidden: App disabled"),
        ((404, "No such app"), ConfigurationError, "PusherBadStatus: 404: No such app"),
        ((429, "Slow down"), TransportError, "PusherBadStatus: 429: Slow down"),
        ((500, "413: Oops"), TransportError, "PusherBadStatus: 500: 413: Oops"),
        ((301, ""), TransportError, "PusherBadStatus: 301: "),
        (
            (200, '{"error": "over quota", "code": 4100}'),
            TransportError,
            "The server answered 'over quota' (code 4100).",
        ),
        (
            (200, "<html>Sign in to the Wi-Fi"),
            TransportError,
            "PusherError: The answer is not JSON: '<html>Sign in to the Wi-Fi'",
        ),
        ((200, ""), TransportError, "PusherError: The answer is not JSON: ''"),
    ],
)
def test_an_answer_that_is_no_success(server, failure, answer, kind, expected):
    server.fail_with = answer
    assert failure(kind) == expected


@pytest.mark.parametrize("body", ["{}", '{"ok": true}', '{"batch": [{}]}', "[]"])
def test_an_answer_that_is_a_success(server, message, body):
    server.fail_with = (200, body)
    transport.get().send([message()])


def test_the_text_of_a_large_answer_that_is_not_json_is_cut(server, failure):
    server.fail_with = (200, "x" * 100_000)
    assert len(failure()) < 300


def test_wrong_credentials(server, settings, failure):
    settings.PUSHER_SECRET = "wrong"
    assert failure(ConfigurationError).startswith("PusherBadAuth: Invalid auth_signature")
    assert server.messages == []


def test_a_refused_connection(server, failure):
    server.stop()
    assert "Connection refused" in failure(UnreachableError)


def test_a_timeout(server, settings, failure):
    settings.PUSHER_TIMEOUT = 0.2
    server.fail_with = "hang"
    started = time.monotonic()
    assert "Read timed out. (read timeout=0.2)" in failure()
    assert time.monotonic() - started < 20


def test_tls_to_a_port_that_speaks_none(server, settings, failure):
    settings.PUSHER_SSL = True
    assert "SSLError" in failure(UnreachableError)


def test_a_host_without_an_address(settings, failure):
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}
    settings.PUSHER_HOST = "pusher.invalid"
    assert "NameResolutionError" in failure(UnreachableError)
    assert "pusher.invalid" in failure(UnreachableError)


def test_a_host_that_is_none(settings, failure):
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}
    settings.PUSHER_HOST = "http://ws.example.com/"
    kinds = TransportError, UnreachableError
    assert "Location" in failure(*kinds) or "resolve" in failure(*kinds)


# Asking whether somebody is there


def test_the_probe_changes_nothing(server):
    probe()
    [call] = server.requests
    assert (call.method, call.path) == ("GET", "/apps/4242/channels")
    assert server.messages == []


def test_the_probe_fails_as_a_call_does(server, settings):
    settings.PUSHER_SECRET = "wrong"
    with pytest.raises(ConfigurationError, match="Invalid auth_signature"):
        probe()
    server.stop()
    with pytest.raises(UnreachableError, match="Connection refused"):
        probe()


def test_a_transport_need_not_have_a_probe():
    assert not hasattr(transport.get(), "probe")
    probe()


# Without a server


def test_console_prints_a_line_for_each_message(capsys, message):
    ConsoleTransport().send([message("poll_1"), message("poll_2", "updated", '{"user":"Zoë 😀"}')])
    assert capsys.readouterr().out == 'poll_1 view {"user":"admin"}\npoll_2 updated {"user":"Zoë 😀"}\n'


def test_locmem_keeps_every_message(message):
    LocmemTransport().send([message("poll_1")])
    LocmemTransport().send([message("poll_2")])
    assert LocmemTransport.sent == [message("poll_1"), message("poll_2")]
