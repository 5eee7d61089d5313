import argparse
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from types import FrameType
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from pusherable.conf import conf
from pusherable.delivery.breaker import breaker
from pusherable.delivery.notify import Listener, can_listen
from pusherable.delivery.relay import Relay, Tally
from pusherable.delivery.status import Status, readable
from pusherable.management.options import add_database

#: Seconds between two lines about what was sent.
REPORT_EVERY: Final = 10


def number(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], float]:
    """A type for argparse: a number within limits."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not least <= value <= most:
            what = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r}: write a {what} from {least:,} to {most:,}.")
        return value

    return parse


class Command(BaseCommand):
    help = "Sends what is in the delivery queue, until it is told to end. Any number of them may run at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once",
            action="store_true",
            help="Send what is due and end, with exit code 1 if something could not be sent.",
        )
        parser.add_argument(
            "--batch-size",
            type=number(int, 1, 1000),
            default=100,
            metavar="N",
            help="How many deliveries to claim at a time (default: %(default)s).",
        )
        parser.add_argument(
            "--concurrency",
            type=number(int, 1, 1000),
            default=8,
            metavar="N",
            help="How many calls to make at once, with up to 10 events each (default: %(default)s).",
        )
        parser.add_argument(
            "--idle",
            type=number(float, 0.01, 86400),
            default=5,
            metavar="SECONDS",
            help="How often to look for work when nobody wakes it (default: %(default)s).",
        )
        parser.add_argument(
            "--max-events",
            type=number(int, 1, 10**9),
            metavar="N",
            help="End after so many, for supervisors that start their workers afresh now and then.",
        )
        add_database(parser)

    def handle(
        self,
        *,
        once: bool,
        batch_size: int,
        concurrency: int,
        idle: float,
        max_events: int | None,
        database: str,
        verbosity: int,
        **_options: Any,
    ) -> None:
        if not conf.broadcasts:
            raise CommandError(
                "Your project broadcasts nothing, so there is nothing to send. "
                "Write PUSHER_APP_ID, PUSHER_KEY and PUSHER_SECRET in your settings."
            )
        self.verbosity = verbosity
        self.signal = 0
        self.reported, self.reported_at = Tally(), time.monotonic()
        relay = Relay(database, batch_size=batch_size, concurrency=concurrency, report=self._report)
        begun = time.monotonic()
        with self._stopping(relay):
            if once:
                with _database_errors(database):
                    relay.drain(max_events)
            else:
                self._run(relay, idle, max_events)
        self._say(f"Ended after {readable(time.monotonic() - begun)}: {_counts(relay.tally)}.")
        if once:
            with _database_errors(database):
                self._check(relay)

    def _run(self, relay: Relay, idle: float, max_events: int | None) -> None:
        listens = can_listen(relay.using)
        self._say(
            f'Sending from the database "{relay.using}", {relay.batch_size} deliveries to a claim, '
            f"{relay.concurrency} calls at once. It looks every {readable(idle)}"
            f"{', and at once when PostgreSQL notifies it' if listens else ''}."
        )
        with Listener(relay.using, relay.wake) if listens else nullcontext():
            relay.run(idle=idle, limit=max_events)

    def _check(self, relay: Relay) -> None:
        """Raise if something was not sent; where nothing works, most of it was not even tried."""
        has_failed = relay.tally.postponed or relay.tally.failed or breaker.is_open
        if not (has_failed or self.signal):
            return
        status = Status.of(relay.using)
        waiting = status.due + status.scheduled
        if has_failed or waiting:
            raise CommandError(
                f"Not all could be sent: {_counts(relay.tally)}. {waiting} are still to be sent.",
                returncode=128 + self.signal if self.signal else 1,
            )

    @contextmanager
    def _stopping(self, relay: Relay) -> Iterator[None]:
        """Stop the relay at SIGTERM or SIGINT; a second SIGINT ends the process."""

        def stop(number: int, _frame: FrameType | None) -> None:
            self.signal = number
            relay.stop()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            with suppress(RuntimeError):  # it came amidst another line
                self._say("Ending, after the calls in hand.")

        before = {}
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _report(self, relay: Relay) -> None:
        """Now and then, what was sent since the last time."""
        now, new = time.monotonic(), relay.tally - self.reported
        if new.tried and now - self.reported_at >= REPORT_EVERY:
            rate = f"{new.sent / (now - self.reported_at):.1f}/s"
            self._say(_counts(new, rate, f"lag {readable(relay.lag)}"))
            self.reported = replace(relay.tally)
        if now - self.reported_at >= REPORT_EVERY:
            self.reported_at = now

    def _say(self, line: str) -> None:
        if self.verbosity:
            with suppress(OSError):  # who read the lines may have gone, or their disk may be full
                self.stdout.write(line)
                self.stdout.flush()  # a supervisor reads it from a pipe


@contextmanager
def _database_errors(using: str) -> Iterator[None]:
    try:
        yield
    except Error as error:
        raise CommandError(
            f'The queue in the database "{using}" cannot be used. {str(error).strip()}'
        ) from error


def _counts(tally: Tally, *more: str) -> str:
    return ", ".join(
        [f"{tally.sent} sent", *more, f"{tally.postponed} to be tried again", f"{tally.failed} failed"]
    )
