"""Clients by which the tests talk to the server: raw ones, and the ones that sites use."""

import hashlib
import hmac
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pusher
import requests
import websocket

APP_ID, KEY, SECRET = "4242", "test-key", "test-secret"
DEADLINE = 60
NODE_MODULES = Path(
    os.environ.get("PUSHERABLE_NODE_MODULES")
    or Path(__file__).resolve().parents[2] / ".build" / "node_modules" / "pusher-js"
)


def http_client(port):
    return pusher.Pusher(
        APP_ID,
        KEY,
        SECRET,
        host="127.0.0.1",
        port=port,
        ssl=False,
        timeout=DEADLINE,
        encryption_master_key_base64="A" * 43 + "=",
    )


def sign(text):
    return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


def call(port, method, path, body=b"", params=None, **overrides):
    """Call the HTTP API with a signature made here; ``overrides`` spoil a parameter (None leaves it out)."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    query = {
        **(params or {}),
        "auth_key": KEY,
        "auth_timestamp": str(int(time.time())),
        "auth_version": "1.0",
        "body_md5": hashlib.md5(body).hexdigest(),
        **overrides,
    }
    query = {name: value for name, value in query.items() if value is not None}
    pairs = "&".join(f"{name}={query[name]}" for name in sorted(query))
    query.setdefault("auth_signature", sign(f"{method}\n{path}\n{pairs}"))
    return requests.request(
        method, f"http://127.0.0.1:{port}{path}", params=query, data=body, timeout=DEADLINE
    )


def post_event(port, **event):
    return call(port, "POST", f"/apps/{APP_ID}/events", {"name": "view", "data": "{}", **event})


class RawClient:
    """A WebSocket without a client library on top."""

    def __init__(self, port, path=f"/app/{KEY}?protocol=7&client=test&version=1.0"):
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}{path}", timeout=DEADLINE, skip_utf8_validation=True
        )

    @classmethod
    def connected(cls, port):
        client = cls(port)
        established = client.receive()
        assert established["event"] == "pusher:connection_established"
        client.established = json.loads(established["data"])
        client.socket_id = client.established["socket_id"]
        return client

    def send(self, event, data=None, **envelope):
        self.socket.send(json.dumps({"event": event, "data": data, **envelope}))

    def receive(self):
        return json.loads(self.socket.recv())

    def subscribe(self, channel, user=None, **data):
        """Subscribe with the signature that the channel needs, and return the server's answer."""
        if user is not None:
            data["channel_data"] = json.dumps(user)
        if channel.startswith(("private-", "presence-")) and "auth" not in data:
            signed = [self.socket_id, channel, *([data["channel_data"]] if "channel_data" in data else [])]
            data["auth"] = f"{KEY}:{sign(':'.join(signed))}"
        self.send("pusher:subscribe", {"channel": channel, **data})
        return self.receive()

    def pass_by(self):
        """Read up to the answer to a ping."""
        self.send("pusher:ping")
        while self.receive()["event"] != "pusher:pong":
            pass

    def assert_nothing_else(self):
        """Whatever was on its way has arrived before the answer to a ping."""
        self.send("pusher:ping")
        assert self.receive()["event"] == "pusher:pong"

    def closing(self):
        """Read up to the end; the events before it, the close code and the reason."""
        events = []
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return events, int.from_bytes(data[:2]), data[2:].decode()
            events.append(json.loads(data))

    def close(self):
        self.socket.shutdown()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


class PusherJS:
    """pusher-js in a node process; see pusher_js_client.cjs for what goes over its pipes."""

    def __init__(self, port, *, key=KEY, user=None, client=None, options=None):
        self.user = user
        self.client = client
        self.seen = []
        self._arrived = threading.Condition()
        config = {"module": str(NODE_MODULES), "key": key, "port": port, "options": options or {}}
        self._process = subprocess.Popen(
            [shutil.which("node"), str(Path(__file__).with_name("pusher_js_client.cjs")), json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def do(self, name, *arguments):
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()

    def wait_for(self, deadline=DEADLINE, **expected):
        """The first thing seen that has these values."""

        def found():
            matching = (seen for seen in self.seen if expected.items() <= seen.items())
            return next(matching, None)

        with self._arrived:
            assert self._arrived.wait_for(found, deadline), f"{expected} not in {self.seen}"
            return found()

    def close(self):
        self._process.stdin.close()
        self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        self._process.stdout.close()

    def _read(self):
        for line in self._process.stdout:
            seen = json.loads(line)
            if "authorize" in seen:
                self.do("authorized", seen["authorize"], self._authorize(**seen["params"]))
            with self._arrived:
                self.seen.append(seen)
                self._arrived.notify_all()

    def _authorize(self, channel, socket_id):
        user = self.user if channel.startswith("presence-") else None
        answer = self.client.authenticate(channel, socket_id, user)
        if "shared_secret" in answer:
            answer["shared_secret"] = answer["shared_secret"].decode()
        return answer


def until(condition):
    """Ask again until the condition holds; each time is a call to the server, so this is no idle loop."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline


class Inbox:
    """Collects what the callbacks of a client in another thread are given."""

    def __init__(self):
        self._queue = queue.Queue()

    def put(self, *items):
        self._queue.put(items)

    def get(self):
        return self._queue.get(timeout=DEADLINE)
