"""Celery sends: the real worker, on a real Redis that this test session starts."""

import datetime as dt
import json
import logging
import os
import shutil
import signal
import socket
from contextlib import ExitStack

import pytest
from django.http import HttpResponse
from django.utils import timezone
from django.views.generic import DetailView
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from pusherable.delivery import dispatchers, queues
from pusherable.delivery.relay import Relay
from pusherable.mixins import PusherDetailMixin
from pusherable.models import Delivery
from pusherable.recording import record_access
from pusherable.tasks import celery_drain
from tests.delivery.celery_app import app
from tests.delivery.workers import Workers, free_port, redis_server
from tests.testapp.models import Poll

pytestmark = pytest.mark.django_db(transaction=True)

NOT_INSTALLED = "redis-server is not installed"
DRAIN = ("pusherable.drain", "['default']", "{}")


class Project:
    """What a project with Celery has: the app's configuration, a broker, workers; and our dispatcher."""

    conf = app.conf

    def __init__(self, settings, folder):
        self.settings = settings
        self.folder = folder
        self.workers = Workers(folder)

    def use(self, port):
        """Choose the broker."""
        self.conf.broker_url = f"redis://127.0.0.1:{port}/0"
        self.broker = Redis(port=port)
        self.workers.processes.callback(self.broker.close)

    def choose(self, **options):
        """Choose the dispatcher."""
        backend = "pusherable.delivery.queues.CeleryDispatcher"
        options = {"linger": 0.02, "flush_timeout": 60, **options}
        self.settings.PUSHERABLE_DISPATCHER = {"BACKEND": backend, "OPTIONS": options}
        return dispatchers.dispatcher.get()

    def work(self, pool="solo", **settings):
        """Start a worker."""
        command = [
            "celery",
            "--app",
            "tests.delivery.celery_app",
            "worker",
            "--pool",
            pool,
            "--concurrency",
            "1",
        ]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return self.workers.start(*command, CELERY_BROKER_URL=self.conf.broker_url, **settings)

    def tasks(self, queue="celery"):
        """The tasks that wait in the broker, and what they are told."""
        try:
            messages = self.broker.lrange(queue, 0, -1)
        except RedisConnectionError:  # it is starting
            return None
        headers = [json.loads(message)["headers"] for message in messages]
        return [(header["task"], header["argsrepr"], header["kwargsrepr"]) for header in headers]


@pytest.fixture
def celery(settings, tmp_path):
    names = ("broker_url", "broker_connection_timeout", "task_always_eager")
    before = {name: app.conf[name] for name in names}
    project = Project(settings, tmp_path)
    with project.workers.processes:
        yield project
    dispatchers.dispatcher.reset()
    app.conf.update(before)


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory):
    if shutil.which("redis-server") is None:
        if os.environ.get("PUSHERABLE_REQUIRE_SERVICES") == "1":
            pytest.fail(NOT_INSTALLED)
        pytest.skip(NOT_INSTALLED)
    port = free_port()
    with redis_server(tmp_path_factory.mktemp("redis"), port):
        yield port


@pytest.fixture
def broker(redis_port, celery, eventually):
    """An empty one, which answers."""
    celery.use(redis_port)
    eventually(lambda: celery.tasks() is not None)
    celery.broker.flushall()
    return celery.broker


@pytest.fixture
def no_broker(celery, monkeypatch):
    """A port where there is none. It would be waited for long enough for a test to see, and no longer."""
    monkeypatch.setitem(queues.BROKER_TIMEOUTS, "redis", {"socket_connect_timeout": 2, "socket_timeout": 2})
    celery.conf.broker_connection_timeout = 2
    port = free_port()
    celery.use(port)
    return port


class Page(DetailView):
    model = Poll

    def render_to_response(self, context):
        return HttpResponse("served")


class RecordedPage(PusherDetailMixin, Page):
    pass


@pytest.fixture
def page(client, serve, poll):
    """Asks for the page of a poll, which is recorded."""
    serve(RecordedPage)
    return lambda: client.get(f"/{poll.pk}/")


def queue_is_empty():
    return not Delivery.objects.exists()


def logged(caplog):
    return [record.levelname for record in caplog.records if record.name == "pusherable.delivery.queues"]


# The worker


def test_the_worker_sends_what_this_process_recorded(server, poll, broker, celery):
    """With Celery's default pool: a child that was forked before its first task."""
    celery.choose()
    celery.work(pool="prefork")
    record_access(poll, "view")
    [message] = server.wait_for_messages(1, timeout=60)
    assert (message.channels, message.name) == ((f"poll_{poll.pk}",), "view")
    record_access(poll, "update")
    assert [message.name for message in server.wait_for_messages(2, timeout=60)] == ["view", "update"]


