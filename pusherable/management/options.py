"""What several commands share: how they are called, and how they end."""

import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections, router
from django.db.models import QuerySet

from pusherable.delivery.worker import Worker
from pusherable.filters import AccessEventFilter
from pusherable.models import AccessEvent

#: The exit code of a command that was called wrongly, as argparse has it.
USAGE: Final = 2
#: The options that choose events.
OPTIONS: Final = ("status", "action", "object", "user", "since", "until", "after_id")

#: What they are called in the filter, where that is something else.
_NAMES: Final = {"object": "object_type", "user": "username", "since": "after", "until": "before"}
_HINTS: Final = {
    "object": "Enter blog.post, or blog.post:17 for one object.",
    "user": "Enter a username, or pk:42 for a key.",
}


class TellingCommand(BaseCommand):
    """Tells what it does, unless it is called with ``--verbosity 0``."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.quiet = options["verbosity"] == 0
        return super().execute(*args, **options)

    def tell(self, text: str) -> None:
        if not self.quiet:
            self.stdout.write(text)

    def add_no_input(self, parser: CommandParser, what: str) -> None:
        parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help=what)

    def confirm(self, question: str, refusal: str) -> None:
        """Go on only after a "yes"; raise CommandError otherwise, with the refusal where nobody is asked."""
        if not sys.stdin.isatty():
            raise CommandError(refusal)
        try:
            answer = input(f"{question} Type 'yes' to go on: ")
        except (EOFError, KeyboardInterrupt):
            answer = ""
        if answer != "yes":
            raise CommandError("Cancelled; nothing was done.")


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
    wanted = {name: _parameters(name, value) for name, value in given.items()}
    data = {name: value for parameters in wanted.values() for name, value in parameters.items()}
    filterset = AccessEventFilter(data, AccessEvent.objects.using(using))
    problems = []
    for option, parameters in wanted.items():
        messages = [_HINTS[option]] if not parameters else []
        for name in parameters:
            messages += filterset.errors.get(name, [])
            # To the filter, empty means any: "--user $NAME", and every event were meant.
            if not messages and filterset.form.cleaned_data[name] in (None, ""):
                messages = ["Enter a value, or leave the option out."]
        problems += [f"--{option.replace('_', '-')} {given[option]!r}: {message}" for message in messages]
    if problems:
        raise CommandError("\n".join(problems), returncode=USAGE)
    events: QuerySet[AccessEvent] = filterset.qs
    return events


def _parameters(option: str, value: Any) -> dict[str, Any]:
    """What an option is to the filter; nothing where it does not have the form that it must have."""
    text = str(value).strip()
    if option == "object" and text:
        match = re.fullmatch(r"(\w+\.\w+)(?::(.+))?", text, re.DOTALL)
        parts = zip(("object_type", "object_pk"), match.groups() if match else (), strict=False)
        return {name: part for name, part in parts if part}
    if option == "user" and text.startswith("pk:"):
        key = text.removeprefix("pk:")
        return {"user_pk": key} if key else {}
    return {_NAMES.get(option, option): value}


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
