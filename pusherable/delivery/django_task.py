"""The task of `django.tasks`, or of the `django-tasks` package before Django 6.0.

To import this fails where there is neither, and where ``TASKS`` has no backend or no queue named "default".
"""

try:
    from django.tasks import task, task_backends
    from django.tasks.backends.dummy import DummyBackend
except ImportError:
    from django_tasks import task, task_backends  # type: ignore[assignment,no-redef]
    from django_tasks.backends.dummy import DummyBackend  # type: ignore[assignment]

from pusherable import tasks

__all__ = ["DummyBackend", "drain", "task_backends"]


@task
def drain(using: str) -> None:
    tasks.drain(using)
