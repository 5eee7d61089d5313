"""The real workers of task queues, and a real Redis: processes that end with the test."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.delivery.chaos import project

ROOT = Path(__file__).parents[2]


@contextmanager
def running(command, log, **environment):
    """A process of this command; killed at the end, and its children with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Workers:
    """Starts workers on the database of the test and with its settings."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = ExitStack()
        self.started = 0

    def start(self, *command, **settings):
        """Run ``python -m`` with the command; the settings come on top of those of the test."""
        self.started += 1
        return self.processes.enter_context(
            running(
                [sys.executable, "-m", *command],
                self.folder / f"worker-{self.started}.log",
                DJANGO_SETTINGS_MODULE="tests.delivery.worker_settings",
                PUSHERABLE_TEST_SETTINGS=project(**settings),
                no_proxy="*",
            )
        )


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def redis_server(folder, port):
    """A Redis of our own, which keeps nothing."""
    options = {"bind": "127.0.0.1", "port": port, "save": "", "appendonly": "no", "dir": folder}
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return running(["redis-server", *arguments], folder / f"redis-{port}.log")
