"""`django.tasks` sends (before Django 6.0: `django-tasks`): the real worker of the database backend."""

import datetime as dt
import signal

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from pusherable.delivery import dispatchers
from pusherable.models import Delivery
from pusherable.recording import record_access
from tests.delivery.workers import Workers

pytestmark = pytest.mark.django_db(transaction=True)

DATABASE = {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default", "broadcasts"]}


class Project:
    """What a project with tasks in the database has: the app, workers; and our dispatcher."""

    def __init__(self, settings, folder):
        self.settings = settings
        self.workers = Workers(folder)

    def choose(self, **options):
        """Choose the dispatcher."""
        backend = "pusherable.delivery.queues.TaskDispatcher"
        options = {"linger": 0.02, "flush_timeout": 60, **options}
        self.settings.PUSHERABLE_DISPATCHER = {"BACKEND": backend, "OPTIONS": options}
        return dispatchers.dispatcher.get()

    def work(self, **settings):
        """Start a worker."""
        command = ("django", "db_worker", "--interval", "0.05", "--no-startup-delay")
        return self.workers.start(*command, TASKS=self.settings.TASKS, **settings)

    @property
    def model(self):
        return apps.get_model("django_tasks_database", "DBTaskResult")

    def tasks(self):
        """All tasks there have been: path, queue, arguments, state."""
        rows = self.model.objects.values_list("task_path", "queue_name", "args_kwargs", "status")
        return [(path, queue, *arguments["args"], status) for path, queue, arguments, status in rows]


@pytest.fixture
def tasks(settings, tmp_path, transactional_db):
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django_tasks_db"]
    settings.TASKS = {"default": DATABASE}
    project = Project(settings, tmp_path)
    with connection.schema_editor() as editor:
        editor.create_model(project.model)
    with project.workers.processes:
        yield project
    dispatchers.dispatcher.reset()
    with connection.schema_editor() as editor:
        editor.delete_model(project.model)


DRAIN = "pusherable.delivery.django_task.drain"


def queue_is_empty():
    return not Delivery.objects.exists()


def test_the_worker_sends_what_this_process_recorded(server, poll, tasks, eventually):
    tasks.choose()
    tasks.work()
    record_access(poll, "view")
    [message] = server.wait_for_messages(1, timeout=60)
    assert (message.channels, message.name) == ((f"poll_{poll.pk}",), "view")
    record_access(poll, "update")
    assert [message.name for message in server.wait_for_messages(2, timeout=60)] == ["view", "update"]
    task = (DRAIN, "default", "default", "SUCCESSFUL")
    eventually(lambda: set(tasks.tasks()) == {task})


def test_a_burst_is_one_task_without_a_payload(poll, tasks):
    dispatcher = tasks.choose(queue_name="broadcasts")
    for _ in range(50):
        record_access(poll, "view")
    dispatcher.close()
    assert tasks.tasks() == [(DRAIN, "broadcasts", "default", "READY")]


def test_the_task_of_a_killed_worker_is_not_needed(server, poll, tasks, eventually):
    """The backend never takes it up again."""
    tasks.choose(poll=0.5)
    server.fail_with = "hang"
    worker = tasks.work(PUSHER_TIMEOUT=60)
    record_access(poll, "view")
    eventually(lambda: server.requests)
    worker.send_signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    server.fail_with = None
    tasks.work()
    # What it had in hand is due again when its lease is over; that is now.
    assert (
        Delivery.objects.exclude(claim=None).update(deliver_after=timezone.now() - dt.timedelta(minutes=1))
        == 1
    )
    server.wait_for_messages(1, timeout=60)
    eventually(queue_is_empty)
    assert "RUNNING" in {status for *_, status in tasks.tasks()}


def test_without_a_setting_the_thread_sends_itself(server, poll, settings):
    """Django's default is a backend that runs a task where it is enqueued."""
    backend = "pusherable.delivery.queues.TaskDispatcher"
    settings.PUSHERABLE_DISPATCHER = {"BACKEND": backend, "OPTIONS": {"flush_timeout": 30}}
    record_access(poll, "view")
    dispatchers.dispatcher.reset()
    assert [message.name for message in server.messages] == ["view"]
