"""The parts of the scripts that need no browser."""

import subprocess
from pathlib import Path


def test_pure_functions():
    scripts = sorted(Path(__file__).parent.glob("*.test.mjs"))
    node = subprocess.run(["node", "--test", *scripts], capture_output=True, text=True, check=False)
    assert node.returncode == 0, node.stdout + node.stderr
