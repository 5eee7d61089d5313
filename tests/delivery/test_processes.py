"""The end of the thread dispatcher, and processes of their own: their end, and their children."""

import datetime as dt
import time

import pytest

from pusherable.delivery import relay
from pusherable.models import AccessEvent, Delivery

pytestmark = pytest.mark.django_db(transaction=True)

THREAD = {"BACKEND": "pusherable.delivery.dispatchers.ThreadDispatcher"}
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

def wait_until_sent():
    deadline = time.monotonic() + 15
    while Delivery.objects.exists():
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


def test_a_script_that_records_nothing_starts_no_thread(server, run_script):
    done = run_script(
        RECORD + "import threading\nassert threading.active_count() == 1", PUSHERABLE_DISPATCHER=THREAD
    )
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise RuntimeError('the script failed')"])
def test_a_server_that_hangs_does_not_keep_a_process_alive(server, run_script, ending):
    server.fail_with = "hang"
    dispatcher = THREAD | {"OPTIONS": {"flush_timeout": 0.5}}
    code = RECORD + TELL_DURATION + "record('view')\n" + ending
    done = run_script(code, PUSHERABLE_DISPATCHER=dispatcher, PUSHER_TIMEOUT=30)
    assert done.code == {"": 0, "sys.exit(3)": 3}.get(ending, 1)
    assert 0.4 < float(done.out) < 10
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


def test_a_fork_while_the_thread_is_sending(server, run_script):
    """Whatever locks the thread held at that moment, the child can send."""
    server.delay = 0.5
    done = run_script(
        RECORD
        + WAIT
        + """
from pusherable.delivery.dispatchers import dispatcher
record("view")
while not Delivery.objects.filter(attempts=1).exists():
    threading.Event().wait(0.01)
connections.close_all()
with dispatcher.get()._starting:  # as another thread may, which the child does not have
    if (child := os.fork()) == 0:
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


# Closing it by hand


def test_close_sends_what_is_due(dispatcher, enqueue, gate):
    one = dispatcher(flush_timeout=15)
    enqueue()
    one.wake("default")
    assert gate.reached.wait(15)
    enqueue(12)
    gate.opened.set()
    one.close()
    assert not Delivery.objects.exists()
    assert not one._thread.is_alive()


def test_close_gives_up_in_time(dispatcher, enqueue, gate):
    one = dispatcher(flush_timeout=0.2)
    enqueue()
    one.wake("default")
    assert gate.reached.wait(15)
    started = time.monotonic()
    one.close()
    assert time.monotonic() - started < 10
    assert Delivery.objects.count() == 1


def test_close_does_not_try_again_during_an_outage(dispatcher, enqueue, outage, eventually, monkeypatch):
    """Each try may take as long as a timeout, and the process is to end."""
    monkeypatch.setattr(relay, "RETRY_AFTER", dt.timedelta(seconds=60))
    one = dispatcher(flush_timeout=15)
    enqueue()
    one.wake("default")
    eventually(lambda: Delivery.objects.filter(attempts=1, claim=None).exists())
    enqueue()
    one.close()
    assert not one._thread.is_alive()
    assert sorted(Delivery.objects.values_list("attempts", flat=True)) == [0, 1]


def test_close_may_be_called_twice_and_is_the_end(dispatcher, enqueue, recipient):
    one = dispatcher()
    one.close()
    one.close()
    enqueue()
    one.wake("default")
    assert one._thread is None
    assert Delivery.objects.count() == 1
