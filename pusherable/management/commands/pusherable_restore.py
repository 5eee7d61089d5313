from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error

from pusherable.management.options import USAGE, TellingCommand, add_database
from pusherable.retention.archive import ArchiveError, Manifest
from pusherable.retention.locks import Busy, exclusive
from pusherable.retention.partitions import PartitionError
from pusherable.retention.restore import restore


class Command(TellingCommand):
    help = (
        "Checks archives that pusherable_prune has written and loads their events back, with the same ids. "
        "What is in the table already is passed over."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "files",
            type=Path,
            nargs="+",
            metavar="FILE",
            help="A .jsonl.gz or .parquet file; its manifest has to lie beside it.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Check the files; change nothing.")
        add_database(parser)

    def handle(self, *, files: list[Path], dry_run: bool, database: str, **_options: Any) -> None:
        if missing := [file for file in files if not file.is_file()]:
            raise CommandError(f"{missing[0]}: there is no such file.", returncode=USAGE)
        problems = []
        try:
            with exclusive(database):
                for file in files:
                    try:
                        self._restore(Manifest.of(file), database, dry_run=dry_run)
                    except ArchiveError as error:  # of this file; the others may be well
                        problems.append(str(error))
        except (Busy, PartitionError, Error) as error:
            problems.append(f"{str(error).strip()} To go on, repeat the command.")
        except KeyboardInterrupt:
            problems.append("Stopped. To go on, repeat the command.")
        if problems:
            raise CommandError("\n".join(problems))

    def _restore(self, manifest: Manifest, database: str, *, dry_run: bool) -> None:
        count = restore(manifest, database, dry_run=dry_run)
        done = "Would restore" if dry_run else "Restored"
        self.tell(
            f"{manifest.data}: {done} {count:,} of {manifest.events:,} events; "
            f"{manifest.events - count:,} were there already."
        )
        if manifest.rest:
            self.tell(
                f"{manifest.data}: Passed over the last {manifest.rest:,} bytes, a batch that was cut off. "
                "It had not been deleted from the table."
            )
