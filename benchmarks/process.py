"""Processes of their own: what a benchmark measures, and what it loads the machine with."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.stub import SPAWN


def set_up(databases: dict[str, dict[str, Any]], **settings: Any) -> None:
    """Make this process a Django project with these databases."""
    import django
    from django.conf import settings as project

    apps = ["django.contrib.auth", "django.contrib.contenttypes", "pusherable"]
    project.configure(DATABASES=databases, **{"INSTALLED_APPS": apps, "USE_TZ": True} | settings)
    django.setup()


@dataclass
class Process:
    """A process, and its memory (MiB) as it was from time to time."""

    pid: int
    pipe: Connection
    sizes: list[float] = field(default_factory=list)

    def measure(self, what: str = "VmRSS") -> float:
        [size] = re.findall(rf"{what}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(size) / 1024

    def quarters(self) -> list[float]:
        """After a quarter of the time, after half and after three quarters."""
        return [self.sizes[len(self.sizes) * quarter // 4] for quarter in (1, 2, 3)]


@contextmanager
def running(work: Callable[..., None], *arguments: Any) -> Iterator[Process]:
    """``work(*arguments, pipe)``, from when it has sent that it is ready until SIGTERM."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=work, args=(*arguments, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    ours.recv()
    assert process.pid is not None
    yield Process(process.pid, ours)
    process.terminate()
    process.join()
