"""When a task is enqueued and when not, in a real thread; and what the settings may say."""

import datetime as dt
import logging
from importlib.util import find_spec

import pytest
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from pusherable.checks import check_settings
from pusherable.delivery.queues import Enqueuer, QueueDispatcher
from pusherable.models import Delivery
from tests.delivery.celery_app import app  # noqa: F401  # the project's

pytestmark = pytest.mark.django_db(transaction=True)

QUEUES = "pusherable.delivery.queues."
PACKAGE = "django.tasks" if find_spec("django.tasks") else "django_tasks"
CHECK = """
from pusherable.checks import check_settings
for message in check_settings():
    print(message.id, message.msg)
"""
HOUR = dt.timedelta(hours=1)


class List(Enqueuer):
    """Enqueues into a list, or raises `error`; counts how often it has looked."""

    error = None

    def __init__(self, using, **times):
        super().__init__(using, **times)
        self.tasks = []
        self.looks = 0

    def enqueue(self):
        if self.error is not None:
            raise self.error
        self.tasks.append(self.using)
        self.wrapper = connections[self.using]

    def _look(self):
        super()._look()
        self.looks += 1


class Dispatcher(QueueDispatcher):
    def make(self, using):
        return List(using, **self.times)


@pytest.fixture
def start(eventually):
    """Start the thread, with options, and let it look for the first time. Returns its worker."""
    made = []

    def start(**options):
        made.append(Dispatcher(**{"linger": 0, "flush_timeout": 60, **options}))
        made[-1].wake("default")
        worker, _ = made[-1]._running["default"]
        eventually(lambda: worker.looks)
        worker.close = made[-1].close
        return worker

    yield start
    for one in made:
        one.close()


@pytest.fixture
def wake(eventually):
    """Wake a worker, and wait until it has looked."""

    def wake(worker):
        looks = worker.looks
        worker.wake()
        eventually(lambda: worker.looks > looks)

    return wake


def rows(*events):
    return Delivery.objects.filter(event_id__in=[event.pk for event in events])


def test_an_empty_queue_needs_no_task(start):
    assert start().tasks == []


def test_what_is_postponed_or_given_up_needs_no_task(enqueue, start):
    postponed, failed = enqueue(2)
    rows(postponed).update(deliver_after=timezone.now() + HOUR)
    rows(failed).update(failed_at=timezone.now())
    assert start().tasks == []


def test_what_other_processes_have_left_is_found_at_the_start(enqueue, start):
    enqueue(3)
    assert start().tasks == ["default"]


def test_tasks_do_not_pile_up_while_none_runs(enqueue, start, wake):
    enqueue()
    worker = start()
    for _ in range(3):
        enqueue()
        wake(worker)
    assert worker.tasks == ["default"]


def test_the_next_one_comes_when_a_task_has_run(enqueue, start, wake):
    first, worker = enqueue(), start()
    rows(first).delete()
    enqueue()
    wake(worker)
    assert worker.tasks == ["default"] * 2


def test_the_next_one_comes_when_a_task_has_tried_in_vain(enqueue, start, wake):
    first, worker = enqueue(), start()
    rows(first).update(attempts=1)
    wake(worker)
    assert worker.tasks == ["default"] * 2


def test_an_object_whose_turn_has_not_come_does_not_hide_the_others(enqueue, start, wake):
    """Its next event is due, but no task would send that; so it tells nothing about tasks."""
    ahead, behind = enqueue(2)
    rows(ahead).update(deliver_after=timezone.now() + HOUR)
    rows(ahead, behind).update(lane=7)
    worker = start()
    assert worker.tasks == []
    enqueue()
    wake(worker)
    assert worker.tasks == ["default"]


def test_a_task_counts_as_lost_after_a_while(enqueue, start, eventually):
    enqueue()
    worker = start(poll=0.05)
    eventually(lambda: len(worker.tasks) >= 3)


def test_what_becomes_due_is_found_without_being_woken(enqueue, start, eventually):
    rows(enqueue()).update(deliver_after=timezone.now() + dt.timedelta(seconds=0.5))
    worker = start(poll=0.05)
    assert worker.tasks == []
    eventually(lambda: worker.tasks)


def test_at_the_end_it_looks_once_more(enqueue, start):
    worker = start()
    enqueue()
    worker.close()
    assert worker.tasks == ["default"]


def test_an_idle_thread_has_no_database_connection(enqueue, start, eventually):
    enqueue()
    worker = start()
    eventually(lambda: worker.wrapper.connection is None)


