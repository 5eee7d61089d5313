import re
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.db import Error
from django.db.models import Count, Max, QuerySet

from pusherable.conf import conf
from pusherable.delivery.replay import Replay
from pusherable.filters import BROADCAST, STATUS
from pusherable.management.options import OPTIONS, USAGE, TellingCommand, add_database, matching, stopping
from pusherable.models import AccessEvent

#: Of the events that would be sent, `--dry-run` shows so many.
SHOWN: Final = 10
SEND: Final = ("delivered", "failed", "pending")


class Command(TellingCommand):
    help = (
        "Sends recorded events again: those that were given up, or those that had been delivered. Their "
        'messages contain "replayed": true and the original event_id.'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_argument_group("which events", "At least one of these but --limit is needed.")
        which.add_argument("--status", choices=SEND, help="What became of the event until now.")
        which.add_argument("--action", help="For example: updated")
        which.add_argument("--object", metavar="MODEL[:KEY]", help="For example: blog.post or blog.post:17")
        which.add_argument("--user", help="A username, or a key: pk:42")
        which.add_argument("--since", metavar="TIME", help="A date or time, such as 2026-11-22T10:30")
        which.add_argument("--until", metavar="TIME", help="Up to this time, or to the end of this date.")
        which.add_argument("--after-id", metavar="ID", help="Events that were recorded after this one.")
        which.add_argument("--limit", metavar="N", help="No more than this; the oldest first.")
        parser.add_argument("--rate", metavar="N/s", help="At most so many per second, or per minute: 600/m")
        parser.add_argument("--dry-run", action="store_true", help="Show what would be sent; change nothing.")
        add_database(parser)
        self.add_no_input(parser, "Do not ask before events are sent again that had been delivered.")

    def handle(self, **options: Any) -> None:
        using = options["database"]
        limit, rate = _limit(options["limit"]), _rate(options["rate"])
        matching = _matching(options, using)
        if not conf.broadcasts:
            raise CommandError("Nothing can be sent: set PUSHER_APP_ID, PUSHER_KEY and PUSHER_SECRET.")
        events = matching.filter(BROADCAST).order_by("pk")
        try:
            counts = events[:limit].aggregate(
                last=Max("pk"), **{status: Count("pk", filter=STATUS[status]) for status in SEND}
            )
            # What is recorded from now on is not meant, or this might never end.
            events = events.filter(pk__lte=counts["last"] or 0)
            self._introduce(matching, counts, limit)
            if options["dry_run"]:
                self._show(events)
        except Error as error:
            message = f'The events in the database "{using}" cannot be read. {str(error).strip()}'
            raise CommandError(message) from error
        if counts["last"] and not options["dry_run"]:
            if counts["delivered"]:
                if options["interactive"]:
                    self._confirm(counts["delivered"])
            else:  # nor is what is delivered from now on
                events = events.filter(delivery__isnull=False)
            self._replay(Replay(events, rate=rate), sum(counts[status] for status in SEND))

    def _introduce(self, matching: QuerySet[AccessEvent], counts: dict[str, Any], limit: int | None) -> None:
        others = matching.exclude(BROADCAST)
        if limit and counts["last"]:
            others = others.filter(pk__lte=counts["last"])
        passed_over = others.count()
        if not counts["last"] and not passed_over:
            self.tell("No event matches.")
            return
        total = sum(counts[status] for status in SEND)
        parts = ", ".join(f"{status}: {counts[status]}" for status in SEND)
        self.tell(f"Events to send: {total} ({parts}). Not broadcast, and passed over: {passed_over}.")

    def _show(self, events: QuerySet[AccessEvent]) -> None:
        for event in events.select_related("delivery")[:SHOWN]:
            time = event.occurred_at.isoformat(timespec="seconds")
            line = f"{event.pk}  {time}  {event}  {event.status}"
            # What users have chosen, such as their names, must not control the terminal.
            self.tell("".join(character if character.isprintable() else "?" for character in line))
        self.tell("Nothing was changed.")

    def _replay(self, replay: Replay, total: int) -> None:
        shows_progress = self.stdout.isatty() and not self.quiet
        signals: list[int] = []
        problem = ""
        try:
            with stopping(replay, signals):
                for _ in replay:
                    if shows_progress:
                        self.stdout.write(f"\r{replay.taken} of {total}", ending="")
                        self.stdout.flush()
        except Error as error:
            problem = f"The database failed: {str(error).strip()}"
        except KeyboardInterrupt:  # the second one
            problem = "Stopped at once."
        if shows_progress:
            self.stdout.write("")
        self.tell(
            f"Sent: {replay.sent}, failed: {replay.failed}, still in the queue: {replay.queued}. "
            f"Last id: {replay.last}."
        )
        if replay.is_complete and not replay.failed and not replay.queued:
            return
        if replay.is_complete:
            problem = "Not all of them were sent."
        elif not problem:
            problem = "Stopped." if signals else "Stopped, because nothing can be sent at present."
        if replay.queued:
            problem += " What is in the queue is sent by whoever relays next."
        left = total - replay.taken
        # With a limit, since what has been recorded meanwhile is not meant.
        if replay.last and left > 0 and not replay.is_complete:
            problem += f" To go on, repeat the command with --after-id {replay.last} --limit {left}."
        raise CommandError(problem, returncode=128 + signals[0] if signals else 1)

    def _confirm(self, delivered: int) -> None:
        self.confirm(
            f"{delivered} of them have been delivered.",
            f"{delivered} of these events have been delivered. To send them again without being asked, add "
            "--no-input; to leave them out, add --status failed.",
        )


def _matching(options: dict[str, Any], using: str) -> QuerySet[AccessEvent]:
    given = {name: options[name] for name in OPTIONS}
    if all(value is None for value in given.values()):
        raise CommandError(
            "Say which events, for example with --status failed. There are also --action, --object, --user, "
            "--since, --until and --after-id; --after-id 0 means all.",
            returncode=USAGE,
        )
    return matching(given, using)


def _limit(value: str | int | None) -> int | None:
    if value is None:
        return None
    if not re.fullmatch("[1-9][0-9]{0,8}", str(value)):
        raise CommandError(f"--limit {value!r}: Enter a whole number above 0.", returncode=USAGE)
    return int(value)


def _rate(value: str | None) -> float | None:
    """Events per second."""
    if value is None:
        return None
    if not (match := re.fullmatch("([1-9][0-9]{0,8})/([sm])", str(value))):
        raise CommandError(f"--rate {value!r}: Enter 100/s or 600/m.", returncode=USAGE)
    return int(match[1]) / {"s": 1, "m": 60}[match[2]]
