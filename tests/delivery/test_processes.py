"""The end of the thread dispatcher, and processes of their own: their end, and their children."""

import time

import pytest

from pusherable.delivery import breaker as breakers
from pusherable.models import AccessEvent, Delivery

pytestmark = pytest.mark.django_db(transaction=True)

BACKEND = {"BACKEND": "pusherable.delivery.dispatchers.ThreadDispatcher"}
THREAD = BACKEND | {"OPTIONS": {"flush_timeout": 60}}
RECORD = """
from django.db import connections
from pusherable.models import Delivery
from pusherable.recording import record_access
from tests.testapp.models import Poll

def record(action):
    record_access(Poll.objects.get(), action)
"""
WAIT = """
import threading, time

def rests(thread):  # SQLite cannot be forked in the middle of a transaction
    frame = sys._current_frames().get(thread.ident)
    while frame is not None and frame.f_code.co_name != "_wait":
        frame = frame.f_back
    return frame is not None

def wait_until_sent():
    deadline = time.monotonic() + 60
    [thread] = [thread for thread in threading.enumerate() if thread.name == "pusherable"]
    while Delivery.objects.exists() or not rests(thread):
        assert time.monotonic() < deadline, "it was not sent in time"
        threading.Event().wait(0.01)
"""


TELL_DURATION = """
import atexit, time
started = time.monotonic()
# Registered before the dispatcher's own, so that it runs after that.
atexit.register(lambda: print(time.monotonic() - started))
"""


@pytest.fixture(autouse=True)
def _committed(poll):
    """One poll, which the scripts access."""


def names(server):
    return [event.name for event in server.messages]


def test_a_script_that_ends_at_once_has_sent_its_event(server, run_script):
    done = run_script(RECORD + "record('view')", PUSHERABLE_DISPATCHER=THREAD)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert names(server) == ["view"]
    assert AccessEvent.objects.get().status == "delivered"


def test_a_script_that_ends_at_once_has_sent_all_of_its_events(server, run_script):
    """At the end of a process no thread can be started, so there is one call after another."""
    code = """
for number in range(45):
    record_access(Poll(pk=number + 1, question="?"), "view")
"""
    done = run_script(RECORD + code, PUSHERABLE_DISPATCHER=THREAD)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert len(server.messages) == 45


def test_a_script_that_records_nothing_starts_no_thread(server, run_script):
    done = run_script(
        RECORD + "import threading\nassert threading.active_count() == 1", PUSHERABLE_DISPATCHER=THREAD
    )
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise RuntimeError('the script failed')"])
def test_a_server_that_hangs_does_not_keep_a_process_alive(server, run_script, ending):
    server.fail_with = "hang"
    dispatcher = BACKEND | {"OPTIONS": {"flush_timeout": 0.5}}
    code = RECORD + TELL_DURATION + "record('view')\n" + ending
    done = run_script(code, PUSHERABLE_DISPATCHER=dispatcher, PUSHER_TIMEOUT=60)
    assert done.code == {"": 0, "sys.exit(3)": 3}.get(ending, 1)
    assert 0.4 < float(done.out) < 45
    assert server.messages == []
    assert AccessEvent.objects.get().status == "pending"


def test_a_server_that_is_away_does_not_keep_a_process_alive(server, run_script):
    server.stop()
    done = run_script(RECORD + "record('view')", PUSHERABLE_DISPATCHER=THREAD)
    assert done.code == 0
    delivery = Delivery.objects.get()
    assert "Connection refused" in delivery.last_error
    assert "Connection refused" in done.err


def test_a_worker_that_is_forked_from_a_warm_parent(server, run_script):
    """As gunicorn does with preload_app: the parent's thread does not exist in the child."""
    done = run_script(
        RECORD
        + WAIT
        + """
record("view")
wait_until_sent()
connections.close_all()
if (child := os.fork()) == 0:
    record("update")
    wait_until_sent()
    os._exit(0)  # without the flush at exit
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
record("delete")
wait_until_sent()
""",
        PUSHERABLE_DISPATCHER=THREAD,
    )
    assert (done.code, done.err) == (0, "")
    assert names(server) == ["view", "update", "delete"]