# What goes wrong


def test_an_incident_is_logged_when_it_begins_and_when_it_ends(enqueue, start, wake, caplog):
    caplog.set_level(logging.INFO, "pusherable")
    worker = start()
    for _ in range(2):
        worker.error = OSError("no route to the broker")
        for _ in range(3):
            enqueue()
            wake(worker)
        worker.error = None
        wake(worker)
        Delivery.objects.all().delete()
    assert worker.tasks == ["default"] * 2
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2
    assert "OSError: no route to the broker" in caplog.messages[0]


def test_it_is_tried_again_without_being_woken(enqueue, start, eventually):
    worker = start(poll=0.05)
    worker.error = OSError()
    enqueue()
    looks = worker.looks
    eventually(lambda: worker.looks > looks + 2)
    worker.error = None
    eventually(lambda: worker.tasks)


def test_a_database_that_is_away_is_survived(start, without_table, enqueue, wake, caplog):
    worker = start()
    with caplog.at_level(logging.INFO, "pusherable"):
        without_table("pusherable_delivery")
        wake(worker)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# The settings


def complaints(name, **options):
    wanted = {"BACKEND": QUEUES + name, "OPTIONS": options}
    with override_settings(PUSHERABLE_DISPATCHER=wanted):
        return [
            message.msg.removeprefix(f"PUSHERABLE_DISPATCHER = {wanted!r}: ") for message in check_settings()
        ]


def tasks(path, **more):
    return {"default": {"BACKEND": f"{PACKAGE}.backends.{path}", **more}}


def test_right_settings_are_silent(settings):
    settings.TASKS = tasks("immediate.ImmediateBackend", QUEUES=["default", "pusherable"])
    assert complaints("TaskDispatcher") == []
    assert complaints("TaskDispatcher", queue_name="pusherable", linger=1, poll=5, flush_timeout=1) == []
    assert complaints("CeleryDispatcher") == []
    assert complaints("CeleryDispatcher", queue="pusherable", linger=1, poll=5, flush_timeout=1) == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"backend": "tasks"}, "TASKS: The connection 'tasks' doesn't exist."),
        ({"queue_name": "mail"}, "TASKS: Queue 'mail' is not valid for backend."),
        ({"queue": "default"}, "unexpected keyword argument 'queue'"),
        ({"poll": "60"}, "poll = '60': write a number of seconds"),
    ],
)
def test_a_wrong_option_is_found(settings, options, complaint):
    settings.TASKS = tasks("immediate.ImmediateBackend")
    [found] = complaints("TaskDispatcher", **options)
    assert complaint in found


def test_a_backend_that_never_runs_a_task_is_found(settings):
    settings.TASKS = tasks("dummy.DummyBackend")
    [found] = complaints("TaskDispatcher")
    assert found.startswith("TASKS['default'] is a DummyBackend, which never runs a task.")


def test_tasks_without_the_default_queue_are_found(run_script):
    done = run_script(
        CHECK,
        TASKS=tasks("immediate.ImmediateBackend", QUEUES=["mail"]),
        PUSHERABLE_DISPATCHER={"BACKEND": QUEUES + "TaskDispatcher", "OPTIONS": {"queue_name": "mail"}},
    )
    assert (done.code, done.err) == (0, "")
    assert "TASKS: Queue 'default' is not valid for backend." in done.out


@pytest.mark.parametrize(
    ("name", "missing", "complaint"),
    [
        ("TaskDispatcher", ["django.tasks", "django_tasks"], "needs the package django-tasks"),
        ("CeleryDispatcher", ["celery"], 'pip install "django-pusherable[celery]"'),
        ("CeleryDispatcher", [], "there is no Celery app: import yours in the __init__.py of the project."),
    ],
)
def test_what_has_to_be_there_is_named(run_script, name, missing, complaint):
    hide = f"import sys\nsys.modules.update(dict.fromkeys({missing}))\n"
    done = run_script(hide + CHECK, PUSHERABLE_DISPATCHER={"BACKEND": QUEUES + name})
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("pusherable.E009 PUSHERABLE_DISPATCHER = ")
    assert complaint in done.out


def test_the_tasks_can_be_imported_without_a_task_queue(run_script):
    """Something may look for the tasks of every app."""
    done = run_script(
        """
        sys.modules.update(dict.fromkeys(["celery", "django.tasks", "django_tasks"]))
        from pusherable import tasks
        assert not hasattr(tasks, "celery_drain")
        """
    )
    assert (done.code, done.err) == (0, "")
