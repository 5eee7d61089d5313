import argparse
import json
import re
from dataclasses import asdict
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from pusherable.delivery.status import UNITS, Status, readable
from pusherable.management.options import add_database
from pusherable.retention import partitions

#: Where the event table is partitioned, with fewer partitions ahead something is wrong.
LEAST_AHEAD: Final = 2


def duration(text: str) -> float:
    """Seconds, from ``90``, ``90s``, ``5m``, ``2h`` or ``1d``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([dhms]?)", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number and a unit, such as 30s, 5m, 2h or 1d.")
    return float(match[1]) * UNITS.get(match[2], 1)


class Command(BaseCommand):
    help = "Shows how the delivery queue is doing; ends with exit code 1 where it lags too far behind."
    requires_system_checks = ()  # a health check is run often, and is about one thing

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="Print one line of JSON.")
        parser.add_argument(
            "--max-lag",
            type=duration,
            metavar="DURATION",
            help="Exit with 1 if the oldest delivery has waited for longer: 30s, 5m, 2h, 1d.",
        )
        add_database(parser)

    def handle(self, *, as_json: bool, max_lag: float | None, database: str, **_options: Any) -> None:
        try:
            status = Status.of(database)
            room = partitions.room(database)
            ahead = None if room is None else len(partitions.ahead(database))
        except Error as error:
            message = f'The queue in the database "{database}" cannot be read. {str(error).strip()}'
            raise CommandError(message) from error
        lines = _lines(status)
        if room is not None:
            lines.append(("room", room, f"more events can be recorded; partitions ahead: {ahead}"))
        table = "\n".join(f"{name:<10}{value:>10}   {meaning}" for name, value, meaning in lines)
        values = asdict(status) | {"room": room, "partitions_ahead": ahead}
        self.stdout.write(json.dumps(values) if as_json else table)
        problems = []
        if max_lag is not None and status.lag > max_lag:
            problems.append(f"The lag is {readable(status.lag)}, and {readable(max_lag)} is the limit.")
        if ahead is not None and ahead < LEAST_AHEAD:
            problems.append(f"After {room} more events, recording fails. Run pusherable_partition.")
        if problems:
            raise CommandError("\n".join(problems))


def _lines(status: Status) -> list[tuple[str, object, str]]:
    return [
        ("lag", readable(status.lag), "that the oldest delivery has waited"),
        ("due", status.due, f"to be sent now; the oldest for {readable(status.oldest_due)}"),
        ("sending", status.sending, "claimed by a relay"),
        ("relays", status.relays, "at work at this moment"),
        ("scheduled", status.scheduled, "to be sent later, most often tried in vain before"),
        ("failed", status.failed, "given up; pusherable_replay --status failed sends them again"),
    ]
