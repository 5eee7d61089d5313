"""Starts processes that record and that relay, on the database of a test, and kills them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import django
from django.conf import settings

ROOT = Path(__file__).parents[2]
#: A process ends by itself after so many seconds, should the test that started it be gone.
LIFETIME = 900


class Processes:
    """Starts processes on the database of the test and with its settings, and leaves none behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, role: str, *arguments: object, **changed: object) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", __name__, role, project(**changed), *map(str, arguments)]
        with (self.folder / f"{len(self.started)}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        self.started.append(process)
        return process

    def log(self, process: "subprocess.Popen[bytes]") -> str:
        """What the process has printed so far."""
        return (self.folder / f"{self.started.index(process)}.log").read_text()

    def check(self) -> None:
        """Fail if a process has ended by an error of its own."""
        for process in self.started:
            assert process.poll() in {None, 0, -signal.SIGKILL}, self.log(process)

    def stop(self) -> None:
        """Let every process end in peace, and fail if one does not."""
        for process in self.started:
            process.terminate()
        for process in self.started:
            process.wait(60)
        self.check()

    def kill(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


def project(**changed: object) -> str:
    """The settings of the test as they are now, for a process that is to share its database."""
    from django.db import connection

    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    database = {name: connection.settings_dict[name] for name in names}
    values = {name: getattr(settings, name) for name in dir(settings) if name.startswith("PUSHER")}
    names = ("USE_TZ", "SECRET_KEY", "INSTALLED_APPS", "MIDDLEWARE", "TEMPLATES")
    values |= {name: getattr(settings, name) for name in names}
    values |= {"DATABASES": {"default": database | {"NAME": str(database["NAME"])}}}
    return json.dumps(values | changed)


def main() -> None:
    role, values, *arguments = sys.argv[1:]
    signal.alarm(LIFETIME)
    os.environ["no_proxy"] = "*"
    settings.configure(**json.loads(values))
    django.setup()
    from tests.delivery import actors

    getattr(actors, role)(*arguments)


if __name__ == "__main__":
    main()
