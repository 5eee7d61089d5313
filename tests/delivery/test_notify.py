"""LISTEN and NOTIFY, on a real PostgreSQL whatever database the suite runs on."""

import queue
import socket
import threading
from types import SimpleNamespace

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from pusherable.delivery import notify as module
from pusherable.delivery.notify import Listener, can_listen, notify
from tests import databases

ACTIVITY = "FROM pg_stat_activity WHERE application_name = 'pusherable_relay'"


@pytest.fixture(scope="module")
def server():
    """The settings of a PostgreSQL server: the suite's own, if it runs on one."""
    if connection.vendor == "postgresql":
        return connections.databases["default"]
    return databases.postgres()


@pytest.fixture
def alias(server, django_db_blocker, eventually):
    """A database on that server. It needs no tables, since a notification carries no data."""
    default = connections.databases["default"]
    connections.databases["woken"] = default | {"OPTIONS": {}} | server | {"TEST": default["TEST"]}
    module._quiet_until.clear()
    with django_db_blocker.unblock():
        # The server ends the sessions of the test before when it gets round to it.
        eventually(lambda: query("woken", f"SELECT count(*) {ACTIVITY}") == [(0,)])
        yield "woken"
        connections["woken"].close()
    del connections["woken"]
    del connections.databases["woken"]


@pytest.fixture
def calls(monkeypatch):
    """The calls of a listener, which makes no second ones for as long as a test takes."""
    monkeypatch.setattr(module, "WINDOW", 3600)
    return Calls()


class Calls(queue.SimpleQueue):
    def __call__(self):
        self.put(True)

    def expect(self):
        """Wait for the next call."""
        assert self.get(timeout=60)


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(module, "time", clock := Clock())
    return clock


def query(alias, sql):
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def sent(alias, function):
    """The statements that the function sends."""
    with CaptureQueriesContext(connections[alias]) as statements:
        function()
    return [statement["sql"] for statement in statements]


def test_a_listener_is_called_for_a_notification(alias, calls):
    with Listener(alias, calls):
        calls.expect()  # it has connected
        notify(alias)
        calls.expect()


def test_it_is_called_again_for_what_was_committed_without_a_notification(alias, calls, monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 0.01)
    with Listener(alias, calls):
        for _ in ("it has connected", "again"):
            calls.expect()
        notify(alias)
        for _ in ("it is notified", "again"):
            calls.expect()
    assert calls.empty()


def test_every_listener_is_called(alias, calls):
    others = Calls()
    with Listener(alias, calls), Listener(alias, others):
        calls.expect()
        others.expect()
        notify(alias)
        calls.expect()
        others.expect()


def test_a_notification_is_sent_after_the_commit(alias, calls):
    with Listener(alias, calls):
        calls.expect()
        with transaction.atomic(using=alias):
            transaction.on_commit(lambda: notify(alias), using=alias, robust=True)
            assert sent(alias, lambda: None) == []
        calls.expect()


def test_none_is_sent_inside_a_transaction(alias):
    with transaction.atomic(using=alias):
        assert sent(alias, lambda: notify(alias)) == []
    assert len(sent(alias, lambda: notify(alias))) == 1, "and none was counted as sent"


def test_one_speaks_for_all_of_a_moment(alias, clock):
    def several():
        for _ in range(50):
            notify(alias)

    assert sent(alias, several) == [f"NOTIFY {module.CHANNEL}"]
    clock.now += module.WINDOW / 2
    assert sent(alias, several) == []
    clock.now += module.WINDOW
    assert len(sent(alias, several)) == 1


def test_a_failure_does_not_reach_the_request(alias, clock, caplog):
    ((key,),) = query(alias, "SELECT pg_backend_pid()")
    other = connections.create_connection(alias)
    with other.cursor() as cursor:
        cursor.execute(f"SELECT pg_terminate_backend({key}, 15000)")
    other.close()
    notify(alias)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    connections[alias].close()
    clock.now += module.PAUSE / 2
    assert sent(alias, lambda: notify(alias)) == [], "the next request does not run into it as well"
    clock.now += module.PAUSE
    assert len(sent(alias, lambda: notify(alias))) == 1


