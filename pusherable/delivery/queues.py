"""Who sends after commit: a worker of the project's task queue, `django.tasks` or Celery.

A task names a database and nothing else: it asks a worker to look. So no harm is done by one that is lost,
that runs twice, or whose worker is killed.
"""

import logging
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, Final

from django.db import Error, connections

from pusherable.delivery import clock
from pusherable.delivery.dispatchers import Background
from pusherable.delivery.worker import Worker
from pusherable.models import Delivery

logger = logging.getLogger(__name__)

#: Seconds that a broker gets for each step of taking a task, under the names that its client has for them.
BROKER_TIMEOUTS: Final[dict[str, dict[str, float]]] = {
    "amqp": {"read_timeout": 5, "write_timeout": 5},
    "redis": {"socket_connect_timeout": 5, "socket_timeout": 5},
}


class Enqueuer(Worker, ABC):
    """Enqueues a task when it is woken, and every `poll` seconds, if anything is due.

    As long as what was due at the last task still is, that task has not run, and another one would only make
    the queue longer; but every `poll` seconds it counts as lost.
    """

    def __init__(self, using: str, *, linger: float, poll: float) -> None:
        super().__init__()
        self.using = using
        self.linger = linger
        self.poll = poll
        self._sweep_at = time.monotonic() + poll
        self._asked_for: tuple[int, int] | None = None
        self._failing = False

    @abstractmethod
    def enqueue(self) -> None:
        """Enqueue a task, or raise whatever the queue's client raises."""

    def disconnect(self) -> None:
        with suppress(Error):  # a connection that is lost already is forgotten all the same
            connections.close_all()

    def run(self) -> None:
        try:
            while not self._finishing:
                self._woken = False
                self._look()
                # On a busy site the next one comes before connecting anew has paid.
                if not self._pause(min(self.poll, 1), until_woken=True):
                    self.disconnect()
                    self._pause(self._sweep_at - time.monotonic(), until_woken=True)
                self._pause(self.linger)
            self._look()
        finally:
            self.disconnect()

    def _look(self) -> None:
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + self.poll
            self._asked_for = None
        try:
            first = _first_due(self.using)
            if first is None or first == self._asked_for:
                return
            self.enqueue()
        except Exception as error:  # noqa: BLE001  # a broker's client may raise anything
            self._failed(error)
            return
        self._asked_for = first
        if self._failing:
            self._failing = False
            logger.info("Tasks to send access events can be enqueued again.")

    def _failed(self, error: Exception) -> None:
        self.disconnect()
        if not self._failing:
            self._failing = True
            logger.warning(
                "No task to send access events can be enqueued; they are kept, and it is tried again. %s: %s",
                type(error).__name__,
                error,
            )


def _first_due(using: str) -> tuple[int, int] | None:
    """Key and attempts of the first delivery that is due; either changes when a relay has taken it."""
    due = Delivery.objects.using(using).due(clock.now(using))
    return due.order_by("event_id").values_list("event_id", "attempts").first()


class TaskEnqueuer(Enqueuer):
    def __init__(self, using: str, task: Any, **times: float) -> None:
        super().__init__(using, **times)
        self.task = task

    def enqueue(self) -> None:
        self.task.enqueue(self.using)


class CeleryEnqueuer(Enqueuer):
    def __init__(self, using: str, queue: str | None, **times: float) -> None:
        super().__init__(using, **times)
        self.queue = queue
        self._connection: Any = None

    def enqueue(self) -> None:
        from pusherable.tasks import celery_drain

        if self._connection is None:
            self._connection = _connect(celery_drain.app)
        # The sweep is what tries again: Celery's own way would be to hold this thread up.
        celery_drain.apply_async([self.using], queue=self.queue, retry=False, connection=self._connection)

    def disconnect(self) -> None:
        super().disconnect()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.release()


def _connect(app: Any) -> Any:
    """A connection to the broker that is not Celery's own, since that may wait for ever."""
    kind = app.connection_for_write().transport.driver_type
    options = BROKER_TIMEOUTS.get(kind, {}) | app.conf.broker_transport_options
    return app.connection_for_write(transport_options=options)


class QueueDispatcher(Background[Enqueuer]):
    """Has workers send. A thread of the process enqueues the tasks, so that no request waits for the queue.

    `linger` (seconds) makes the events of a busy moment one task. Every `poll` (seconds) the thread enqueues
    one if something is due: what failed before, and what a task was lost for. At exit it gets
    `flush_timeout` (seconds).
    """

    def __init__(self, *, linger: float = 0.1, poll: float = 60, flush_timeout: float = 2) -> None:
        self.times = {"linger": linger, "poll": poll}
        super().__init__(flush_timeout=flush_timeout, **self.times)

    def work(self, worker: Enqueuer) -> None:
        worker.run()


class TaskDispatcher(QueueDispatcher):
    """Has the workers of `django.tasks` send, or of the `django-tasks` package before Django 6.0.

    `backend` and `queue_name` are names from ``TASKS``.
    """

    def __init__(self, *, backend: str = "default", queue_name: str = "default", **times: float) -> None:
        try:
            from pusherable.delivery.django_task import DummyBackend, drain, task_backends

            self.task = drain.using(backend=backend, queue_name=queue_name)
        except ImportError as error:
            raise ImportError("before Django 6.0 this needs the package django-tasks.") from error
        except Exception as error:  # what the two packages raise has no class in common
            raise ValueError(f"TASKS: {error}") from error
        if isinstance(task_backends[backend], DummyBackend):
            raise ValueError(  # noqa: TRY004  # of the setting's value
                f"TASKS[{backend!r}] is a DummyBackend, which never runs a task. For tests choose "
                "pusherable.delivery.dispatchers.InlineDispatcher."
            )
        super().__init__(**times)

    def make(self, using: str) -> Enqueuer:
        return TaskEnqueuer(using, self.task, **self.times)


class CeleryDispatcher(QueueDispatcher):
    """Has the workers of the project's default Celery app send. `queue` names a queue of theirs."""

    def __init__(self, *, queue: str | None = None, **times: float) -> None:
        try:
            from celery.app import default_app
        except ImportError as error:
            raise ImportError('Celery is missing: pip install "django-pusherable[celery]".') from error
        if not default_app:
            raise ValueError("there is no Celery app: import yours in the __init__.py of the project.")
        self.queue = queue
        super().__init__(**times)

    def make(self, using: str) -> Enqueuer:
        return CeleryEnqueuer(using, self.queue, **self.times)
