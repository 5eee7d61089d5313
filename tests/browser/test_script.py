"""The parts of the script that need no browser."""

import subprocess
from pathlib import Path


def test_pure_functions():
    script = Path(__file__).with_name("pusherable.test.mjs")
    node = subprocess.run(["node", "--test", script], capture_output=True, text=True, check=False)
    assert node.returncode == 0, node.stdout + node.stderr