def test_other_databases_and_drivers_are_left_alone(alias, monkeypatch, django_assert_num_queries):
    assert can_listen(alias)
    assert can_listen("default") is (connection.vendor == "postgresql")
    if connection.vendor != "postgresql":
        with django_assert_num_queries(0):
            notify("default")
    monkeypatch.setattr(connections[alias], "Database", SimpleNamespace(__name__="psycopg2"))
    assert not can_listen(alias)


def test_a_listener_that_has_lost_its_connection_makes_another(alias, calls, caplog):
    caplog.set_level("INFO", "pusherable")
    with Listener(alias, calls):
        calls.expect()
        assert query(alias, f"SELECT pg_terminate_backend(pid) {ACTIVITY}") == [(True,)]
        calls.expect()  # something may have been sent meanwhile
        notify(alias)
        calls.expect()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_an_outage_is_logged_once(alias, calls, caplog, monkeypatch):
    """A server that hangs up at once, a few times over."""
    monkeypatch.setattr(module, "RECONNECT_AT_MOST", 0)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nobody.settimeout(60)
        port = nobody.getsockname()[1]
        monkeypatch.setitem(connections.databases, alias, connections.databases[alias] | {
            "HOST": "127.0.0.1", "PORT": port, "OPTIONS": {"sslmode": "disable", "gssencmode": "disable"},
        })  # fmt: skip
        with Listener(alias, calls):
            for _ in range(5):
                nobody.accept()[0].close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert calls.empty()


def test_a_server_that_takes_no_listeners_is_tried_again_without_leaving_connections(
    alias, calls, caplog, monkeypatch, eventually
):
    monkeypatch.setattr(module, "CHANNEL", "no name")
    monkeypatch.setattr(module, "RECONNECT_AT_MOST", 0)
    with Listener(alias, calls) as listener:
        connect, tries = listener._connect, []
        listener._connect = lambda: (tries.append(1), connect())[1]
        eventually(lambda: len(tries) >= 5)
    assert len(caplog.records) == 1
    eventually(lambda: query(alias, f"SELECT count(*) {ACTIVITY}") == [(0,)])


def test_it_ends_at_once_and_takes_its_connection_along(alias, calls, eventually):
    with Listener(alias, calls) as listener:
        calls.expect()
        assert query(alias, f"SELECT count(*) {ACTIVITY}") == [(1,)]
    assert not listener._thread.is_alive()
    eventually(lambda: query(alias, f"SELECT count(*) {ACTIVITY}") == [(0,)])


def test_it_ends_while_it_waits_for_another_try(alias, calls, caplog, monkeypatch, eventually):
    monkeypatch.setattr(module.random, "uniform", lambda *_: 3600)
    monkeypatch.setitem(connections.databases[alias], "NAME", "no_such_database")
    with Listener(alias, calls) as listener:
        eventually(lambda: caplog.records)
    assert not listener._thread.is_alive()


def test_options_that_are_djangos_own_do_no_harm(alias, calls, monkeypatch):
    """A pool among them: the listener keeps its connection for ever, so it takes none from there."""
    with monkeypatch.context() as patch:
        options = {"pool": True, "assume_role": "nobody", "server_side_binding": True, "isolation_level": 4}
        patch.setitem(connections.databases[alias], "OPTIONS", options)
        with Listener(alias, calls):
            calls.expect()


def test_a_database_may_be_given_by_a_service_file(alias, calls, monkeypatch, tmp_path):
    database = connections.databases[alias]
    service = {"host": database["HOST"], "port": database["PORT"], "user": database["USER"]}
    lines = [f"{name}={value}" for name, value in (service | {"dbname": database["NAME"]}).items() if value]
    (tmp_path / "services").write_text("[log]\n" + "\n".join(lines) + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    empty = dict.fromkeys(("NAME", "HOST", "PORT", "USER"), "")
    monkeypatch.setitem(connections.databases, alias, database | empty | {"OPTIONS": {"service": "log"}})
    with Listener(alias, calls):
        calls.expect()


def test_threads_that_notify_at_once_do_no_harm(alias, calls):
    threads = [threading.Thread(target=lambda: (notify(alias), connections.close_all())) for _ in range(8)]
    with Listener(alias, calls):
        calls.expect()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        calls.expect()
