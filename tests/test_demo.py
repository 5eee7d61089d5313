"""`run.py --once`: real servers, real requests by two people, a real WebSocket subscriber."""

import re
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).resolve().parent.parent / "demo" / "run.py"
ROW = re.compile(r"^ +\d+  (\w+) +(newsroom\.article \d*) +(\w+) +(.+)$", re.MULTILINE)


def run_once(python, *arguments):
    command = [sys.executable, str(RUN), "--once", "--python", str(python), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_every_row_of_the_log_has_its_message():
    done = run_once(sys.executable, "--wait", "60")

    assert done.returncode == 0, done.stdout + done.stderr
    assert ROW.findall(done.stdout) == [
        ("view", "newsroom.article 1", "Mira", "view on private-article_1, by Mira"),
        ("view", "newsroom.article 1", "Jonas", "view on private-article_1, by Jonas"),
        ("update", "newsroom.article 1", "Jonas", "update on private-article_1, by Jonas"),
        ("updated", "newsroom.article 1", "Jonas", "updated on private-article_1, by Jonas"),
        ("view", "newsroom.article 1", "Jonas", "view on private-article_1, by Jonas"),
        ("create", "newsroom.article ", "Mira", "not broadcast"),
        ("created", "newsroom.article 11", "Mira", "before anybody could listen"),
        ("view", "newsroom.article 11", "Mira", "before anybody could listen"),
        ("view", "newsroom.article 11", "Jonas", "view on private-article_11, by Jonas"),
        ("delete", "newsroom.article 2", "Jonas", "delete on private-article_2, by Jonas"),
        ("deleted", "newsroom.article 2", "Jonas", "deleted on private-article_2, by Jonas"),
    ]
    assert "11 rows, 8 messages, 0 missing." in done.stdout


def test_it_fails_when_the_messages_do_not_arrive(tmp_path):
    # The site sends to another place: its settings are not those of the demo.
    (tmp_path / "elsewhere.py").write_text(
        "from settings import *\n"
        "PUSHERABLE_TRANSPORT = {'BACKEND': 'pusherable.delivery.transports.ConsoleTransport'}\n"
    )
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in *runserver*)\n'
        f'    export DJANGO_SETTINGS_MODULE=elsewhere PYTHONPATH="$PYTHONPATH:{tmp_path}"\n'
        "esac\n"
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)

    done = run_once(python, "--wait", "2")

    assert done.returncode == 1
    assert "MISSING on private-article_1" in done.stdout
    assert "11 rows, 0 messages, 8 missing." in done.stdout
