"""What several commands share: how they are called, and how they end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.db import connections, router
from django.db.models import QuerySet

from pusherable.delivery.worker import Worker
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent

#: The exit code of a command that was called wrongly, as argparse has it.
USAGE: Final = 2


def add_database(parser: CommandParser) -> None:
    parser.add_argument(
        "--database",
        choices=tuple(connections),
        default=router.db_for_write(AccessEvent),
        help="The database that holds the events (default: %(default)s).",
    )


def matching(given: dict[str, Any], using: str) -> QuerySet[AccessEvent]:
    """The events that the options select; None is an option that was not given.

    Raises CommandError for a value that cannot be.
    """
    given = {name: value for name, value in given.items() if value is not None}
    filterset = AccessEventFilter(given, AccessEvent.objects.using(using))
    problems = []
    for name, value in given.items():
        messages = filterset.errors.get(name, [])
        # To the filter, empty means any: "--user $NAME", and every event were meant.
        if not messages and filterset.form.cleaned_data[name] in (None, ""):
            messages = ["Enter a value, or leave the option out."]
        problems += [f"--{name.replace('_', '-')} {value!r}: {message}" for message in messages]
    if problems:
        raise CommandError("\n".join(problems), returncode=USAGE)
    events: QuerySet[AccessEvent] = filterset.qs
    return events


def confirm(question: str, refusal: str, *, is_terminal: bool) -> None:
    """Go on only after a "yes". Raises CommandError otherwise: with the refusal where nobody can be asked."""
    if not is_terminal:
        raise CommandError(refusal)
    try:
        answer = input(f"{question} Type 'yes' to go on: ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer != "yes":
        raise CommandError("Cancelled; nothing was done.")


@contextmanager
def stopping(worker: Worker, signals: list[int]) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the worker after what is in hand; the next one acts as always."""
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        worker.stop()
        restore()

    if threading.current_thread() is threading.main_thread():  # no other may handle signals
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore()
