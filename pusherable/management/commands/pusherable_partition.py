import argparse
import re
from contextlib import suppress
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.db import Error, connections

from pusherable.management.options import USAGE, TellingCommand, add_database
from pusherable.models import AccessEvent
from pusherable.retention import conversion, partitions
from pusherable.retention.locks import Busy, exclusive
from pusherable.retention.obstacles import check
from pusherable.retention.partitions import AHEAD, ROWS, PartitionError

LOCKS: Final = (
    "Reading and writing go on, but for two moments of a fraction of a second. If a long transaction is in "
    "the way then, requests wait for up to 0.2 s at a time, and after a minute the command gives up."
)


def size(text: str) -> int:
    """A number of ids. Few of them would be used up before there are new partitions."""
    if not re.fullmatch("[1-9][0-9]{3,11}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r}: write a whole number from 1000 on.")
    return int(text)


class Command(TellingCommand):
    help = (
        "PostgreSQL: divides the event table into partitions by ranges of id, so that pusherable_prune can "
        "drop old ones whole. Where that was done, creates the partitions that are missing ahead."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--rows",
            type=size,
            metavar="N",
            help=f"So many ids to a new partition (default: as many as the last one has; at first {ROWS}).",
        )
        parser.add_argument(
            "--reverse", action="store_true", help="Make it a plain table again: copy all events into one."
        )
        parser.add_argument("--dry-run", action="store_true", help="Say what would be done; change nothing.")
        self.add_no_input(parser, "Do not ask before the table is divided, or made a plain one.")
        add_database(parser)

    def handle(
        self, *, rows: int | None, reverse: bool, dry_run: bool, database: str, **options: Any
    ) -> None:
        self.using, self.interactive = database, options["interactive"]
        if rows and reverse:
            raise CommandError("argument --rows: not with --reverse.", returncode=USAGE)
        if connections[database].vendor != "postgresql":
            raise CommandError(f'Only PostgreSQL has partitions, and the database "{database}" is another.')
        try:
            partitions.home(database)
            if dry_run:
                self._describe(rows, reverse=reverse)
            else:
                with exclusive(database):
                    self._work(rows, reverse=reverse)
        except (Busy, Error, PartitionError) as error:
            raise CommandError(str(error).strip() + self._left()) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped." + self._left(), returncode=130) from None

    def _work(self, rows: int | None, *, reverse: bool) -> None:
        is_partitioned = partitions.is_partitioned(self.using)
        if reverse:
            if is_partitioned:
                self._confirm("All events are copied into a plain table, which takes its place.")
            conversion.revert(self.using)
            self.tell("The event table is a plain one.")
            return
        if is_partitioned:
            conversion.give_up(self.using)
            created = partitions.extend(self.using, width=rows)
            if created:
                conversion.analyze(self.using)
        else:
            self._confirm("The event table becomes the first partition of a new one.")
            conversion.convert(self.using, rows or ROWS)
            created = partitions.ahead(self.using)
        self.tell(_list("Created", [(one.low or 0, one.high) for one in created]))
        self._report()

    def _describe(self, rows: int | None, *, reverse: bool) -> None:
        is_partitioned, disk = partitions.is_partitioned(self.using), conversion.size_on_disk(self.using)
        if reverse or not is_partitioned:
            check(self.using)
        if reverse and not is_partitioned:
            self.tell("The event table is a plain one.")
        elif reverse:
            self.tell(f"{disk} would be copied into a plain table, and the partitions dropped then. {LOCKS}")
        elif is_partitioned:
            self._report()
            self.tell(_list("Would create", partitions.missing(self.using, width=rows)))
        else:
            rows = rows or ROWS
            bound = conversion.boundary(self.using, rows)
            self.tell(
                f"The event table ({disk}, read once) would become the partition of all ids below {bound}, "
                f"and {AHEAD} new ones of {rows} ids each follow. {LOCKS}"
            )
        self.tell("Nothing was changed.")

    def _report(self) -> None:
        existing, ahead = partitions.partitions(self.using), partitions.ahead(self.using)
        self.tell(
            f"{AccessEvent._meta.db_table} has {len(existing)} partitions, {len(ahead)} of them ahead, and "
            f"takes {partitions.room(self.using)} more events."
        )

    def _left(self) -> str:
        with suppress(Error, PartitionError):
            return f" {conversion.left(self.using)}".rstrip()
        return ""

    def _confirm(self, what: str) -> None:
        if self.interactive:
            refusal = "Try it with --dry-run first; then add --no-input to go on without being asked."
            self.confirm(what, refusal)


def _list(what: str, ranges: list[tuple[int, int]]) -> str:
    return f"{what}: {', '.join(f'{low} to {high - 1}' for low, high in ranges) or 'nothing'}."
