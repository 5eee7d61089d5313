"""Run the demo: `python3 demo/run.py`, or `make demo`. It needs Linux or macOS, Python 3.11 and npm.

It makes a virtual environment, fetches pusher-js, fills the database, starts the local Pusher-compatible
server and the site, and stops both on Ctrl-C. With `--once` it visits the site as both people and shows for
every row of the access log the message that a subscriber received for it. All that it makes is in
`.build/demo/`. Only the standard library is used here: there is no environment yet when this file starts.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

DEMO = Path(__file__).resolve().parent
PROJECT = DEMO.parent
BUILD = PROJECT / ".build" / "demo"
LOCALHOST = "127.0.0.1"
PUSHER_JS = "pusher-js@8.6.0"


def step(text):
    print(f"  {text}", flush=True)


def call(*command, env=None, cwd=PROJECT):
    """Run a command of the set-up; its output is of interest only where it fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, cwd=cwd, check=False
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nThe demo stopped: `{' '.join(map(str, command))}` failed.")


def make_environment():
    """The virtual environment with the checkout and its server; made anew when what it depends on changes."""
    folder = BUILD / "venv"
    python = folder / "bin" / "python"
    stamp = folder / "made-from"
    made_from = hashlib.sha256((PROJECT / "pyproject.toml").read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != made_from:
        step("Making the virtual environment (once, about a minute) ...")
        venv.create(folder, clear=True, with_pip=True)
        call(python, "-m", "pip", "install", "--quiet", "--editable", ".[server]")
        stamp.write_text(made_from)
    return python


def fetch_pusher_js():
    """Put pusher-js where the site serves it, less the source map line: it names a file that is absent."""
    target = BUILD / "static" / "vendor" / "pusher.min.js"
    if target.is_file():
        return
    npm = shutil.which("npm")
    if not npm:
        step("There is no npm here, so the pages will load pusher-js from js.pusher.com.")
        return
    step(f"Fetching {PUSHER_JS} with npm ...")
    call(npm, "install", "--prefix", ".build", PUSHER_JS, "--no-package-lock", "--no-audit", "--no-fund")
    source = PROJECT / ".build" / "node_modules" / "pusher-js" / "dist" / "web" / "pusher.min.js"
    code, _, _ = source.read_text(encoding="utf-8").partition("\n//# sourceMappingURL")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(code + "\n", encoding="utf-8")


def free_port(preferred=0):
    with socket.socket() as probe:
        # As the servers do it: a port whose last connections are still closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, preferred))
        except OSError:
            probe.bind((LOCALHOST, 0))
        port = probe.getsockname()[1]
    if preferred and port != preferred:
        step(f"Port {preferred} is taken, so {port} is used instead.")
    return port


@contextlib.contextmanager
def running(name, command, port, log_folder, **options):
    """A server in a process of its own, from its first answer until the block is left."""
    log = log_folder / f"{name.replace(' ', '-').lower()}.log"
    # Its own group: Ctrl-C must reach this process only, which then stops its children in order.
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, process_group=0, **options)
    try:
        wait_until_up(process, name, port, log)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_up(process, name, port, log):
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((LOCALHOST, port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit(f"{log.read_text()}\nThe demo stopped: the {name} did not start.")


@contextlib.contextmanager
def demo(python, folder, site_port, pusher_port):
    """The site and the Pusher server, on a filled database in the folder: their environment and processes."""
    env = os.environ | {
        "PYTHONPATH": str(PROJECT),  # for --python, whose environment may lack the package
        "DJANGO_SETTINGS_MODULE": "settings",
        "DEMO_BUILD": str(folder),
        "DEMO_PUSHER_PORT": str(pusher_port),
        "DEMO_SITE": f"http://{LOCALHOST}:{site_port}/",
    }
    manage = [python, "manage.py"]
    call(*manage, "migrate", "--verbosity=0", env=env, cwd=DEMO)
    call(*manage, "load_sample", env=env, cwd=DEMO)
    servers = {
        "Pusher server": ([*manage, "pusherable_server"], pusher_port),
        "site": ([*manage, "runserver", "--noreload", f"{LOCALHOST}:{site_port}"], site_port),
    }
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(running(name, command, port, folder, env=env, cwd=DEMO))
            for name, (command, port) in servers.items()
        }
        yield env, processes


def run_once(python, wait):
    """Visit a demo with a database of its own, and show what the servers have logged if that fails."""
    with tempfile.TemporaryDirectory(prefix="pusherable-demo-") as folder:
        with demo(python, Path(folder), free_port(), free_port()) as (env, _):
            command = [python, "once.py", "--wait", wait]
            code = subprocess.run(command, env=env, cwd=DEMO, check=False).returncode
        if code:
            print(*(log.read_text() for log in Path(folder).glob("*.log")), sep="\n", file=sys.stderr)
        return code


def wait_for_ctrl_c(processes):
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            for name, process in processes.items():
                if process.poll() is not None:
                    raise SystemExit(f"The demo stopped: the {name} ended. Its log is in {BUILD}.")
            time.sleep(0.5)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Run the demo newsroom on this machine.")
    parser.add_argument(
        "--once", action="store_true", help="visit the site once, compare log and messages, and leave"
    )
    parser.add_argument("--wait", default="10", help="with --once: seconds to wait for messages (default 10)")
    parser.add_argument(
        "--python", type=Path, help="use this interpreter's environment instead of making one"
    )
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    for number in (signal.SIGINT, signal.SIGTERM):  # both end the demo in order, also in the background
        signal.signal(number, signal.default_int_handler)
    BUILD.mkdir(parents=True, exist_ok=True)
    python = arguments.python.absolute() if arguments.python else make_environment()
    if arguments.once:
        return run_once(python, arguments.wait)
    fetch_pusher_js()
    with demo(python, BUILD, free_port(8000), free_port(6001)) as (env, processes):
        # Cookies belong to a host name, so that one browser can be two people.
        site = env["DEMO_SITE"]
        other = site.replace(LOCALHOST, "localhost")
        print(f"\n  The Pellworth Courier is open:\n    as Mira   {site}\n    as Jonas  {other}")
        print("  Sign in with one click, open the same article in both, and press Edit in one.")
        print("  Ctrl-C stops the demo.", flush=True)
        wait_for_ctrl_c(processes)
    print("\nStopped.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
