"""The one engine that claims due deliveries, sends them and settles them; every dispatcher drives it."""

import datetime as dt
import logging
import secrets
import time
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from django.db import Error, connections
from django.db.models import Exists, F, Min, OuterRef

from pusherable.conf import conf
from pusherable.delivery import claims, clock
from pusherable.delivery.breaker import backoff, breaker
from pusherable.delivery.calls import Calls, Track, tracks
from pusherable.delivery.transports import ConfigurationError, RefusedError, TransportError, error_text
from pusherable.delivery.worker import Worker
from pusherable.models import AccessEvent, Delivery
from pusherable.signals import delivery_failed, events_delivered

logger = logging.getLogger(__name__)

#: Seconds after which a failed delivery is tried again, at most.
RETRY_AT_MOST: Final = 600
#: Seconds until a delivery is looked at again that was claimed too early, before another one of its lane.
HOLD: Final = 0.25
#: Seconds between two lines of a relay about what it has given up, at least.
QUIET: Final = 60


def lease() -> dt.timedelta:
    """How long a claim holds, so that nobody else takes the deliveries meanwhile.

    Calls begin in its first half only. The second is for the last of them to end: looking up the name,
    connecting, sending and reading may each take ``PUSHER_TIMEOUT``.
    """
    return dt.timedelta(seconds=30 + 6 * conf.PUSHER_TIMEOUT)


def relay_of(claim: uuid.UUID) -> int:
    """Which relay made a claim: the first half of the token names it, the second is fresh each time."""
    return claim.int >> 64


@dataclass
class Tally:
    """Deliveries that were sent, that will be tried again, and that were given up."""

    sent: int = 0
    postponed: int = 0
    failed: int = 0

    @property
    def tried(self) -> int:
        return self.sent + self.postponed + self.failed

    def __sub__(self, before: "Tally") -> "Tally":
        return Tally(self.sent - before.sent, self.postponed - before.postponed, self.failed - before.failed)