def test_a_child_flushes_at_its_own_exit(server, run_script):
    done = run_script(
        RECORD
        + WAIT
        + """
record("view")
wait_until_sent()
connections.close_all()
if (child := os.fork()) == 0:
    record("update")
    sys.exit()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert not Delivery.objects.exists()
""",
        PUSHERABLE_DISPATCHER=THREAD,
    )
    # Its errors are not looked at: on MariaDB the end of the child closes the connection that the parent's
    # thread has open, which the thread notices and mends.
    assert done.code == 0, done.err
    assert names(server) == ["view", "update"]


def test_a_fork_while_the_thread_is_sending(server, run_script, tmp_path, eventually):
    """Whatever locks the thread held at that moment, the child can send."""
    forked = tmp_path / "forked"
    server.fail_with = lambda request: eventually(forked.exists) and None
    done = run_script(
        RECORD
        + WAIT
        + f"""
from pusherable.delivery.dispatchers import dispatcher
record("view")
while not Delivery.objects.filter(attempts=1).exists():
    threading.Event().wait(0.01)
connections.close_all()
with dispatcher.get()._starting:  # as another thread may, which the child does not have
    if (child := os.fork()) == 0:
        open("{forked}", "w").close()
        record("update")
        wait_until_sent()
        os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
wait_until_sent()
""",
        PUSHERABLE_DISPATCHER=THREAD,
    )
    assert (done.code, done.err) == (0, "")
    assert sorted(names(server)) == ["update", "view"]


def test_a_pool_with_a_single_connection_is_enough(server, run_script):
    """While Pusher is being called the thread holds none, and so the request need not wait for one."""
    server.fail_with = "hang"
    done = run_script(
        RECORD
        + """
import threading
from django.db import connection
if connection.vendor == "postgresql":
    connections.settings["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1, "timeout": 20}
record("view")
connection.close()
while not Delivery.objects.filter(attempts=1).exists():
    connection.close()
    threading.Event().wait(0.01)
record("update")
""",
        PUSHERABLE_DISPATCHER=BACKEND | {"OPTIONS": {"flush_timeout": 0.1}},
        PUSHER_TIMEOUT=60,
    )
    assert done.code == 0, done.err
    assert sorted(Delivery.objects.values_list("attempts", flat=True)) == [0, 1]


# Closing it by hand


def has_ended(dispatcher):
    return not any(thread.is_alive() for _, thread in dispatcher._running.values())


def test_close_sends_what_is_due(dispatcher, enqueue, gate):
    one = dispatcher()
    enqueue()
    one.wake("default")
    assert gate.reached.wait(60)
    enqueue(12)
    gate.opened.set()
    one.close()
    assert not Delivery.objects.exists()
    assert has_ended(one)


def test_close_gives_up_in_time(dispatcher, enqueue, gate):
    one = dispatcher(flush_timeout=0.2)
    enqueue()
    one.wake("default")
    assert gate.reached.wait(60)
    started = time.monotonic()
    one.close()
    assert time.monotonic() - started < 45
    assert Delivery.objects.count() == 1


def test_what_close_has_no_time_for_is_given_back(dispatcher, enqueue, gate, eventually):
    """So that another process need not wait for the end of the lease."""
    one = dispatcher(flush_timeout=0.2, concurrency=1)
    enqueue(40, objects=40)
    one.wake("default")
    assert gate.reached.wait(60)
    one.close()
    gate.opened.set()
    eventually(lambda: has_ended(one))
    assert list(Delivery.objects.values_list("attempts", "claim")) == [(0, None)] * 30


def test_close_does_not_try_again_during_an_outage(dispatcher, enqueue, outage, eventually, monkeypatch):
    """Each try may take as long as a timeout, and the process is to end."""
    monkeypatch.setattr(breakers, "backoff", lambda failures, at_most: 600)
    outage.error = breakers.UnreachableError("Pusher is away.")
    one = dispatcher()
    enqueue()
    one.wake("default")
    eventually(lambda: Delivery.objects.filter(attempts=1, claim=None).exists())
    enqueue(object_pk="other")
    one.close()
    assert has_ended(one)
    assert sorted(Delivery.objects.values_list("attempts", flat=True)) == [0, 1]


def test_close_may_be_called_twice_and_is_the_end(dispatcher, enqueue, recipient):
    one = dispatcher()
    one.close()
    one.close()
    enqueue()
    one.wake("default")
    assert one._running == {}
    assert Delivery.objects.count() == 1
