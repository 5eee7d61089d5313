"""The Pusher transport's HTTP client: its connections, its proxy, and the authorities that it trusts."""

import datetime as dt
import http.server
import ipaddress
import os
import ssl
import threading
from base64 import b64encode
from contextlib import contextmanager
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pusherable.delivery.transports import PusherTransport, TransportError, transport


def connections_made(chosen):
    """How many connections the client has opened so far."""
    pools = chosen.client.http.pool.pools
    return sum(pool.num_connections for pool in map(pools.get, pools.keys()))


def test_one_connection_serves_many_sends(server, message):
    client = transport.get().client
    for _ in range(20):
        transport.get().send([message()])
    assert transport.get().client is client
    assert connections_made(transport.get()) == 1
    assert len(server.messages) == 20


@pytest.mark.parametrize(
    ("name", "value"),
    [("PUSHER_TIMEOUT", 3), ("PUSHER_SECRET", "other"), ("PUSHER_KEY", "other"), ("PUSHER_APP_ID", "7")],
)
def test_another_client_for_other_settings(server, settings, message, name, value):
    before = transport.get().client
    setattr(settings, name, value)
    after = transport.get().client
    assert after is not before
    assert (after.timeout, after.secret, after.key, after.app_id).count(value) == 1


def test_it_connects_again_where_the_server_was_away(server, message):
    transport.get().send([message()])
    server.stop()
    server.start()
    transport.get().send([message()])
    assert len(server.messages) == 2


def test_a_forked_process_has_a_client_of_its_own(server, run_script):
    done = run_script("""
        import sys
        from pusherable.delivery.messages import Message
        from pusherable.delivery.transports import transport

        def send(channel):
            transport.get().send([Message(channel, "view", "{}")])
            return transport.get().client

        parents = send("parent_1")
        with transport.get()._lock:  # as another thread may, which the child does not have
            if (child := os.fork()) == 0:
                os._exit(send("child_1") is parents)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child used its parent's sockets"
        assert send("parent_2") is parents
        [key] = parents.http.pool.pools.keys()
        pool = parents.http.pool.pools[key]
        assert pool.num_connections == 1, "the child closed its parent's connection"
    """)
    assert (done.code, done.err) == (0, "")
    assert [event.channels[0] for event in server.messages] == ["parent_1", "child_1", "parent_2"]


# Other servers


class Handler(http.server.BaseHTTPRequestHandler):
    """Says yes to everything."""

    requests: ClassVar = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append((self.path.partition("?")[0], self.headers.get("Proxy-Authorization")))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(handler, tls=None):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *arguments: None  # a client that does not trust it hangs up
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class Together(Handler):
    """Says yes when eight ask at once."""

    together = threading.Barrier(8, timeout=60)

    def do_POST(self):
        self.together.wait()
        super().do_POST()


def test_threads_send_side_by_side(settings, monkeypatch, message):
    monkeypatch.setenv("no_proxy", "*")
    settings.PUSHER_SSL, settings.PUSHER_TIMEOUT = False, 60
    errors = []

    def send(number):
        try:
            sender.send([message(f"poll_{number}")])
        except TransportError as error:
            errors.append(error)

    with serving(Together) as port:
        settings.PUSHER_HOST, settings.PUSHER_PORT = "127.0.0.1", port
        sender = PusherTransport()
        threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sender.client.http.pool.clear()
    assert errors == []


@pytest.mark.parametrize(
    ("credentials", "authorization"),
    [("", None), ("ada:pa%40ss@", "Basic " + b64encode(b"ada:pa@ss").decode())],
)
def test_it_goes_through_the_proxy_of_the_environment(
    settings, monkeypatch, message, credentials, authorization
):
    Handler.requests.clear()
    settings.PUSHER_HOST, settings.PUSHER_SSL = "pusher.invalid", False
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(Handler) as port:
        monkeypatch.setenv("http_proxy", f"http://{credentials}127.0.0.1:{port}")
        sender = PusherTransport()
        sender.send([message()])
        sender.client.http.pool.clear()
    assert Handler.requests == [("http://pusher.invalid:80/apps/4242/batch_events", authorization)]


def test_it_goes_past_the_proxy_where_no_proxy_says_so(server, monkeypatch, message):
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    transport.get().send([message()])
    assert len(server.messages) == 1


def certificate(name, issuer=None):
    """``(key, certificate)`` of an authority, or of 127.0.0.1 signed by one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, issuer_name = (key, subject) if issuer is None else (issuer[0], issuer[1].subject)
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(
            x509.KeyUsage(True, key_cert_sign=issuer is None, crl_sign=False, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    return key, builder.sign(signer, hashes.SHA256())


@pytest.fixture
def tls_port(tmp_path):
    """A server whose certificate is from an authority of the test's own, in ``authority.pem``."""

    authority = certificate("Authority")
    key, cert = certificate("127.0.0.1", authority)
    pem = serialization.Encoding.PEM
    (tmp_path / "authority.pem").write_bytes(authority[1].public_bytes(pem))
    (tmp_path / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + cert.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with serving(Handler, context) as port:
        yield port


SEND = """
from pusherable.delivery.messages import Message
from pusherable.delivery.transports import TransportError, transport
try:
    transport.get().send([Message("poll_1", "view", "{}")])
except TransportError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("trusted", [False, True])
def test_it_trusts_whom_the_system_trusts(tls_port, tmp_path, settings, run_script, trusted):
    """An authority that is added to the system is enough; the client's own list of 2021 has no say."""
    settings.PUSHERABLE_TRANSPORT = {"BACKEND": "pusherable.delivery.transports.PusherTransport"}
    settings.PUSHER_HOST, settings.PUSHER_PORT, settings.PUSHER_SSL = "127.0.0.1", tls_port, True
    environment = os.environ | ({"SSL_CERT_FILE": str(tmp_path / "authority.pem")} if trusted else {})
    done = run_script(SEND, environment=environment)
    assert done.code == (0 if trusted else 1), done.err
    assert trusted or "CERTIFICATE_VERIFY_FAILED" in done.err
