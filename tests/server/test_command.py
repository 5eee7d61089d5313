import os
import signal
import subprocess
import sys
import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.server.clients import RawClient, http_client


class Terminal(StringIO):
    """Output that can be waited for; ``printed`` is set when the command is ready."""

    def __init__(self):
        super().__init__()
        self.printed = threading.Event()

    def write(self, text):
        super().write(text)
        if "Quit" in text:
            self.printed.set()
        return len(text)


def free_port(server):
    """A port that was free a moment ago."""
    server.stop()
    return server.port


def run(number, visit=lambda: None, **options):
    """Run the command until the signal; returns what it wrote to standard output and standard error."""
    out, err = Terminal(), StringIO()

    def interrupt():
        if out.printed.wait(60):
            try:
                visit()
            finally:
                os.kill(os.getpid(), number)

    visitor = threading.Thread(target=interrupt)
    visitor.start()
    call_command("pusherable_server", stdout=out, stderr=err, no_color=True, **options)
    visitor.join()
    return out.getvalue(), err.getvalue()


def test_serves_the_app_of_the_settings_until_a_signal(server):
    port = free_port(server)
    closed = []

    def visit():
        page = RawClient.connected(port)
        page.subscribe("article_17")
        client = http_client(port)
        client.trigger("article_17", "view", {})
        client._pusher_client.http.session.close()
        assert page.receive()["event"] == "view"
        closed.append(page)

    out, err = run(signal.SIGTERM, visit, port=port)
    assert closed[0].closing()[1] == 4200
    closed[0].close()
    assert "for development and tests" in out
    for name in ("Pusher Channels", "soketi", "sockudo", "Laravel Reverb"):
        assert name in out
    assert f"ws://127.0.0.1:{port}/app/test-key" in out
    assert "view -> article_17" in out
    assert f'PUSHER_HOST = "127.0.0.1", PUSHER_PORT = {port} and PUSHER_SSL = False' in out
    assert out.endswith("Stopped.\n")
    assert "test-secret" not in out
    assert err == ""


def test_the_port_is_the_one_of_the_settings(server, settings):
    settings.PUSHER_HOST, settings.PUSHER_PORT, settings.PUSHER_SSL = "127.0.0.1", free_port(server), False
    out, _ = run(signal.SIGINT)
    assert f"127.0.0.1:{settings.PUSHER_PORT}/" in out
    assert "Write" not in out


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_warns_when_other_machines_can_connect(server, host, shown):
    out, err = run(signal.SIGINT, host=host, port=free_port(server))
    assert f"{host} can be reached from other machines" in err
    assert f'PUSHER_HOST = "{shown}"' in out


@pytest.mark.parametrize("host", ["localhost", "::1"])
def test_does_not_warn_on_loopback(server, host):
    _, err = run(signal.SIGINT, host=host, port=free_port(server))
    assert err == ""


@pytest.mark.parametrize("missing", ["PUSHER_APP_ID", "PUSHER_KEY", "PUSHER_SECRET"])
def test_missing_credentials_are_named(settings, missing):
    setattr(settings, missing, None)
    with pytest.raises(CommandError, match='Write PUSHER_APP_ID = "1", PUSHER_KEY = "local-key"'):
        call_command("pusherable_server")


def test_a_port_in_use_is_an_error_that_helps(server):
    with pytest.raises(CommandError, match=f"127.0.0.1:{server.port}.*--port"):
        call_command("pusherable_server", port=server.port)


@pytest.mark.parametrize("options", [{"port": 70_000}, {"host": "203.0.113.1", "port": 0}])
def test_an_address_that_cannot_be_bound_is_an_error(options):
    with pytest.raises(CommandError, match="Cannot listen on"):
        call_command("pusherable_server", **options)


def test_without_aiohttp_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(CommandError, match=r"pip install django-pusherable\[server\]"):
        call_command("pusherable_server")


def test_help_says_what_it_is_for(capsys):
    with pytest.raises(SystemExit):
        call_command("pusherable_server", "--help")
    out = " ".join(capsys.readouterr().out.split())
    assert "for development and tests" in out
    assert "For production use Pusher Channels" in out


def test_runs_and_stops_as_a_process_in_the_background(server):
    """A shell starts background jobs with SIGINT ignored; SIGTERM must stop them all the same."""
    port = free_port(server)
    script = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "runpy.run_module('django', run_name='__main__', alter_sys=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "pusherable_server", "--port", str(port)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        output = []
        while "Quit" not in "".join(output[-1:]):
            line = process.stdout.readline()
            assert line, output
            output.append(line)
        page = RawClient.connected(port)
        process.terminate()
        assert page.closing()[1] == 4200
        page.close()
        assert process.wait(60) == 0
