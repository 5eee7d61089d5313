import shutil
from contextlib import ExitStack

import pytest

from pusherable.server.testing import LocalServer
from tests.server.clients import APP_ID, KEY, NODE_MODULES, SECRET, PusherJS, RawClient, http_client


@pytest.fixture
def server():
    with LocalServer(app_id=APP_ID, key=KEY, secret=SECRET) as server:
        yield server


@pytest.fixture
def client(server):
    """The HTTP client that Django sites use."""
    client = http_client(server.port)
    yield client
    client._pusher_client.http.session.close()


@pytest.fixture
def connect(server):
    """Opens raw WebSocket connections and closes them at the end."""
    with ExitStack() as stack:

        def connect(path=None):
            client = RawClient(server.port, path) if path else RawClient.connected(server.port)
            stack.callback(client.close)
            return client

        yield connect


@pytest.fixture
def pusher_js(server, client):
    """Starts pusher-js in node; ``npm install pusher-js`` brings it (see PUSHERABLE_NODE_MODULES)."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (NODE_MODULES / "package.json").is_file():
        pytest.skip(f"pusher-js is not installed in {NODE_MODULES}")
    with ExitStack() as stack:

        def start(**kwargs):
            page = PusherJS(server.port, client=client, **kwargs)
            stack.callback(page.close)
            return page

        yield start