@pytest.mark.usefixtures("broker")
def test_the_rest_of_a_backlog_is_for_the_next_task(server, enqueue, celery, eventually):
    """The worker asks for it itself: here, nothing else does."""
    celery.choose()
    enqueue(1200)
    celery_drain.apply_async(["default"], retry=False)
    celery.work()
    eventually(queue_is_empty)
    assert len(server.messages) == 1200


@pytest.mark.usefixtures("broker")
def test_a_burst_is_one_task_without_a_payload(poll, celery):
    dispatcher = celery.choose()
    for _ in range(50):
        record_access(poll, "view")
    dispatcher.close()  # with a last look
    assert celery.tasks() == [DRAIN]
    assert Delivery.objects.count() == 50


@pytest.mark.usefixtures("broker")
def test_the_queue_can_be_chosen(poll, celery):
    dispatcher = celery.choose(queue="broadcasts")
    record_access(poll, "view")
    dispatcher.close()
    assert celery.tasks("broadcasts") == [DRAIN]
    assert celery.tasks() == []


@pytest.mark.usefixtures("broker", "poll")
def test_a_script_that_ends_at_once_has_enqueued_its_task(celery, run_script):
    celery.choose()
    done = run_script(
        """
        from pusherable.recording import record_access
        from tests.delivery import celery_app
        from tests.testapp.models import Poll
        record_access(Poll.objects.get(), "view")
        """,
        CELERY_BROKER_URL=celery.conf.broker_url,
    )
    assert (done.code, done.out, done.err) == (0, "", "")
    assert celery.tasks() == [DRAIN]


@pytest.mark.usefixtures("no_broker")
def test_eager_tasks_run_in_the_thread(server, poll, celery):
    celery.conf.task_always_eager = True
    dispatcher = celery.choose()
    record_access(poll, "view")
    dispatcher.close()
    assert [message.name for message in server.messages] == ["view"]


# What goes wrong


def test_what_a_task_was_lost_for_is_found(server, poll, broker, celery, eventually):
    celery.choose(poll=0.5)
    record_access(poll, "view")
    eventually(celery.tasks)
    broker.flushall()
    celery.work()
    server.wait_for_messages(1, timeout=60)
    eventually(queue_is_empty)


def test_a_killed_worker_loses_nothing(server, poll, broker, celery, eventually):
    celery.choose(poll=0.5)
    server.fail_with = "hang"
    worker = celery.work(PUSHER_TIMEOUT=60)
    record_access(poll, "view")
    eventually(lambda: server.requests)
    worker.send_signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    server.fail_with = None
    broker.flushall()
    celery.work()
    # What it had in hand is due again when its lease is over; that is now.
    assert (
        Delivery.objects.exclude(claim=None).update(deliver_after=timezone.now() - dt.timedelta(minutes=1))
        == 1
    )
    server.wait_for_messages(1, timeout=60)
    eventually(queue_is_empty)


def refuse(port):
    """Nobody listens."""
    return ExitStack()


def swallow(port):
    """Whoever listens never answers."""
    return socket.create_server(("127.0.0.1", port))


@pytest.mark.parametrize("broken", [refuse, swallow])
def test_a_broken_broker_never_reaches_the_request(
    *, page, server, celery, no_broker, caplog, eventually, broken
):
    caplog.set_level(logging.INFO, "pusherable")
    celery.choose(poll=0.5)
    with broken(no_broker):
        assert page().status_code == 200
        assert logged(caplog) == []  # the request has not waited for it
        eventually(lambda: logged(caplog))
        assert [page().status_code for _ in range(5)] == [200] * 5
    with redis_server(celery.folder, no_broker):
        celery.work()
        eventually(queue_is_empty)
        assert len(server.messages) == 6
        eventually(lambda: logged(caplog) == ["WARNING", "INFO"])  # one line each, for the incident


@pytest.mark.usefixtures("no_broker")
def test_a_relay_sends_without_a_broker(page, server, celery):
    celery.choose()
    assert page().status_code == 200
    assert Relay("default").drain().sent == 1
    assert len(server.messages) == 1


def test_a_broker_that_was_restarted_is_connected_to_anew(poll, celery, no_broker, eventually):
    celery.choose()
    for _ in range(2):
        Delivery.objects.all().delete()
        with redis_server(celery.folder, no_broker):
            eventually(lambda: celery.tasks() is not None)
            record_access(poll, "view")
            eventually(lambda: celery.tasks() == [DRAIN])
