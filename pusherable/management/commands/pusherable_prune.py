import argparse
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error
from django.utils import timezone

from pusherable.management.options import USAGE, TellingCommand, add_database, matching, stopping
from pusherable.retention.archive import Archive, ArchiveError
from pusherable.retention.expired import Expired
from pusherable.retention.locks import Busy, exclusive
from pusherable.retention.partitions import PartitionError
from pusherable.retention.policy import Policy
from pusherable.retention.prune import Prune


def whole(text: str) -> int:
    """A whole number above 0."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"{text!r}: write a whole number above 0.")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number of seconds, up to 3600.")
    return value


class Command(TellingCommand):
    help = (
        "Deletes events that are old enough, in small batches: after --older-than, or after the setting "
        "PUSHERABLE_RETENTION."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_argument_group("which events")
        which.add_argument(
            "--older-than",
            metavar="AGE",
            help="90d, 12h, 2w, 6m (months), 2y or P90D; or a date, such as 2026-08-24. Instead of "
            "PUSHERABLE_RETENTION.",
        )
        which.add_argument("--action", help="Only these. For example: view")
        which.add_argument("--object", metavar="MODEL[:KEY]", help="For example: blog.post or blog.post:17")
        which.add_argument("--user", help="A username, or a key: pk:42")
        which.add_argument(
            "--keep-last",
            type=whole,
            metavar="N",
            help="Of each object, keep the newest N of them, however old they are.",
        )
        which.add_argument(
            "--include-undelivered",
            action="store_true",
            help="Also those that have still to be sent, or that could not be sent. They never will be then.",
        )
        how = parser.add_argument_group("how")
        how.add_argument(
            "--batch-size",
            type=whole,
            default=10_000,
            metavar="N",
            help="Events to a transaction, at most (default: %(default)s).",
        )
        how.add_argument("--max-batches", type=whole, metavar="N", help="End after so many.")
        how.add_argument(
            "--sleep", type=seconds, default=0, metavar="SECONDS", help="Rest so long after each batch."
        )
        how.add_argument(
            "--archive",
            type=Path,
            metavar="DIR",
            help="Write the events to a file there before they are deleted; pusherable_restore loads it.",
        )
        how.add_argument(
            "--archive-format",
            choices=("jsonl", "parquet"),
            default="jsonl",
            help="Compressed JSON Lines, or Parquet, which needs pyarrow (default: %(default)s).",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Count what would be deleted; change nothing."
        )
        self.add_no_input(parser, "Do not ask before.")
        add_database(parser)

    def handle(
        self,
        *,
        older_than: str | None,
        keep_last: int | None,
        include_undelivered: bool,
        batch_size: int,
        max_batches: int | None,
        sleep: float,
        archive: Path | None,
        archive_format: str,
        dry_run: bool,
        interactive: bool,
        database: str,
        **filters: Any,
    ) -> None:
        policy = _policy(older_than)
        wanted = {name: filters[name] for name in ("action", "object", "user")}
        events = matching(wanted, database)
        try:
            written = None
            if archive:
                written = Archive(archive, using=database, parquet=archive_format == "parquet")
            expired = Expired(events, policy, keep_last=keep_last, include_undelivered=include_undelivered)
            if dry_run:
                self.tell(f"Would delete {_events(expired.count(), policy)}.")
            else:
                if interactive:
                    self._confirm(
                        policy, archive, which="Matching events" if any(wanted.values()) else "Events"
                    )
                prune = Prune(expired, batch_size=batch_size, pause=sleep, archive=written)
                with exclusive(database):
                    self._prune(prune, policy, written, max_batches)
            if not include_undelivered and (count := expired.count_undelivered()):
                self.tell(f"Kept {count:,} that are still in the delivery queue; see --include-undelivered.")
        except (Busy, ArchiveError, Error) as error:
            raise CommandError(f"Nothing was deleted. {str(error).strip()}") from error

    def _prune(self, prune: Prune, policy: Policy, archive: Archive | None, most: int | None) -> None:
        shows_progress = self.stdout.isatty() and not self.quiet
        signals: list[int] = []
        problem = ""
        try:
            with archive or nullcontext(), stopping(prune, signals):
                for _batch in prune:
                    if shows_progress:
                        until = f", up to {prune.reached}" if prune.reached else ""
                        self.stdout.write(f"\r{prune.deleted:,} deleted{until}", ending="")
                        self.stdout.flush()
                    if prune.batches == most:
                        prune.stop()
        except (Error, OSError, ArchiveError, PartitionError) as error:
            problem = str(error).strip()
            if not prune.is_complete:
                problem = f"It ended before everything was deleted. {problem}"
        except KeyboardInterrupt:  # the second one
            problem = "Stopped at once, before everything was deleted."
        if shows_progress:
            self.stdout.write("")
        batches = "1 batch" if prune.batches == 1 else f"{prune.batches:,} batches"
        self.tell(f"Deleted {_events(prune.deleted, policy)}{f' in {batches}' if prune.batches else ''}.")
        if archive and archive.events:
            self.tell(f"Archived {archive.events:,} events in {archive.path}.")
        if problem:
            raise CommandError(problem)
        if not prune.is_complete:
            raise CommandError(
                "Stopped before everything was deleted."
                if signals
                else f"Ended after {batches}; there is more."
            )

    def _confirm(self, policy: Policy, archive: Path | None, *, which: str) -> None:
        what = f"{which} {policy.text} will be deleted {f'and kept in {archive}' if archive else 'for good'}."
        self.confirm(
            what, f"{what} To go on without being asked, add --no-input; to see how many they are, --dry-run."
        )


def _policy(older_than: str | None) -> Policy:
    now = timezone.now()
    try:
        policy = Policy.of_setting(now) if older_than is None else Policy.older_than(older_than, now)
    except ValueError as error:
        raise CommandError(f"--older-than {error}" if older_than else str(error), returncode=USAGE) from error
    if policy is None:
        raise CommandError(
            "Say how old the events have to be: with --older-than 90d, or once and for all with the setting "
            'PUSHERABLE_RETENTION = {"*": "90d"}.',
            returncode=USAGE,
        )
    return policy


def _events(count: int, policy: Policy) -> str:
    return f"1 event {policy.text}" if count == 1 else f"{count:,} events {policy.text}"