class Relay(Worker):
    """Sends the deliveries of one database; any number may run at once, in any number of processes.

    `batch_size` is how many deliveries are claimed at a time, `concurrency` how many calls are made at once.
    `report` is called with the relay whenever it has settled some, or looked for some in vain.

    The deliveries of an object leave in the order of their events: none is sent while an earlier one is still
    in the queue. That holds for any number of relays, as long as calls end within their lease.
    """

    def __init__(
        self,
        using: str,
        *,
        batch_size: int = 100,
        concurrency: int = 8,
        report: "Callable[[Relay], None] | None" = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("concurrency", concurrency)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} = {value!r}: write a whole number above 0.")
        super().__init__()
        self.using = using
        self.batch_size = batch_size
        self.concurrency = concurrency
        self.report = report
        self.tally = Tally()
        self.lag = 0.0  # seconds that the oldest delivery of the last claim had been due
        self._name = secrets.randbits(64)  # not `random`: a project may seed that, alike in all processes
        self._looked: dt.datetime | None = None
        self._deadline = 0.0
        self._found = 0
        self._runs = False
        self._unlogged = 0
        self._quiet_until = 0.0

    def run(self, *, idle: float, linger: float = 0, limit: int | None = None) -> Tally:
        """Send what is due, and wait for more, until told to end or until `limit` deliveries were tried.

        It is woken by `wake`, by what falls due, and looks by itself every `idle` seconds. Once woken it
        waits `linger` seconds, so that the events of a busy moment share calls. Survives the absence of the
        database.
        """
        begun, errors, self._runs = replace(self.tally), 0, True
        try:
            while not self._finishing:
                self._woken = False
                try:
                    may_be_more = self._round(None if limit is None else limit - (self.tally - begun).tried)
                    if errors:
                        logger.info("The delivery queue of the database %r can be used again.", self.using)
                    errors = 0
                except Exception as error:  # noqa: BLE001  # nothing may end this loop but being told to
                    errors = self._lost_database(errors, error)
                    continue
                if limit is not None and (self.tally - begun).tried >= limit:
                    break
                self._wait(idle, linger, may_be_more=may_be_more)
            if not self._stopped and not errors and not breaker.is_open and limit is None:
                with suppress(Error):  # it was there a moment ago; what is due stays due
                    self.drain()
        finally:
            self._runs = False
            _disconnect(self.using)
        return self.tally - begun

    def drain(self, limit: int | None = None, only: Collection[int] | None = None) -> Tally:
        """Send what is due, oldest first, until nothing is left, calls fail in a row, or `stop` is called.

        `limit` is the most deliveries to try. `only` names the events whose deliveries are meant. A failed
        call raises nothing; a database error does.
        """
        begun = replace(self.tally)
        left = limit
        while (left is None or left > 0) and self._round(left, only):
            left = None if limit is None else limit - (self.tally - begun).tried
        return self.tally - begun

    def _round(self, limit: int | None = None, only: Collection[int] | None = None) -> bool:
        """Send what is due by now; returns whether more may be due by then.

        That is what others have committed meanwhile, behind these in their lane: nobody else could take it.
        """
        taken, may_be_more, hides, freed = 0, True, False, False
        calls = Calls(self.concurrency, lambda: self._stopped)
        try:
            while True:
                while may_be_more and self._may_claim(calls):
                    size = 1 if breaker.is_open else self.batch_size
                    size = size if limit is None else min(size, limit - taken)
                    hides = calls.pending > 0  # what is behind those in hand
                    deliveries = self._claim(size, only)
                    taken += len(deliveries)
                    may_be_more = self._found == size and (limit is None or taken < limit)
                    for track in tracks(deliveries, self._deadline):
                        calls.add(track)
                if not calls.pending:
                    return freed
                self._lend_connection()
                ended = calls.finished()
                while calls.pending >= self.concurrency:  # many at once, since each commit takes its time
                    ended += calls.finished()
                freed |= self._settle(ended)
                may_be_more |= freed and hides and (limit is None or taken < limit)
        finally:
            calls.close()

    def _may_claim(self, calls: Calls) -> bool:
        # While the breaker is open, one at a time is tried.
        room = 1 if breaker.is_open else self.concurrency
        return calls.pending < room and not self._stopped and breaker.is_ready()

    def _claim(self, size: int, only: Collection[int] | None) -> list[Delivery]:
        """Take up to `size` due deliveries under a lease, with their events."""
        queue = Delivery.objects.using(self.using)
        self._deadline = time.monotonic() + lease().total_seconds() / 2
        self._looked = now = clock.now(self.using)
        self._found = 0
        due = queue.due(now)
        if only is not None:
            due = due.filter(event_id__in=only)
        token = uuid.UUID(int=self._name << 64 | secrets.randbits(64), version=4)
        if not claims.locks_rows(self.using) and not due.exists():
            return []  # only to look, nobody takes SQLite's one lock
        chosen = claims.take(due, size, token, now + lease())
        if not chosen:
            return []
        mine = queue.filter(event_id__in=list(chosen))
        self._found = len(chosen)
        self.lag = (now - min(chosen.values())).total_seconds()
        deliveries = list(mine.filter(claim=token).select_related("event").order_by("event_id"))
        if len(deliveries) < len(chosen):  # the events of the others have been deleted: nothing to send
            events = AccessEvent.objects.using(self.using).filter(pk=OuterRef("pk"))
            mine.filter(~Exists(events), claim=token)._raw_delete(self.using)
        if only is None and deliveries:
            deliveries = self._hold_back(deliveries, token)
        return self._give_up_worn(deliveries)

    def _hold_back(self, deliveries: list[Delivery], token: uuid.UUID) -> list[Delivery]:
        """Return those behind an earlier delivery that somebody else claimed at the same moment."""
        others = Delivery.objects.using(self.using).filter(
            lane__in={delivery.lane for delivery in deliveries},
            event_id__lt=deliveries[-1].event_id,
            failed_at=None,
        )
        rows = others.exclude(claim=token).order_by().values_list("lane").annotate(first=Min("event_id"))
        first = dict(rows)
        held = [one for one in deliveries if first.get(one.lane, one.event_id) < one.event_id]
        self._release(held, HOLD)
        return [one for one in deliveries if one not in held]

    def _give_up_worn(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Part with those whose last attempt never ended, as if they brought down whoever sends them."""
        most = conf.PUSHERABLE_MAX_ATTEMPTS
        worn = [one for one in deliveries if most is not None and one.attempts > most]
        error = TransportError(f"It was tried {most} times, the last time without an end.")
        self._give_up([(one, error) for one in worn])
        return [one for one in deliveries if one not in worn]

    def _settle(self, ended: list[Track]) -> bool:
        """Sent: out of the queue. Failed: due again later, or given up. Not tried: due now.

        Returns whether others may have become due by that.
        """
        most = conf.PUSHERABLE_MAX_ATTEMPTS
        sent: list[Delivery] = []
        untried: list[Delivery] = []
        given_up: list[tuple[Delivery, Exception]] = []
        for track in ended:
            sent += track.sent
            untried += track.untried
            again = []
            for delivery, error in track.failed:
                if isinstance(error, ConfigurationError):
                    untried.append(delivery)  # as good as: nothing was wrong with it
                    self.tally.postponed += 1
                elif isinstance(error, RefusedError) or (most is not None and delivery.attempts >= most):
                    given_up.append((delivery, error))
                else:
                    again.append(delivery)
            if again:  # a track ends with the call that failed, so all have the same error
                self._postpone(again, track.failed[-1][1])
        claims.delete(sent, self.using)
        self._release(untried)
        self._give_up(given_up)
        self.tally.sent += len(sent)
        if sent:
            events = [delivery.event for delivery in sent]
            events_delivered.send_robust(sender=Relay, events=events, using=self.using)
        self._tell()
        return bool(sent or untried or given_up)

    def _release(self, deliveries: list[Delivery], seconds: float = 0) -> None:
        """They have not been tried: due now, or so much later, and the attempt does not count."""
        if deliveries:
            again = clock.now(self.using) + dt.timedelta(seconds=seconds)
            values = {"claim": None, "deliver_after": again, "attempts": F("attempts") - 1}
            claims.update(deliveries, self.using, **values)

    def _postpone(self, deliveries: list[Delivery], error: Exception) -> None:
        """Due again at the same time, since a lane waits no longer than for the first delivery in it."""
        wait = backoff(max(delivery.attempts for delivery in deliveries), RETRY_AT_MOST)
        again = clock.now(self.using) + dt.timedelta(seconds=wait)
        values = {"claim": None, "last_error": error_text(error), "deliver_after": again}
        claims.update(deliveries, self.using, **values)
        self.tally.postponed += len(deliveries)

    def _give_up(self, failures: list[tuple[Delivery, Exception]]) -> None:
        """They stay in the queue to be seen, but are not taken again."""
        if not failures:
            return
        now = clock.now(self.using)
        for delivery, error in failures:
            text = error_text(error)
            # If the claim holds no longer, somebody else may yet send it.
            if claims.update([delivery], self.using, claim=None, last_error=text, failed_at=now):
                delivery_failed.send_robust(sender=Relay, event=delivery.event, error=text, using=self.using)
        self.tally.failed += len(failures)
        self._unlogged += len(failures)
        if time.monotonic() >= self._quiet_until:  # what is wrong with one may be wrong with thousands
            first, error = failures[0]
            others = f" and {self._unlogged - 1} more" if self._unlogged > 1 else ""
            text = "Access event %s%s cannot be sent: given up. %s"
            logger.error(text, first.event_id, others, error_text(error))
            self._unlogged, self._quiet_until = 0, time.monotonic() + QUIET

    def _wait(self, idle: float, linger: float, *, may_be_more: bool) -> None:
        self._lend_connection()
        self._tell()
        if may_be_more:
            self._pause(linger)
        elif pause := breaker.pause:
            _disconnect(self.using)
            self._pause(pause)
        # On a busy site the next one comes before connecting anew has paid.
        elif self._pause(min(idle, 1), until_woken=True) or self._sleep(idle):
            self._pause(linger)

    def _sleep(self, idle: float) -> bool:
        """Wait without a database connection until woken, or something is due, or `idle` seconds are over."""
        later = Delivery.objects.using(self.using).filter(failed_at=None)
        if self._looked is not None:  # what was due by then has been sent, or is behind one that was not
            later = later.filter(deliver_after__gt=self._looked)
        try:
            due = later.aggregate(earliest=Min("deliver_after"))["earliest"]
            seconds = idle if due is None else (due - clock.now(self.using)).total_seconds()
        except Error:  # the next drain meets it as well, and logs it
            seconds = idle
        _disconnect(self.using)
        return self._pause(min(seconds, idle), until_woken=True)

    def _tell(self) -> None:
        if self.report is not None:
            self.report(self)

    def _lost_database(self, errors: int, error: Exception) -> int:
        if not errors:
            text = "The delivery queue of the database %r cannot be used; what is in it is sent later. %s"
            trace = None if isinstance(error, Error) else error
            logger.error(text, self.using, str(error).strip(), exc_info=trace)
        _disconnect(self.using)
        self._pause(backoff(errors + 1, 60))
        return errors + 1

    def _lend_connection(self) -> None:
        """A pool's connection is not held while it is not used: a request may need it."""
        if self._runs and connections[self.using].settings_dict["OPTIONS"].get("pool"):
            _disconnect(self.using)


def _disconnect(using: str) -> None:
    with suppress(Error):  # a connection that is lost already is forgotten all the same
        connections[using].close()
