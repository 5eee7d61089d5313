"""Prunes that are killed at whatever moment lose nothing: every event is in the table or in an archive."""

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from django.core.management import call_command

from tests.delivery.chaos import ROOT, project
from tests.retention.archives import archived, table
from tests.retention.conftest import log

__all__ = ["log"]

pytestmark = pytest.mark.django_db(transaction=True)

SEED = 20261122
#: Two tests, so twenty in all.
KILLS = 10
#: How many are there when a run begins, some of them left by the run before.
EVENTS = 400
#: numpy and pyarrow would start threads, and who has them should not fork.
ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
#: Runs commands, one at a time and each in a process of its own, which does not have to import Django first.
RUNNER = """
import json, os, sys
import django
from django.conf import settings
settings.configure(**json.loads(sys.argv[1]))
django.setup()
from django.core.management import execute_from_command_line
from pusherable.management.commands import pusherable_prune
from pusherable.retention import parquet
for line in sys.stdin:
    if pid := os.fork():
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    else:
        os.dup2(2, 1)
        execute_from_command_line(["manage.py", *json.loads(line)])
        os._exit(0)
"""

#: Archives two batches again and again, and each time ends one line of code later, with nothing tidied up;
#: prints how many batches had been written.
STEPS = """
import json, os, sys
from itertools import count
from pathlib import Path
import django
from django.conf import settings
settings.configure(**json.loads(sys.argv[1]))
django.setup()
from pusherable.retention import archive, files, parquet
from tests.retention.archives import row

watched = {"write", "save", "close", "_convert", "replacing", "create", "make_directory", "sync_directory"}
paths = {module.__file__ for module in (archive, files, parquet)}

def work(steps, folder, done):
    def trace(frame, event, argument):
        nonlocal steps
        if frame.f_code.co_filename in paths and frame.f_code.co_name in watched:
            steps -= event == "line"
            if steps < 0:
                os._exit(9)
            return trace
    sys.settrace(trace)
    with archive.Archive(folder, using="default", parquet=True) as written:
        for batch in ([row(1), row(2)], [row(3)]):
            written.write(batch)
            os.write(done, b".")

for steps in count():
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(len(os.read(reading, 9)), flush=True)
        os.close(reading)
        if code == 0:
            break
        assert code == 9
    else:
        work(steps, Path(sys.argv[2]) / str(steps), writing)
        os._exit(0)
"""


class Runner:
    def __init__(self, log):
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUNNER, project()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                cwd=ROOT,
                env=ENVIRONMENT,
            )

    def run(self, *arguments, kill_after=None):
        """The exit code of the command, which is killed unless it ends before, and how long it ran."""
        for _attempt in range(1000):
            before = len(self.log.read_bytes())
            result = self._run(arguments, kill_after or 30)
            if b"Another prune" not in self.log.read_bytes()[before:]:
                return result
        raise AssertionError("The server still holds the lock of a process that was killed.")

    def _run(self, arguments, kill_after):
        self.process.stdin.write(json.dumps(arguments).encode() + b"\n")
        pid = int(self.process.stdout.readline())
        begun = time.monotonic()
        if not select.select([self.process.stdout], [], [], kill_after)[0]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self.process.stdout.readline()), time.monotonic() - begun

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture
def runner(tmp_path):
    runner = Runner(tmp_path / "runner.log")
    yield runner
    runner.close()
    print(runner.log.read_text())


@pytest.mark.parametrize(
    "options",
    [["--batch-size=40"], ["--batch-size=40", "--max-batches=4", "--archive-format=parquet"]],
    ids=["json lines", "parquet"],
)
def test_no_event_is_lost_by_kills(log, runner, tmp_path, options):
    directory = tmp_path / "archive"
    command = ["pusherable_prune", "--older-than=30d", "--no-input", f"--archive={directory}", *options]
    chance = random.Random(SEED)
    everything, killed, duration = {}, 0, None
    while killed < KILLS:
        log(EVENTS - len(table()), snapshot={"words": "Grüße, 🧵\n"}, context={"path": "/"})
        everything |= table()
        moment = duration and chance.uniform(0, duration)
        code, seconds = runner.run(*command, kill_after=moment)
        there = table()
        print(f"seed {SEED}: {code} after {seconds:.3f} s, {len(there)} left")
        assert there | archived(directory) == everything
        if code == -signal.SIGKILL:
            killed += 1
        else:
            duration = min(seconds, duration or seconds)  # the first one takes longer
    while runner.run(*command)[0]:
        pass
    assert table() == {}
    for path in directory.glob("*.manifest.json"):
        call_command("pusherable_restore", path, verbosity=0)
    assert table() == everything


def test_an_archive_is_whole_at_every_step(tmp_path):
    command = [sys.executable, "-c", STEPS, project(), str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    batches = [int(line) for line in process.stdout.split()]
    assert set(batches) == {0, 1, 2}
    kinds = set()
    for steps, count in enumerate(batches):
        stands = [[], [1, 2], [1, 2, 3]][count:][:2]  # or the next batch, too
        assert sorted(archived(tmp_path / str(steps))) in stands, f"after {steps} lines"
        kinds.add(tuple(sorted(path.name.partition(".")[2] for path in (tmp_path / str(steps)).glob("*"))))
    assert {("jsonl.gz",), ("jsonl.gz", "manifest.json", "parquet"), ("manifest.json", "parquet")} <= kinds
